"""The case ``registers``: gets, sets, compare-and-sets and increments, linearisable under faults.

Run as a module it is one of the processes that are killed.
"""

from __future__ import annotations

import json
import math
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast import ConflictError, OutcomeUnknownError, StateManager
from holdfast.config import parse_url
from holdfast.engines.registry import open_engine
from holdfast.errors import EngineError, PoisonedError
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.testing import FaultPlan, FaultyEngine
from proof.case import Case, Counts, Trial
from proof.children import Child, ready, say
from proof.faults import RandomFaults
from proof.linear import Call, linearisable
from proof.stores import (
    ENGINES,
    QUICK,
    SHARED,
    open_store,
    require,
    some_partitions,
    sound,
    unable,
    url_of,
)

A = "agent:a"
KEYS = ("x", "y", "z")
CLIENTS = 5
EACH = 60
STEP = 1000  # between the values that are set: increments never reach the next one

Say = Callable[[list[Any]], None]


def client(
    state: StateManager, seed: str, unique: range, say_it: Say, recover: Callable[[], None]
) -> None:
    """Run one client; each call is said before it is made, and its result behind it."""
    rng = random.Random(seed)
    seen: dict[str, tuple[Any, int]] = dict.fromkeys(KEYS, (None, 0))
    for number, fresh in zip(range(EACH), unique, strict=False):
        key = rng.choice("xxxyyz")
        kind = rng.choice(["get", "get", "get", "set", "cas", "cas", "add"])
        commit_id = rng.randbytes(16)
        value, revision = seen[key]
        argument = {"set": fresh * STEP, "cas": (value, fresh * STEP), "add": 1}.get(kind)
        name = f"{unique.start}.{number}"
        say_it(["call", name, key, kind, argument, time.monotonic_ns(), commit_id.hex()])

        def write(
            key: str = key,
            kind: str = kind,
            fresh: int = fresh,
            revision: int = revision,
            commit_id: bytes = commit_id,
        ) -> Any:
            if kind == "add":
                return state.increment(A, key, commit_id=commit_id)
            wanted = revision if kind == "cas" else None
            try:
                state.set(A, key, fresh * STEP, if_revision=wanted, commit_id=commit_id)
            except ConflictError:
                return False
            return True

        try:
            if kind == "get" and rng.random() < 0.5:
                result = state.get(A, key)  # may come from a cache
            elif kind == "get":
                found = state.get_with_metadata(A, key)
                seen[key] = (found.value, found.metadata.revision) if found else (None, 0)
                result = seen[key][0]
            else:
                result = write()
        except OutcomeUnknownError:
            recover()
            chance = rng.random()
            if chance < 0.4 and kind != "add":
                try:  # the idempotent retry
                    result = write()
                except EngineError:
                    continue
            elif chance < 0.8:
                try:
                    landed = state.find_commit(commit_id)
                except EngineError:
                    continue
                if landed is None:
                    say_it(["never", name])
                    continue
                result = None if kind == "add" else True
            else:
                continue  # nobody ever learns
        except PoisonedError:
            recover()
            say_it(["never", name])
            continue
        except EngineError:
            say_it(["never", name])
            continue
        say_it(["done", name, time.monotonic_ns(), result])


def calls_of(said: list[list[Any]]) -> dict[str, dict[str, list[Any]]]:
    """Return what was said by key and name: [kind, argument, began, ended, result, commit id]."""
    open_calls: dict[str, tuple[str, list[Any]]] = {}
    for line in said:
        if line[0] == "call":
            _, name, key, kind, argument, began, commit_id = line
            open_calls[name] = (key, [kind, argument, began, math.inf, None, commit_id])
    for line in said:
        if line[0] == "done":
            open_calls[line[1]][1][3:5] = line[2:4]
        elif line[0] == "never":
            del open_calls[line[1]]
    out: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    for name, (key, fields) in open_calls.items():
        out[key][name] = fields
    return out


def judge(state: StateManager, said: list[list[Any]], rng: random.Random) -> Counter[str]:
    """Check every key's history; calls nobody answered are looked up, or left open."""
    counts = Counter[str]()
    for key, fields_of in calls_of(said).items():
        calls = []
        for kind, argument, began, ended, result, commit_id in fields_of.values():
            if ended == math.inf:
                if kind == "get":
                    continue
                if rng.random() < 0.8:
                    if state.find_commit(commit_id) is None:
                        counts["never happened"] += 1
                        continue
                    ended, result = time.monotonic_ns(), None if kind == "add" else True
                    counts["found to have happened"] += 1
                else:
                    counts["left open"] += 1
            if isinstance(argument, list):
                argument = tuple(argument)
            calls.append(Call(kind, began, ended, argument, result))
        now = time.monotonic_ns()
        calls.append(Call("get", now, now + 1, result=state.get(A, key)))
        require(linearisable(calls), "not linearisable", key, sorted(calls, key=lambda c: c.began))
        counts["calls"] += len(calls)
        counts["refused"] += sum(call.kind == "cas" and call.result is False for call in calls)
    return counts


def run(trial: Trial) -> Counts:
    """Attack once: threads over a failing engine, or processes that are killed."""
    if trial.engine in SHARED and trial.index % 2:
        return _killed(trial)
    return _faulty(trial)


def _faulty(trial: Trial) -> Counts:
    rng, plan = trial.random(), RandomFaults(trial.seed)
    engine = FaultyEngine(open_engine(parse_url(url_of(trial.engine, trial.directory))), plan)
    cached = not engine.traits.shared and rng.random() < 0.5
    engine.plan = FaultPlan()
    kernel = Kernel(
        engine,
        StoreSettings(
            cache_bytes=1 << 20 if cached else 0, sweep_every=0, partitions=some_partitions(rng)
        ),
    )
    said: list[list[Any]] = []
    with StateManager(kernel, policies=QUICK) as state:
        engine.plan = plan
        broken: list[BaseException] = []

        def one(number: int) -> None:
            own = range(1 + number * EACH, 1 + (number + 1) * EACH)
            try:
                client(state, f"{trial.seed}/{number}", own, said.append, engine.reopen)
            except BaseException as error:  # noqa: BLE001 - raised below
                broken.append(error)

        threads = [threading.Thread(target=one, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if broken:
            raise broken[0]
        engine.plan = FaultPlan()
        engine.reopen()
        counts = judge(state, said, rng)
        sound(state)
    counts["faults"] = plan.taken.total()
    return counts


def _killed(trial: Trial) -> Counts:
    rng, said = trial.random(), list[list[Any]]()
    open_store(trial.engine, trial.directory, partitions=some_partitions(rng)).close()
    kills = Counter[str]()

    def slot(number: int, deaths: list[int]) -> None:
        for generation, lines in enumerate(deaths):
            first = 1 + (number * 10 + generation) * 2 * EACH
            arguments = {
                "engine": trial.engine,
                "directory": str(trial.directory),
                "seed": f"{trial.seed}/{number}/{generation}",
                "first": first,
            }
            child = Child("proof.registers", arguments)
            try:
                child.line()
                child.start()
                for count, line in enumerate(child.lines()):
                    said.append(line)
                    if count == lines:
                        child.kill()
                        kills["kills"] += 1
            finally:
                child.kill()
                child.end()

    deaths = [[rng.randint(5, 3 * EACH) for _ in range(2)] + [1 << 30] for _ in range(3)]
    slots = [threading.Thread(target=slot, args=(n, deaths[n])) for n in range(3)]
    for thread in slots:
        thread.start()
    for thread in slots:
        thread.join()
    require(sum(line[0] == "done" for line in said) >= 3 * EACH, "the children did not work")
    with open_store(trial.engine, trial.directory) as state:
        counts = judge(state, said, rng)
        sound(state)
    return counts + kills


def _child(arguments: dict[str, Any]) -> None:
    """Be one process: two clients."""

    def recover() -> None:
        raise AssertionError("nothing fails here")

    with open_store(arguments["engine"], Path(arguments["directory"])) as state:
        ready()
        seed, first = arguments["seed"], arguments["first"]
        threads = [
            threading.Thread(
                target=client,
                args=(state, f"{seed}/{n}", range(first + n * EACH, first + (n + 1) * EACH),
                      say, recover),
            )
            for n in range(2)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


CASE = Case(
    name="registers",
    claim="registers are linearisable, through failing commits and killed processes",
    run=run,
    engines=ENGINES,
    quick=2,
    long=400,
    unable=unable,
)

if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
