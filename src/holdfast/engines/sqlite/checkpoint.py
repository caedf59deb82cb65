"""The background thread that copies the write-ahead log back and brings relaxed data to disk.

SQLite's automatic checkpoints run inside some writer's commit and make its p99; here they never
do. An idle store does not wake up: the thread sleeps on an event that commits set.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import apsw

from holdfast.clock import Clock
from holdfast.engines.base import Durability
from holdfast.engines.sqlite.session import Session
from holdfast.engines.sqlite.settings import SqliteSettings
from holdfast.engines.sqlite.turnstile import Turnstile
from holdfast.errors import StateError

_FAR = 8  #: times the bound: then writers wait for readers, and help
_UNLOOKED = 8  #: commits between two looks at the size of the log
_LONGEST_DELAY = 1.0  #: seconds between attempts that a reader keeps from finishing


class Checkpointer:
    """Decides when the log is copied back, flushed and truncated.

    Args:
        settings: Intervals and the bound of the log.
        clock: Waits.
        turnstile: Held for a truncating checkpoint, which excludes writers.
        lease: Lends a session for checkpoints.
        flush: Brings the log to disk.
        fail: Called with the error of a checkpoint that failed to write or sync.
    """

    def __init__(
        self,
        settings: SqliteSettings,
        clock: Clock,
        turnstile: Turnstile,
        lease: Callable[[], AbstractContextManager[Session]],
        flush: Callable[[], None],
        fail: Callable[[apsw.Error], None],
    ) -> None:
        self._settings, self._clock, self._turnstile = settings, clock, turnstile
        self._lease, self._flush, self._fail = lease, flush, fail
        self._log = str(settings.path) + "-wal"
        self.done = 0
        self.last_error = ""
        self._reset()

    def _reset(self) -> None:
        self._wake, self._halt = threading.Event(), threading.Event()
        self._working = threading.Lock()
        self._relaxed = False
        self._unlooked = 0
        self._help_after = 0.0
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def committed(self, durability: Durability) -> None:
        """Note a commit (called by the writer after each one)."""
        if durability <= Durability.RELAXED:
            self._relaxed = True
        if not self._wake.is_set():
            self._wake.set()
            if self._thread is None:
                self._start()
        self._unlooked += 1
        if self._unlooked >= _UNLOOKED:  # a look at each commit is as dear as half of its reads
            self._unlooked = 0
            if self.log_bytes() > _FAR * self._settings.wal_limit:
                self._help()

    def _help(self) -> None:
        """Truncate in the writer's thread: the disk takes pages more slowly than writers log them.

        While a reader stays in the log that is in vain, and tried once a second only.
        """
        now = time.monotonic()
        if now >= self._help_after:
            try:
                emptied = self.truncate()
            except (apsw.Error, StateError):
                emptied = False  # The thread meets it too, and deals with it.
            self._help_after = 0.0 if emptied else now + 1.0

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._halt.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="holdfast-sqlite-checkpoint", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        wake, halt, settings = self._wake, self._halt, self._settings
        usual = settings.checkpoint_every_ms / 1000
        delay = usual
        while True:
            wake.wait()
            soonest = min(delay, settings.flush_every_ms / 1000) if self._relaxed else delay
            if halt.is_set() or self._clock.wait(halt, soonest):
                return
            wake.clear()
            with self._working:
                if halt.is_set():
                    return
                complete = self._step()
            if not complete:
                wake.set()
            patient = not complete and self.log_bytes() <= settings.wal_limit
            delay = min(delay * 2, _LONGEST_DELAY) if patient else usual

    def _step(self) -> bool:
        """Do what is due; return whether nothing is left to do."""
        relaxed, self._relaxed = self._relaxed, False
        try:
            if self.log_bytes() > self._settings.wal_limit:
                complete = self.truncate()
            else:
                complete = self.passive()
            # A complete checkpoint has synced everything that was committed before it.
            if relaxed and not complete:
                self._flush()
        except apsw.Error as error:
            self.last_error = str(error)
            if not isinstance(error, apsw.FullError):
                self._fail(error)
                return True
            self._relaxed = self._relaxed or relaxed
            return False
        except StateError as error:
            # A flush that failed has poisoned the engine, which tells the next writer; a
            # session that cannot be had (the store closes) leaves the log for the next opening.
            self.last_error = str(error)
            return True
        self.last_error = ""
        return complete

    def passive(self) -> bool:
        """Copy back what can be without anybody waiting; return whether that was all."""
        with self._lease() as session:
            try:
                log, copied = session.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.BusyError:
                return False  # Another process is at it.
        self.done += 1
        return log == copied

    def truncate(self) -> bool:
        """Copy back everything and empty the log, writers waiting; return whether that worked."""
        # Writers wait with it for readers that are still in the log: briefly, unless it is far
        # too long.
        far = self.log_bytes() > _FAR * self._settings.wal_limit
        with self._turnstile, self._lease() as session:
            session.db.set_busy_timeout(500 if far else 20)
            try:
                session.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except apsw.BusyError:
                return False
        self.done += 1
        return True

    def log_bytes(self) -> int:
        """Return the size of the log file."""
        try:
            return os.stat(self._log).st_size
        except FileNotFoundError:
            return 0

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._halt.set()
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def pause(self, timeout: float) -> bool:
        """Wait until no checkpoint runs and let none start (before a fork)."""
        return self._working.acquire(timeout=timeout)

    def resume(self) -> None:
        """Undo `pause`."""
        self._working.release()

    def reborn(self) -> None:
        """Start afresh in a forked child, which has no thread yet."""
        self._reset()
