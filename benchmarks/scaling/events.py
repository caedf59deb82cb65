"""A simulated clock, and things of which there are only so many. It knows no store.

An activity is a generator that yields what it waits for: a `Pause`, a place at a `Resource`, a
`Flush`. The order of events is fixed, so a run depends on its seed alone.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

Activity = Generator[Any, None, None]


class Timeline:
    """Runs activities in the order of simulated time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, delay: float, act: Callable[[], None]) -> None:
        """Call `act` after `delay` seconds."""
        self._count += 1
        heapq.heappush(self._due, (self.now + delay, self._count, act))

    def start(self, activity: Activity) -> None:
        """Let an activity go on to its next wait."""
        wish = next(activity, None)
        if wish is not None:
            wish.begin(self, lambda: self.start(activity))

    def run(self, until: float) -> None:
        """Go on until a time, or until nothing is left to happen."""
        while self._due and self._due[0][0] <= until:
            self.now, _, act = heapq.heappop(self._due)
            act()


class Resource:
    """So many places, given in the order of asking.

    Attributes:
        busy: Seconds that places were taken, over all of them.
    """

    def __init__(self, places: int) -> None:
        self.busy = 0.0
        self._free = places
        self._queue: deque[Callable[[], None]] = deque()

    def take(self, then: Callable[[], None]) -> None:
        """Call `then` with a place in hand."""
        if self._free:
            self._free -= 1
            then()
        else:
            self._queue.append(then)

    def give(self, timeline: Timeline) -> None:
        """Give a place back; whoever waits longest gets it."""
        if self._queue:
            timeline.at(0.0, self._queue.popleft())
        else:
            self._free += 1


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for nothing but time."""

    seconds: float

    def begin(self, timeline: Timeline, then: Callable[[], None]) -> None:
        """Go on later."""
        timeline.at(self.seconds, then)


@dataclass(frozen=True, slots=True)
class Take:
    """Get a place and keep it; `Resource.give` ends that."""

    resource: Resource

    def begin(self, timeline: Timeline, then: Callable[[], None]) -> None:
        """Go on when there is one."""
        self.resource.take(then)


@dataclass(frozen=True, slots=True)
class Work:
    """Spend time at all of `places`, taken in their order, in slices that others may come between.

    Attributes:
        slice: The longest time without giving way.
    """

    seconds: float
    places: tuple[Resource, ...]
    slice: float = 0.005

    def begin(self, timeline: Timeline, then: Callable[[], None]) -> None:
        """Go on when it is done."""
        spent = min(self.seconds, self.slice)
        rest = self.seconds - spent

        def take(number: int) -> None:
            if number < len(self.places):
                self.places[number].take(lambda: take(number + 1))
            else:
                timeline.at(spent, done)

        def done() -> None:
            for place in self.places:
                place.busy += spent
                place.give(timeline)
            if rest > 1e-12:
                Work(rest, self.places, self.slice).begin(timeline, then)
            else:
                then()

        take(0)


class Device:
    """A log device: one flush at a time, and all that wait share the next.

    Attributes:
        busy: Seconds of flushing.
        flushes: How many.
    """

    def __init__(self, seconds: float, bandwidth: float) -> None:
        self.busy, self.flushes = 0.0, 0
        self._seconds, self._bandwidth = seconds, bandwidth
        self._waiting: list[tuple[float, Callable[[], None]]] = []
        self._flushing = False

    def flush(self, timeline: Timeline, size: float, then: Callable[[], None]) -> None:
        """Call `then` when `size` bytes are on disk."""
        self._waiting.append((size, then))
        if not self._flushing:
            self._begin(timeline)

    def _begin(self, timeline: Timeline) -> None:
        batch, self._waiting = self._waiting, []
        self._flushing = True
        seconds = self._seconds + sum(size for size, _ in batch) / self._bandwidth

        def done() -> None:
            self.busy += seconds
            self.flushes += 1
            self._flushing = False
            if self._waiting:
                self._begin(timeline)
            for _, then in batch:
                then()

        timeline.at(seconds, done)


@dataclass(frozen=True, slots=True)
class Flush:
    """Wait until bytes are on disk."""

    device: Device
    size: float

    def begin(self, timeline: Timeline, then: Callable[[], None]) -> None:
        """Go on when they are."""
        self.device.flush(timeline, self.size, then)
