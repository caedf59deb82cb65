"""The figures of one store, measured in a process that has only opened it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.data import Values
from benchmarks.growth.figure import Figure, spread
from benchmarks.growth.store import Shape, fill, scope
from holdfast import StateManager

_GETS = 2000
_SETS = 150


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def measure(shape: Shape) -> list[Figure]:
    """Open the store and measure all of it; a store in memory is filled first."""
    return _measure(shape, whole=True)


def measure_calls(shape: Shape) -> list[Figure]:
    """Measure what depends on scopes: everything but `verify` and `compact`."""
    return _measure(shape, whole=False)


def _measure(shape: Shape, *, whole: bool) -> list[Figure]:
    before = resident()
    figures: list[Figure] = []
    begun = time.perf_counter()
    state = shape.open()
    opened = time.perf_counter() - begun
    with state:
        if shape.path is None and shape.engine == "memory":
            figures += fill(shape, state)
            held = resident() - before
            figures.append(Figure("memory, a key", "B", held / shape.keys))
        else:
            figures.append(Figure("open", "ms", opened * 1e3))
            figures.append(Figure("memory after opening", "MB", (resident() - before) / 1e6))
        figures += _single(shape, state)
        if shape.engine != "memory":
            figures.append(Figure("memory after the reads", "MB", (resident() - before) / 1e6))
        figures += _directory(state)
        if whole:
            figures.append(_each("verify()", "s", [lambda: _sound(state)]))
            figures.append(_each("compact()", "s", [state.compact]))
    if shape.path is not None:
        figures.append(Figure("on disk, a key", "B", disk_bytes(shape.path) / shape.keys))
    return figures


def _single(shape: Shape, state: StateManager) -> list[Figure]:
    values = Values(11)
    places = shape.chosen(_GETS, 1)
    figures = [_each("get", "µs", [lambda p=place: state.get(*p) for place in places])]
    for durability in ("sync", "os"):
        work = [(*place, values.document(200)) for place in shape.chosen(_SETS, 2)]
        calls = [lambda w=one, d=durability: state.set(*w, durability=d) for one in work]
        figures.append(_each(f"set, {durability}", "µs", calls))
    listed = [scope(n) for n in range(0, shape.scopes, max(1, shape.scopes // 9))][:9]
    keys = [lambda s=one: state.list_keys(s, limit=1000) for one in listed * 2]
    figures.append(_each("list 1,000 keys", "ms", keys))
    scans = [lambda s=one: list(state.scan(s, limit=1000)) for one in listed]
    figures.append(_each("scan 1,000 values", "ms", scans))
    return figures


def _directory(state: StateManager) -> list[Figure]:
    return [
        _each("info()", "ms", [state.info] * 3),
        _each("health()", "ms", [state.health] * 3),
        _each("scopes()", "ms", [state.scopes] * 3),
    ]


def _sound(state: StateManager) -> None:
    problems = state.verify()
    if problems:
        raise AssertionError(f"the store does not verify: {problems[0]}")


def _each(work: str, unit: str, calls: list[Callable[[], object]]) -> Figure:
    clock = time.perf_counter
    spent: list[float] = []
    for call in calls:
        begun = clock()
        call()
        spent.append(clock() - begun)
    return spread(work, unit, spent)


def disk_bytes(path: Path) -> int:
    """Return what a store takes on disk: a directory, or a file and what lies beside it."""
    files = path.rglob("*") if path.is_dir() else path.parent.glob(path.name + "*")
    return sum(file.stat().st_size for file in files if file.is_file())
