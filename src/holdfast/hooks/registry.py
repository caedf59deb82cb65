"""`state.hooks`: registering hooks, looking at them, waiting for them."""

from __future__ import annotations

import atexit
import dataclasses
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, overload

from holdfast.errors import InvalidArgumentError, RejectedError, StateError
from holdfast.hooks.breaker import BreakerState
from holdfast.hooks.calling import AfterCalls, BeforeCalls
from holdfast.hooks.capture import guard_direct
from holdfast.hooks.dispatch import Dispatcher
from holdfast.hooks.event import HookEvent
from holdfast.hooks.hook import Hook, name_of, unused_name
from holdfast.hooks.marking import load_hook, mark_of
from holdfast.hooks.matching import Matcher
from holdfast.hooks.options import AfterOptions, BeforeOptions, wanted
from holdfast.hooks.reporter import Reporter
from holdfast.hooks.running import Runner
from holdfast.hooks.samples import Sample, samples
from holdfast.hooks.settings import HookSettings
from holdfast.hooks.stage import Stage
from holdfast.hooks.standing import HookStanding
from holdfast.store.status import ComponentHealth

if TYPE_CHECKING:
    from holdfast.store.address import Addressing
    from holdfast.store.kernel import Kernel

HookFunction = Callable[[Any], Any]
Register = Callable[[HookFunction], Hook]
Registered = list[Hook]
NotRun = list[HookEvent]
Standings = list[HookStanding]


class Hooks:
    """The hooks of one open store. Both faces of the store share it.

    Attributes:
        settings: How they behave; see `configure`.
    """

    def __init__(self, kernel: Kernel, address: Addressing, state: Any) -> None:
        self._kernel, self._address, self._state = kernel, address, state
        self._mutex = threading.RLock()
        self._hooks: Registered = []
        self._end: Callable[[], None] | None = None
        self.settings = HookSettings()
        self.runner = Runner(kernel.clock)
        self._reporter = Reporter(kernel, address.tenant_name, self.list)
        self._stage: Stage | None = None
        _open.add(self)
        if kernel.info.lineage in _caught:
            self._catch()

    # --- registering ----------------------------------------------------------------------

    @overload
    def before(self, fn: HookFunction, **options: Unpack[BeforeOptions]) -> Hook: ...
    @overload
    def before(self, fn: None = None, **options: Unpack[BeforeOptions]) -> Register: ...
    def before(
        self, fn: HookFunction | None = None, **options: Unpack[BeforeOptions]
    ) -> Hook | Register:
        """Have a function look at writes before they are committed; without one, decorate it.

        It may let them pass (returning nothing), change the value (``event.replace(value)``), or
        refuse them (``event.veto("why")``): then nothing is written, and the caller gets a
        `VetoError`.

        Args:
            fn: Takes a `HookEvent`; a function or a coroutine function.
            **options: See `BeforeOptions`.

        Raises:
            InvalidArgumentError, ConfigurationError: An option or a pattern is none.
        """
        if fn is None:
            return lambda made: self._register("before", made, options)
        return self._register("before", fn, options)

    @overload
    def after(self, fn: HookFunction, **options: Unpack[AfterOptions]) -> Hook: ...
    @overload
    def after(self, fn: None = None, **options: Unpack[AfterOptions]) -> Register: ...
    def after(
        self, fn: HookFunction | None = None, **options: Unpack[AfterOptions]
    ) -> Hook | Register:
        """Have a function hear of changes that are committed; without one, decorate it.

        Whatever it does, the write stands. What it raises is counted, logged and shown in
        `health()`.

        Args:
            fn: Takes a `HookEvent`, or a list of them; a function or a coroutine function.
            **options: See `AfterOptions`.

        Raises:
            InvalidArgumentError, ConfigurationError: An option or a pattern is none.
        """
        if fn is None:
            return lambda made: self._register("after", made, options)
        return self._register("after", fn, options)

    def add(self, phase: str, fn: HookFunction, **options: Any) -> Hook:
        """Register a hook for a phase by its name; the options are those of `before` or `after`.

        Raises:
            InvalidArgumentError: There is no such phase or option.
        """
        return self._register(phase, fn, options)

    def load(self, hook: str | HookFunction, **options: Any) -> Hook:
        """Register a hook that says itself what it is for (`holdfast.hooks.before`, `after`).

        Args:
            hook: The name of an entry point of the group ``holdfast.hooks``, which is imported
                now; or ``module:function``; or the function itself.
            **options: Win over those that the function is marked with.

        Raises:
            ConfigurationError: There is none, or it does not say what it is for.
        """
        fn = load_hook(hook) if isinstance(hook, str) else hook
        mark = mark_of(fn)
        if mark is None:
            raise InvalidArgumentError(
                f"{name_of(fn)} does not say what it hooks",
                hint="mark it with @holdfast.hooks.before(...) or @holdfast.hooks.after(...)",
            )
        options = {**mark.options, **options}
        if isinstance(hook, str) and ":" not in hook:
            options.setdefault("name", hook)
        return self.add(mark.phase, fn, **options)

    # --- looking and steering -------------------------------------------------------------

    def list(self) -> Registered:
        """Return the hooks in the order in which they run."""
        with self._mutex:
            return [*self._hooks]

    def get(self, name: str) -> Hook:
        """Return a hook by its name.

        Raises:
            InvalidArgumentError: There is none.
        """
        for hook in self.list():
            if hook.name == name:
                return hook
        known = ", ".join(hook.name for hook in self.list()) or "none is registered"
        raise InvalidArgumentError(f"there is no hook {name!r}", hint=f"there is: {known}")

    def pause(self, name: str) -> None:
        """Leave a hook out until `resume`."""
        self.get(name).pause()

    def resume(self, name: str) -> None:
        """Call a hook again, with its breaker closed."""
        self.get(name).resume()

    def remove(self, name: str) -> None:
        """Call a hook no more."""
        self.get(name).remove()

    def configure(self, **settings: Any) -> None:
        """Change settings by name; see `HookSettings`.

        Raises:
            ConfigurationError: A value cannot be.
            InvalidArgumentError: There is no such setting.
            RejectedError: The queue is in use: `drain` first. Or a hook called it.
        """
        known = [field.name for field in dataclasses.fields(HookSettings)]
        wrong = sorted(settings.keys() - set(known))
        if wrong:
            raise InvalidArgumentError(
                f"there is no setting {wrong[0]!r}", hint=f"there is {', '.join(known)}"
            )
        made = dataclasses.replace(self.settings, **settings)
        with self._mutex:
            stage, old = self._stage, None
            if stage is not None:
                stage.dispatcher.refuse_inside()
                if stage.dispatcher.depth():
                    raise RejectedError("the queue is in use", hint="drain() first")
                old, stage.dispatcher = stage.dispatcher, self._dispatcher(made)
                stage.use(stage.matcher, made)
            self.settings = made
            for hook in self._hooks:
                hook.settings = made
        if old is not None and stage is not None:
            # Not while the mutex is held: what runs still may look at the hooks.
            old.stop(flush=True)
            _carry(old, stage.dispatcher)

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until all that is queued now, or runs, is done; False if `timeout` came first.

        Raises:
            RejectedError: A hook called it, which would wait for itself.
        """
        stage = self._stage
        return True if stage is None else stage.dispatcher.drain(timeout)

    async def drain_async(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as drain
    ) -> bool:
        """Do the same without holding up the event loop."""
        import asyncio

        return await asyncio.to_thread(self.drain, timeout)

    def stop(self, *, flush: bool = True, timeout: float | None = None) -> NotRun:
        """End the queue for good; closing the store does it.

        Args:
            flush: Run what waits first. Otherwise only what runs already ends.
            timeout: Seconds to wait, at most.

        Returns:
            The events whose hooks were not run.

        Raises:
            RejectedError: A hook called it, which would wait for itself.
        """
        stage = self._stage
        if stage is None or stage.dispatcher.stopped:
            return []
        return stage.dispatcher.stop(flush=flush, timeout=timeout)

    def figures(self) -> dict[str, Any]:
        """Return figures of the queue and of each hook, all of them JSON types."""
        stage = self._stage
        queue = {} if stage is None else stage.dispatcher.figures()
        return {"queue": queue, "hooks": [_figures(hook) for hook in self.list()]}

    def samples(self) -> Sequence[Sample]:
        """Return the same as samples, for `Metrics.source`."""
        return samples(self.figures())

    def health(self) -> ComponentHealth | None:
        """Return the hooks' part of the store's health; None where there never was one."""
        stage = self._stage
        if stage is None:
            return None
        shut = any(hook.breaker.state is not BreakerState.CLOSED for hook in self.list())
        bad = shut or stage.dispatcher.full
        return ComponentHealth("degraded" if bad else "ok", self.figures())

    def standings(self) -> Standings:
        """Return how hooks of this store and tenant stand in all processes, as they tell it.

        A process tells from the first failure of one of its hooks on, soon after each further one,
        at most once a second; and no more once it has closed the store.
        """
        return self._reporter.standings()

    def __repr__(self) -> str:
        return f"<Hooks {len(self._hooks)} registered>"

    # --- inside ---------------------------------------------------------------------------

    def close(self) -> None:
        """End with the store: run what waits, as long as the settings allow."""
        stage = self._stage
        if stage is not None and not stage.dispatcher.stopped:
            self.stop(flush=True, timeout=self.settings.close_timeout)
        self.runner.stop(self.settings.close_timeout)
        self._reporter.close(self.settings.close_timeout)
        _open.discard(self)

    def after_fork(self) -> None:
        """Go on in the child with a queue and threads of its own."""
        self._mutex = threading.RLock()
        self.runner.after_fork()
        self._reporter.after_fork()
        for hook in self._hooks:
            hook.after_fork()
        if self._stage is not None:
            self._stage.dispatcher.after_fork()
            self._end = None
            self._install()

    def stage(self) -> Stage:
        """Return the stage, made when it is first needed."""
        with self._mutex:
            if self._stage is None:
                self._stage = Stage(
                    self._kernel,
                    self._state,
                    self._matcher(),
                    AfterCalls(self.runner),
                    BeforeCalls(self.runner),
                    self._dispatcher(self.settings),
                )
            return self._stage

    def capture(self) -> None:
        """Have commits go through the stage from now on: a replay begins.

        Those of every handle that this process has of the store, or gets. And there is no end to
        it: a function that took too long, or a task that a hook has left behind, may write when
        the replay is over, and what was dry must stay so.
        """
        stage, lineage = self._stage, self._kernel.info.lineage
        if stage is not None and stage.capturing:
            return
        _caught.add(lineage)
        for hooks in _all():
            if hooks._kernel.info.lineage == lineage:
                hooks._catch()

    def _catch(self) -> None:
        stage = self.stage()
        with self._mutex:
            if not stage.capturing:
                stage.capturing = True
                self._kernel.guard(partial(guard_direct, self._kernel.info.lineage))
                self._install()

    def _dispatcher(self, settings: HookSettings) -> Dispatcher:
        calls = AfterCalls(self.runner, BaseException)  # nothing may end the threads of the queue
        return Dispatcher(settings, calls, self._kernel.clock)

    def _matcher(self) -> Matcher:
        return Matcher(self._address.tenant, tuple(self._hooks), self._state)

    def _register(self, phase: str, fn: HookFunction, options: Mapping[str, Any]) -> Hook:
        asked = wanted(phase, fn, options)
        with self._mutex:
            taken = [hook.name for hook in self._hooks]
            if asked.name in taken:
                raise InvalidArgumentError(f"there is a hook {asked.name!r} already")
            name = asked.name or unused_name(name_of(fn), taken)
            clock = self._kernel.clock
            note = self._reporter.note
            hook = Hook(fn, name, asked, clock, self.settings, self._forget, note)
            # The order of registration is that of the list: sorting keeps it among equals.
            self._hooks = sorted([*self._hooks, hook], key=lambda each: -each.priority)
            self._install()
        return hook

    def _forget(self, hook: Hook) -> None:
        with self._mutex:
            self._hooks = [each for each in self._hooks if each is not hook]
            self._install()

    def _install(self) -> None:
        """Put the stage in front of the lane, and listen to the feed, only where that is needed."""
        stage = self.stage()
        stage.use(self._matcher(), self.settings)
        needed = bool(self._hooks) or stage.capturing
        self._kernel.before = stage if needed else None
        listens = any(hook.phase == "after" for hook in self._hooks)
        if listens and self._end is None:
            self._end = self._kernel.feed.subscribe(stage.observe)
        elif not listens and self._end is not None:
            self._end()
            self._end = None


def _figures(hook: Hook) -> dict[str, Any]:
    breaker = hook.breaker
    return {
        "name": hook.name,
        "phase": hook.phase,
        "mode": hook.mode,
        "scope": hook.selection.scope.text,
        "key": hook.selection.key,
        "paused": hook.paused,
        "breaker": breaker.state.value,
        **dataclasses.asdict(hook.metrics),
    }


def _carry(old: Dispatcher, new: Dispatcher) -> None:
    """Go on counting where another queue ends."""
    for name in ("delivered", "dropped", "not_run", "waited", "refused"):
        setattr(new, name, getattr(new, name) + getattr(old, name))


_open: weakref.WeakSet[Hooks] = weakref.WeakSet()
_caught: set[bytes] = set()  # lineages of stores that were replayed in this process


def _all() -> list[Hooks]:
    while True:
        try:
            return list(_open)
        except RuntimeError:  # a store was opened this very moment
            continue


def _after_fork() -> None:
    for hooks in _all():
        hooks.after_fork()


def _finish_all() -> None:
    # Registered after the kernel's, so it runs before that closes the stores.
    for hooks in _all():
        with suppress(StateError):
            hooks.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_finish_all)
