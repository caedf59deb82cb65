"""The background flush of RELAXED writes. It sleeps where there are none, and knows no RocksDB."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from holdfast.clock import Clock


class Flusher:
    """Calls `flush` within `interval` seconds after `ask`.

    Args:
        flush: Weak, so that a handle that nobody closed can be freed.
        interval: Seconds.
        clock: Waits.
    """

    def __init__(
        self, flush: weakref.WeakMethod[Callable[[], None]], interval: float, clock: Clock
    ) -> None:
        self._flush = flush
        self._interval = interval
        self._clock = clock
        self._asked = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def ask(self) -> None:
        """See to it that what is written now is on disk within the interval."""
        self._asked.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="holdfast-rocksdb-flush", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._starting:
            self._stopped.set()
        self._asked.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            if self._stopped.is_set() or self._clock.wait(self._stopped, self._interval):
                return
            self._asked.clear()
            flush = self._flush()
            if flush is None:
                return
            try:
                flush()
            except Exception:  # noqa: BLE001 - the handle is poisoned or closed: writers are told
                return
            del flush
