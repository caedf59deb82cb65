"""The queue of after-hooks: filled by the feed, emptied by a few threads.

Each key belongs to one worker, so its changes arrive in the order of their commits. Whoever fills
the queue is the thread that commits for all, and never waits; a caller that is to wait for room
does so after its own commit, and one that is to be refused is refused before.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from holdfast.clock import Clock
from holdfast.correlation import CorrelationContext, enter
from holdfast.errors import HookQueueFullError, RejectedError
from holdfast.hooks.calling import DEPTH, AfterCalls, context_of
from holdfast.hooks.event import HookEvent
from holdfast.hooks.hook import Hook
from holdfast.hooks.matching import Plan
from holdfast.hooks.settings import HookSettings

#: An event with its hooks and its depth, or a mark that says that all before it is done.
Item = tuple[HookEvent, Plan, int]
Mark = Callable[[], object]


class Worker:
    """One thread's part of the queue."""

    __slots__ = ("asleep", "ended", "queue", "thread", "wake")

    def __init__(self) -> None:
        self.queue: deque[Item | Mark] = deque()
        self.wake = threading.Event()
        self.asleep = False
        self.ended = False  # its thread looks no more, unless it finds something in that moment
        self.thread: threading.Thread | None = None

    def rouse(self) -> None:
        """Wake the thread if it sleeps."""
        if self.asleep:
            self.asleep = False
            self.wake.set()


class Dispatcher:
    """The queue of one store.

    Attributes:
        delivered: Events whose hooks have run.
        dropped: Events that a full queue gave up.
        not_run: Events that were there when the queue was stopped, or came later.
        waited: How often a caller had to wait for room.
        refused: How often one was refused for want of it.
    """

    def __init__(self, settings: HookSettings, calls: AfterCalls, clock: Clock) -> None:
        self.settings = settings
        self._calls, self._clock = calls, clock
        self.delivered = self.dropped = self.not_run = self.waited = self.refused = 0
        self.stopped = False
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the parent's queue: the parent sees to it."""
        self._mutex = threading.Lock()
        self._workers = [Worker() for _ in range(self.settings.workers)]
        self._reserved = 0
        self._waiting: list[Mark] = []

    def depth(self) -> int:
        """Return how many events wait."""
        return sum(len(worker.queue) for worker in self._workers)

    @property
    def full(self) -> bool:
        """Say whether there is no room."""
        return self.depth() >= self.settings.queue_size

    # --- filling --------------------------------------------------------------------------

    def put(self, place: bytes, event: HookEvent, plan: Plan, depth: int) -> None:
        """Queue an event. Never waits."""
        if self.stopped:
            self.not_run += 1
            return
        workers = self._workers
        worker = workers[hash(place) % len(workers)] if len(workers) > 1 else workers[0]
        if self.settings.overflow == "drop_oldest" and self.full:
            self._drop()
        worker.queue.append((event, plan, depth))
        if worker.thread is None:
            self._start(worker)
        elif worker.asleep:
            worker.rouse()

    def reserve(self, count: int) -> None:
        """Set room aside for a commit.

        Raises:
            HookQueueFullError: There is none.
        """
        size = self.settings.queue_size
        with self._mutex:
            wanted = self.depth() + self._reserved + count
            if wanted > size:
                self.refused += 1
                raise HookQueueFullError(
                    f"{wanted} changes would wait for hooks, the limit is {size}",
                    limit=size,
                    actual=wanted,
                )
            self._reserved += count

    def release(self, count: int) -> None:
        """Give back what was set aside: the commit has queued its events, or failed."""
        with self._mutex:
            self._reserved -= count

    def wait_for_room(self) -> None:
        """Wait until the queue is not full."""
        while self.full and not self.stopped:
            room = threading.Event()
            self._when_there_is_room(room.set)
            room.wait()

    async def wait_for_room_async(self) -> None:
        """Wait without holding up the event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        while self.full and not self.stopped:
            room = asyncio.Event()

            def tell(room: asyncio.Event = room) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(room.set)

            self._when_there_is_room(tell)
            await room.wait()

    def _when_there_is_room(self, tell: Mark) -> None:
        self.waited += 1
        with self._mutex:
            self._waiting.append(tell)
        if not self.full or self.stopped:  # it came about meanwhile, and nobody would tell
            self._tell()

    def _tell(self) -> None:
        with self._mutex:
            waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()

    def _drop(self) -> None:
        """Give up an old event: the oldest of the longest queue."""
        worker = max(self._workers, key=lambda worker: len(worker.queue))
        queue, marks = worker.queue, list[Mark]()
        while queue:
            try:
                item = queue.popleft()
            except IndexError:
                break
            if isinstance(item, tuple):
                self.dropped += 1
                break
            marks.append(item)
        if marks:
            queue.extendleft(reversed(marks))
            worker.rouse()  # it may have found nothing meanwhile

    # --- emptying -------------------------------------------------------------------------

    def _start(self, worker: Worker) -> None:
        with self._mutex:
            if worker.thread is None and not self.stopped:
                worker.thread = threading.Thread(
                    target=self._serve, args=(worker,), name="holdfast-hooks-worker", daemon=True
                )
                worker.thread.start()

    def _serve(self, worker: Worker) -> None:
        queue, most = worker.queue, self.settings.batch
        batch: list[Item] = []
        batched: dict[Hook, list[HookEvent]] = {}
        while True:
            while queue and len(batch) < most:
                try:
                    item = queue.popleft()
                except IndexError:  # somebody dropped it
                    break
                if not isinstance(item, tuple):
                    self._run(batch, batched)
                    item()
                    continue
                batch.append(item)
            if batch:
                self._run(batch, batched)
                continue
            worker.wake.clear()
            worker.asleep = True
            worker.ended = self.stopped  # said before it looks, as others look after they put
            if not queue:
                if worker.ended:
                    return
                worker.wake.wait()
            worker.ended = worker.asleep = False

    def _run(self, batch: list[Item], batched: dict[Hook, list[HookEvent]]) -> None:
        """Run the hooks of a batch, event by event; then those that take several at once."""
        run, left = self._calls.run, len(batch)
        around: CorrelationContext | None = None
        enter(None)
        for event, plan, depth in batch:
            intent = event._commit.intent
            if intent.correlation is not None or around is not None:
                around = context_of(intent)
                enter(around)
            DEPTH.set(depth + 1)
            if plan.queued:
                run(plan.queued, event)
            for hook in plan.batched:
                batched.setdefault(hook, []).append(event)
            if not batched:
                self.delivered += 1
                left -= 1
            if self._waiting and not self.full:
                self._tell()
        if batched:
            enter(None)
            for hook, events in batched.items():
                self._calls.run_batch(hook, events)
            batched.clear()
            self.delivered += left
        batch.clear()

    # --- end ------------------------------------------------------------------------------

    def refuse_inside(self) -> None:
        """Refuse to wait for hooks inside of one, if any may run.

        Raises:
            RejectedError: A hook asks, which would wait for itself.
        """
        if DEPTH.get() and any(worker.thread is not None for worker in self._workers):
            raise RejectedError("a hook cannot wait for hooks", hint="drain where nothing hooks")

    def drain(self, timeout: float | None = None) -> bool:
        """Wait for all that is queued or running now; False if `timeout` seconds were not enough.

        Raises:
            RejectedError: A hook called it, which would wait for itself.
        """
        self.refuse_inside()
        done = self._marked()
        if timeout is None:
            done.wait()
            return True
        return self._clock.wait(done, timeout)

    def _marked(self) -> threading.Event:
        """Return an event that is set when all that is queued now is done."""
        done, mutex = threading.Event(), threading.Lock()
        left = 1

        def mark() -> None:
            nonlocal left
            with mutex:
                left -= 1
                if left == 0:
                    done.set()

        for worker in self._workers:
            if worker.thread is None:
                continue
            with mutex:
                left += 1
            self._mark(worker, mark)
        mark()
        return done

    def _mark(self, worker: Worker, mark: Mark) -> None:
        """Queue a mark; where the worker's thread has ended, see to it here."""
        worker.queue.append(mark)
        worker.rouse()
        if not worker.ended:
            return
        while worker.queue:
            try:
                item = worker.queue.popleft()
            except IndexError:
                break
            if isinstance(item, tuple):
                self.not_run += 1
            else:
                item()

    def take_all(self) -> list[HookEvent]:
        """Return what waits, which then will not run."""
        taken: list[HookEvent] = []
        marks: list[tuple[Worker, Mark]] = []
        for worker in self._workers:
            while worker.queue:
                try:
                    item = worker.queue.popleft()
                except IndexError:
                    break
                if isinstance(item, tuple):
                    taken.append(item[0])
                else:
                    marks.append((worker, item))
        for worker, mark in marks:
            self._mark(worker, mark)
        self.not_run += len(taken)
        return taken

    def stop(self, *, flush: bool, timeout: float | None = None) -> list[HookEvent]:
        """End the threads; see `Hooks.stop`."""
        self.refuse_inside()
        began_ns = self._clock.now_ns()
        if flush:
            self.drain(timeout)
        self.stopped = True
        left = self.take_all()
        done = self._marked()  # what runs now is waited for
        if timeout is None:
            done.wait()
        else:
            spent = (self._clock.now_ns() - began_ns) / 1e9
            self._clock.wait(done, min(timeout, max(0.0, timeout - spent)))
        left += self.take_all()  # what was put in the very moment of stopping
        for worker in self._workers:
            worker.asleep = False
            worker.wake.set()
        self._tell()
        return left

    def figures(self) -> dict[str, Any]:
        """Return what the queue has done."""
        return {
            "queued": self.depth(),
            "queue_size": self.settings.queue_size,
            "overflow": self.settings.overflow,
            "workers": self.settings.workers,
            "delivered": self.delivered,
            "dropped": self.dropped,
            "not_run": self.not_run,
            "waited": self.waited,
            "refused": self.refused,
        }
