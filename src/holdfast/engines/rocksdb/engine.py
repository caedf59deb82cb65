"""The engine that reads and writes a RocksDB store. It does not know how one is opened.

Locks, always taken in this order: `_writing` (one commit at a time, the body included), then
`_gate` (short: what is published, who is at work). `get` takes none: it reads through the
published snapshot, in one expression.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from holdfast.clock import Clock
from holdfast.engines.base import Body, Durability, EngineTraits, View
from holdfast.engines.rocksdb import forks, library, reached, upkeep
from holdfast.engines.rocksdb.flusher import Flusher
from holdfast.engines.rocksdb.state import Dead, State
from holdfast.errors import ClosedError, ForkedError, OutcomeUnknownError, PoisonedError

TRAITS = EngineTraits(name="rocksdb", persistent=True, shared=False)

#: Seconds that `close` waits for views.
_PATIENCE = 10.0


class RocksDBEngine:
    """One process's handle on a RocksDB store.

    Args:
        database: Open for writing.
        path: Its directory.
        cache: The block cache that it uses.
        flush_every: Seconds within which a RELAXED write is on disk.
        clock: Waits between those flushes.
    """

    traits = TRAITS

    def __init__(
        self,
        database: library.Database,
        path: Path,
        *,
        cache: Any,
        reserve: int,
        flush_every: float,
        clock: Clock,
    ) -> None:
        self._database: library.Database | None = database
        self._path = path
        self._cache = cache
        self._room = upkeep.Room(path, reserve)
        self._writing = threading.Lock()
        self._gate = threading.Condition(threading.Lock())
        self._views = 0  # open ones, of all states; guarded by the gate
        self._working = 0  # calls under way that use the database itself; guarded by the gate
        self._dead: Dead | None = None
        self._poison: str | None = None
        self._state = State(database, self._gate)
        self._snapshot: Any = self._state.snapshot
        self._flusher = Flusher(weakref.WeakMethod(self.flush), flush_every, clock)
        forks.watch(self)

    # --- reading --------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the committed value of `key`, or None."""
        try:
            value: bytes = self._snapshot[key]
            return value
        except Exception as error:  # noqa: BLE001 - rocksdict's own class
            if error.args == library.ABSENT:
                return None
            raise library.translate(error, "get") from None

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the committed values of `keys`, all of one state."""
        snapshot, absent = self._snapshot, library.ABSENT
        found: list[bytes | None] = []
        if not keys and self._dead is not None:
            raise self._dead.error()
        for key in keys:
            try:
                found.append(snapshot[key])
            except Exception as error:  # noqa: BLE001 - rocksdict's own class
                if error.args != absent:
                    raise library.translate(error, "get_many") from None
                found.append(None)
        return found

    def read(self) -> AbstractContextManager[View]:
        """Open a view of the published state; it waits for nobody and holds nobody up."""
        return _Reading(self)

    def _open_view(self) -> State:
        with self._gate:
            if self._dead is not None:
                raise self._dead.error()
            state = self._state
            state.views += 1
            self._views += 1
            return state

    def _close_view(self, state: State) -> None:
        with self._gate:
            state.views -= 1
            self._views -= 1
            if not state.views and state is not self._state:
                state.release()
            if self._dead is not None:
                self._gate.notify_all()

    # --- writing --------------------------------------------------------------------------

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Run `body` on the published state, commit its batch, publish the state after it."""
        self._refuse()
        with self._writing:
            self._refuse()
            state = self._state
            batch = body(state)
            made = library.build_batch(batch)
            if batch.puts:
                self._room.refuse_full(batch)
            try:
                if durability is Durability.SYNC:
                    self._commit_synced(state, made)
                elif made is not None:
                    self._commit(state, made)
            except BaseException as error:
                raise self._unknown(error, "commit") from error
        if durability is Durability.RELAXED:
            self._flusher.ask()

    def _commit(self, state: State, made: Any) -> None:
        database = self._database
        assert database is not None
        # The gate is held from before the change until it is published, so nobody opens a view,
        # or a scan, in between. RocksDB hands the batch to the kernel before `write` returns; if
        # that fails, nothing of it can be read here, so the state is right without being pinned.
        with self._gate:
            if state.views:
                state.pin()
            database.write(made)
            self._publish(database)

    def _commit_synced(self, state: State, made: Any) -> None:
        database = self._database
        assert database is not None
        if made is None:
            database.flush_wal(True)
            return
        with self._gate:
            state.pin()  # for whoever comes while the disk is waited for
            database.write(made)
        # Not `WriteOptions.sync`: that would hold the GIL for as long as the disk takes.
        database.flush_wal(True)
        with self._gate:
            self._publish(database)

    def _publish(self, database: library.Database) -> None:
        before, self._state = self._state, State(database, self._gate)
        self._snapshot = self._state.snapshot
        if not before.views:
            before.release()  # a traceback somewhere may hold it, and with it RocksDB open

    def flush(self) -> None:
        """Bring everything acknowledged so far to disk."""
        self._refuse()
        with self._writing:
            self._sync()

    def _sync(self) -> None:
        self._refuse()
        assert self._database is not None
        try:
            self._database.flush_wal(True)
        except BaseException as error:
            raise self._unknown(error, "flush") from error

    def _unknown(self, error: BaseException, what: str) -> OutcomeUnknownError:
        """Poison the handle. Readers stay on the last published state."""
        self._poison = f"a {what} failed: {error}"
        return OutcomeUnknownError(f"RocksDB's {what} failed: {error}")

    # --- upkeep ---------------------------------------------------------------------------

    def reclaim(self, budget: int | None = None) -> int:
        """Rewrite files without what was deleted; return the bytes that the disk got back.

        With a budget the files that hold most deletions go first, one by one, until about
        `budget` bytes are free.
        """
        self._refuse()
        with self._work() as database:
            return upkeep.reclaim(database, self._path, budget)

    def stats(self) -> Mapping[str, int | float | str]:
        """Return sizes in bytes and what RocksDB tells of itself."""
        with self._work() as database:
            return upkeep.stats(database, self._path, self._cache)

    def close(self) -> None:
        """Flush and let go of the store, after the calls under way in other threads."""
        if self._dead is not None:
            return
        self._flusher.stop()
        with self._writing:
            with self._gate:
                if self._dead is not None:
                    return
                self._dead = Dead(closed)
                database, self._database = self._database, None
                snapshot, self._snapshot = self._state.snapshot, self._dead
                self._gate.wait_for(lambda: not self._working)
                # A view that its caller forgot keeps RocksDB open, not this call.
                self._gate.wait_for(lambda: not self._views, _PATIENCE)
                self._state.release()
            assert database is not None
            # A `get` may hold the snapshot for a moment; RocksDB closes with its last user.
            moment = threading.Event()
            for _ in range(200):
                if sys.getrefcount(snapshot) <= 2:
                    break
                moment.wait(0.001)
            del snapshot
            try:
                if self._poison is None:
                    database.flush_wal(True)
                    reached.note(self._path, database.latest_sequence_number())
            except Exception as error:  # noqa: BLE001 - rocksdict's own class
                raise self._unknown(error, "flush at closing") from None
            finally:
                upkeep.let_go(database, self._path)
                del database

    # --- who may work ---------------------------------------------------------------------

    @contextmanager
    def _work(self) -> Iterator[library.Database]:
        with self._gate:
            if self._dead is not None:
                raise self._dead.error()
            database = self._database
            assert database is not None
            self._working += 1
        try:
            yield database
        finally:
            del database
            with self._gate:
                self._working -= 1
                self._gate.notify_all()

    def _refuse(self) -> None:
        if self._dead is not None:
            raise self._dead.error()
        if self._poison is not None:
            raise PoisonedError(f"the handle on {self._path} refuses writes: {self._poison}")

    def disown(self) -> list[Any]:
        """Make the handle useless: this process is a child of the one that opened it."""
        self._writing = threading.Lock()  # a thread that is not here may hold the old ones
        self._gate = threading.Condition(threading.Lock())
        foreign = [self._database, self._snapshot, self._state]
        if self._dead is None:
            self._dead = self._snapshot = Dead(forked)
        return [each for each in foreign if each is not None]


class _Reading:
    """The context of one view (a class: a generator costs three times as much)."""

    __slots__ = ("_engine", "_state")

    def __init__(self, engine: RocksDBEngine) -> None:
        self._engine = engine

    def __enter__(self) -> View:
        self._state = self._engine._open_view()
        return self._state

    def __exit__(self, *exception: object) -> None:
        self._engine._close_view(self._state)


def closed() -> Exception:
    """Say that the handle was closed."""
    return ClosedError("the RocksDB store is closed")


def forked() -> Exception:
    """Say that the handle is the parent's."""
    return ForkedError("this RocksDB handle was opened before a fork, in the parent process")
