"""Read-only beside a writer: RocksDB's read-only mode, opened anew when there is news.

Not a secondary instance: after the writer flushes its memory to files, `try_catch_up_with_primary`
of the RocksDB in rocksdict 0.3.29 goes on answering gets from the old log (a stale value, a
deleted key) until the next write (docs/decisions/0004).

Before each read the sizes of the writer's log and manifest tell whether there is news. Opening
replays the writer's log, so that a read beside a busy writer is slow: for looking, for tools,
for backups. An open view keeps the database of its moment.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.clock import Clock
from holdfast.engines.base import Body, Durability, View
from holdfast.engines.rocksdb import directory, forks, library
from holdfast.engines.rocksdb.engine import TRAITS, closed, forked
from holdfast.engines.rocksdb.state import State
from holdfast.errors import BusyError, ReadOnlyError, StateError

#: How often to begin anew where the writer swaps its log while we open.
_ATTEMPTS = 20


class RocksDBReader:
    """A handle that only reads.

    Args:
        path: The store.
        open_database: Opens it read-only; is given a directory for RocksDB's own log.
        cache: The block cache that it uses.
        lag_ns: Nanoseconds to go without looking for news.
        clock: Measures them.
    """

    traits = TRAITS

    def __init__(
        self,
        path: Path,
        open_database: Callable[[Path], library.Database],
        *,
        cache: Any,
        lag_ns: int,
        clock: Clock,
    ) -> None:
        self._path = path
        self._open = open_database
        self._cache = cache
        self._lag = lag_ns
        self._clock = clock
        self._looked = clock.now_ns()
        self._gate = threading.Condition(threading.RLock())
        self._views = 0
        self._error: Callable[[], Exception] | None = None
        self._own = Path(tempfile.mkdtemp(prefix="holdfast-reader-"))
        try:
            self._seen, self._state = self._load()
        except BaseException:
            shutil.rmtree(self._own, ignore_errors=True)
            raise
        forks.watch(self)

    def _load(self) -> tuple[directory.Fingerprint, State]:
        """Open the database as it is now."""
        failure: Exception = BusyError("the writer is too busy to be read beside it")
        for _ in range(_ATTEMPTS):
            before = directory.fingerprint(self._path)
            try:
                database = self._open(self._own)
            except StateError as error:
                failure = error  # a file may have gone between its listing and its opening
                if directory.fingerprint(self._path).files == before.files:
                    raise
                continue
            # A log that the writer turned into a file and deleted meanwhile would be missing in
            # what we have opened; the manifest names the new file before the log goes.
            if directory.fingerprint(self._path).files == before.files:
                return before, State(database, self._gate)
            database.close()
        raise failure

    def _fresh(self) -> State:
        if self._error is not None:
            raise self._error()
        if self._lag:
            now = self._clock.now_ns()
            if 0 <= now - self._looked < self._lag:
                return self._state
            self._looked = now
        if directory.fingerprint(self._path) != self._seen:
            before = self._state
            self._seen, self._state = self._load()
            if not before.views:
                self._drop(before)
        return self._state

    def _drop(self, state: State) -> None:
        database = state.database
        state.release()
        if database is not None:
            database.close()

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
        """Open a view of the store as it is now."""
        with self._gate:
            state = self._fresh()
            state.views += 1
            self._views += 1
        try:
            yield state
        finally:
            with self._gate:
                state.views -= 1
                self._views -= 1
                if not state.views and state is not self._state:
                    self._drop(state)
                self._gate.notify_all()

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Refuse."""
        raise self._refusal()

    def flush(self) -> None:
        """Do nothing: there is nothing of ours to flush."""
        if self._error is not None:
            raise self._error()

    def reclaim(self, budget: int | None = None) -> int:
        """Refuse."""
        raise self._refusal()

    def _refusal(self) -> Exception:
        return ReadOnlyError("the store is open for reading") if not self._error else self._error()

    def stats(self) -> Mapping[str, int | float | str]:
        """Return sizes in bytes."""
        if self._error is not None:
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
            if self._error is not None:
                return
            self._error = closed
            self._gate.wait_for(lambda: not self._views, 10.0)
            self._drop(self._state)
        shutil.rmtree(self._own, ignore_errors=True)

    def disown(self) -> list[Any]:
        """Make the handle useless: this process is a child of the one that opened it."""
        self._gate = threading.Condition(threading.RLock())  # the old one may be held for ever
        self._error = self._error or forked
        return [self._state, self._state.snapshot, self._state.database]
