"""Kill -9 at any moment: nothing acknowledged is lost, nothing is torn, nothing comes back."""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import holdfast
from holdfast import StateError, StateManager
from proof import places
from proof.case import Case, Counts, Refuted, Trial
from proof.nursery import Child, shared
from proof.oracle import Oracle
from proof.stores import PARTITIONS
from proof.writer import KEPT

CYCLES = 10
FAILURES = ("stopped", "failed", "unknown")
MODES = {"write": 6, "compact": 3, "copy": 1, "repair": 1}


def attempt(trial: Trial) -> Counts:
    """Kill one store's writers `CYCLES` times, and compare after each."""
    chance = trial.random()
    partitions = chance.choice(PARTITIONS)
    oracle = Oracle(gaps=partitions > 1 and trial.engine == "postgres")
    oracle.kept = KEPT
    counts: Counter[str] = Counter()
    nursery = shared()
    nursery.abandon()
    for cycle in range(CYCLES):
        mode = chance.choices(list(MODES), list(MODES.values()))[0]
        whole = trial.engine == "postgres" and chance.random() < 0.3  # the server dies, too
        mode = "write" if whole else mode
        targets = trial.directory / f"targets-{cycle}"
        targets.mkdir()
        order = {
            "url": places.url_of(trial.engine, trial.directory / "store", chance),
            "partitions": partitions,
            "mode": mode,
            "threads": chance.choice([1, 2, 4]),
            "seed": f"{trial.seed}/{cycle}",
            "engine": chance.choice(["sqlite", "rocksdb"]),
            "targets": str(targets),
        }
        if whole:  # what `os` asks of Postgres is in its memory for a moment
            order["durability"] = ["sync"]
        oracle.trimmed |= mode == "compact"
        child = nursery.child("proof.writer:run", order)
        if whole:
            _kill_server(child, chance, order["threads"])
            counts["servers killed"] += 1
        else:
            _kill_somewhere(child, chance)
        if nursery.status() != -signal.SIGKILL:
            raise Refuted(f"the writer ended by itself: {child.words[-3:]}")
        for word in child.words:
            if word[0] == "broke" or (word[0] in FAILURES and not whole):
                raise Refuted(f"the writer failed without a fault: {word}")
            oracle.hear(word)
        if trial.engine == "postgres":
            places.settle()
        with holdfast.open(order["url"], partitions=partitions) as state:
            counts["undecided that happened"] += oracle.check(state)
            counts[f"cycles of {mode}"] += 1
            if mode in ("copy", "repair"):
                counts[f"whole targets of {mode}"] += _targets(child, order, state)
        shutil.rmtree(targets)
    several = CYCLES if partitions > 1 else 0
    return {
        "kills": CYCLES,
        "with several partitions": several,
        "acknowledged": oracle.acknowledged,
        **counts,
    }


def _kill_somewhere(child: Child, chance: random.Random) -> None:
    """Kill after some acknowledgements and a moment more, or at any time since the fork."""
    if chance.random() < 0.2:
        acknowledgements, moment = 0, chance.uniform(0, 0.06)
    else:
        acknowledgements, moment = chance.randrange(1, 60), chance.uniform(0, 0.004)
    while acknowledgements > 0:
        word = child.hear()
        if word is None or word[0] in ("broke", "stopped"):
            break
        acknowledgements -= word[0] in ("done", "made")
    child.linger(moment)
    child.kill()


def _kill_server(child: Child, chance: random.Random, threads: int) -> None:
    """Kill the server after some acknowledgements; the writers end with errors, then by a kill."""
    acknowledgements = chance.randrange(1, 60)
    while acknowledgements > 0 and (word := child.hear()) is not None:
        acknowledgements -= word[0] == "done"
    places.server().kill9()
    while len(_said(child, "stopped")) < threads and child.hear() is not None:
        pass
    child.kill()
    places.server().start()


def _targets(child: Child, order: dict[str, Any], source: StateManager) -> int:
    """Check what copies and repairs left: whole stores, or none that opens; count the whole."""
    made = {number: told for _, number, *told in _said(child, "made")}
    whole = 0
    for _, number in _said(child, "begun"):
        url = f"{order['engine']}:{Path(order['targets']) / str(number)}"
        try:
            copy = holdfast.open(url, create=False)
        except StateError as error:
            if number in made:
                raise Refuted(f"a finished {order['mode']} does not open: {error}") from error
            continue
        with copy:
            if made.get(number, [None]) not in ([None], [copy.revision]):
                raise Refuted(f"the {order['mode']} is of {copy.revision}, not {made[number]}")
            problems = copy.verify()
            if problems:
                raise Refuted(f"a {order['mode']} that opens is not sound: {problems[:3]}")
            for scope in copy.scopes():
                for key, item in copy.scan(scope):
                    if item != source.get_with_metadata(scope, key, as_of=copy.revision):
                        raise Refuted(f"{scope}/{key} of a {order['mode']} is not the source's")
        whole += 1
    return whole


def _said(child: Child, kind: str) -> list[list[Any]]:
    return [word for word in child.words if word[0] == kind]


CASE = Case(
    name="kills",
    claim="kill -9, also in compact, copy and repair, loses, tears and undoes nothing",
    run=attempt,
    engines=("sqlite", "rocksdb", "postgres"),
    quick=10,
    in_tests=1,
    long=1000,
    unable=places.unable,
)
