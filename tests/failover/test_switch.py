"""The switch, with writers that go on: nothing acknowledged is lost, whatever the moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from holdfast import AsyncStateManager, DegradedError, StateManager
from holdfast.errors import ClosedError, OutcomeUnknownError
from holdfast.testing import Fault, FaultPlan
from tests.failover.conftest import World

A = "agent:a"
pytestmark = pytest.mark.parametrize("world", [1, 3], indirect=True)
Until = Callable[[Callable[[], bool]], None]


class Writers:
    """Threads that write numbers, each to keys of its own and in order, and note what is told."""

    def __init__(self, state: StateManager, count: int) -> None:
        self.told: list[dict[str, int]] = [{} for _ in range(count)]
        self._state = state
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, name: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            key = f"{name}-{number % 5}"
            self._state.set(A, key, number, durability="os")
            self.told[name][key] = number
            assert self._state.get(A, key) == number

    def done(self) -> dict[str, int]:
        """Stop, and return the last acknowledged value of each key."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return {key: value for told in self.told for key, value in told.items()}

    def amount(self) -> int:
        """Return about how many writes were acknowledged."""
        return sum(max(told.values(), default=0) for told in self.told)


def test_writers_do_not_notice(world: World, until: Until) -> None:
    """Threads write and read their own writes through three outages; all of it is there."""
    state, others = world.open(), world.others()
    writers = Writers(state, 4)
    for _ in range(3):
        seen = writers.amount()
        until(lambda: writers.amount() > seen + 40)  # noqa: B023
        world.cut.set()
        until(lambda: state.failover.status().state == "open")
        seen = writers.amount()
        until(lambda: writers.amount() > seen + 40)  # noqa: B023
        world.cut.clear()
        until(state.failover.probe)
    told = writers.done()
    assert {key: others.get(A, key) for key in told} == told
    assert state.failover.conflicts() == []


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.LANDED])
def test_a_group_in_doubt(world: World, until: Until, fault: Fault) -> None:
    """Where the outcome of a whole group is unknown, each of its writes arrives once."""
    state, others = world.open(), world.others()
    engine = world.engines[-1]
    engine.plan = FaultPlan({("commit", 25): fault})
    writers = Writers(state, 4)
    until(lambda: state.failover.status().state == "open")
    until(state.failover.probe)
    told = writers.done()
    assert {key: others.get(A, key) for key in told} == told
    assert state.failover.conflicts() == []
    for name in range(4):
        values = [c.value for c in others.changes(scope=A) if c.key.startswith(f"{name}-")]
        assert values == sorted(set(values))  # in order, none twice


def test_the_background_comes_back_by_itself(world: World, until: Until) -> None:
    """Probes follow the clock; the heartbeat notices an outage that nobody's call met."""
    state = world.open(heartbeat=1.0, probe_every=0.5, probe_most=2.0)
    state.set(A, "k", 1)
    world.cut.set()
    world.clock.await_waiters()
    world.clock.advance(1.0)
    until(lambda: state.failover.status().state == "open")
    state.set(A, "k", 2)
    world.cut.clear()

    def back() -> bool:
        world.clock.advance(0.5)
        return state.failover.status().state == "closed"

    until(back)
    assert world.others().get(A, "k") == 2


def test_async_writers_do_not_notice(world: World) -> None:
    """Tasks write through an outage and back; the loop's own thread never commits."""
    state, others = world.open(), world.others()

    async def run() -> dict[str, int]:
        store = AsyncStateManager(state)
        told: dict[str, int] = {}

        async def write(name: int, count: int) -> None:
            for number in range(1, count + 1):
                await store.set(A, f"k{name}", number, durability="os")
                told[f"k{name}"] = number
                assert await store.get(A, f"k{name}") == number

        async def all_write(count: int) -> None:
            await asyncio.gather(*(write(name, count) for name in range(20)))

        await all_write(3)
        world.cut.set()
        await all_write(5)
        assert store.failover.status().state == "open"
        with pytest.raises(DegradedError):
            await store.increment(A, "k1")
        assert await store.increment(A, "k1", provisional=True) == 6
        told["k1"] = 6
        world.cut.clear()
        writing = asyncio.ensure_future(write(99, 50))
        assert await asyncio.to_thread(store.failover.probe)
        await writing
        await all_write(7)
        assert (await store.health()).components["failover"].status != "degraded"
        return told

    told = asyncio.run(run())
    assert {key: others.get(A, key) for key in told} == told


def test_async_in_doubt(world: World) -> None:
    """Awaited writes whose outcome is unknown arrive once; conditional ones say so."""
    state, others = world.open(), world.others()

    async def run() -> list[object]:
        store = AsyncStateManager(state)
        await store.set(A, "n", 0)
        engine = world.engines[-1]
        engine.plan = FaultPlan({("commit", engine.counts["commit"]): Fault.LANDED})
        blind = [store.set(A, f"k{n}", n) for n in range(10)]
        return await asyncio.gather(store.increment(A, "n"), *blind, return_exceptions=True)

    first, *rest = asyncio.run(run())
    assert isinstance(first, OutcomeUnknownError | DegradedError)
    assert all(isinstance(each, int) for each in rest)
    assert state.failover.probe()
    assert [others.get(A, f"k{n}") for n in range(10)] == list(range(10))
    assert len([c for c in others.changes() if c.key.startswith("k")]) == 10


def test_closed_while_away(world: World) -> None:
    """Closing in an outage is no error, and using the store then is ClosedError."""
    state = world.open()
    state.set(A, "k", 1)
    world.cut.set()
    state.set(A, "k", 2)
    state.close()
    state.close()
    with pytest.raises(ClosedError):
        state.set(A, "k", 3)


def test_without_a_spill_there_is_no_failover(world: World) -> None:
    """Where the spill itself cannot be written, callers get the primary's own error."""
    state = world.open()
    state.set(A, "k", 1)
    kernel = state._kernel
    spill = kernel.spill  # type: ignore[attr-defined]
    spill.mirror.flush = spill.begin  # what comes first at the trip
    real = spill.begin

    def full(code: str) -> None:
        from holdfast.errors import DiskFullError

        raise DiskFullError("no space for the spill")

    spill.begin = full
    world.cut.set()
    with pytest.raises(Exception, match="does not answer"):
        state.set(A, "k", 2)
    assert state.failover.status().state == "closed"
    assert state.failover.status().code == "disk_full"
    spill.begin = real
    del spill.mirror.flush
    assert state.set(A, "k", 2) < 0


def test_commits_of_a_partition_are_told_in_their_order(world: World) -> None:
    """What keeps the telling of a partition's commits in order is the same over a switch."""
    state = world.open()
    feed, last = state._kernel.feed, world.settings.partitions or 1
    feed.subscribe(lambda commits: None)
    with feed.in_order(range(last)):
        held = dict(feed._order)
        assert [held[number].locked() for number in range(last)] == [True] * last
    state.failover.leave()
    assert state.failover.probe()
    assert state._kernel.feed is feed
    assert feed._order == held
    state.set(A, "k", 1)
