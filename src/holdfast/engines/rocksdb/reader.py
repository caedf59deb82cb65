"""Read-only beside a writer: a RocksDB secondary instance.

It sees what the writer's process has handed to the operating system. It looks for news before
each read, by the sizes of the writer's log and manifest, and catches up only where there is
some (2.7 ms for a log of 256 KB); never while a view is open, so a view stays one state.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.engines.base import Body, Durability, View
from holdfast.engines.rocksdb import directory, forks, library
from holdfast.engines.rocksdb.engine import TRAITS, closed, forked
from holdfast.engines.rocksdb.state import State
from holdfast.errors import ReadOnlyError


class RocksDBReader:
    """A handle that only reads.

    Args:
        path: The store.
        options: RocksDB's.
        cache: The block cache that they name.
    """

    traits = TRAITS

    def __init__(self, path: Path, options: Any, *, cache: Any) -> None:
        self._path = path
        self._cache = cache
        self._gate = threading.Condition(threading.RLock())
        self._views = 0
        self._own = Path(tempfile.mkdtemp(prefix="holdfast-reader-"))
        self._error = closed
        try:
            # Before opening: what is written from here on is news at the first read.
            self._seen = directory.fingerprint(path)
            database = library.open_secondary(path, self._own, options)
        except BaseException:
            shutil.rmtree(self._own, ignore_errors=True)
            raise
        self._database: library.Database | None = database
        self._state: State | None = State(database, self._gate)
        forks.watch(self)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key` as the writer has it, or None."""
        with self._gate:
            return self._fresh().get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, all of one state."""
        with self._gate:
            return self._fresh().get_many(keys)

    @contextmanager
    def read(self) -> Iterator[View]:
        """Open a view; the handle follows the writer again once no view is open."""
        with self._gate:
            state = self._fresh()
            self._views += 1
        try:
            yield state
        finally:
            with self._gate:
                self._views -= 1
                self._gate.notify_all()

    def _fresh(self) -> State:
        if self._state is None or self._database is None:
            raise self._error()
        if self._views:
            return self._state
        now = directory.fingerprint(self._path)
        if now != self._seen:
            try:
                self._database.try_catch_up_with_primary()
            except Exception as error:  # noqa: BLE001 - rocksdict's own class
                raise library.translate(error, "catch up with the writer") from None
            self._seen = now
            self._state = State(self._database, self._gate)
        return self._state

    def write(self, durability: Durability, body: Body, partition: int = 0) -> None:
        """Refuse."""
        raise self._refusal()

    def flush(self) -> None:
        """Do nothing: there is nothing of ours to flush."""
        with self._gate:
            if self._database is None:
                raise self._error()

    def reclaim(self, budget: int | None = None) -> int:
        """Refuse."""
        raise self._refusal()

    def _refusal(self) -> Exception:
        return self._error() if self._database is None else ReadOnlyError("open for reading only")

    def stats(self) -> Mapping[str, int | float | str]:
        """Return sizes in bytes."""
        with self._gate:
            if self._database is None:
                raise self._error()
            disk, logs, free = directory.sizes(self._path)
            return {
                "path": str(self._path),
                "version": f"rocksdict {library.version()}",
                "disk_bytes": disk,
                "wal_bytes": logs,
                "free_bytes": free,
                "block_cache_bytes": self._cache.get_usage(),
            }

    def close(self) -> None:
        """Let go of the store, after the views of other threads."""
        with self._gate:
            if self._database is None:
                return
            database, self._database = self._database, None
            self._gate.wait_for(lambda: not self._views, 10.0)
            self._state = None
            database.close()
            del database
        shutil.rmtree(self._own, ignore_errors=True)

    def disown(self) -> list[Any]:
        """Make the handle useless: this process is a child of the one that opened it."""
        self._gate = threading.Condition(threading.RLock())  # the old one may be held for ever
        foreign = [self._database, self._state]
        self._database = self._state = None
        self._error = forked
        return [each for each in foreign if each is not None]
