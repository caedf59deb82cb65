"""One registered hook: its function, what it is for, its figures, its breaker."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from holdfast.clock import Clock
from holdfast.hooks import breaker as breaking
from holdfast.hooks.breaker import BreakerState, HookBreaker
from holdfast.hooks.metrics import BUCKETS, HookMetrics, percentile
from holdfast.hooks.options import Wanted
from holdfast.hooks.settings import HookSettings

if TYPE_CHECKING:
    from collections.abc import Iterable


_MAX_KIND: Final = 100


class Hook:
    """A registered hook. Made by `Hooks.before` and `Hooks.after`; calling it calls its function.

    Attributes:
        name: Its name, unique among the store's hooks.
        phase: ``"before"`` or ``"after"``.
        mode: ``"queued"`` or ``"inline"``; of a before-hook ``"before"``.
        selection: What it hears of.
        priority: Higher ones run first; equal ones in the order of registration.
        timeout: Seconds that a call may take, or None.
        on_error: Of a before-hook: ``"refuse"`` or ``"allow"`` the write where it fails.
        batch: It takes lists of events.
        sees_sensitive: It was granted sensitive values.
        is_async: Its function is a coroutine function.
        paused: It is not called.
        last_error: What kind of error came last; empty for none.
        failed_ns: When that was.
    """

    def __init__(
        self,
        fn: Callable[[Any], Any],
        name: str,
        asked: Wanted,
        clock: Clock,
        settings: HookSettings,
        remove: Callable[[Hook], None],
        note: Callable[[], object] = lambda: None,
    ) -> None:
        self.fn, self.name = fn, name
        self.phase, self.mode, self.batch = asked.phase, asked.mode, asked.batch
        self.selection, self.priority = asked.selection, asked.priority
        self.timeout, self.on_error = asked.timeout, asked.on_error
        self.sees_sensitive = asked.sees_sensitive
        self.is_async = is_async(fn)
        self.paused = False
        self.last_error, self.failed_ns = "", 0
        self.settings = settings
        self._clock, self._remove, self._note = clock, remove, note
        self._breaker = breaking.CLOSED
        self.after_fork()
        # Plain attributes, because the hot path counts in them.
        self.calls = self.failures = self.timeouts = self.vetoes = self.skipped = self.ns = 0
        self.buckets = [0] * BUCKETS
        self.direct = self._is_direct()

    def __call__(self, event: Any) -> Any:
        """Call its function, for whoever uses it elsewhere; nothing is counted."""
        return self.fn(event)

    def __repr__(self) -> str:
        return f"<Hook {self.name} {self.mode} {self.selection.scope.text}/{self.selection.key}>"

    def remove(self) -> None:
        """Call it no more. What is queued for it still runs. Twice is no error."""
        self._remove(self)

    def pause(self) -> None:
        """Leave it out until `resume`."""
        with self._mutex:
            self.paused = True
            self.direct = False
        if self.failures:
            self._note()

    def resume(self) -> None:
        """Call it again, with its breaker closed."""
        with self._mutex:
            self.paused = False
            self._breaker = breaking.CLOSED
            self.direct = self._is_direct()
        if self.failures:
            self._note()

    @property
    def breaker(self) -> HookBreaker:
        """Its circuit breaker at this moment."""
        return self._breaker

    @property
    def metrics(self) -> HookMetrics:
        """Its figures at this moment."""
        buckets = list(self.buckets)
        return HookMetrics(
            self.calls,
            self.failures,
            self.timeouts,
            self.vetoes,
            self.skipped,
            self.ns / 1e9,
            percentile(buckets, 0.5),
            percentile(buckets, 0.95),
            percentile(buckets, 0.99),
        )

    # --- for whoever calls it -------------------------------------------------------------

    def after_fork(self) -> None:
        """Make the lock anew."""
        self._mutex = threading.Lock()

    def admits(self) -> bool:
        """Say whether the breaker lets a call through; counts the one that it does not."""
        if self._breaker.state is BreakerState.CLOSED:
            return True
        reset_ns = int(self.settings.reset_after * 1e9)
        with self._mutex:
            self._breaker, admitted = breaking.asked(self._breaker, self._clock.now_ns(), reset_ns)
            if not admitted:
                self.skipped += 1
        return admitted

    def spent(self, ns: int) -> None:
        """Count a call."""
        self.calls += 1
        self.ns += ns
        self.buckets[ns.bit_length()] += 1

    def went_well(self) -> None:
        """Note a success where there were failures, or a trial."""
        with self._mutex:
            self._breaker = breaking.succeeded(self._breaker, self._clock.now_ns())
            self.direct = self._is_direct()
        self._note()

    def went_wrong(self, kind: str, *, timeout: bool = False) -> None:
        """Count a failure of a kind."""
        now_ns = self._clock.now_ns()
        with self._mutex:
            self.last_error, self.failed_ns = kind[:_MAX_KIND], now_ns
            self.failures += 1
            self.timeouts += timeout
            self._breaker = breaking.failed(self._breaker, now_ns, self.settings.failure_threshold)
            self.direct = False  # until it goes well
        self._note()

    def _is_direct(self) -> bool:
        """Say whether a call is nothing more than calling the function."""
        closed = self._breaker == breaking.CLOSED or (
            self._breaker.state is BreakerState.CLOSED and not self._breaker.failures
        )
        return closed and not self.paused and not self.is_async and self.timeout is None


def is_async(fn: Callable[..., Any]) -> bool:
    """Say whether calling `fn` makes a coroutine."""
    while isinstance(fn, partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
        getattr(fn, "__call__", None)  # noqa: B004 - an object's method, perhaps a coroutine's
    )


def name_of(fn: Callable[..., Any]) -> str:
    """Return the name that a function gives a hook."""
    while isinstance(fn, partial):
        fn = fn.func
    name = getattr(fn, "__name__", None) or type(fn).__name__
    return "hook" if name == "<lambda>" else str(name)


def unused_name(name: str, taken: Iterable[str]) -> str:
    """Return `name`, or with a number behind it where it is taken."""
    names, number, free = set(taken), 1, name
    while free in names:
        number += 1
        free = f"{name}-{number}"
    return free
