"""A fleet on one Postgres server as a queueing model: processes, lanes, row locks, cores, one log.

Writers wait for each acknowledgement and write again at once. What a process has queued for a
partition goes as one group: it takes the partition's row lock, reads, decides, writes, and holds
the lock until the log is on disk, exactly as the engine does. Pure: costs in, figures out.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.scaling.events import Activity, Device, Flush, Pause, Resource, Take, Timeline, Work
from holdfast.store.lane import MAX_ITEMS
from holdfast.store.partitions import Partitions
from holdfast.store.scope import StateScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What things cost, in seconds of one core and in bytes; all measured by `costs`.

    Attributes:
        trip: Network and wake-ups of a round trip, beside the work at both ends.
        client_set: Of a writer's process per set, outside the lock: call, encode, queue, wake.
        client_group: Of its lane per group, outside the lock.
        held_group, held_set: Of its lane while it holds the lock.
        begin, held_server, server_set: Of the server: up to the lock, per group and set under it.
        flush: One flush of the log; `bandwidth` is the log device's, in bytes a second.
        wal_group, wal_set: Bytes of log.
    """

    trip: float = 0.0
    client_set: float = 0.0
    client_group: float = 0.0
    held_group: float = 0.0
    held_set: float = 0.0
    begin: float = 0.0
    held_server: float = 0.0
    server_set: float = 0.0
    flush: float = 0.0
    bandwidth: float = 1e9
    wal_group: float = 0.0
    wal_set: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Who writes, and on what.

    Attributes:
        writers: Over all processes, in turn.
        processes: Each has one interpreter lock.
        shares: How often each partition is written.
        cores: The server's; `slowed` tells how much longer than alone a piece of work takes there.
        apart: Processes have cores of their own, elsewhere; else they share the server's.
        connections: Of each process.
        routed: Each process writes partitions of its own only (callers are sent to it by scope).
    """

    writers: int = 1000
    processes: int = 4
    shares: tuple[float, ...] = (1.0,)
    cores: int = 2
    slowed: float = 1.0
    apart: bool = False
    connections: int = 10
    routed: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it, after the first fifth of the time.

    Attributes:
        rate, groups: Sets, and groups (each draws a number of the sequence), a second.
        p50, p99, mean: Seconds from a call to its acknowledgement.
        waited: Mean seconds that a group waited for its row lock.
        held: Share of the time that the busiest partition was locked.
        cpu, log: Share of the time that the server's cores, and the log device, were busy.
    """

    rate: float
    groups: float
    p50: float
    p99: float
    mean: float
    waited: float
    held: float
    cpu: float
    log: float


def uniform(partitions: int) -> tuple[float, ...]:
    """Return the shares of so many partitions where every scope is written alike."""
    return (1.0 / partitions,) * partitions


def zipf(partitions: int, scopes: int, exponent: float) -> tuple[float, ...]:
    """Return the shares where the k-th scope is written in proportion to ``k ** -exponent``."""
    places = Partitions(partitions)
    weights = dict.fromkeys(range(partitions), 0.0)
    for number in range(scopes):
        weight = (number + 1.0) ** -exponent
        where = places.of(b"\0" + StateScope.agent(f"agent-{number:06d}").packed)
        weights[where] += weight
    total = sum(weights.values())
    return tuple(each / total for each in weights.values())


def simulate(costs: Costs, fleet: Fleet, *, seconds: float = 5.0, seed: int = 1) -> Figures:
    """Run the model for so long and return its figures."""
    run = _Run(costs, fleet, seconds * 0.2, seed)
    run.begin()
    run.timeline.run(seconds)
    return run.figures(seconds * 0.8)


class _Run:
    def __init__(self, costs: Costs, fleet: Fleet, warm: float, seed: int) -> None:
        self.timeline = Timeline()
        self._costs, self._fleet, self._warm = costs, fleet, warm
        self._random = random.Random(seed)
        parts = range(len(fleet.shares))
        self._parts = [[*parts] for _ in range(fleet.processes)]
        if fleet.routed:
            self._parts = [
                [part for part in parts if part % fleet.processes == each] or [each % len(parts)]
                for each in range(fleet.processes)
            ]
        self._up_to = [
            list(itertools.accumulate(fleet.shares[part] for part in own)) for own in self._parts
        ]
        self._cores = Resource(fleet.cores)
        self._gils = [Resource(1) for _ in range(fleet.processes)]
        self._pools = [Resource(fleet.connections) for _ in range(fleet.processes)]
        self._locks = [Resource(1) for _ in fleet.shares]
        self._log = Device(costs.flush, costs.bandwidth)
        self._queues: dict[tuple[int, int], deque[float]] = {}
        self._leading: set[tuple[int, int]] = set()
        self._latencies: list[float] = []
        self._waits: list[float] = []
        self._held: Counter[int] = Counter()
        self._groups = 0
        self._before = (0.0, 0.0)

    def begin(self) -> None:
        """Let every writer make its first call, and forget the warm-up when it is over."""
        fleet = self._fleet
        for process in range(fleet.processes):
            own = len(range(process, fleet.writers, fleet.processes))
            self.timeline.start(self._calls(process, own))
        self.timeline.at(self._warm, self._forget)

    def _forget(self) -> None:
        self._latencies.clear()
        self._waits.clear()
        self._held.clear()
        self._groups = 0
        self._before = (self._cores.busy, self._log.busy)

    def _client(self, process: int, seconds: float) -> Work:
        gil = self._gils[process]
        if self._fleet.apart:
            return Work(seconds, (gil,))
        return Work(seconds * self._fleet.slowed, (gil, self._cores))

    def _server(self, seconds: float) -> Work:
        return Work(seconds * self._fleet.slowed, (self._cores,))

    def _calls(self, process: int, count: int) -> Activity:
        """Wake `count` writers of a process, who call again, each for some partition."""
        called = self.timeline.now
        yield self._client(process, count * self._costs.client_set)
        own, up_to = self._parts[process], self._up_to[process]
        parts = self._random.choices(own, cum_weights=up_to, k=count)
        for part in parts:
            self._queues.setdefault((process, part), deque()).append(called)
        for part in sorted(set(parts)):
            self._lead((process, part))

    def _lead(self, lane: tuple[int, int]) -> None:
        queue = self._queues[lane]
        if queue and lane not in self._leading:
            self._leading.add(lane)
            group = [queue.popleft() for _ in range(min(len(queue), MAX_ITEMS))]
            self.timeline.start(self._group(lane, group))

    def _group(self, lane: tuple[int, int], group: list[float]) -> Activity:
        costs, timeline, (process, part) = self._costs, self.timeline, lane
        count = len(group)
        yield Take(self._pools[process])
        yield self._client(process, costs.client_group / 2)
        yield Pause(costs.trip / 2)
        yield self._server(costs.begin)
        asked = timeline.now
        yield Take(self._locks[part])
        since = timeline.now
        self._waits.append(since - asked)
        yield Pause(costs.trip)
        yield self._client(process, costs.held_group / 2)
        yield self._server((costs.held_server + count * costs.server_set) / 2)
        yield Pause(costs.trip)
        yield self._client(process, costs.held_group / 2 + count * costs.held_set)
        yield self._server((costs.held_server + count * costs.server_set) / 2)
        yield Flush(self._log, costs.wal_group + count * costs.wal_set)
        self._locks[part].give(timeline)
        self._held[part] += timeline.now - max(since, self._warm)
        yield Pause(costs.trip / 2)
        yield self._client(process, costs.client_group / 2)
        self._pools[process].give(timeline)
        self._groups += 1
        self._leading.discard(lane)
        self._lead(lane)
        self._latencies += [timeline.now - since for since in group]
        yield from self._calls(process, count)

    def figures(self, seconds: float) -> Figures:
        """Return what was counted in the last `seconds`."""
        found = sorted(self._latencies)
        cpu, log = self._cores.busy - self._before[0], self._log.busy - self._before[1]
        return Figures(
            rate=len(found) / seconds,
            groups=self._groups / seconds,
            p50=quantile(found, 0.5),
            p99=quantile(found, 0.99),
            mean=sum(found) / len(found) if found else 0.0,
            waited=sum(self._waits) / len(self._waits) if self._waits else 0.0,
            held=min(1.0, max(self._held.values(), default=0.0) / seconds),
            cpu=cpu / seconds / self._fleet.cores,
            log=log / seconds,
        )


def quantile(ascending: Sequence[float], share: float) -> float:
    """Return a quantile of sorted figures; 0 where there are none."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))] if ascending else 0.0


def fields(figures: Any) -> dict[str, float]:
    """Return a dataclass's figures, rounded to four digits."""
    return {name: float(f"{getattr(figures, name):.4g}") for name in figures.__dataclass_fields__}
