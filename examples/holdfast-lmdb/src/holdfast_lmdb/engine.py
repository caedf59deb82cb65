"""The engine: the contract of `holdfast.engines.base` over one LMDB environment.

Writers. LMDB has one writer at a time, over all threads and processes, behind a lock that a killed
process releases. A batch is applied in one write transaction: all of it, or nothing.

Durability. The environment is opened without `metasync`: a commit syncs its pages, then writes
the page that makes them current, without a sync of that one. So a power cut can undo the last
commits but never damage the file, and a killed process loses nothing: that is OS. SYNC adds the
second sync. RELAXED does too: it promises the disk within an interval, and keeping that promise at
once needs no background thread. Without the first sync (LMDB's ``sync=False``) a power cut could
destroy the store, so nothing here ever does without it.

Outcomes. Until `commit` is called every error is definite. An error of the commit, or of the sync
behind it, leaves the outcome unknown and the handle poisoned; the one exception is a full map,
which LMDB finds before it writes the first page.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import lmdb

from holdfast.engines.base import Batch, Body, Durability, EngineTraits, View
from holdfast.errors import (
    ClosedError,
    DiskFullError,
    ForkedError,
    OutcomeUnknownError,
    PoisonedError,
    ReadOnlyError,
    StateError,
)
from holdfast_lmdb import forks
from holdfast_lmdb.changes import apply
from holdfast_lmdb.failure import translate
from holdfast_lmdb.view import LmdbView


class LmdbEngine:
    """One process's handle on a store. Make it with `open_engine`.

    Args:
        env: Open, without `metasync`; the engine's from now on.
        path: Its directory.
        keep_free: Bytes of the filesystem that puts leave free.
        read_only: Refuse writes.
    """

    def __init__(
        self, env: lmdb.Environment, path: Path, keep_free: int, *, read_only: bool
    ) -> None:
        self.traits = EngineTraits(
            name="lmdb",
            persistent=True,
            shared=True,
            max_key_bytes=env.max_key_size(),  # 511: Holdfast checks keys against it
        )
        self._env = env
        self._path = path
        self._keep_free = keep_free
        self._read_only = read_only
        self._writing = threading.RLock()  # held from before the body until after the sync
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._calls = 0  # under way; guarded by the lock
        self._dead: type[ClosedError | ForkedError] | None = None
        self._poison = ""
        forks.watch(self)

    # --- reading --------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the committed value of `key`, or None: a view of one read, without the view."""
        env = self._enter()
        try:
            txn = self._begin(env, write=False)
            try:
                return txn.get(key)
            finally:
                txn.abort()
                del txn  # frees its slot, while this call still counts
        except lmdb.Error as error:
            raise translate(error, self._path) from error
        finally:
            self._leave()

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the committed values of `keys` in one consistent read."""
        with _Reading(self) as view:
            return view.get_many(keys)

    def read(self) -> AbstractContextManager[View]:
        """Open a view: a read transaction, which waits for nobody and holds nobody up."""
        return _Reading(self)

    # --- writing --------------------------------------------------------------------------

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Run `body` on the state before and commit its batch; all partitions share one writer."""
        with self._call() as env, self._writing:
            self._refuse_write()  # asked behind the lock: a commit before this one may have failed
            txn = self._begin(env, write=True)
            view = LmdbView(txn, self._path)
            try:
                batch = body(view)
                self._refuse_dead()  # the body may have forked: this may be the child
                if batch.puts or batch.deletes or batch.delete_ranges:
                    self._refuse_full(batch)
                    apply(txn, batch, self._path)
                    self._commit(txn)
            finally:
                self._end(view)
            if durability in (Durability.RELAXED, Durability.SYNC):
                self._sync(env)

    def _refuse_full(self, batch: Batch) -> None:
        needed = self._keep_free + 2 * sum(len(key) + len(value) for key, value in batch.puts)
        if batch.puts and self._free_bytes() < needed:
            raise DiskFullError(f"lmdb store {self._path}: the disk has less than {needed} B free")

    def _commit(self, txn: lmdb.Transaction[bytes]) -> None:
        try:
            txn.commit()
        except lmdb.MapFullError as error:
            raise translate(error, self._path) from error
        except BaseException as error:
            raise self._unknown("commit", error) from error

    def flush(self) -> None:
        """Bring everything acknowledged so far to disk."""
        with self._call() as env:
            if self._read_only:
                return
            with self._writing:
                self._refuse_write()
                self._sync(env)

    def _sync(self, env: lmdb.Environment) -> None:
        # Never beside another commit or sync: a failed one is reported once, to one of them.
        try:
            env.sync(True)
        except BaseException as error:
            raise self._unknown("flush", error) from error

    def _unknown(self, what: str, error: BaseException) -> OutcomeUnknownError:
        self._poison = f"a {what} failed: {error}"
        return OutcomeUnknownError(f"lmdb store {self._path}: the {what} failed ({error})")

    def _refuse_write(self) -> None:
        if self._read_only:
            raise ReadOnlyError(f"lmdb store {self._path} is open for reading")
        if self._poison:
            raise PoisonedError(f"lmdb store {self._path}: {self._poison}")

    # --- upkeep ---------------------------------------------------------------------------

    def reclaim(self, budget: int | None = None) -> int:
        """Free what killed readers hold, for reuse. LMDB's file never shrinks: always 0."""
        self._refuse_dead()
        self._refuse_write()
        with self._call() as env:
            try:
                env.reader_check()
            except lmdb.Error as error:
                raise translate(error, self._path) from error
        return 0

    def stats(self) -> Mapping[str, int | float | str]:
        """Return sizes in bytes and LMDB's own counts."""
        with self._call() as env:
            info, pages = env.info(), env.stat()["psize"]
            version = ".".join(map(str, env.lib_version()))
            return {
                "path": str(self._path),
                "version": f"LMDB {version}, py-lmdb {lmdb.__version__}",
                "disk_bytes": sum(file.stat().st_size for file in self._path.glob("*.mdb")),
                "free_bytes": self._free_bytes(),
                "map_bytes": info["map_size"],
                "map_used_bytes": (info["last_pgno"] + 1) * pages,
                "max_readers": info["max_readers"],
                "rows": env.stat()["entries"],
                "poisoned": self._poison,
            }

    def close(self) -> None:
        """Wait for the calls of other threads, flush, and let go of the store."""
        failure: StateError | None = None
        try:
            if not (self._dead or self._read_only or self._poison):
                self.flush()
        except ClosedError:
            return  # by another thread, just now
        except StateError as error:
            failure = error
        with self._lock:
            if self._dead is not None:
                return
            self._dead = ClosedError
            self._idle.wait_for(lambda: self._calls == 0)
            self._env.close()
        if failure is not None:
            raise failure

    def disown(self) -> None:
        """Make the handle useless: this process is a child of the one that opened it."""
        self._lock = threading.Lock()  # a thread that is not here may hold the old one
        self._idle = threading.Condition(self._lock)
        if self._dead is None:
            self._dead = ForkedError
            if self._calls:
                forks.keep(self._env)
            else:
                self._env.close()

    def _free_bytes(self) -> int:
        filesystem = os.statvfs(self._path)
        return filesystem.f_bavail * filesystem.f_frsize

    # --- who may work ---------------------------------------------------------------------

    @contextmanager
    def _call(self) -> Iterator[lmdb.Environment]:
        """Keep the environment open during a call."""
        env = self._enter()
        try:
            yield env
        finally:
            self._leave()

    def _enter(self) -> lmdb.Environment:
        with self._lock:
            self._refuse_dead()
            self._calls += 1
        return self._env

    def _leave(self) -> None:
        with self._lock:
            self._calls -= 1
            if self._dead is not None:
                self._idle.notify_all()

    def _begin(self, env: lmdb.Environment, *, write: bool) -> lmdb.Transaction[bytes]:
        try:
            try:
                return env.begin(write=write)
            except lmdb.ReadersFullError:
                env.reader_check()  # perhaps by readers that were killed
                return env.begin(write=write)
        except lmdb.Error as error:
            raise translate(error, self._path) from error

    def _end(self, view: LmdbView) -> None:
        """End a view and its transaction; what was not committed is undone."""
        txn = view.end()
        if self._dead is ForkedError:
            forks.keep(txn)  # the parent's
        else:
            txn.abort()  # does nothing after a commit

    def _refuse_dead(self) -> None:
        if self._dead is ForkedError:
            raise ForkedError(f"this handle on lmdb store {self._path} is the parent process's")
        if self._dead is not None:
            raise ClosedError(f"lmdb store {self._path} is closed")


class _Reading:
    """The context of one view (a class: a generator costs every `get` twice as much)."""

    __slots__ = ("_engine", "_view")

    def __init__(self, engine: LmdbEngine) -> None:
        self._engine = engine

    def __enter__(self) -> LmdbView:
        engine = self._engine
        env = engine._enter()
        try:
            self._view = LmdbView(engine._begin(env, write=False), engine._path)
        except BaseException:
            engine._leave()
            raise
        return self._view

    def __exit__(self, *exception: object) -> None:
        self._engine._end(self._view)
        self._engine._leave()
