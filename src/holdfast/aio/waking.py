"""Waking event loops from the commit lane's thread: once for all that a group finished."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from contextlib import suppress


class Waiting:
    """A write whose outcome a task of `loop` awaits. Touched by the loop's own thread only.

    Cancelling the task cancels the future it awaits, and not the write: then another future
    takes its place, which is cheaper than shielding every write from what few ever meet.
    """

    __slots__ = ("_waker", "done", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop, waker: Waker) -> None:
        self.future: asyncio.Future[None] = loop.create_future()
        self.done = False
        self._waker = waker

    def wake(self) -> None:
        """Have the task woken. Called from the lane's thread only."""
        waker = self._waker
        waker.done.append(self)
        if not waker.called:
            waker.call()

    def finish(self) -> None:
        """Wake the task."""
        self.done = True
        if not self.future.done():
            self.future.set_result(None)

    async def until_done(self) -> None:
        """Wait for the outcome through any number of further cancellations."""
        while not self.done:
            self.future = asyncio.get_running_loop().create_future()
            with suppress(asyncio.CancelledError):
                await self.future


class Waker:
    """Wakes one event loop once for everything that has finished since it last looked.

    Attributes:
        loop: Returns the loop, or None when it is gone.
        done: What has finished.
        called: The loop has been asked to look, and has not yet.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)
        self.done: deque[Waiting] = deque()
        self.called = False

    def call(self) -> None:
        """Ask the loop to look. Called from the lane's thread only."""
        self.called = True
        loop = self.loop()
        if loop is not None and not loop.is_closed():
            with suppress(RuntimeError):  # the loop closed this very moment
                loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self.called = False  # before looking: what comes later calls again
        done = self.done
        while done:
            done.popleft().finish()
