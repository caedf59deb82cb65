"""A batch of 1000: `set_batch` against the raw engine's batch of the very same rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import holdfast
from benchmarks.data import Values, keys, scope_of
from benchmarks.measure import Bench, Row, Target, ratio_row
from benchmarks.raw import open_raw, url_of
from holdfast import SetOperation
from holdfast.engines.base import Batch, Body, Durability, View
from holdfast.engines.memory import MemoryEngine
from holdfast.store.kernel import Kernel, StoreSettings

_ITEMS = 1000
_KEYS = 10_000


class Recorder(MemoryEngine):
    """A memory engine that remembers the last batch: the rows that Holdfast writes."""

    def __init__(self) -> None:
        super().__init__()
        self.last = Batch()

    def write(self, durability: Durability, body: Body, partition: int = 0) -> None:
        def recording(view: View) -> Batch:
            self.last = body(view)
            return self.last

        super().write(durability, recording, partition)


def run(bench: Bench) -> list[Row]:
    """Compare one commit of 1000 sets with its rows, the journal's included, put by the engine."""
    return [row for engine in bench.engines("sqlite", "rocksdb") for row in _engine(bench, engine)]


def _engine(bench: Bench, engine: str) -> list[Row]:
    values, items = Values(), bench.count(_ITEMS, 20)
    names, scope = keys(_KEYS), scope_of(0)
    state = holdfast.open(url_of(engine, bench.place(engine)))
    raw = open_raw(engine, bench.place("raw"))
    recorder = Recorder()
    shadow = holdfast.StateManager(Kernel(recorder, StoreSettings(sweep_every=0)))

    def operations(number: int) -> list[SetOperation]:
        first = number * items
        chosen = [names[(first + n) * 7919 % _KEYS] for n in range(items)]
        return [SetOperation(scope, key, values.document()) for key in chosen]

    def ours(number: int) -> Callable[[], object]:
        work = operations(number)
        return lambda: state.set_batch(work)

    def theirs(number: int) -> Callable[[], None]:
        shadow.set_batch(operations(number))
        rows = list(recorder.last.puts)
        raw.settle()
        return lambda: raw.put_many(rows)

    with closing(state), closing(raw), closing(shadow):
        pair = bench.compare(ours, theirs, operations=items)
    return [ratio_row("batch", engine, f"batch of {items}, each", pair, Target(2))]
