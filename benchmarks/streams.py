"""Following the journal: how fast a consumer works, and how soon a watch tells."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing

import holdfast
from benchmarks.measure import Bench, Row, Target
from benchmarks.raw import url_of
from holdfast import SetOperation, StateManager

_CHANGES = 100_000
_COMMIT = 10
_PROBES = 400
_WRITER = """
import sys, holdfast
with holdfast.open(sys.argv[1]) as state:
    for line in sys.stdin:
        state.set("agent:w", "k", int(line), durability="os")
"""


def run(bench: Bench) -> list[Row]:
    """Measure a consumer's throughput, and a watch's latency in and across processes."""
    rows = []
    for engine in bench.engines("sqlite", "rocksdb"):
        rows += [_throughput(bench, engine), *_latency(bench, engine)]
    if bench.engines("sqlite"):
        rows += _across(bench)
    return rows


def _throughput(bench: Bench, engine: str) -> Row:
    count = bench.count(_CHANGES, 1000)
    with closing(holdfast.open(url_of(engine, bench.place(engine)))) as state:
        _fill(state, count)
        consumer = state.consumer("bench", start="earliest", batch=1000)
        rates = []
        for _ in range(max(3, bench.rounds // 2)):
            state.consumers.reset("bench", "earliest")
            begun, seen = time.perf_counter(), 0
            with bench.watched():
                while (batch := consumer.poll(0)) is not None:
                    seen += sum(1 for _ in batch)
                    batch.ack()
            assert seen == count
            rates.append(seen / (time.perf_counter() - begun))
    rate = statistics.median(rates)
    target = Target(50_000, "ops/s", at_least=True) if engine == "sqlite" else None
    work = "changes consumed, batches of 1,000, values, acks on disk"
    return Row(
        "streams", engine, work, "ops/s", rate, figure=rate if target else None, target=target
    )


def _fill(state: StateManager, count: int) -> None:
    value = {"status": "done", "attempt": 3, "note": "a small change"}
    for first in range(0, count, _COMMIT):
        names = [f"key-{n}" for n in range(first, min(first + _COMMIT, count))]
        items = [SetOperation(f"agent:{first % 50}", name, value) for name in names]
        state.set_batch(items, atomic=True, durability="relaxed")


def _latency(bench: Bench, engine: str) -> list[Row]:
    """Return how long after the call of a commit its change is told in the same process."""
    count = bench.count(_PROBES, 20)
    with closing(holdfast.open(url_of(engine, bench.place(engine)))) as state:
        watch = state.watch()
        told: list[int] = []
        thread = threading.Thread(
            target=lambda: told.extend(time.perf_counter_ns() - c.value for c in watch)
        )
        thread.start()
        for _ in range(count):
            state.set("agent:w", "k", time.perf_counter_ns(), durability="os")
            time.sleep(0.002)
        watch.stop()
        thread.join()
    return _rows(engine, "commit to watch, one process", told)


def _across(bench: Bench) -> list[Row]:
    """Return how long after another process is asked to commit its change is told in this one.

    All by this process's clock: those of two may differ by more than is measured here.
    """
    count = bench.count(_PROBES // 4, 20)
    path = bench.place("shared")
    told: list[int] = []
    with closing(holdfast.open(path)) as state:
        watch = state.watch()
        command = [sys.executable, "-c", _WRITER, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as writer:
            assert writer.stdin is not None
            for at in range(count + 1):
                time.sleep(0.03)
                begun = time.perf_counter_ns()
                writer.stdin.write(f"{at}\n")
                writer.stdin.flush()
                next(watch)
                if at:  # the first one waits for the process to start
                    told.append(time.perf_counter_ns() - begun)
    looking = _cost(path)
    rows = _rows("sqlite", "commit to watch, two processes", told, Target(100, "ms"))
    return [*rows, Row("streams", "sqlite", "one look at the heads", "µs", looking)]


def _cost(path: object) -> float:
    with closing(holdfast.open(path)) as state:  # type: ignore[arg-type]
        look: Callable[[], None] = state._streams.ringer._look
        begun = time.perf_counter()
        for _ in range(1000):
            look()
        return (time.perf_counter() - begun) * 1e3


def _rows(engine: str, work: str, told: list[int], target: Target | None = None) -> list[Row]:
    ordered = sorted(each / 1e6 for each in told)
    median, worst = statistics.median(ordered), ordered[len(ordered) * 99 // 100]
    return [
        Row(
            "streams",
            engine,
            f"{work}, median",
            "ms",
            median,
            figure=median if target else None,
            target=target,
        ),
        Row("streams", engine, f"{work}, p99", "ms", worst),
    ]
