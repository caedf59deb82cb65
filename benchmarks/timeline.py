"""Events and timelines: how many a second are emitted and delivered, and what it costs to read the
hundred events of one correlation out of ten thousand, a hundred thousand and a million others.

An emission counts when an observer of commits has been told of it. A single ``emit`` is a commit of
its own and costs what a set does; the rate that is aimed at is that of events which are emitted
together, a hundred to a transaction.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import holdfast
from benchmarks.measure import Bench, Row, Target, settle
from benchmarks.raw import url_of
from holdfast import Durability, ScopePolicy, StateManager, StateScope, correlate
from holdfast.store.feed import Commit

_ENGINES = ("memory", "sqlite", "rocksdb")
_TILL = StateScope.agent("till")
_SINGLE = 5_000
_TOGETHER = 50_000
_PER_COMMIT = 100
_MINE = 100
_STORES = (10_000, 100_000, 1_000_000)
_RATE = Target(100_000, "events/s", at_least=True)
_READ = Target(50, "ms")


class Delivered:
    """Counts events as observers of commits are told of them."""

    def __init__(self, state: StateManager) -> None:
        self.count = 0
        self._end = state._kernel.feed.subscribe(self._take)

    def _take(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            self.count += len(commit.intent.events)

    def stop(self) -> int:
        """Listen no more, and return the count."""
        self._end()
        return self.count


def run(bench: Bench) -> list[Row]:
    """Emit, then read timelines, on each engine."""
    rows: list[Row] = []
    for engine in bench.engines(*_ENGINES):
        rows += _emission(bench, engine)
        if engine != "rocksdb":
            rows += _timelines(bench, engine)
    return rows


def _open(bench: Bench, engine: str, durability: Durability) -> StateManager:
    url = "memory:" if engine == "memory" else url_of(engine, bench.place("events"))
    return holdfast.open(url, policies=[ScopePolicy("*", durability=durability)])


def emit_together(state: StateManager, count: int) -> None:
    """Emit events, a hundred to a transaction."""
    for low in range(0, count, _PER_COMMIT):
        with state.transaction() as tx:
            for number in range(low, min(count, low + _PER_COMMIT)):
                tx.emit("order.paid", {"order": number, "amount": 12}, scope=_TILL)


def emit_singly(state: StateManager, count: int) -> None:
    """Emit events, each in a commit of its own."""
    emit = state.events.emit
    for number in range(count):
        emit("order.paid", {"order": number, "amount": 12}, scope=_TILL)


def _emission(bench: Bench, engine: str) -> list[Row]:
    rows = []
    works: list[tuple[str, Callable[[StateManager, int], None], int]] = [
        (f"emit {_PER_COMMIT} to a transaction", emit_together, bench.count(_TOGETHER, 200)),
        ("emit, a commit each", emit_singly, bench.count(_SINGLE, 20)),
    ]
    for work, emit, count in works:
        rates, own = [], []
        with _open(bench, engine, Durability.OS) as state:
            settle()
            for number in range(bench.rounds + 1):  # the first round warms up
                delivered = Delivered(state)
                began, began_own = time.perf_counter(), time.process_time()
                with bench.watched():
                    emit(state, count)
                took, took_own = time.perf_counter() - began, time.process_time() - began_own
                assert delivered.stop() == count
                if number:
                    rates.append(count / took)
                    own.append(count / took_own)
        rate, at_best = statistics.median(rates), statistics.median(own)
        aimed = engine == "memory" and emit is emit_together
        note = f"{at_best:,.0f} per second of this process's own processor time"
        rows.append(
            Row("timeline", engine, work, "events/s", rate, figure=rate if aimed else None,
                target=_RATE if aimed else None, note=note)
        )  # fmt: skip
    return rows


def fill(state: StateManager, count: int) -> None:
    """Emit `count` events, of which a hundred belong to the correlation ``mine``.

    These are spread evenly and stand in commits of their own; each hundred of the others is a
    commit with a correlation of its own.
    """
    apart = count // _MINE
    for part in range(_MINE):
        with correlate("mine", component="till", operation="pay"):
            state.events.emit("order.paid", {"order": part}, scope=f"agent:{part % 10}")
        for low in range(0, apart - 1, _PER_COMMIT):
            with correlate(f"other-{part}-{low}"), state.transaction() as tx:
                for number in range(low, min(apart - 1, low + _PER_COMMIT)):
                    tx.emit("order.made", {"order": number}, scope=_TILL)


def _timelines(bench: Bench, engine: str) -> list[Row]:
    rows = []
    for size in _STORES:
        count = bench.count(size, 200)
        times: list[float] = []
        own: list[float] = []
        with _open(bench, engine, Durability.RELAXED) as state:
            fill(state, count)
            settle()
            for number in range(bench.rounds + 1):
                began, began_own = time.perf_counter(), time.process_time()
                with bench.watched():
                    found: Any = state.timeline("mine")
                took, took_own = time.perf_counter() - began, time.process_time() - began_own
                assert len(found) == _MINE
                if number:
                    times.append(took * 1e3)
                    own.append(took_own * 1e3)
        median = statistics.median(times)
        note = f"{statistics.median(own):.2f} ms of processor time"
        work = f"timeline of {_MINE} out of {count:,} events"
        row = Row("timeline", engine, work, "ms", median, figure=median, target=_READ, note=note)
        rows.append(row)
    return rows
