"""The Postgres server of a test run: one a worker, started when a test first asks."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from proof.servers import PostgresServer


@cache
def shared_server() -> PostgresServer:
    """Start the server that tests share; it ends with the process."""
    directory = Path(tempfile.mkdtemp(prefix="holdfast-tests-"))
    server = PostgresServer(directory)
    server.start()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(server.stop)
    return server


def schema_for(path: Path) -> str:
    """Return the name of a Postgres schema that stands for `path`."""
    return f"t_{hashlib.sha256(str(path).encode()).hexdigest()[:20]}"


def store_url(path: Path) -> str:
    """Return the URL of a store that no other test has: a schema of its own."""
    return shared_server().url(schema=schema_for(path))


@contextmanager
def own_server(**options: Any) -> Iterator[PostgresServer]:
    """Start a server that a test may harm."""
    # Not in pytest's directories, which are closed to the user that Postgres runs as.
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-tests-") as directory,
        PostgresServer(Path(directory), **options) as server,
    ):
        yield server
