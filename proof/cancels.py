"""The case ``cancels``: storms of cancellations over everything that can be awaited.

Each value carries the id of the one caller that wrote it, so a reply of another's commit shows.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast import AsyncStateManager, ConflictError, SetOperation, StateManager
from proof.case import Case, Counts, Trial
from proof.stores import ENGINES, open_store, require, some_partitions, sound, unable

A, B = "agent:a", "session:s"
WAVES = 5
CALLERS = 160


class Storm:
    """Callers, what each was told, and what that must mean.

    Attributes:
        told: Caller to the revision, or the length, that it was told.
        way: Caller to what it awaited.
        there: Caller to which of its keys were there when it heard that it was cancelled.
    """

    def __init__(self, state: AsyncStateManager, rng: random.Random) -> None:
        self.state = state
        self.rng = rng
        self.told: dict[str, Any] = {}
        self.way: dict[str, str] = {}
        self.there: dict[str, set[str]] = {}

    def ways(self) -> dict[str, Callable[[str], Awaitable[Any]]]:
        """Return what a caller may await."""
        return {
            "set": self.set,
            "large set": self.large_set,
            "batch": self.batch,
            "loose batch": self.loose_batch,
            "transaction": self.transaction,
            "append": lambda caller: self.state.append(B, "list", caller),
            "update": self.update,
            "slow update": self.slow_update,
            "increment": lambda _caller: self.state.increment(B, "n"),
            "scan": self.scan,
            "read": self.read,
        }

    async def call(self, caller: str, way: str) -> None:
        """Be one caller; what it was told is noted only if it was told."""
        self.way[caller] = way
        try:
            self.told[caller] = await self.ways()[way](caller)
        except asyncio.CancelledError:
            self.there[caller] = self.present(caller)
            raise

    def present(self, caller: str) -> set[str]:
        """Return which of a caller's own keys are there now."""
        sync = self.state.sync
        return {k for s in (A, B) for k in keys_of(caller, self.way[caller]) if sync.exists(s, k)}

    async def set(self, caller: str) -> int:
        """One key."""
        return await self.state.set(A, caller, caller)

    async def large_set(self, caller: str) -> int:
        """A value that is encoded off the loop."""
        return await self.state.set(A, caller, [caller] * 1000)

    async def batch(self, caller: str) -> int:
        """Three keys, all or nothing."""
        items = [SetOperation(A, f"{caller}-{part}", caller) for part in range(3)]
        first, *others = await self.state.set_batch(items, atomic=True)
        require(others == [first, first], "an atomic batch of several revisions", caller)
        return int(first)  # type: ignore[arg-type]

    async def loose_batch(self, caller: str) -> int:
        """Two keys, and one that is refused."""
        items = [SetOperation(A, f"{caller}-{part}", caller) for part in range(2)]
        items.insert(1, SetOperation(A, "never", caller, if_revision=1 << 40))
        first, refused, last = await self.state.set_batch(items)
        require(isinstance(refused, ConflictError), "a condition held that cannot", caller)
        require(first == last, "a group's items of one batch in two commits", caller)
        return int(first)  # type: ignore[arg-type]

    async def transaction(self, caller: str) -> int:
        """Two scopes in one transaction, with others between its steps."""
        async with self.state.transaction() as tx:
            tx.set(A, f"{caller}-0", caller)
            await asyncio.sleep(0)
            tx.set(B, f"{caller}-1", caller)
        return tx.revision or 0

    async def update(self, caller: str) -> Any:
        """A function of the old value."""
        return await self.state.update(B, "map", lambda old: {**(old or {}), caller: 1})

    async def slow_update(self, caller: str) -> Any:
        """A coroutine function of the old value."""

        async def change(old: Any) -> Any:
            await asyncio.sleep(0)
            return {**(old or {}), caller: 2}

        return await self.state.update(B, "map", change)

    async def scan(self, caller: str) -> None:
        """A scan and a history, read in pages in the pool."""
        async for key, found in self.state.scan(A):
            require(
                _owner(found.value) == key.partition("-")[0], "a value under another's key", key
            )
        async for _ in self.state.history(B, "list"):
            pass

    async def read(self, caller: str) -> None:
        """Reads in a snapshot."""
        async with self.state.snapshot() as snapshot:
            keys = snapshot.list_keys(A)
            await asyncio.sleep(0)
            require(snapshot.list_keys(A) == keys, "a snapshot moved", caller)

    async def wave(self, number: int) -> Counter[str]:
        """Start callers and cancel many of them at random moments, some again and again."""
        counts = Counter[str]()
        names = list(self.ways())
        tasks: list[asyncio.Task[None]] = []
        while len(tasks) < CALLERS:
            for _ in range(self.rng.randint(1, 12)):
                caller = f"c{number}.{len(tasks)}"
                tasks.append(asyncio.ensure_future(self.call(caller, self.rng.choice(names))))
            for _ in range(self.rng.choice([0, 1, 1, 1, 2])):
                await asyncio.sleep(0)
            pending = [task for task in tasks if not task.done()]
            for task in self.rng.choices(pending, k=min(len(pending), self.rng.randint(0, 12))):
                counts["cancels"] += task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, asyncio.CancelledError):
                counts["callers cancelled"] += 1
            elif isinstance(result, ConflictError):
                counts["conflicts"] += 1
            elif result is not None:
                raise result
            else:
                counts["callers answered"] += 1
        return counts


def keys_of(caller: str, way: str) -> set[str]:
    """Return the keys that only this caller writes."""
    if way in ("set", "large set"):
        return {caller}
    parts = {"batch": 3, "loose batch": 2, "transaction": 2}.get(way, 0)
    return {f"{caller}-{part}" for part in range(parts)}


def _owner(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def judge(state: StateManager, storm: Storm) -> Counts:
    """Check every reply, and that nothing is half done."""
    found = {key: value for scope in (A, B) for key, value in state.scan(scope)}
    changes = list(state.changes())
    by_revision: dict[int, set[str]] = {}
    for change in changes:
        by_revision.setdefault(change.revision, set()).add(change.key)
    counts = Counter[str]()
    for caller, way in storm.way.items():
        keys = keys_of(caller, way)
        if keys:
            there = keys & found.keys()
            require(there in (set(), keys), "half done", caller, way, there)
            require(
                storm.there.get(caller, there) == there, "done behind the cancellation", caller, way
            )
            counts["cancelled, yet whole"] += bool(there) and caller not in storm.told
            if caller in storm.told:
                require(there == keys, "acknowledged, and not there", caller, way)
                revisions = {found[key].metadata.revision for key in keys}
                require(
                    revisions == {storm.told[caller]}, "another's reply", caller, way, revisions
                )
                require(by_revision[storm.told[caller]] == keys, "not its own commit", caller, way)
            for key in there:
                require(_owner(found[key].value) == caller, "another's value", key)
    _judge_shared(state, storm, changes)
    return counts


def _judge_shared(state: StateManager, storm: Storm, changes: list[Any]) -> None:
    elements = state.get(B, "list", [])
    require(len(set(elements)) == len(elements), "appended twice", Counter(elements).most_common(3))
    members = state.get(B, "map", {})
    for caller, way in storm.way.items():
        told = storm.told.get(caller)
        if way == "append" and told is not None:
            require(elements[told - 1] == caller, "another's length", caller, told)
        if way in ("update", "slow update") and told is not None:
            require(caller in members and caller in told, "an update is lost", caller)
    sums = [told for caller, told in storm.told.items() if storm.way[caller] == "increment"]
    total = state.get(B, "n", 0)
    written = [change.value for change in changes if change.key == "n"]
    require(written == list(range(1, total + 1)), "increments", written[-3:], total)
    require(len(set(sums)) == len(sums) and set(sums) <= set(written), "another's sum", sums[-3:])


def run(trial: Trial) -> Counts:
    """Attack once: waves of callers and cancellations, then a close look."""
    before = set(threading.enumerate())
    counts = asyncio.run(_run(trial))
    left = {t.name for t in set(threading.enumerate()) - before if t.name.startswith("holdfast-l")}
    require(not left, "threads are left", left)
    return counts


async def _run(trial: Trial) -> Counts:
    rng, counts = trial.random(), Counter[str]()
    partitions = some_partitions(rng)
    state = open_store(trial.engine, trial.directory, partitions=partitions)
    async with AsyncStateManager(state) as aio:
        storm = Storm(aio, rng)
        for number in range(WAVES):
            counts += await storm.wave(number)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        require(not tasks, "tasks are left", tasks)
        kernel = state._kernel
        require(kernel.lane.depth() == 0, "the lane is not empty", kernel.lane.depth())
        await aio.set(A, "last", "last")
        counts += judge(state, storm)
        sound(state)
    aio._pool.shutdown()  # reads that nobody awaits any more
    require(not kernel.pins._held, "pins are left", kernel.pins._held)
    return counts


CASE = Case(
    name="cancels",
    claim="cancelled awaits leave nothing half done, and no reply reaches another caller",
    run=run,
    engines=ENGINES,
    quick=1,
    long=25,
    unable=unable,
)
