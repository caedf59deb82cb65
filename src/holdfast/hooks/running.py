"""Running functions, plain ones and coroutines, from threads and from event loops, with a limit.

A coroutine that takes too long is cancelled. A plain function cannot be: the caller goes on, and
the function ends when it ends, in a thread of its own. So a plain function with a limit runs in
such a thread, and one without runs where its caller is. Coroutines that a thread wants run in one
event loop, which has a thread of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final

from holdfast.clock import Clock
from holdfast.hooks.hook import is_async

if TYPE_CHECKING:
    import asyncio

_THREADS: Final = 64  # that may hang in functions which took too long


class TookTooLongError(Exception):
    """A function did not return in time."""


class BrokeOffError(Exception):
    """A function ended with what is no `Exception` (its ``__cause__``): an exit, a cancellation.

    It was meant for the function's own thread or task, and must not end that of who waits for it.
    """


def class_of(error: BaseException) -> str:
    """Return what is told of an error: the name of its class, and no text."""
    if isinstance(error, BrokeOffError):
        return type(error.__cause__).__name__
    return "timeout" if isinstance(error, TookTooLongError) else type(error).__name__


class Call:
    """A call in another thread.

    Attributes:
        done: Set when it has returned or raised.
        result, error: What it did.
        abandoned: Nobody waits any more.
        ended: Called when it is done, in that thread.
    """

    __slots__ = ("abandoned", "context", "done", "ended", "error", "event", "fn", "result")

    def __init__(self, fn: Callable[[Any], Any], event: Any) -> None:
        self.fn, self.event = fn, event
        self.context: Context = copy_context()
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.abandoned = False
        self.ended: Callable[[], object] | None = None

    def run(self) -> None:
        """Make the call."""
        try:
            self.result = self.context.run(self.fn, self.event)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self.error = error
        self.end()

    def end(self) -> None:
        """Tell who waits."""
        self.done.set()
        if self.ended is not None:
            self.ended()

    def outcome(self) -> Any:
        """Return the result, or raise the error."""
        error = self.error
        if error is not None and not isinstance(error, Exception):
            raise BrokeOffError from error
        if error is not None:
            raise error
        return self.result


class Threads:
    """A few threads that can be left behind: they are daemons, and no exit waits for them."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._ready = threading.Condition(self._mutex)
        self._queue: deque[Call] = deque()
        self._idle = self._count = 0
        self._stopped = False

    def start(self, call: Call) -> None:
        """Make a call, as soon as a thread is free."""
        with self._mutex:
            self._queue.append(call)
            if self._idle >= len(self._queue):
                self._ready.notify()
            elif self._count < _THREADS:
                self._count += 1
                threading.Thread(target=self._serve, name="holdfast-hook", daemon=True).start()

    def stop(self) -> None:
        """End idle threads, and the others when they are free."""
        with self._mutex:
            self._stopped = True
            self._ready.notify_all()

    def _serve(self) -> None:
        while True:
            with self._mutex:
                self._idle += 1
                while not self._queue:
                    if self._stopped:
                        self._idle -= 1
                        self._count -= 1
                        return
                    self._ready.wait()
                self._idle -= 1
                call = self._queue.popleft()
            if not call.abandoned:
                call.run()


class LoopThread:
    """An event loop in a thread of its own, for coroutines that threads want run."""

    def __init__(self) -> None:
        import asyncio

        self.loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._mutex = threading.Lock()
        self._ended = False
        self.thread = threading.Thread(target=self._serve, name="holdfast-hooks", daemon=True)
        self.thread.start()

    def start(self, call: Call) -> None:
        """Run the coroutine of a call.

        Raises:
            RuntimeError: The loop has ended.
        """
        with self._mutex:
            if self._ended:
                raise RuntimeError("the hooks' event loop has ended")
            self.loop.call_soon_threadsafe(self._begin, call)

    def cancel(self, call: Call) -> None:
        """Cancel it."""
        self.loop.call_soon_threadsafe(self._cancel, call)

    def stop(self, timeout: float | None) -> None:
        """End the loop, with what still runs in it; wait for that at most so many seconds."""
        with suppress(RuntimeError):  # it is closed
            self.loop.call_soon_threadsafe(self.loop.stop)
        if threading.current_thread() is not self.thread:
            self.thread.join(timeout)  # a coroutine that blocks is not to block who ends

    def _serve(self) -> None:
        import asyncio

        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        with self._mutex:
            self._ended = True
        self.loop.run_until_complete(asyncio.sleep(0))  # begin what came before that
        for task in self._tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self.loop.close()

    def _begin(self, call: Call) -> None:
        if call.abandoned:
            return
        task = self.loop.create_task(_awaited(call), context=call.context)
        call.result = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _cancel(call: Call) -> None:
        if not call.done.is_set() and call.result is not None:
            call.result.cancel()


async def _awaited(call: Call) -> None:
    try:
        call.result = await call.fn(call.event)
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        call.error = error
    call.end()


class Runner:
    """Runs functions for one store."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the parent's threads."""
        self._mutex = threading.Lock()
        self._threads: Threads | None = None
        self._loop: LoopThread | None = None

    def stop(self, timeout: float | None) -> None:
        """End what was started here; wait for that at most so many seconds."""
        with self._mutex:
            threads, self._threads = self._threads, None
            loop, self._loop = self._loop, None
        if threads is not None:
            threads.stop()
        if loop is not None:
            loop.stop(timeout)

    def run(self, fn: Callable[[Any], Any], event: Any, timeout: float | None) -> Any:
        """Call ``fn(event)`` for a thread and return its result.

        Raises:
            TookTooLongError: It did not return in time.
            BrokeOffError: It ended its own thread or task.
        """
        awaits = is_async(fn)
        if not awaits and timeout is None:
            return fn(event)
        loop = self._loop_thread() if awaits else None
        if loop is not None and threading.current_thread() is loop.thread:
            # The loop cannot wait for itself: a coroutine of ours made a blocking call.
            fn, loop = _in_own_loop(fn), None
        call = Call(fn, event)
        if loop is None:
            self._pool().start(call)
        else:
            loop.start(call)
        if timeout is None:
            call.done.wait()
        elif not self._clock.wait(call.done, timeout):
            call.abandoned = True
            if loop is not None:
                loop.cancel(call)
            raise TookTooLongError
        return call.outcome()

    async def run_async(
        self,
        fn: Callable[[Any], Any],
        event: Any,
        timeout: float | None,  # noqa: ASYNC109 - as run
    ) -> Any:
        """Do the same for a task, without holding up its event loop where there is a limit."""
        import asyncio

        if not is_async(fn):
            if timeout is None:
                return fn(event)
            return await self._in_thread(fn, event, timeout)
        task = asyncio.current_task()
        wanted = 0 if task is None else task.cancelling()
        try:
            async with asyncio.timeout(timeout) as limit:
                return await fn(event)
        except TimeoutError:
            if limit.expired():
                raise TookTooLongError from None
            raise
        except asyncio.CancelledError as error:
            if task is None or task.cancelling() > wanted:
                raise
            raise BrokeOffError from error  # nobody cancelled the caller

    async def _in_thread(
        self,
        fn: Callable[[Any], Any],
        event: Any,
        timeout: float,  # noqa: ASYNC109 - as run
    ) -> Any:
        import asyncio

        asking = asyncio.get_running_loop()
        returned = asyncio.Event()
        call = Call(fn, event)

        def tell() -> None:
            if not asking.is_closed():
                asking.call_soon_threadsafe(returned.set)

        call.ended = tell
        self._pool().start(call)
        try:
            async with asyncio.timeout(timeout):
                await returned.wait()
        except TimeoutError:
            call.abandoned = True
            raise TookTooLongError from None
        return call.outcome()

    def _pool(self) -> Threads:
        with self._mutex:
            if self._threads is None:
                self._threads = Threads()
            return self._threads

    def _loop_thread(self) -> LoopThread:
        with self._mutex:
            if self._loop is None:
                self._loop = LoopThread()
            return self._loop


def _in_own_loop(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(event: Any) -> Any:
        import asyncio

        return asyncio.run(fn(event))

    return run
