"""The thread that tells the store how its hooks stand. It begins with the first failure."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.engines.base import Batch, Durability, View
from holdfast.errors import StateError
from holdfast.hooks import standing
from holdfast.hooks.standing import HookStanding
from holdfast.keys import after
from holdfast.store import layout

if TYPE_CHECKING:
    from holdfast.hooks.hook import Hook
    from holdfast.store.kernel import Kernel

_log = logging.getLogger("holdfast.hooks")
#: Seconds between two rows: whoever fails all the time writes no more often than that.
EVERY: Final = 1.0
#: What a dead process said last is kept for so long.
_KEPT_NS: Final = 7 * 86400 * 10**9
_REFRESH: Final = standing.REFRESH_NS / 1e9


class Reporter:
    """Tells of the hooks of one open store.

    Args:
        kernel, tenant: The store's.
        hooks: Returns them.
    """

    def __init__(self, kernel: Kernel, tenant: str, hooks: Callable[[], Sequence[Hook]]) -> None:
        self._kernel, self._tenant, self._hooks = kernel, tenant, hooks
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew: the row that there may be is the parent's."""
        self._mutex = threading.Lock()
        self._changed, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._key = layout.HOOKS + os.urandom(16)

    def note(self) -> None:
        """Have a change told: a failure, or what became of the breaker. Never waits."""
        self._changed.set()
        if self._thread is None:
            with self._mutex:
                if self._thread is None and not self._stop.is_set():
                    thread = threading.Thread(
                        target=self._serve, name="holdfast-hooks-reporter", daemon=True
                    )
                    with suppress(RuntimeError):  # no thread is to be had: nobody is told
                        thread.start()
                        self._thread = thread

    def close(self, timeout: float | None) -> None:
        """End, and take the row back."""
        with self._mutex:
            self._stop.set()
            thread = self._thread
        self._changed.set()
        if thread is not None:
            thread.join(timeout)
            self._write(Batch(deletes=[self._key]))

    def standings(self) -> list[HookStanding]:
        """Return what the processes tell of their hooks of this tenant."""
        found: list[HookStanding] = []
        with self._kernel.engine.read() as view:
            now_ns = self._kernel.clock.now_ns()
            for _, raw in view.scan(layout.HOOKS, after(layout.HOOKS)):
                row = standing.parse(raw)
                if row is not None and row.tenant == self._tenant:
                    found += standing.standings(row, now_ns)
        return sorted(found, key=lambda each: (each.name, each.host, each.pid))

    def _serve(self) -> None:
        clock = self._kernel.clock
        while not self._stop.is_set():
            self._changed.clear()
            self._tell()
            if clock.wait(self._stop, EVERY):
                return
            clock.wait(self._changed, _REFRESH)

    def _tell(self) -> None:
        now_ns = self._kernel.clock.now_ns()
        row = standing.pack(self._tenant, self._hooks(), now_ns)
        self._write(Batch(puts=[(self._key, row)]), now_ns)

    def _write(self, batch: Batch, now_ns: int | None = None) -> None:
        kernel = self._kernel

        def body(view: View) -> Batch:
            if now_ns is not None:
                batch.deletes = self._dead(view, now_ns)
            return batch

        try:
            kernel.admit_direct()
            kernel.engine.write(Durability.OS, body)
        except StateError as error:  # it is tried again with the next change
            _log.warning("telling the store of its hooks failed: %s", error.code)

    def _dead(self, view: View, now_ns: int) -> list[bytes]:
        """Return the rows of those who died long ago: what they say has been seen, or never is."""
        found = []
        for key, raw in view.scan(layout.HOOKS, after(layout.HOOKS)):
            row = standing.parse(raw)
            if row is not None and key != self._key and row.told_ns < now_ns - _KEPT_NS:
                if not standing.lives(row, now_ns):
                    found.append(key)
        return found
