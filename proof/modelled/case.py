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
from proof.stores import ENGINES, unable

QUICK, LONG = 400, 10_000
CUTTING_SECONDS = 60


def run(trial: Trial) -> Counts:
    """Attack once: a run of operations, each compared with the model, and everything at the end."""
    operations = draw(trial.random(), LONG if trial.long else QUICK)
    names = itertools.count()
    counts, failure, done = attempt(operations, trial.engine, trial.directory / str(next(names)))
    if failure is None:
        return counts

    def fails(fewer: list[Operation]) -> bool:
        return attempt(fewer, trial.engine, trial.directory / str(next(names)))[1] is not None

    cut = shrink(operations[:done], fails)
    again = attempt(cut, trial.engine, trial.directory / str(next(names)))[1]
    shown = "\n".join(f"  {name} {arguments}" for name, arguments in cut[-60:])
    raise Refuted(f"{again or failure}\nafter {len(cut)} of {done} operations:\n{shown}")


def attempt(
    operations: list[Operation], engine: str, directory: Path
) -> tuple[Counter[str], str | None, int]:
    """Run operations on a new store; return counts, how it failed if it did, and how far it got."""
    directory.mkdir()
    world, counts, done = World(engine, directory), Counter[str](), 0
    try:
        for operation in operations:
            done += 1
            counts["operations"] += apply(world, operation)
        world.end()
        copy_store(world)
        counts["commits"] += world.model.head
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
    long=100,
    unable=unable,
)
