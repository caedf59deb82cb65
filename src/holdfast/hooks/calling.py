"""Calling hooks: counted, timed, in the correlation context of the commit, never too deep.

After-hooks cannot fail anybody. Before-hooks refuse what they veto, and what they fail at.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final, NoReturn

from holdfast.correlation import CorrelationContext, enter, leave
from holdfast.errors import HookFailedError, HookRecursionError, VetoError
from holdfast.hooks.event import HookEvent, Refused
from holdfast.hooks.hook import Hook
from holdfast.hooks.running import Runner, TookTooLongError, class_of
from holdfast.store.value import StateClass

if TYPE_CHECKING:
    from holdfast.store.feed import Commit
    from holdfast.store.intent import Intent

_log = logging.getLogger("holdfast.hooks")
_SENSITIVE: Final = int(StateClass.SENSITIVE)

#: How many hooks deep code runs: 0 outside of any.
DEPTH: Final[ContextVar[int]] = ContextVar("holdfast_hook_depth", default=0)


class Noted:
    """What a commit that hooks hear of carries with it.

    Attributes:
        depth: How many hooks deep it was made.
        commit: What the feed told of it, once it has happened.
    """

    __slots__ = ("commit", "depth")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.commit: Commit | None = None


def depth_within(most: int) -> int:
    """Return how many hooks deep code runs.

    Raises:
        HookRecursionError: Deeper than `most`.
    """
    depth = DEPTH.get()
    if depth >= most:
        raise HookRecursionError(f"hooks set off hooks {depth} deep; the limit is max_depth={most}")
    return depth


def context_of(intent: Intent) -> CorrelationContext | None:
    """Return the context that a commit belongs to."""
    if intent.context is None and intent.correlation is not None:
        return CorrelationContext.new(intent.correlation)
    return intent.context


@contextmanager
def inside(context: CorrelationContext | None, depth: int) -> Iterator[None]:
    """Run a block as hooks run: in the commit's context, one deeper than it was made."""
    deeper, around = DEPTH.set(depth + 1), enter(context)
    try:
        yield
    finally:
        leave(around)
        DEPTH.reset(deeper)


class NotAwaitedError(Exception):
    """A plain function returned a coroutine, which so has never run."""


class AfterCalls:
    """Calls after-hooks.

    Args:
        runner: Runs them.
        isolates: What of theirs goes no further. In a caller's own thread or task, `Exception`.
    """

    def __init__(self, runner: Runner, isolates: type[BaseException] = Exception) -> None:
        self._runner, self._isolates = runner, isolates

    def run(self, hooks: Sequence[Hook], event: HookEvent) -> None:
        """Call the hooks of one event in turn, in this thread."""
        step = event._step
        plain = step.state_class != _SENSITIVE and step.stored_class != _SENSITIVE
        last = perf_counter_ns()
        for hook in hooks:
            if hook.direct and plain:
                event.hook = hook.name
                try:
                    answer = hook.fn(event)
                    if answer is not None:
                        _refuse_unawaited(answer)
                except self._isolates as error:  # counted, logged, shown
                    self._failed(hook, error)
                now = perf_counter_ns()
                spent = now - last
                hook.calls += 1
                hook.ns += spent
                hook.buckets[spent.bit_length()] += 1
                last = now
            else:
                self._call(hook, event.for_hook(hook.name, hidden=not hook.sees_sensitive))
                last = perf_counter_ns()

    def run_batch(self, hook: Hook, events: Sequence[HookEvent]) -> None:
        """Call a hook that takes several events at once."""
        hidden = not hook.sees_sensitive
        self._call(hook, [event.for_hook(hook.name, hidden=hidden) for event in events])

    async def run_async(self, hooks: Sequence[Hook], event: HookEvent) -> None:
        """Call the hooks of one event in turn, in this task."""
        for hook in hooks:
            if hook.paused or not hook.admits():
                continue
            own = event.for_hook(hook.name, hidden=not hook.sees_sensitive)
            begun = perf_counter_ns()
            try:
                _refuse_unawaited(await self._runner.run_async(hook.fn, own, hook.timeout))
            except Exception as error:  # noqa: BLE001 - isolated: counted, logged, shown
                self._failed(hook, error)
            else:
                _fine(hook)
            hook.spent(perf_counter_ns() - begun)

    def _call(self, hook: Hook, event: HookEvent | Sequence[HookEvent]) -> None:
        if hook.paused or not hook.admits():
            return
        begun = perf_counter_ns()
        try:
            _refuse_unawaited(self._runner.run(hook.fn, event, hook.timeout))
        except self._isolates as error:  # counted, logged, shown
            self._failed(hook, error)
        else:
            _fine(hook)
        hook.spent(perf_counter_ns() - begun)

    def _failed(self, hook: Hook, error: BaseException) -> None:
        hook.went_wrong(class_of(error), timeout=isinstance(error, TookTooLongError))
        _log.error("after-hook %s failed: %s", hook.name, class_of(error))


class BeforeCalls:
    """Calls before-hooks."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def ask(self, hook: Hook, event: HookEvent) -> None:
        """Call a hook in this thread.

        Raises:
            VetoError: It refuses the write.
            HookFailedError: It failed, and the write is refused for that.
        """
        if not self._may(hook, event):
            return
        begun = perf_counter_ns()
        try:
            answer = self._runner.run(hook.fn, event, hook.timeout)
        except Exception as error:  # noqa: BLE001 - becomes the caller's error, or is counted
            self._raised(hook, event, error, begun)
        else:
            self._answered(hook, event, answer, begun)

    async def ask_async(self, hook: Hook, event: HookEvent) -> None:
        """Call a hook in this task; raises as `ask`."""
        if not self._may(hook, event):
            return
        begun = perf_counter_ns()
        try:
            answer = await self._runner.run_async(hook.fn, event, hook.timeout)
        except Exception as error:  # noqa: BLE001 - becomes the caller's error, or is counted
            self._raised(hook, event, error, begun)
        else:
            self._answered(hook, event, answer, begun)

    def _may(self, hook: Hook, event: HookEvent) -> bool:
        if hook.paused:
            return False
        if hook.admits():
            return True
        if hook.on_error == "refuse":
            _refuse(hook, event, "breaker", None)
        return False

    def _answered(self, hook: Hook, event: HookEvent, answer: object, begun: int) -> None:
        hook.spent(perf_counter_ns() - begun)
        if answer is None:
            _fine(hook)
            return
        # Most likely it was meant to be written: saying nothing would store the wrong value.
        hook.went_wrong("misused")
        _log.error("before-hook %s returned a %s", hook.name, type(answer).__name__)
        if hook.on_error == "refuse":
            _refuse(hook, event, "misused", None)

    def _raised(self, hook: Hook, event: HookEvent, error: Exception, begun: int) -> None:
        hook.spent(perf_counter_ns() - begun)
        if isinstance(error, Refused):
            hook.vetoes += 1
            _fine(hook)
            raise VetoError(
                f"{hook.name} vetoed the {event.operation.name.lower()} of "
                f"{event.scope}/{event.key}: {error.reason}",
                hook=hook.name,
                reason=error.reason,
                scope=str(event.scope),
                key=event.key,
            ) from None
        timeout = isinstance(error, TookTooLongError)
        hook.went_wrong(class_of(error), timeout=timeout)
        _log.error("before-hook %s failed: %s", hook.name, class_of(error))
        if isinstance(error, HookRecursionError):
            raise error
        if hook.on_error == "refuse":
            _refuse(hook, event, "timeout" if timeout else "raised", error)


_WORDS: Final = {
    "raised": "raised",
    "timeout": "took too long",
    "breaker": "is switched off by its breaker after failures",
    "misused": "returned something: what is to be written goes to event.replace(value)",
}


def _refuse(hook: Hook, event: HookEvent, reason: str, error: Exception | None) -> NoReturn:
    words = _WORDS[reason]
    if reason == "raised" and error is not None:
        words += f" {class_of(error)}"
    raise HookFailedError(
        f"before-hook {hook.name} {words}; "
        f"the {event.operation.name.lower()} of {event.scope}/{event.key} was not made",
        hook=hook.name,
        reason=reason,
        scope=str(event.scope),
        key=event.key,
    ) from error


def _refuse_unawaited(answer: object) -> None:
    if inspect.iscoroutine(answer):
        answer.close()
        raise NotAwaitedError


def _fine(hook: Hook) -> None:
    if not hook.direct and hook.breaker.failures:
        hook.went_well()
