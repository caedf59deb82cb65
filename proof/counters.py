"""The case ``counters``: processes, threads and tasks add by every verb; the sum is exact.

Run as a module it is one of the processes.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
from pathlib import Path
from typing import Any

from holdfast import AsyncStateManager, ConflictError, StateManager
from proof.case import Case, Counts, Trial
from proof.children import children, ready, say
from proof.stores import SHARED, open_store, require, some_partitions, sound, unable

PROCESSES = 3
ROUNDS = 40


def _scope(key: str) -> str:
    return f"agent:{key}"


def add(state: StateManager, key: str, verb: str) -> None:
    """Add one, by one of the ways there are."""
    if verb == "increment":
        state.increment(_scope(key), key)
    elif verb == "update":
        state.update(_scope(key), key, lambda n: (n or 0) + 1)
    elif verb == "transact":
        state.transact(lambda tx: tx.set(_scope(key), key, tx.get(_scope(key), key, 0) + 1))
    else:
        while True:
            found = state.get_with_metadata(_scope(key), key)
            value, revision = (found.value, found.metadata.revision) if found else (0, 0)
            try:
                state.set(_scope(key), key, value + 1, if_revision=revision)
            except ConflictError:
                continue
            return


async def add_async(state: AsyncStateManager, key: str, verb: str) -> None:
    """Add one, awaiting."""

    async def slow(n: int | None) -> int:
        await asyncio.sleep(0)
        return (n or 0) + 1

    if verb in ("increment", "if_revision"):
        await state.increment(_scope(key), key)
    elif verb == "update":
        await state.update(_scope(key), key, slow)
    else:
        await state.transact(lambda tx: tx.increment(_scope(key), key))


def run(trial: Trial) -> Counts:
    """Attack once."""
    partitions = some_partitions(trial.random())
    with open_store(trial.engine, trial.directory, partitions=partitions) as state:
        common = {"engine": trial.engine, "directory": str(trial.directory)}
        arguments = [{**common, "seed": f"{trial.seed}/{n}"} for n in range(PROCESSES)]
        added: dict[str, int] = {}
        with children("proof.counters", arguments) as started:
            for child in started:
                child.start()
            for child in started:
                told = child.line()
                require(isinstance(told, dict), "a child died")
                for key, count in told.items():
                    added[key] = added.get(key, 0) + count
        for key, count in added.items():
            require(
                state.get(_scope(key), key) == count,
                "not exact",
                key,
                state.get(_scope(key), key),
                count,
            )
            values = [c.value for c in state.history(_scope(key), key, newest_first=False)]
            require(values == list(range(1, count + 1)), "the history skips or repeats", key)
        commits = [change.revision for change in state.changes(values=False)]
        require(len(set(commits)) == len(commits) == sum(added.values()), "commits", len(commits))
        sound(state)
    return {"added": sum(added.values())}


def _child(arguments: dict[str, Any]) -> None:
    rng = random.Random(arguments["seed"])
    verbs = ["increment", "update", "transact", "if_revision"]
    plans = [[(rng.choice("xxy"), rng.choice(verbs)) for _ in range(ROUNDS)] for _ in range(3)]
    with open_store(arguments["engine"], Path(arguments["directory"])) as state:
        ready()

        async def tasks() -> None:
            aio = AsyncStateManager(state)

            async def task(plan: list[tuple[str, str]]) -> None:
                for key, verb in plan:
                    await add_async(aio, key, verb)

            await asyncio.gather(*[task(plan) for plan in plans[1:]])

        thread = threading.Thread(target=lambda: [add(state, k, v) for k, v in plans[0]])
        thread.start()
        asyncio.run(tasks())
        thread.join()
    keys = [key for plan in plans for key, _ in plan]
    say({key: keys.count(key) for key in "xy"})


CASE = Case(
    name="counters",
    claim="increments by every verb, from processes, threads and tasks, end at the exact sum",
    run=run,
    engines=SHARED,
    quick=1,
    long=50,
    unable=unable,
)

if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
