"""The sweep: removes expired keys in the background, as journaled commits.

Reads never depend on it: an expired key is absent from its moment on, swept or not. The thread
starts with the first key that expires and otherwise never exists.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from holdfast.engines.base import Durability
from holdfast.errors import StateError
from holdfast.store.intent import LOW, Intent
from holdfast.store.options import join_step

if TYPE_CHECKING:
    from holdfast.store.kernel import Kernel

_log = logging.getLogger("holdfast.expiry")
_PAGE = 500


class Sweeper:
    """Sweeps one store now and then."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._every = kernel.settings.sweep_every
        self.swept = 0
        self.last_error: str | None = None
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the parent's thread."""
        self._stop = threading.Event()
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Make sure that the background sweep runs; called when a key with an expiry is set."""
        if self._thread is not None or not self._every or self._kernel.settings.read_only:
            return
        with self._mutex:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(
                    target=self._serve, name="holdfast-sweeper", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End the background sweep."""
        with self._mutex:
            self._stop.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def sweep(self) -> int:
        """Remove all that has expired; return how many keys that were."""
        kernel = self._kernel
        total = kernel.ephemeral.sweep(kernel.clock.now_ns())
        for partition in kernel.partitions.all:
            while True:
                ops = kernel.expired(partition, _PAGE)
                if not ops:
                    break
                done = kernel.commit(join_step(Intent(ops, Durability.OS, LOW))).results.count(True)
                total += done
                if done == 0:  # all of it was renewed or removed by others meanwhile
                    break
        self.swept += total
        return total

    def _serve(self) -> None:
        clock = self._kernel.clock
        while not clock.wait(self._stop, self._every):
            try:
                self.sweep()
                self.last_error = None
            except StateError as error:
                # Nobody waits for this; health() shows it, and the next round tries again.
                self.last_error = error.code
                _log.warning("sweep failed: %s", error.code)
