"""The engines side by side: the document's table of measured performance, measured here.

These are absolute times of this machine, told for orientation; no target hangs on them.
"""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import holdfast
from benchmarks.data import Values, keys, scope_of
from benchmarks.measure import Bench, Row, settle, timed
from benchmarks.raw import url_of
from benchmarks.server import Server, running
from holdfast import SetOperation, StateManager
from holdfast.store.scope import StateScope

_ENGINES = ("memory", "sqlite", "rocksdb", "postgres")
_FILES = ("sqlite", "rocksdb")
_SCOPES = 20
_KEYS = 1000  # of each scope
_OPERATIONS = 400
_THREADS = 16


def run(bench: Bench) -> list[Row]:
    """Measure each engine in turn, round by round, and tell the medians."""
    with running(bench.directory) as server:
        engines = [e for e in bench.engines(*_ENGINES) if e != "postgres" or server is not None]
        return _rounds(bench, engines, server)


def _rounds(bench: Bench, engines: list[str], server: Server | None) -> list[Row]:
    names = keys(bench.count(_KEYS, 20))
    places = [(scope_of(n), name) for n in range(_SCOPES) for name in names]
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(max(1, bench.rounds // 3)):
        for engine in engines:
            path = bench.place(engine)
            if engine == "postgres" and server is not None:
                url = server.database()
            else:
                url = url_of(engine, path)
            figures = _measure(bench, url, places)
            if engine in _FILES:
                figures["get (uncached)"] = _uncached(bench, url, path, places)
            for work, figure in figures.items():
                found.setdefault((engine, work), []).append(figure)
    return [
        Row("engines", engine, work, _unit(work), statistics.median(figures))
        for (engine, work), figures in found.items()
    ]


def _unit(work: str) -> str:
    return "ops/s" if "throughput" in work else "µs"


def _measure(bench: Bench, url: str, places: list[tuple[StateScope, str]]) -> dict[str, float]:
    values = Values()
    operations = bench.count(_OPERATIONS, 10)
    figures: dict[str, float] = {}

    def each(work: str, loop: Callable[[], object], count: int) -> None:
        with bench.watched():
            figures[work] = timed(loop) / count * 1e6

    with closing(holdfast.open(url)) as state:
        state.set_batch(SetOperation(scope, key, values.document()) for scope, key in places)
        settle()
        chosen = [places[n] for n in values.shuffled(operations, len(places))]
        work = [(*place, values.document()) for place in chosen]
        each("set (small)", lambda: [state.set(*item) for item in work], operations)
        relaxed = [(*place, values.document()) for place in chosen]
        each(
            "set (small), durability os",
            lambda: [state.set(*item, durability="os") for item in relaxed],
            operations,
        )
        [state.get(*place) for place in chosen]
        each("get (cached)", lambda: [state.get(*place) for place in chosen], operations)
        doomed = sorted(set(chosen))
        each("delete", lambda: [state.delete(*place) for place in doomed], len(doomed))
        listed = [scope_of(n) for n in range(_SCOPES)]
        each(
            f"list {len(places) // _SCOPES} keys",
            lambda: [state.list_keys(scope) for scope in listed],
            len(listed),
        )
        for work_name, durability in (("sync", "sync"), ("os", "os")):
            rate = _throughput(bench, state, places, values, durability)
            figures[f"throughput of {_THREADS} threads, {work_name}"] = rate
        figures["throughput of one batch"] = _batch_rate(bench, state, places, values)
    return figures


def _throughput(
    bench: Bench,
    state: StateManager,
    places: list[tuple[StateScope, str]],
    values: Values,
    durability: str,
) -> float:
    each = bench.count(200, 3)
    shares = [
        [(*places[n], values.document()) for n in values.shuffled(each, len(places))]
        for _ in range(_THREADS)
    ]
    barrier = threading.Barrier(_THREADS + 1)

    def write(share: Sequence[tuple[StateScope, str, object]]) -> None:
        barrier.wait()
        for item in share:
            state.set(*item, durability=durability)

    with ThreadPoolExecutor(_THREADS) as pool:
        running = [pool.submit(write, share) for share in shares]
        barrier.wait()
        with bench.watched():
            spent = timed(lambda: [one.result() for one in running])
    return each * _THREADS / spent


def _batch_rate(
    bench: Bench, state: StateManager, places: list[tuple[StateScope, str]], values: Values
) -> float:
    count = min(bench.count(1000, 20), len(places))
    items = [SetOperation(*place, values.document()) for place in places[:count]]
    with bench.watched():
        return count / timed(lambda: state.set_batch(items))


def _uncached(bench: Bench, url: str, path: Path, places: list[tuple[StateScope, str]]) -> float:
    """Open the store anew with its files out of the system's cache, and get each place once."""
    forget(path)
    numbers = Values().shuffled(bench.count(_OPERATIONS, 10), len(places))
    chosen = dict.fromkeys(places[n] for n in numbers)
    with closing(holdfast.open(url)) as state:
        return timed(lambda: [state.get(*place) for place in chosen]) / len(chosen) * 1e6


def forget(path: Path) -> None:
    """Ask the operating system to drop a closed store's files from its cache."""
    for file in [*path.iterdir()] if path.is_dir() else [path]:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
