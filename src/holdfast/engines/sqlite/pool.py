"""The connections that read, handed from thread to thread through one deque.

`deque.pop` and `deque.append` are atomic, so taking and giving back costs no lock. It knows
neither writers nor transactions.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import apsw

from holdfast.engines.sqlite.session import Session
from holdfast.errors import BusyError, ClosedError

WAIT = 30.0  #: seconds that an exclusive store's callers queue for its one connection


class ReaderPool:
    """Idle sessions, and a way to make more.

    With `most` (one, where the file is open exclusively) further callers wait for a session.

    Attributes:
        idle: The sessions nobody uses. The engine's hot path appends to it directly.
        quick: Pops an idle session, or raises IndexError where `take` must be asked.
        closed: Set once, by `close`.
    """

    def __init__(
        self,
        make: Callable[[], Session],
        *,
        keep: int,
        path: str,
        most: int | None = None,
        quick: bool = True,
    ) -> None:
        self.idle: deque[Session] = deque()
        self._may_quick = quick
        self._open_gate()
        self.closed = False
        self._make, self._keep, self._path, self._most = make, keep, path, most
        self._all: set[Session] = set()
        self._grow = threading.Lock()

    def _open_gate(self) -> None:
        self._pop: Callable[[], Session] = self.idle.pop
        self.quick = self._pop if self._may_quick else _nothing

    def take(self) -> Session:
        """Return a session for the caller's sole use.

        Raises:
            ClosedError: The pool is closed.
        """
        try:
            return self._pop()
        except IndexError:
            return self._more()

    def _more(self) -> Session:
        if self._most is not None and len(self._all) >= self._most:
            return self._wait()
        with self._grow:
            # Held while opening: `pause` relies on it, and a fork would lose a half-open one.
            if self.closed:
                raise ClosedError(f"sqlite store {self._path} is closed")
            with suppress(IndexError):
                return self._pop()
            session = self._make()
            self._all.add(session)
            return session

    def _wait(self) -> Session:
        deadline = time.monotonic() + WAIT
        pause = threading.Event()
        while not self.closed:
            try:
                return self._pop()
            except IndexError:
                if time.monotonic() > deadline:
                    raise BusyError(
                        f"no connection to {self._path} became free in {WAIT:g} s",
                        hint="with exclusive=true, a write's body must read through its view",
                    ) from None
                pause.wait(0.0002)
        raise ClosedError(f"sqlite store {self._path} is closed")

    def give(self, session: Session) -> None:
        """Take `session` back."""
        self.idle.append(session)
        if len(self.idle) > self._keep and not self.closed:
            with suppress(IndexError):
                self._drop(self._pop())

    def drop(self, session: Session) -> None:
        """Close a session that may be in a bad state instead of taking it back."""
        with suppress(apsw.Error):
            self._drop(session)

    def _drop(self, session: Session) -> None:
        with self._grow:
            self._all.discard(session)
        session.close()

    def __len__(self) -> int:
        return len(self._all)

    def close(self, patience: float = 5.0) -> None:
        """Close every session; calls still running are interrupted and raise `ClosedError`."""
        with self._grow:
            self.closed = True
            left = set(self._all)
        self.idle.clear()
        deadline = time.monotonic() + patience
        pause = threading.Event()
        while left:
            for session in tuple(left):
                try:
                    session.db.interrupt()
                    session.close()
                except apsw.ConnectionClosedError:
                    pass
                except apsw.Error:
                    continue  # In a call of another thread; it ends soon, being interrupted.
                left.discard(session)
            if not left or time.monotonic() > deadline:
                break
            pause.wait(0.001)
        self._all = left

    def pause(self, timeout: float) -> bool:
        """Wait until every session is idle and keep it so (before a fork)."""
        if not self._grow.acquire(timeout=timeout):
            return False
        # A gate, as busy readers would otherwise never leave a session idle for long.
        self._pop = self.quick = _nothing
        deadline = time.monotonic() + timeout
        pause = threading.Event()
        while len(self.idle) < len(self._all):
            if time.monotonic() > deadline:
                self.resume()
                return False
            pause.wait(0.0005)
        return True

    def resume(self) -> None:
        """Undo `pause`."""
        self._open_gate()
        self._grow.release()

    def reborn(self) -> None:
        """Start afresh in a forked child, closing what was inherited (all of it is idle)."""
        for session in self._all:
            session.close()
        self._all = set()
        self.idle.clear()
        self._grow = threading.Lock()
        self._open_gate()


def _nothing() -> Session:
    raise IndexError
