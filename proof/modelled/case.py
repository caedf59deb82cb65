"""The case: runs of operations; one that fails is cut down before it is shown."""

from __future__ import annotations

import itertools
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from proof.case import Case, Counts, Refuted, Trial
from proof.modelled.operations import Operation, apply, draw
from proof.modelled.wholes import copy_store
from proof.modelled.world import World
from proof.stores import ENGINES, PARTITIONS, unable

QUICK, LONG = 400, 1000
DEEP = 10_000  #: operations of two in a hundred long runs: a long past costs each more time
CUTTING_SECONDS = 60


def run(trial: Trial) -> Counts:
    """Attack once: a run of operations, each compared with the model, and everything at the end."""
    count = QUICK if not trial.long else DEEP if trial.index % 100 < 2 else LONG
    operations = draw(trial.random(), count)
    names = itertools.count()
    partitions = PARTITIONS[trial.index % 2]

    def once(these: list[Operation]) -> tuple[Counter[str], str | None, int]:
        return attempt(these, trial.engine, trial.directory / str(next(names)), partitions)

    counts, failure, done = once(operations)
    if failure is None:
        return counts

    def fails(fewer: list[Operation]) -> bool:
        return once(fewer)[1] is not None

    cut = shrink(operations[:done], fails)
    again = once(cut)[1]
    shown = "\n".join(f"  {name} {arguments}" for name, arguments in cut[-60:])
    kind = f"{partitions} partitions, {len(cut)} of {done} operations"
    raise Refuted(f"{again or failure}\nafter {kind}:\n{shown}")


def attempt(
    operations: list[Operation], engine: str, directory: Path, partitions: int
) -> tuple[Counter[str], str | None, int]:
    """Run operations on a new store; return counts, how it failed if it did, and how far it got."""
    directory.mkdir()
    world, counts, done = World(engine, directory, partitions), Counter[str](), 0
    try:
        for operation in operations:
            done += 1
            counts["operations"] += apply(world, operation)
        world.end()
        copy_store(world)
        counts["commits"] += len(world.model.revisions) - 1
        counts["operations on several partitions"] = counts["operations"] * (partitions > 1)
    except Exception:  # noqa: BLE001 - whatever breaks is a finding
        return counts, traceback.format_exc(), done
    finally:
        world.close()
    return counts, None, done


def shrink(
    operations: list[Operation], fails: Callable[[list[Operation]], bool]
) -> list[Operation]:
    """Drop chunks, of half the run at first, as long as what is left still fails."""
    until = time.monotonic() + CUTTING_SECONDS
    size = len(operations) // 2
    while size:
        start = len(operations) - size
        while start >= 0 and time.monotonic() < until:
            fewer = operations[:start] + operations[start + size :]
            if fails(fewer):
                operations = fewer
            start -= size
        size //= 2
    return operations


CASE = Case(
    name="model",
    claim="a store does what a plain model of it does, over its whole interface",
    run=run,
    engines=ENGINES,
    quick=2,
    long=1200,
    unable=unable,
)
