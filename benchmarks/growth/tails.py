"""How long single calls take beside other work: a compaction, or Python code that computes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.data import Values
from benchmarks.growth.figure import Figure, spread
from benchmarks.growth.store import Shape, fill
from holdfast import HistoryPolicy, SetOperation, StateManager

_CALLS = 300


def measure(shape: Shape) -> list[Figure]:
    """Measure on a store that is filled: alone, beside a spinning thread, beside `compact`."""
    with shape.open() as state:
        if shape.engine == "memory":
            fill(shape, state)
        figures = _both(shape, state, "alone", 1)
        usual = sys.getswitchinterval()
        for number, interval in enumerate((usual, usual / 10)):
            sys.setswitchinterval(interval)
            try:
                with _spinning():
                    beside = f"beside a busy thread, switch interval {interval * 1e3:g} ms"
                    figures += _both(shape, state, beside, 2 + number)
            finally:
                sys.setswitchinterval(usual)
        figures += _compacting(shape, state)
    return figures


def _both(shape: Shape, state: StateManager, beside: str, seed: int) -> list[Figure]:
    values = Values(seed)
    places = shape.chosen(_CALLS, seed)
    clock = time.perf_counter
    sets: list[float] = []
    gets: list[float] = []
    for place in places:
        value = values.document(200)
        begun = clock()
        state.set(*place, value)
        sets.append(clock() - begun)
        begun = clock()
        state.get(*place)
        gets.append(clock() - begun)
    return [spread(f"set, sync, {beside}", "µs", sets), spread(f"get, {beside}", "µs", gets)]


@contextmanager
def _spinning() -> Iterator[None]:
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _compacting(shape: Shape, state: StateManager) -> list[Figure]:
    """Time durable sets from before `compact` begins until it has ended."""
    values = Values(21)
    count = min(shape.keys, 50_000)
    for _ in range(2):  # versions to be trimmed
        for at in range(0, count, 1000):
            batch = [SetOperation(*shape.place(at + n), values.document(200)) for n in range(1000)]
            state.set_batch(batch, durability="os")
    spent: list[float] = []
    ended: list[float] = []

    def compact() -> None:
        begun = time.perf_counter()
        state.compact([HistoryPolicy(max_versions=1)])
        ended.append(time.perf_counter() - begun)

    thread = threading.Thread(target=compact)
    places = shape.chosen(5000, 22)
    thread.start()
    while thread.is_alive():
        place, value = places[len(spent) % len(places)], values.document(200)
        begun = time.perf_counter()
        state.set(*place, value)
        spent.append(time.perf_counter() - begun)
    thread.join()
    return [
        spread("set, sync, while compact() runs", "µs", spent),
        Figure("compact() of two old versions of 50,000 keys, beside sets", "s", *ended),
    ]
