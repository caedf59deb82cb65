"""The commit lane: every write of a process goes through it, grouped.

A caller that finds the lane idle leads: it commits its own intent in its own thread, with no hop.
While somebody leads, intents queue, and the lane's thread takes what has gathered as one group:
a thousand waiting writers share one commit. Which intents go together is decided by `select`,
a pure function. The lane knows nothing of what is in an intent beyond places, weight, priority.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from holdfast.errors import ClosedError, LimitExceededError
from holdfast.store.intent import Intent

MAX_ITEMS = 1000
MAX_BYTES = 8 * 1024 * 1024
MAX_QUEUE = 100_000
_FAIR_SHARE = 4  # a quarter of each group is strictly first come, first served

_log = logging.getLogger("holdfast.lane")

Run = Callable[[Sequence[Intent]], None]

#: Hears of each group that was committed: when that began and ended, by `time.perf_counter_ns`.
#: MUST NOT block; the members that had to wait have their `queued_ns`.
Told = Callable[[Sequence[Intent], int, int], None]


def select(queue: Sequence[Intent], max_items: int, max_bytes: int) -> list[int]:
    """Choose which queued intents form the next group.

    The oldest always goes, and a quarter of the group goes by age alone, so that nobody starves;
    the rest goes by priority, then age. An intent never overtakes an older one that shares a
    place with it, and one that scanned ranges overtakes nobody. An intent heavier than
    `max_bytes` goes alone.

    Returns:
        Indexes into `queue`, ascending.
    """
    if sum(i.weight for i in queue) <= max_bytes and len(queue) <= max_items:
        return list(range(len(queue)))
    chosen: set[int] = set()
    weight = 0

    def take(at: int) -> bool:
        nonlocal weight
        if len(chosen) >= max_items or (chosen and weight + queue[at].weight > max_bytes):
            return False
        chosen.add(at)
        weight += queue[at].weight
        return True

    by_age = 0
    while by_age < max(1, max_items // _FAIR_SHARE) and by_age < len(queue) and take(by_age):
        by_age += 1
    for priority in sorted({i.priority for i in queue}):
        left: set[bytes] = set()  # places of older intents that stay behind
        for at in range(by_age, len(queue)):
            if at in chosen:
                continue
            waiting = queue[at]
            places = {op.place for op in waiting.ops}
            if (
                waiting.priority == priority
                and not (waiting.ranges and left)
                and left.isdisjoint(places)
                and left.isdisjoint(waiting.reads or ())
                and take(at)
            ):
                continue
            left |= places
            left.update(waiting.reads or ())
    return sorted(chosen)


class Lane:
    """Runs intents in groups, one group at a time.

    Args:
        run: Commits a group and fills in each intent's outcome. It never raises.
        lead_inline: Asynchronous callers may lead as well, because a commit does not block.

    Attributes:
        told: Hears of each group; None, and nothing is timed.
    """

    told: Told | None = None

    def __init__(self, run: Run, *, lead_inline: bool) -> None:
        self._run = run
        self._lead_inline = lead_inline
        self._reset()

    def _reset(self) -> None:
        self._mutex = threading.Lock()
        self._ready = threading.Condition(self._mutex)
        self._idle = threading.Condition(self._mutex)
        self._queue: deque[Intent] = deque()
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._weight = 0
        self.groups = self.items = self.largest = 0

    def after_fork(self) -> None:
        """Forget the parent's queue and thread; its callers are not here."""
        self._reset()

    def submit(self, intent: Intent) -> None:
        """Commit `intent` and return when its outcome is known (it is on the intent).

        Raises:
            ClosedError: The lane is closed; nothing was queued.
            LimitExceededError: The queue is full; nothing was queued.
        """
        if self._enter():
            self._lead([intent])
            return
        done = threading.Lock()
        done.acquire()
        intent.wake = done.release
        self._enqueue(intent)
        done.acquire()

    def submit_waking(self, intent: Intent) -> bool:
        """Queue `intent`; ``intent.wake`` is called from the lane's thread when it is done.

        Returns:
            True if the outcome is known already and `wake` will not be called.

        Raises:
            ClosedError, LimitExceededError: As `submit`.
        """
        if self._lead_inline and self._enter():
            self._lead([intent])
            return True
        self._enqueue(intent)
        return False

    def withdraw(self, intent: Intent) -> bool:
        """Take a queued intent back; False if it was taken already (it will finish)."""
        with self._mutex:
            try:
                self._queue.remove(intent)
            except ValueError:
                return False
            self._weight -= intent.weight
            return True

    def depth(self) -> int:
        """Return how many intents wait."""
        return len(self._queue)

    def close(self) -> None:
        """Finish what is queued, then refuse everything."""
        with self._mutex:
            self._closed = True
            self._ready.notify_all()
            while self._busy or (self._queue and self._thread is not None):
                self._idle.wait()
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    # --- inside ---------------------------------------------------------------------------

    def _enter(self) -> bool:
        """Become the leader if the lane is idle."""
        with self._mutex:
            if self._closed:
                raise ClosedError("the store is closed")
            if self._busy or self._queue:
                return False
            self._busy = True
            return True

    def _enqueue(self, intent: Intent) -> None:
        weight = intent.measure()
        with self._mutex:
            if self._closed:
                raise ClosedError("the store is closed")
            if len(self._queue) >= MAX_QUEUE:
                raise LimitExceededError(
                    f"{MAX_QUEUE} writes wait already",
                    hint="slow down, or use set_batch",
                    limit=MAX_QUEUE,
                    actual=len(self._queue),
                )
            if self.told is not None:
                intent.queued_ns = time.perf_counter_ns()
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="holdfast-lane", daemon=True)
                thread.start()  # before anything is queued that nobody would take otherwise
                self._thread = thread
            elif not self._busy:
                self._ready.notify()
            self._queue.append(intent)
            self._weight += weight

    def _lead(self, group: list[Intent]) -> None:
        told = self.told
        began = 0 if told is None else time.perf_counter_ns()
        try:
            self._run(group)
        finally:
            if told is not None:
                self._tell(told, group, began)
            self.groups += 1
            self.items += len(group)
            if len(group) > self.largest:
                self.largest = len(group)
            self._busy = False
            # Without the mutex: whoever queues, or closes, says so first and looks whether the lane
            # is busy then; this looks after it has said that it is not. One of both sees the other.
            if self._queue or self._closed:
                with self._mutex:
                    self._ready.notify()
                    self._idle.notify_all()

    def _tell(self, told: Told, group: Sequence[Intent], began: int) -> None:
        try:
            told(group, began, time.perf_counter_ns())
        except Exception as error:  # noqa: BLE001 - the lane goes on, whoever listens
            _log.error("a listener of the commit lane failed: %s", type(error).__name__)

    def _serve(self) -> None:
        mutex, queue = self._mutex, self._queue
        while True:
            with mutex:
                while self._busy or not queue:
                    if self._closed and not queue:
                        self._idle.notify_all()
                        return
                    self._ready.wait()
                self._busy = True
                group = self._take()
            self._lead(group)
            for intent in group:
                if intent.wake is not None:
                    try:
                        intent.wake()
                    except Exception as error:  # noqa: BLE001 - the others wait, too
                        _log.error("a caller could not be woken: %s", type(error).__name__)

    def _take(self) -> list[Intent]:
        queue = self._queue
        if len(queue) <= MAX_ITEMS and self._weight <= MAX_BYTES:
            group = list(queue)
            queue.clear()
            self._weight = 0
            return group
        waiting = list(queue)
        chosen = set(select(waiting, MAX_ITEMS, MAX_BYTES))
        group = [intent for at, intent in enumerate(waiting) if at in chosen]
        queue.clear()
        queue.extend(intent for at, intent in enumerate(waiting) if at not in chosen)
        self._weight -= sum(intent.weight for intent in group)
        return group
