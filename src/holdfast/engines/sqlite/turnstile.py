"""Who writes next: threads first queue on two locks, then their process on two sidecar flocks.

A queue of two locks is fair where one is not: whoever waits for the second holds the first, so
the writer that has just finished cannot overtake it (take A, take B, release A).

The sidecars ``NAME-turn`` and ``NAME-lock`` are never removed: removing a lock file while
somebody opens it splits the queue in two. The kernel frees a flock when its holder dies. A
holder that is only stopped (SIGSTOP) keeps it; the others then get `BusyError` after the
timeout, with nothing written. SQLite's own locks still decide who may write; the queue only keeps
everybody from meeting them, so a sidecar that somebody deletes costs fairness and never data.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from types import TracebackType

from holdfast.errors import BusyError, ClosedError, InvalidArgumentError


class Turnstile:
    """Serialises writers and truncating checkpoints over threads and processes.

    Args:
        path: The store's file; the sidecars stand beside it.
        timeout: Seconds to wait before `BusyError`.
        shared: Whether other processes may write (else only threads queue).
    """

    def __init__(self, path: str, timeout: float, *, shared: bool) -> None:
        self._path, self._timeout, self._shared = path, timeout, shared
        self._turn, self._hold = threading.Lock(), threading.Lock()
        self._owner: int | None = None
        self._files: list[int] = []
        self._held = -1
        self._closed = False
        if shared:
            for suffix in ("-turn", "-lock"):
                self._files.append(self._open(suffix))

    def _open(self, suffix: str) -> int:
        return os.open(self._path + suffix, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner == me:
            raise InvalidArgumentError("a write's body must not write to the same store")
        if self._turn.acquire(blocking=False):
            deadline = 0.0  # Not needed yet: reading the clock only when there is a queue.
        else:
            deadline = time.monotonic() + self._timeout
            self._take(self._turn, deadline)
        try:
            if not self._hold.acquire(blocking=False):
                deadline = deadline or time.monotonic() + self._timeout
                self._take(self._hold, deadline)
        finally:
            self._turn.release()
        try:
            if self._closed:
                raise ClosedError(f"sqlite store {self._path} is closed")
            self._owner = me
            if self._shared:
                self._enter_files(deadline)
        except BaseException:
            self._owner = None
            self._hold.release()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        held, self._held = self._held, -1
        if held >= 0:
            _release(held, keep=held in self._files)
        self._owner = None
        self._hold.release()

    def _take(self, lock: threading.Lock, deadline: float) -> None:
        if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise self._busy("another thread's write")

    def _busy(self, whose: str) -> BusyError:
        return BusyError(
            f"{whose} has held {self._path} for {self._timeout:g} s; nothing was written",
            hint="look for a stopped process that has the store open, or raise busy_timeout_ms",
        )

    def _enter_files(self, deadline: float) -> None:
        turn = self._flock(0, deadline)
        try:
            self._held = self._flock(1, deadline)
        finally:
            _release(turn, keep=turn == self._files[0])

    def _flock(self, index: int, deadline: float) -> int:
        """Take a sidecar's lock; return the descriptor that holds it."""
        file = self._files[index]
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            pass
        # The wait must end, and flock has no timeout: a thread waits with a descriptor of its
        # own, which it closes if nobody is interested any more (so a lock won too late is let go).
        waiter = _Waiter(self._open("-turn" if index == 0 else "-lock"))
        deadline = deadline or time.monotonic() + self._timeout
        got = waiter.wait(max(0.0, deadline - time.monotonic()))
        if got is None:
            raise self._busy("another process's write")
        return got

    def pause(self, timeout: float) -> bool:
        """Keep every thread out (before a fork); return whether that worked within `timeout`."""
        if self._owner == threading.get_ident():
            return False
        if not self._turn.acquire(timeout=timeout):
            return False
        if not self._hold.acquire(timeout=timeout):
            self._turn.release()
            return False
        return True

    def resume(self) -> None:
        """Let threads in again (in the parent, after a fork that `pause` preceded)."""
        self._hold.release()
        self._turn.release()

    def reborn(self) -> None:
        """Start afresh in a forked child.

        The inherited descriptors share their locks with the parent: they are closed, never
        unlocked (unlocking would let go of the parent's).
        """
        self._turn, self._hold, self._owner = threading.Lock(), threading.Lock(), None
        if self._held >= 0 and self._held not in self._files:
            os.close(self._held)
        self._held = -1
        for file in self._files:
            os.close(file)
        self._files = [self._open("-turn"), self._open("-lock")] if self._shared else []

    def disown(self) -> None:
        """Forget the lock that the parent's writer holds, in a child forked inside a write.

        Unlocking the inherited descriptor would unlock the parent's.
        """
        self._held = -1
        files, self._files = self._files, []
        for file in files:
            os.close(file)

    def close(self) -> None:
        """Release the descriptors and turn away who still queues; the sidecar files stay."""
        # A holder that is stuck must not keep the store from closing; its descriptors stay open.
        free = self._hold.acquire(timeout=1.0)
        self._closed = True
        if free:
            for file in self._files:
                os.close(file)
            self._files = []
            self._hold.release()


def _release(file: int, *, keep: bool) -> None:
    # Unlocked explicitly, as a child forked meanwhile may hold a copy of the descriptor.
    fcntl.flock(file, fcntl.LOCK_UN)
    if not keep:
        os.close(file)


class _Waiter:
    """A thread that waits for a flock on behalf of one that must not wait for ever."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._got = self._abandoned = False
        self._error: OSError | None = None
        threading.Thread(target=self._run, name="holdfast-sqlite-queue", daemon=True).start()

    def _run(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as error:
            self._error = error
        with self._lock:
            if self._abandoned or self._error is not None:
                os.close(self._file)
            else:
                self._got = True
        self._done.set()

    def wait(self, seconds: float) -> int | None:
        """Return the descriptor that holds the lock, or None after `seconds`."""
        try:
            self._done.wait(seconds)
        except BaseException:
            with self._lock:
                self._abandoned = True
                if self._got:
                    os.close(self._file)
            raise
        with self._lock:
            self._abandoned = not self._got
        if self._error is not None:
            raise self._error
        return self._file if self._got else None
