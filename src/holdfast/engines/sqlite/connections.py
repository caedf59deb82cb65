"""All connections of one open store: many that read, one that writes, one that checkpoints.

It decides who gets which, what a fork does to them and how they are closed, and knows nothing
of batches, durability or poison.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

import apsw

from holdfast.engines.sqlite.failure import translate
from holdfast.engines.sqlite.opening import Opening
from holdfast.engines.sqlite.pool import ReaderPool
from holdfast.engines.sqlite.session import Session
from holdfast.engines.sqlite.settings import SqliteSettings
from holdfast.errors import (
    ClosedError,
    CorruptionError,
    EngineError,
    ForkedError,
    ReadOnlyError,
    StateError,
)


class Connections:
    """The sessions of a store. With ``exclusive`` there is one, for every purpose.

    Attributes:
        readers: The pool.
        exclusive: There is one session, and no other process.
        forked: The process was forked while one of them was in use; none may be touched.
    """

    def __init__(self, settings: SqliteSettings, opening: Opening) -> None:
        self._opening, self._path = opening, str(settings.path)
        self.exclusive = settings.exclusive
        self._writer: Session | None = None
        self._checkpoints: Session | None = None
        self._lease = threading.Lock()
        self.forked = False
        self.readers = ReaderPool(
            opening.session,
            keep=settings.max_readers,
            path=self._path,
            most=1 if settings.exclusive else None,
            quick=not opening.immutable,
        )

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.readers.closed

    def __len__(self) -> int:
        extra = (self._writer is not None) + (self._checkpoints is not None)
        return len(self.readers) + extra

    def check(self) -> None:
        """Refuse use after a close or a fork.

        Raises:
            ClosedError: The store is closed.
            ForkedError: This process was forked while the store was in use.
        """
        if self.forked:
            raise ForkedError(f"sqlite store {self._path} was in use when this process was forked")
        if self.readers.closed:
            raise ClosedError(f"sqlite store {self._path} is closed")

    def reader(self) -> Reading:
        """Lend a session that reads; whatever transaction it is left in ends after it."""
        return Reading(self, view=False)

    def view(self) -> Reading:
        """Lend a session inside a read transaction: a consistent view, as of now."""
        return Reading(self, view=True)

    def take(self) -> Session:
        """Return a session for the caller's sole use.

        Raises:
            ClosedError: The store is closed.
            ForkedError: This process was forked while the store was in use.
            CorruptionError: A file read as one that cannot change has changed.
        """
        if self.forked or self.readers.closed:
            self.check()
        if self._opening.immutable and self._opening.changed():
            raise CorruptionError(
                f"{self._path} changed while it was open as a file that cannot change",
                hint="open it again",
            )
        return self.readers.take()

    def give(self, session: Session) -> None:
        """Take back what `take` returned, ending its transaction."""
        if self.forked:
            return
        try:
            session.end()
            self.readers.give(session)
        except apsw.Error:
            self.readers.drop(session)

    def explain(self, error: StateError) -> StateError:
        """Return `error`, or the fact that the store was closed if that is the reason for it."""
        cause = error.__cause__
        if self.readers.closed and isinstance(cause, apsw.Error):
            return translate(cause, self._path, closed=True)
        return error

    def borrow_writer(self) -> Session:
        """Return the session that writes. The turnstile is held.

        Raises:
            ReadOnlyError: SQLite could open the file for reading only, which it does by itself if
                opening for writing fails; the next write tries again.
        """
        if self.exclusive:
            return self.readers.take()
        if self._writer is None:
            session = self._opening.session()
            if session.db.readonly("main"):
                session.close()
                raise ReadOnlyError(
                    f"sqlite store {self._path} could not be opened for writing",
                    hint="check that the file can be written and that its disk is sound; try again",
                )
            self._writer = session
        return self._writer

    def return_writer(self, session: Session) -> None:
        """Take the writing session back."""
        if self.exclusive:
            self.readers.give(session)

    @contextmanager
    def checkpointing(self) -> Iterator[Session]:
        """Lend the session that checkpoints."""
        if self.exclusive:
            with self.reader() as session:
                yield session
            return
        with self._lease:
            self.check()
            if self._checkpoints is None:
                self._checkpoints = self._opening.session(cache=0, timeout_ms=20)
            yield self._checkpoints

    def close(self, *, keep_log: bool) -> None:
        """Close every session, the writer's last.

        The last connection of all processes copies the log back and removes it, under SQLite's
        own exclusive lock; with `keep_log`, or where no session can be had for it, it does not.
        """
        last = None
        if not keep_log:
            with suppress(EngineError, ReadOnlyError):
                last = self.borrow_writer()
        if self._checkpoints is not None:
            with suppress(apsw.Error):
                self._checkpoints.close()
        if self.exclusive:
            self.readers.closed = True
        else:
            self.readers.close()
        with suppress(apsw.Error):
            if last is not None:
                last.db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
                last.close()
            elif self._writer is not None:
                self._writer.close()
        self.readers.close()

    def reborn(self) -> None:
        """Start afresh in a forked child; no session was in use."""
        for session in (self._writer, self._checkpoints):
            if session is not None:
                session.close()
        self._writer = self._checkpoints = None
        self._lease = threading.Lock()
        self.readers.reborn()

    def disown(self) -> None:
        """Never touch a session again, in a child forked while one was in use."""
        self.forked = True
        self.readers.idle.clear()


class Reading:
    """The loan of one session (a class, as generators cost microseconds on this path)."""

    __slots__ = ("_connections", "_session", "_view")

    _session: Session

    def __init__(self, connections: Connections, *, view: bool) -> None:
        self._connections, self._view = connections, view

    def __enter__(self) -> Session:
        connections = self._connections
        session = self._session = connections.take()
        if self._view:
            try:
                session.begin_read()
            except BaseException as error:
                connections.give(session)
                if isinstance(error, StateError):
                    raise connections.explain(error) from error.__cause__
                raise
        return session

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connections.give(self._session)
        if isinstance(error, StateError) and self._connections.closed:
            raise self._connections.explain(error) from error.__cause__
