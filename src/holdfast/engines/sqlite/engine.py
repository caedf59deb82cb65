"""The SQLite engine: the contract of `holdfast.engines.base` over one file in WAL mode.

Readers have connections of their own and never wait. One connection writes, behind the
turnstile. What may go wrong is sorted here: before COMMIT an error is definite, in COMMIT or a
flush the outcome is unknown and the handle refuses further writes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import apsw

from holdfast.clock import Clock, SystemClock
from holdfast.engines.base import Batch, Body, Durability, EngineTraits, View
from holdfast.engines.sqlite import fork
from holdfast.engines.sqlite.checkpoint import Checkpointer, close_quietly
from holdfast.engines.sqlite.failure import translate
from holdfast.engines.sqlite.log import LogFile
from holdfast.engines.sqlite.opening import Opening
from holdfast.engines.sqlite.pool import ReaderPool
from holdfast.engines.sqlite.session import Session
from holdfast.engines.sqlite.settings import SqliteSettings
from holdfast.engines.sqlite.turnstile import Turnstile
from holdfast.errors import (
    ClosedError,
    CorruptionError,
    DiskFullError,
    ForkedError,
    OutcomeUnknownError,
    PoisonedError,
    ReadOnlyError,
    StateError,
)

_VACUUM_STEP = 256  #: pages moved while writers wait


class SqliteEngine:
    """One open store. Make it with `holdfast.engines.sqlite.open_engine`."""

    traits: EngineTraits

    def __init__(
        self, settings: SqliteSettings, *, read_only: bool = False, clock: Clock | None = None
    ) -> None:
        self.settings = settings
        self.traits = EngineTraits(name="sqlite", persistent=True, shared=not settings.exclusive)
        self._path = str(settings.path)
        self._read_only = read_only
        self._clock = clock or SystemClock()
        self._poison = ""
        self._forked = False
        self._opening = Opening(settings, read_only=read_only)
        self._turnstile: Turnstile = self._opening.turnstile
        self._log = LogFile(self._path)
        self._writer: Session | None = None
        self._checkpoints: Session | None = None
        self._lease_lock = threading.Lock()
        self._checkpointer = Checkpointer(
            settings, self._clock, self._turnstile, self._lease, self.flush, self._fail
        )
        self._readers = ReaderPool(
            self._opening.session,
            keep=settings.max_readers,
            path=self._path,
            most=1 if settings.exclusive else None,
        )
        self._idle = self._readers.idle
        try:
            self._first_session()
        except BaseException:
            self._readers.close()
            self._turnstile.close()
            raise
        fork.watch(self)

    def _first_session(self) -> None:
        session = self._readers.take()
        try:
            session.verify_identity()
        finally:
            self._readers.give(session)

    # --- reading ----------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the committed value of `key`, or None."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = self._reader()
        try:
            return session.get(key)
        except StateError as error:
            raise self._closing(error) from error
        finally:
            self._idle.append(session)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the committed values of `keys` in one consistent read."""
        with self.read() as view:
            return view.get_many(keys)

    @contextmanager
    def read(self) -> Iterator[View]:
        """Open a consistent view, as of now."""
        session = self._reader()
        try:
            session.begin_read()
            yield session
        except StateError as error:
            raise self._closing(error) from error
        finally:
            try:
                session.end()
                self._readers.give(session)
            except apsw.Error:
                self._readers.drop(session)

    def _reader(self) -> Session:
        if self._forked:
            raise ForkedError(f"sqlite store {self._path} was in use when this process was forked")
        if self._opening.changed():
            raise CorruptionError(
                f"{self._path} changed while it was open as a file that cannot change",
                hint="open it again",
            )
        return self._readers.take()

    def _closing(self, error: StateError) -> StateError:
        # An interrupted call of a store that is closing: the cause is the closing.
        cause = error.__cause__
        if self._readers.closed and isinstance(cause, apsw.Error):
            return translate(cause, self._path, closed=True)
        return error

    # --- writing ----------------------------------------------------------------------------

    def write(self, durability: Durability, body: Body, partition: int = 0) -> None:
        """Run `body` on the state before and commit its batch; see the contract."""
        self._check_writable()
        sync = durability >= Durability.SYNC
        with self._turnstile:
            self._check_writable()
            session = self._borrow_writer()
            try:
                written = self._transact(session, body, sync=sync)
            finally:
                self._return_writer(session)
            if not written and sync:
                self.flush()
        if written:
            self._checkpointer.committed(durability)

    def _transact(self, session: Session, body: Body, *, sync: bool) -> bool:
        try:
            session.begin_write(sync=sync)
            batch = body(session)
            if not (batch.puts or batch.deletes or batch.delete_ranges):
                return False
            self._apply(session, batch)
            self._commit(session)
            return True
        finally:
            try:
                session.end()
            except apsw.Error as error:
                self._poison = self._poison or f"a rollback failed: {error}"

    def _apply(self, session: Session, batch: Batch) -> None:
        try:
            session.apply(batch)
        except apsw.Error as error:
            raise translate(error, self._path) from error

    def _commit(self, session: Session) -> None:
        try:
            session.execute("COMMIT")
        except apsw.FullError as error:
            # A frame could not be written whole. The frame that commits is the last one, so no
            # reader and no recovery can ever take this transaction for committed.
            raise DiskFullError(f"sqlite store {self._path}: {error}") from error
        except apsw.Error as error:
            self._poison = f"a commit failed: {error}"
            raise OutcomeUnknownError(
                f"sqlite store {self._path}: the commit failed ({error})"
            ) from error

    def flush(self) -> None:
        """Bring everything acknowledged so far to disk."""
        self._check_open()
        if self._read_only:
            return
        if self._poison:
            raise PoisonedError(f"sqlite store {self._path}: {self._poison}")
        try:
            self._log.sync()
        except OSError as error:
            self._poison = f"a flush failed: {error.strerror}"
            raise OutcomeUnknownError(
                f"sqlite store {self._path}: the flush failed ({error.strerror})"
            ) from error

    def _fail(self, error: apsw.Error) -> None:
        self._poison = self._poison or f"a checkpoint failed: {error}"

    def _check_open(self) -> None:
        if self._forked:
            raise ForkedError(f"sqlite store {self._path} was in use when this process was forked")
        if self._readers.closed:
            raise ClosedError(f"sqlite store {self._path} is closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self._read_only:
            raise ReadOnlyError(f"sqlite store {self._path} is open for reading")
        if self._poison:
            raise PoisonedError(f"sqlite store {self._path}: {self._poison}")

    def _borrow_writer(self) -> Session:
        if self.settings.exclusive:
            return self._readers.take()
        if self._writer is None:
            self._writer = self._opening.session()
        return self._writer

    def _return_writer(self, session: Session) -> None:
        if self.settings.exclusive:
            self._readers.give(session)

    @contextmanager
    def _lease(self) -> Iterator[Session]:
        """Lend the session that checkpoints."""
        if self.settings.exclusive:
            session = self._readers.take()
            try:
                yield session
            finally:
                self._readers.give(session)
            return
        with self._lease_lock:
            if self._checkpoints is None:
                self._checkpoints = self._opening.session(cache=0, timeout_ms=20)
            yield self._checkpoints

    # --- upkeep -----------------------------------------------------------------------------

    def reclaim(self, budget: int | None = None) -> int:
        """Give free pages and the log's space back to the disk; return the bytes given back."""
        self._check_writable()
        before = self._disk_bytes()
        left = None if budget is None else max(1, budget // self._page_size())
        while left is None or left > 0:
            step = _VACUUM_STEP if left is None else min(_VACUUM_STEP, left)
            with self._turnstile:
                self._check_writable()
                if not self._vacuum(step):
                    break
            left = None if left is None else left - step
        try:
            self._checkpointer.truncate()
        except apsw.Error as error:
            raise translate(error, self._path) from error
        return max(0, before - self._disk_bytes())

    def _vacuum(self, pages: int) -> bool:
        session = self._borrow_writer()
        try:
            if not session.pragma("freelist_count"):
                return False
            session.begin_write(sync=False)
            session.execute(f"PRAGMA incremental_vacuum({pages})", can_cache=False).fetchall()
            self._commit(session)
            return True
        except apsw.Error as error:
            raise translate(error, self._path) from error
        finally:
            session.end()
            self._return_writer(session)

    def _page_size(self) -> int:
        with self.read() as view:
            assert isinstance(view, Session)
            return view.pragma("page_size")

    def _disk_bytes(self) -> int:
        return _size(self._path) + _size(self._path + "-wal")

    def stats(self) -> Mapping[str, int | float | str]:
        """Return sizes, counts and versions."""
        self._check_open()
        with self.read() as view:
            assert isinstance(view, Session)
            facts = {name: view.pragma(name) for name in ("page_size", "page_count")}
            free = view.pragma("freelist_count")
        disk = os.statvfs(os.path.dirname(os.path.abspath(self._path)))
        return {
            **facts,
            "free_pages": free,
            "disk_bytes": self._disk_bytes(),
            "wal_bytes": _size(self._path + "-wal"),
            "free_bytes": disk.f_bavail * disk.f_frsize,
            "path": os.path.abspath(self._path),
            "version": apsw.sqlite_lib_version(),
            "cache_capacity": self.settings.cache_capacity,
            "connections": len(self._readers) + (self._writer is not None),
            "checkpoints": self._checkpointer.done,
            "checkpoint_error": self._checkpointer.last_error,
            "poisoned": self._poison,
        }

    def close(self) -> None:
        """Flush, copy the log back and release everything."""
        if self._readers.closed or self._forked:
            self._readers.closed = True
            return
        self._checkpointer.stop()
        if self._read_only:
            self._readers.close()
            return
        with self._turnstile:
            if self._readers.closed:
                return
            if self._checkpoints is not None:
                close_quietly(self._checkpoints)
            # The last connection of all processes copies the log back and removes it, under
            # SQLite's own exclusive lock. Not after a failure: what is in the log then is all
            # there is to find out the outcome from.
            last = self._borrow_writer()
            failure = None if self._poison else self._final_sync()
            sound = not self._poison
            if self.settings.exclusive:
                self._return_writer(last)
            else:
                self._readers.close()
            last.db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0 if sound else 1)
            with suppress(apsw.Error):
                last.close()
            self._readers.close()
            self._log.close()
        self._turnstile.close()
        if failure is not None:
            raise failure

    def _final_sync(self) -> StateError | None:
        try:
            self.flush()
        except StateError as error:
            return error
        return None

    # --- forks ------------------------------------------------------------------------------

    def fork_pause(self, timeout: float) -> bool:
        """Let no call run (before a fork)."""
        steps = (self._checkpointer, self._turnstile, self._readers)
        done: list[Checkpointer | Turnstile | ReaderPool] = []
        for step in steps:
            if not step.pause(timeout):
                for earlier in reversed(done):
                    earlier.resume()
                return False
            done.append(step)
        return True

    def fork_resume(self) -> None:
        """Let calls run again (in the parent)."""
        self._readers.resume()
        self._turnstile.resume()
        self._checkpointer.resume()

    def fork_child(self, *, quiet: bool) -> None:
        """Close what was inherited, so that the next call opens the child's own connections."""
        if self._readers.closed:
            return
        if not quiet or self.settings.exclusive:
            self._forked = True
            return
        for session in (self._writer, self._checkpoints):
            if session is not None:
                session.close()
        self._writer = self._checkpoints = None
        self._lease_lock = threading.Lock()
        self._readers.reborn()
        self._turnstile.reborn()
        self._log.reborn()
        self._checkpointer.reborn()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
