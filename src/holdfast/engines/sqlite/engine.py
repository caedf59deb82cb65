"""The SQLite engine: the contract of `holdfast.engines.base` over one file in WAL mode.

Readers have connections of their own and never wait. One connection writes, behind the
turnstile. What may go wrong is sorted here: before COMMIT an error is definite, in COMMIT or a
flush the outcome is unknown and the handle refuses further writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import apsw

from holdfast.clock import Clock, SystemClock
from holdfast.engines.base import Batch, Body, Durability, EngineTraits, View
from holdfast.engines.sqlite import fork, layout
from holdfast.engines.sqlite.checkpoint import Checkpointer
from holdfast.engines.sqlite.connections import Connections
from holdfast.engines.sqlite.failure import translate
from holdfast.engines.sqlite.log import LogFile
from holdfast.engines.sqlite.opening import Opening
from holdfast.engines.sqlite.session import Session
from holdfast.engines.sqlite.settings import SqliteSettings
from holdfast.engines.sqlite.upkeep import (
    VACUUM_STEP,
    disk_bytes,
    facts,
    identity_of,
    vacuum,
)
from holdfast.errors import (
    BusyError,
    CorruptionError,
    DiskFullError,
    OutcomeUnknownError,
    PoisonedError,
    ReadOnlyError,
    StateError,
)


class SqliteEngine:
    """One open store. Make it with `holdfast.engines.sqlite.open_engine`."""

    traits: EngineTraits

    def __init__(
        self, settings: SqliteSettings, *, read_only: bool = False, clock: Clock | None = None
    ) -> None:
        # SQLite names the log after the real file. All paths here must mean that file, also
        # after a change of directory.
        settings = replace(settings, path=Path(os.path.realpath(settings.path)))
        self.settings = settings
        self.traits = EngineTraits(
            name="sqlite",
            persistent=True,
            shared=not settings.exclusive,
            compress=settings.use_compression,
        )
        self._path = str(settings.path)
        self._read_only = read_only
        self._clock = clock or SystemClock()
        self._poison = ""
        opening = Opening(settings, read_only=read_only)
        self._page_size = opening.page_size
        self._identity = identity_of(self._path)
        self._turnstile = opening.turnstile
        self._log = LogFile(self._path)
        self._connections = Connections(settings, opening)
        self._readers = self._connections.readers
        self._idle = self._readers.idle
        self._checkpointer = Checkpointer(
            settings,
            clock or SystemClock(),
            self._turnstile,
            self._lease,
            self.flush,
            self._fail,
        )
        try:
            with self._connections.reader() as session:
                session.verify_identity(writable=not read_only)
            self._require_whole_pages(read_only=read_only)
        except BaseException:
            self._connections.close(keep_log=True)
            self._turnstile.close()
            raise
        # Held here, as forks know it only weakly.
        self._forkable = fork.Forkable(
            self._checkpointer, self._turnstile, self._connections, self._log
        )
        fork.watch(self._forkable)

    def _require_whole_pages(self, *, read_only: bool) -> None:
        """Let no file that ends inside a page be read: SQLite takes zeros for the missing rest.

        A power cut during a checkpoint leaves such a file, and the page in the log: copying the log
        back makes it whole. Where the file was cut, that fills it up, and the page fails its
        checksum whenever it is read.
        """
        if not layout.ends_inside_page(self._path, self._page_size):
            return
        if not read_only:
            try:
                with self._turnstile, self._connections.checkpointing() as session:
                    session.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.Error as error:
                raise translate(error, self._path) from error
            if not layout.ends_inside_page(self._path, self._page_size):
                return
        raise CorruptionError(
            f"{self._path} ends inside a page",
            where="the end of the file",
            hint="open it for writing once, which ends an interrupted checkpoint"
            if read_only
            else "it was cut: restore it from a backup",
        )

    # --- reading ----------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the committed value of `key`, or None."""
        try:
            session = self._readers.quick()
        except IndexError:
            with self._connections.reader() as session:
                return session.get(key)
        try:
            return session.get(key)
        except StateError as error:
            raise self._connections.explain(error) from error.__cause__
        finally:
            self._idle.append(session)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the committed values of `keys` in one consistent read."""
        if len(keys) == 1:
            return [self.get(keys[0])]
        with self.read() as view:
            return view.get_many(keys)

    def read(self) -> AbstractContextManager[View]:
        """Open a consistent view, as of now."""
        return self._connections.view()

    # --- writing ----------------------------------------------------------------------------

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Run `body` on the state before and commit its batch; see the contract."""
        self._check_writable()
        sync = durability >= Durability.SYNC
        with self._turnstile:
            self._check_writable()
            self._check_in_place()
            session = self._connections.borrow_writer()
            try:
                session.begin_write(sync=sync)
                batch = body(session)
                self._connections.check()  # The body may have forked.
                written = bool(batch.puts or batch.deletes or batch.delete_ranges)
                if written:
                    self._apply(session, batch)
                    self._commit(session)
            finally:
                self._end(session)
            if not written and sync:
                self.flush()
        if written:
            self._checkpointer.committed(durability)

    @contextmanager
    def _writing(self, *, sync: bool) -> Iterator[Session]:
        """Open a write transaction, undone at the end unless it was committed.

        The turnstile is held.
        """
        session = self._connections.borrow_writer()
        try:
            session.begin_write(sync=sync)
            yield session
        finally:
            self._end(session)

    def _end(self, session: Session) -> None:
        """End the write transaction, undone unless it was committed."""
        if not self._connections.forked:
            try:
                session.end()
            except apsw.Error as error:
                self._poison = self._poison or f"a rollback failed: {error}"
            self._connections.return_writer(session)

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
            self._poison = self._poison or f"a commit failed: {error}"
            raise OutcomeUnknownError(
                f"sqlite store {self._path}: the commit failed ({error})"
            ) from error

    def flush(self) -> None:
        """Bring everything acknowledged so far to disk."""
        self._connections.check()
        if self._read_only:
            return
        self._check_writable()
        try:
            try:
                self._log.sync()
            except FileNotFoundError:
                # A forked child, whose parent was the last to close: opening makes a new log,
                # and what the old one held was synced on the way.
                self._check_in_place()
                with self._connections.reader() as session:
                    session.begin_read()
                self._log.sync()
        except OSError as error:
            self._poison = self._poison or f"a flush failed: {error.strerror}"
            raise OutcomeUnknownError(
                f"sqlite store {self._path}: the flush failed ({error.strerror})"
            ) from error

    def _fail(self, error: apsw.Error) -> None:
        self._poison = self._poison or f"a checkpoint failed: {error}"

    def _check_writable(self) -> None:
        self._connections.check()
        if self._read_only:
            raise ReadOnlyError(f"sqlite store {self._path} is open for reading")
        if self._poison:
            raise PoisonedError(f"sqlite store {self._path}: {self._poison}")

    def _check_in_place(self) -> None:
        """Refuse to write to a file that has no name any more, or another one."""
        if identity_of(self._path) != self._identity:
            self._poison = self._poison or "the file was moved, removed or replaced while open"
            self._check_writable()

    @contextmanager
    def _lease(self) -> Iterator[Session]:
        """Lend the session that checkpoints; never after a failure (see `close`)."""
        self._check_writable()
        with self._connections.checkpointing() as session:
            yield session

    # --- upkeep -----------------------------------------------------------------------------

    def reclaim(self, budget: int | None = None) -> int:
        """Give free pages and the log's space back to the disk; return the bytes given back."""
        self._check_writable()
        before = disk_bytes(self._path)
        pages = 1 << 62 if budget is None else max(1, budget // self._page_size)
        while pages > 0:
            step = min(VACUUM_STEP, pages)
            with self._turnstile:
                self._check_writable()
                with self._writing(sync=False) as session:
                    if not vacuum(session, step):
                        break
                    self._commit(session)
            pages -= step
        try:
            self._checkpointer.truncate()
        except apsw.Error as error:
            raise translate(error, self._path) from error
        return max(0, before - disk_bytes(self._path))

    def stats(self) -> Mapping[str, int | float | str]:
        """Return sizes, counts and versions."""
        self._connections.check()
        with self._connections.reader() as session:
            session.begin_read()
            known = facts(session, self)
        return {
            **known,
            "connections": len(self._connections),
            "checkpoints": self._checkpointer.done,
            "checkpoint_error": self._checkpointer.last_error,
            "poisoned": self._poison,
        }

    def close(self) -> None:
        """Flush, copy the log back and release everything."""
        if self._connections.closed or self._connections.forked:
            self._readers.closed = True
            return
        self._checkpointer.stop()
        failure: StateError | None = None
        try:
            with self._turnstile:
                if self._connections.closed:
                    return
                if not (self._read_only or self._poison):
                    try:
                        self.flush()
                    except StateError as error:
                        failure = error
                # After a failure the log is all there is to find out the outcome from.
                self._connections.close(keep_log=self._read_only or bool(self._poison))
        except BusyError:
            # Somebody holds the queue for good. What is acknowledged is in the log.
            self._connections.close(keep_log=True)
        self._log.close()
        self._turnstile.close()
        if failure is not None:
            raise failure
