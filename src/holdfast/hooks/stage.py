"""The stage around the commit lane: before-hooks in front of it, inline after-hooks behind it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.correlation import current, enter, leave
from holdfast.errors import StateError
from holdfast.failover.kernel import FailoverKernel
from holdfast.hooks.before import OPERATIONS, Ask, BeforeHooks, Pause, Read, Request, Requests
from holdfast.hooks.calling import DEPTH, Noted, context_of, depth_within, inside
from holdfast.hooks.capture import CAPTURE
from holdfast.hooks.event import committed
from holdfast.store.retrying import backoff

if TYPE_CHECKING:
    from holdfast.hooks.calling import AfterCalls, BeforeCalls
    from holdfast.hooks.capture import Capture
    from holdfast.hooks.dispatch import Dispatcher
    from holdfast.hooks.matching import Matcher
    from holdfast.hooks.settings import HookSettings
    from holdfast.store.feed import Commit
    from holdfast.store.intent import Intent
    from holdfast.store.kernel import Kernel


class Stage:
    """What stands around the lane of one store while it has hooks, or a replay runs.

    Attributes:
        matcher: Its hooks.
        capturing: There was a replay; what it runs, and what that left behind, is caught.
    """

    def __init__(
        self,
        kernel: Kernel,
        state: Any,
        matcher: Matcher,
        after: AfterCalls,
        before: BeforeCalls,
        dispatcher: Dispatcher,
    ) -> None:
        self.capturing = False
        self.dispatcher = dispatcher
        self.use(matcher, dispatcher.settings)
        self._kernel, self._after, self._before = kernel, after, before
        self._before_hooks = BeforeHooks(kernel, state)
        failover = isinstance(kernel, FailoverKernel)
        self._blocks = failover or kernel.engine.traits.remote

    def use(self, matcher: Matcher, settings: HookSettings) -> None:
        """Go by other hooks or settings from now on."""
        self.matcher, self._settings = matcher, settings
        self._plain = not matcher.before and settings.overflow != "error"
        self._waits = matcher.queued and settings.overflow == "block"

    def wants(self, intent: Intent) -> bool:
        """Say whether a hook hears of anything in `intent`."""
        of = self.matcher.of
        for op in intent.ops:
            if of(op.owner) is not None:
                return True
        return self.capturing and CAPTURE.get() is not None

    # --- around a commit ------------------------------------------------------------------

    def run(self, intent: Intent, submit: Callable[[Intent], None]) -> None:
        """Have hooks look at a commit, commit it, have hooks look at what it did."""
        capture = self._capture() if self.capturing else None
        if capture is None:
            self._run(intent, submit)
        elif not capture.take(intent):
            try:
                self._run(intent, submit)
            finally:
                capture.done(intent)

    async def run_async(self, intent: Intent, submit: Callable[[Intent], Awaitable[None]]) -> None:
        """Do the same for a task."""
        capture = self._capture() if self.capturing else None
        if capture is None:
            await self._run_async(intent, submit)
        elif not capture.take(intent):
            try:
                await self._run_async(intent, submit)
            finally:
                capture.done(intent)

    def _capture(self) -> Capture | None:
        """Return what catches a commit that is made here.

        What hooks do because of a commit that a replay has really made is no work of the replayed
        hook: it is done as ever, and where that commit is repeated, not again.
        """
        capture = CAPTURE.get()
        if capture is None or capture.lineage != self._kernel.info.lineage:
            return None
        return None if not capture.dry and DEPTH.get() > 1 else capture

    def _run(self, intent: Intent, submit: Callable[[Intent], None]) -> None:
        depth = depth_within(self._settings.max_depth)
        noted = intent.noted = Noted(depth)
        if self._plain:
            submit(intent)
        else:
            dispatcher = self.dispatcher
            before, reserved = self._begin(intent, dispatcher)
            try:
                if before:
                    self._drive(intent, depth, submit)
                else:
                    submit(intent)
            finally:
                if reserved:
                    dispatcher.release(reserved)
        intent.noted = None  # they would hold each other
        commit = noted.commit
        if commit is not None:
            if self.matcher.inline:
                self._inline(commit, depth)
            if self._waits and depth == 0:  # a hook that waited would wait for itself
                self.dispatcher.wait_for_room()

    async def _run_async(self, intent: Intent, submit: Callable[[Intent], Awaitable[None]]) -> None:
        depth = depth_within(self._settings.max_depth)
        noted = intent.noted = Noted(depth)
        dispatcher, reserved = self.dispatcher, 0  # settings may change meanwhile
        try:
            if self._plain:
                await submit(intent)
            else:
                before, reserved = self._begin(intent, dispatcher)
                if before:
                    await self._drive_async(intent, depth, submit)
                else:
                    await submit(intent)
        finally:  # also of a task that was cancelled while the lane had its commit
            if reserved:
                dispatcher.release(reserved)
            intent.noted = None  # they would hold each other
            commit = noted.commit
            if commit is not None and self.matcher.inline:
                await self._inline_async(commit, depth)
        if commit is not None and self._waits and depth == 0:  # a hook would wait for itself
            await self.dispatcher.wait_for_room_async()

    def _begin(self, intent: Intent, dispatcher: Dispatcher) -> tuple[bool, int]:
        """Return whether a commit has before-hooks, and how much room is set aside for it."""
        before, queued, of = False, 0, self.matcher.of
        for op in intent.ops:
            match = of(op.owner)
            if match is not None:
                before = before or match.before
                queued += match.queued and op.kind in OPERATIONS  # nobody asks for an expiry
        reserved = queued if self._settings.overflow == "error" else 0
        if reserved:
            dispatcher.reserve(reserved)
        return before, reserved

    # --- before ---------------------------------------------------------------------------

    def _drive(self, intent: Intent, depth: int, submit: Callable[[Intent], None]) -> None:
        steps = self._before_hooks.steps(intent, self.matcher)
        context = context_of(intent)
        request, answer = _next(steps, None, None)
        while request is not None:
            error: StateError | None = None
            answer = None
            try:
                if isinstance(request, Ask):
                    with inside(context, depth):
                        self._before.ask(request.hook, request.event)
                elif isinstance(request, Read):
                    answer = request.fn()
                elif isinstance(request, Pause):
                    time.sleep(backoff(request.attempt))
                else:
                    submit(intent)
            except StateError as failed:
                error = failed
            request, answer = _next(steps, answer, error)

    async def _drive_async(
        self, intent: Intent, depth: int, submit: Callable[[Intent], Awaitable[None]]
    ) -> None:
        import asyncio

        steps = self._before_hooks.steps(intent, self.matcher)
        context = context_of(intent)
        request, answer = _next(steps, None, None)
        while request is not None:
            error: StateError | None = None
            answer = None
            try:
                if isinstance(request, Ask):
                    with inside(context, depth):
                        await self._before.ask_async(request.hook, request.event)
                elif isinstance(request, Read):
                    answer = await asyncio.to_thread(request.fn) if self._blocks else request.fn()
                elif isinstance(request, Pause):
                    await asyncio.sleep(backoff(request.attempt))
                else:
                    await submit(intent)
            except StateError as failed:
                error = failed
            request, answer = _next(steps, answer, error)

    # --- after ----------------------------------------------------------------------------

    def observe(self, commits: Sequence[Commit]) -> None:
        """Take note of commits, and queue what queued hooks hear of. In the lane's thread."""
        queued = self.matcher.queued
        for commit in commits:
            noted = commit.intent.noted
            if noted is not None:
                noted.commit = commit
            if queued:
                self._queue(commit, 0 if noted is None else noted.depth)

    def _queue(self, commit: Commit, depth: int) -> None:
        of, kernel = self.matcher.of, self._kernel
        for step in commit.steps:
            op = step.op
            match = of(op.owner)
            if match is not None and match.queued:
                plan = match.plan(op.place, step.operation, step.state_class)
                if plan.queued or plan.batched:
                    event = committed(kernel, match, step, commit)
                    self.dispatcher.put(op.place, event, plan, depth)

    def _inline(self, commit: Commit, depth: int) -> None:
        of, kernel, run = self.matcher.of, self._kernel, self._after.run
        # As `inside`, which costs as much as five hooks that do nothing; and mostly the caller is
        # in the commit's context already.
        context = context_of(commit.intent)
        around = None if current() is context else enter(context)
        deeper = DEPTH.set(depth + 1)
        try:
            for step in commit.steps:
                op = step.op
                match = of(op.owner)
                if match is not None and match.inline:
                    hooks = match.plan(op.place, step.operation, step.state_class).inline
                    if hooks:
                        run(hooks, committed(kernel, match, step, commit))
        finally:
            DEPTH.reset(deeper)
            if around is not None:
                leave(around)

    async def _inline_async(self, commit: Commit, depth: int) -> None:
        of, kernel, after = self.matcher.of, self._kernel, self._after
        with inside(context_of(commit.intent), depth):
            for step in commit.steps:
                op = step.op
                match = of(op.owner)
                if match is not None and match.inline:
                    hooks = match.plan(op.place, step.operation, step.state_class).inline
                    if hooks:
                        await after.run_async(hooks, committed(kernel, match, step, commit))


def _next(steps: Requests, answer: Any, error: StateError | None) -> tuple[Request | None, Any]:
    """Resume the steps; return the next request, None at the end."""
    try:
        if error is not None:
            return steps.throw(error), None
        return steps.send(answer), None
    except StopIteration:
        return None, None
