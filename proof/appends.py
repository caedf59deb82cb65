"""The case ``appends``: random transactions of threads, tasks and processes, checked for cycles.

Run as a module it is one of the processes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast import AsyncStateManager, StateManager
from proof.case import Case, Counts, Trial
from proof.children import children, ready, say
from proof.clients import work, work_async
from proof.histories import Txn, anomalies
from proof.stores import ENGINES, SHARED, open_store, require, some_partitions, sound, unable
from proof.witness import Past, contradictions

CLIENTS = 6
EACH = 40


def run(trial: Trial) -> Counts:
    """Attack once: threads, tasks and, where the engine is shared, processes take turns."""
    ways: list[Callable[[Trial, StateManager], list[Txn]]] = [_threads, _tasks]
    if trial.engine in SHARED:
        ways.append(_processes)
    way = ways[trial.index % len(ways)]
    partitions = some_partitions(trial.random())
    with open_store(trial.engine, trial.directory, partitions=partitions) as state:
        history = way(trial, state)
        return _judge(state, history) | {"by" + way.__name__.replace("_", " "): len(history)}


def _judge(state: StateManager, history: list[Txn]) -> Counts:
    changes = [(c.revision, f"{c.scope}/{c.key}", c.value) for c in state.changes()]
    past = Past.of(changes)
    final = {key: past.values[key][-1] for key in past.values if "/l" in key}
    for txn in history:  # a list that nobody appended to ended empty
        for kind, key, _ in txn.ops:
            if kind in ("append", "read"):
                final.setdefault(key, [])
    # The graph takes keys that are never deleted; the journal's account covers the others too.
    graph = [
        dataclasses.replace(txn, ops=[op for op in txn.ops if "/d" not in op[1]]) for txn in history
    ]
    found = anomalies(graph, final)
    require(not found, len(found), *found[:3])
    wrong = list(contradictions(history, past))
    require(not wrong, len(wrong), *wrong[:3])
    for key, value in final.items():
        scope, _, name = key.rpartition("/")
        require(state.get(scope, name, []) == value, "the end is not what the journal says", key)
    sound(state)
    counts = Counter[str](transactions=len(history))
    counts["committed"] = sum(txn.committed is True for txn in history)
    counts["conflicts"] = sum(txn.committed is False for txn in history)
    counts["elements read"] = sum(
        len(value) for txn in history for kind, _, value in txn.ops if kind in ("read", "list")
    )
    return counts


def _threads(trial: Trial, state: StateManager) -> list[Txn]:
    history: list[Txn] = []
    errors: list[BaseException] = []

    def client(number: int) -> None:
        try:
            history.extend(work(state, f"t{number}", f"{trial.seed}/{number}", EACH))
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return history


def _tasks(trial: Trial, state: StateManager) -> list[Txn]:
    async def main() -> list[Txn]:
        aio = AsyncStateManager(state)
        clients = [work_async(aio, f"a{n}", f"{trial.seed}/{n}", EACH) for n in range(2 * CLIENTS)]
        return [txn for history in await asyncio.gather(*clients) for txn in history]

    return asyncio.run(main())


def _processes(trial: Trial, _state: StateManager) -> list[Txn]:
    arguments = [
        {
            "engine": trial.engine,
            "directory": str(trial.directory),
            "name": f"p{n}",
            "seed": f"{trial.seed}/{n}",
        }
        for n in range(3)
    ]
    history = []
    with children("proof.appends", arguments) as started:
        for child in started:
            child.start()
        for child in started:
            for fields in child.lines():
                fields["ops"] = [(kind, key, value) for kind, key, value in fields["ops"]]
                history.append(Txn(**fields))
    require(len(history) == 3 * 2 * EACH, "a child died", len(history))
    return history


def _child(arguments: dict[str, Any]) -> None:
    """Be one process: a thread and a task."""
    with open_store(arguments["engine"], Path(arguments["directory"])) as state:
        name, seed = arguments["name"], arguments["seed"]
        ready()
        done: list[Txn] = []
        thread = threading.Thread(target=lambda: done.extend(work(state, f"{name}t", seed, EACH)))
        thread.start()
        done.extend(asyncio.run(work_async(AsyncStateManager(state), f"{name}a", seed + "a", EACH)))
        thread.join()
        for txn in done:
            say(dataclasses.asdict(txn))


CASE = Case(
    name="appends",
    claim="random transactions of threads, tasks and processes are strictly serialisable",
    run=run,
    engines=ENGINES,
    quick=3,
    long=300,
    unable=unable,
)

if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
