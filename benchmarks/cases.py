"""All cases by name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import (
    batch,
    durable,
    engines,
    flows,
    hooks,
    memory,
    migrations,
    observe,
    reading,
    streams,
    timeline,
    turns,
    writers,
)
from benchmarks.measure import Bench, Row


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        about: What it measures, in a line.
        run: Measures it.
        usual: Part of a run that names no case.
    """

    about: str
    run: Callable[[Bench], list[Row]]
    usual: bool = True


CASES = {
    "memory": Case("set and get in memory, against a dict of MessagePack bytes", memory.run),
    "durable": Case("durable sets of one caller, against the raw put with fsync", durable.run),
    "writers": Case("durable sets of 1000 asyncio tasks, against a raw writer thread", writers.run),
    "batch": Case("a batch of 1000, against the raw batch of the same rows", batch.run),
    "get": Case("one value, against the raw get and the decoding", reading.run_get),
    "scan": Case("1000 values in order, against the raw scan and the decoding", reading.run_scan),
    "turns": Case("400 turns that rewrite one list: disk and history", turns.run),
    "hooks": Case("what hooks add to a commit, and how many calls they deliver", hooks.run),
    "streams": Case("changes followed by consumers and watches", streams.run),
    "timeline": Case("events emitted and delivered; a timeline among many", timeline.run),
    "migrations": Case("100,000 values migrated, durable, end to end", migrations.run),
    "flows": Case("checkpoints of steps; artifacts in and out, against files", flows.run),
    "observe": Case("increments and gets that are watched, against plain ones", observe.run),
    "engines": Case("the engines side by side, for docs/engines.md", engines.run, usual=False),
}
