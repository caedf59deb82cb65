"""What the tests run in processes of their own: ``python child.py VERB DIRECTORY``."""

from __future__ import annotations

import os
import resource
import signal
import sys
from itertools import count
from pathlib import Path

from holdfast.engines.base import Batch, Durability, View
from holdfast.errors import OutcomeUnknownError, PoisonedError
from holdfast_lmdb import LmdbSettings, open_engine


def endless(path: Path) -> None:
    """Commit for ever, saying each number once it is acknowledged."""
    engine = open_engine(LmdbSettings(path))
    for number in count(1):
        value = b"%d" % number
        batch = Batch(puts=[(b"first", value), *((b"k%d" % n, value) for n in range(50))])
        batch.puts.append((b"last", value))
        durability = Durability.SYNC if number % 2 else Durability.OS
        engine.write(durability, lambda view, batch=batch: batch)  # type: ignore[misc]
        print(number, flush=True)


def die(path: Path) -> None:
    """Be killed in a body: with the writer's lock held, and a view open."""
    engine = open_engine(LmdbSettings(path))

    def body(view: View) -> Batch:
        with engine.read() as other:
            other.get(b"k")
            os.kill(os.getpid(), signal.SIGKILL)
        return Batch()

    engine.write(Durability.OS, body)


def add(path: Path) -> None:
    """Add one, two hundred times."""
    engine = open_engine(LmdbSettings(path))

    def body(view: View) -> Batch:
        return Batch(puts=[(b"n", b"%d" % (int(view.get(b"n") or b"0") + 1))])

    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(200):
        engine.write(Durability.OS, body)
    engine.close()


def fail(path: Path) -> None:
    """Have the system refuse the bytes of a commit, and then accept them again."""
    engine = open_engine(LmdbSettings(path))
    engine.write(Durability.SYNC, lambda view: Batch(puts=[(b"a", b"old")]))
    size = (path / "data.mdb").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, resource.RLIM_INFINITY))
    large = Batch(puts=[(b"a", b"new"), (b"b", b"x" * 1_000_000)])
    try:
        engine.write(Durability.OS, lambda view: large)
    except OutcomeUnknownError:
        print("unknown")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        engine.write(Durability.OS, lambda view: large)
    except PoisonedError:
        print("poisoned")
    try:
        engine.flush()
    except PoisonedError:
        print("poisoned")
    print(engine.get(b"a"))
    engine.close()
    with open_engine(LmdbSettings(path)).read() as view:
        print(view.get(b"a"), view.get(b"b"))


if __name__ == "__main__":
    {"endless": endless, "die": die, "add": add, "fail": fail}[sys.argv[1]](Path(sys.argv[2]))
