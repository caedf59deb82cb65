"""Hooks: what they add to a commit, and how many changes after-hooks are given in a second.

What is added is small beside a busy machine's noise: ratios are of many short interleaved rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import holdfast
from benchmarks.data import Values, scope_of
from benchmarks.measure import Bench, Row, Target, ratio_row
from holdfast import SetOperation, StateManager
from holdfast.store.intent import Intent

_SETS = 1000
_DELIVERED = 100_000
_BATCH = 1000


def run(bench: Bench) -> list[Row]:
    """Measure commits without hooks, with five of them, and delivery."""
    if not bench.engines("memory"):
        return []
    count = bench.count(_SETS, 20)
    none, bare = holdfast.open("memory:"), holdfast.open("memory:")
    kernel = bare._kernel

    def commit(intent: Intent) -> Intent:  # as `Kernel.commit` is without hooks
        kernel.admit(intent)
        kernel.lane.submit(intent)
        if intent.error is not None:
            raise intent.error
        return intent

    kernel.commit = commit  # type: ignore[method-assign]
    inline, queued = holdfast.open("memory:"), holdfast.open("memory:")
    queued.hooks.configure(queue_size=1_000_000)
    for n in range(5):
        inline.hooks.after(_nothing, mode="inline", name=f"inline-{n}")
        queued.hooks.after(_nothing, name=f"queued-{n}")
    sets = [_setting(state, count) for state in (none, bare, inline, queued)]
    pairs = [
        bench.compare(sets[0], sets[1], operations=count),
        bench.compare(sets[2], sets[0], operations=count),
        bench.compare(_drained(queued, sets[3]), sets[0], operations=count),
    ]
    rows = [
        ratio_row("hooks", "memory", "set, no hook", pairs[0], Target(1.05)),
        ratio_row("hooks", "memory", "set, 5 inline after-hooks", pairs[1], Target(1.25)),
        ratio_row("hooks", "memory", "set, 5 queued after-hooks", pairs[2], None),
        *_delivery(bench),
    ]
    for state in (none, bare, inline, queued):
        state.close()
    return rows


def _nothing(_: Any) -> None:
    pass


def _setting(state: StateManager, count: int) -> Callable[[int], Callable[[], None]]:
    values, scope = Values(), scope_of(1)
    keys = [f"k{n}" for n in range(1000)]

    def prepare(_: int) -> Callable[[], None]:
        items = [(keys[n % 1000], values.document()) for n in range(count)]
        set_ = state.set

        def loop() -> None:
            for key, value in items:
                set_(scope, key, value)

        return loop

    return prepare


def _drained(
    state: StateManager, prepare: Callable[[int], Callable[[], None]]
) -> Callable[[int], Callable[[], None]]:
    def drained(number: int) -> Callable[[], None]:
        state.hooks.drain()
        return prepare(number)

    return drained


def _delivery(bench: Bench) -> list[Row]:
    """Count calls of hooks that were made, a second: from a full queue, and with the commits."""
    count = bench.count(_DELIVERED, _BATCH)
    values, scope = Values(), scope_of(1)
    found = []
    for work, hooks in (("delivered from the queue", 1), ("delivered, commits included", 5)):
        rates = []
        for _ in range(max(1, bench.rounds // 3)):
            calls = [0]

            def call(_: Any, calls: list[int] = calls) -> None:
                calls[0] += 1

            state = holdfast.open("memory:")
            state.hooks.configure(queue_size=10_000_000, workers=1)
            for n in range(hooks):
                state.hooks.after(call, name=f"hook-{n}")
            value = values.document()
            batches = [
                [SetOperation(scope, f"k{n % 10_000}", value) for n in range(low, low + _BATCH)]
                for low in range(0, count // hooks, _BATCH)
            ]
            if hooks == 1:
                rates.append(_from_queue(state, batches, calls))
            else:
                begun = perf_counter()
                for batch in batches:
                    state.set_batch(batch)
                state.hooks.drain()
                rates.append(calls[0] / (perf_counter() - begun))
            state.close()
        rate = sorted(rates)[len(rates) // 2]
        # What a commit costs is another case's business; here it is told beside.
        target = Target(100_000, "calls/s", at_least=True) if hooks == 1 else None
        found.append(Row("hooks", "memory", work, "calls/s", rate, figure=rate, target=target))
    return found


def _from_queue(state: StateManager, batches: list[Any], calls: list[int]) -> float:
    """Fill the queue while its worker is held, then let it go."""
    from threading import Event

    held, begun = Event(), Event()

    def hold(_: Any) -> None:
        begun.set()
        held.wait()

    gate = state.hooks.after(hold, key="gate", name="gate", priority=1)
    state.set(scope_of(1), "gate", 0)
    begun.wait()
    gate.remove()
    for batch in batches:
        state.set_batch(batch)
    start = perf_counter()
    held.set()
    state.hooks.drain()
    return calls[0] / (perf_counter() - start)
