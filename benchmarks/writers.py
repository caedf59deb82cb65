"""A thousand asyncio tasks that each make durable sets, against the same tasks on the raw engine
behind one writer thread that drains a queue: the best one would write by hand."""

from __future__ import annotations

import asyncio
import queue
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

import holdfast
from benchmarks.data import Values, keys, packed, scope_of
from benchmarks.measure import Bench, Row, Target, pair_of, ratio_row, settle
from benchmarks.raw import Raw, open_raw, url_of

_TASKS = 1000
_EACH = 10
_RATES = {"sqlite": 0.6, "rocksdb": 0.5}
_TICK = 0.002

#: Sets a key of a task's own; (task, turn, value).
Put = Callable[[int, int, Any], Awaitable[object]]


class QueueWriter:
    """The raw engine behind one thread: takes all that waits, writes it in one batch."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def put(self, key: bytes, value: bytes) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._queue.put((key, value, future, loop))
        await future

    def _run(self) -> None:
        waiting = self._queue
        while (first := waiting.get()) is not None:
            group = [first]
            while not waiting.empty() and len(group) < 1000:
                item = waiting.get()
                if item is None:
                    waiting.put(None)
                    break
                group.append(item)
            # The later of two sets of one key wins, as in the order of arrival.
            self._raw.put_many(list({key: (key, value) for key, value, _, _ in group}.values()))
            group[0][3].call_soon_threadsafe(_wake, [future for _, _, future, _ in group])

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()


def _wake(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def run(bench: Bench) -> list[Row]:
    """Compare rates, and tell how long the event loop is held up."""
    engines = bench.engines("sqlite", "rocksdb")
    return [row for engine in engines for row in asyncio.run(_engine(bench, engine))]


async def _engine(bench: Bench, engine: str) -> list[Row]:
    tasks, each = bench.count(_TASKS, 10), bench.count(_EACH, 2) if bench.factor < 1 else _EACH
    values = Values()
    scopes = [scope_of(n) for n in range(tasks)]
    names = keys(each)
    encode = msgspec.msgpack.Encoder().encode
    state = await holdfast.open_async(url_of(engine, bench.place(engine)))
    raw = open_raw(engine, bench.place("raw"))
    writer = QueueWriter(raw)
    raw_keys = [[packed(scope, name) for name in names] for scope in scopes]

    async def ours(task: int, turn: int, value: Any) -> None:
        await state.set(scopes[task], names[turn], value)

    async def theirs(task: int, turn: int, value: Any) -> None:
        await writer.put(raw_keys[task][turn], encode(value))

    mine: list[float] = []
    its: list[float] = []
    lags: dict[str, list[float]] = {"ours": [], "raw": []}
    settle()
    for number in range(bench.rounds + 1):
        work = [values.documents(each) for _ in range(tasks)]
        with bench.watched():
            spent, lag = await _storm(ours, work)
        raw.settle()
        work = [values.documents(each) for _ in range(tasks)]
        raw_spent, raw_lag = await _storm(theirs, work)
        if number:
            mine.append(spent / (tasks * each) * 1e6)
            its.append(raw_spent / (tasks * each) * 1e6)
            lags["ours"].append(_p99(lag))
            lags["raw"].append(_p99(raw_lag))
    await state.close()
    writer.close()
    raw.close()
    pair = pair_of(mine, its)
    target = Target(_RATES[engine], at_least=True)
    lag_ours, lag_raw = (statistics.median(lags[who]) for who in ("ours", "raw"))
    return [
        ratio_row("writers", engine, f"durable sets of {tasks} tasks", pair, target, rate=True),
        Row(
            "writers",
            engine,
            "event-loop lag p99",
            "ms",
            lag_ours,
            lag_raw,
            lag_ours,
            target=Target(40, "ms"),
        ),
    ]


async def _storm(put: Put, work: list[list[Any]]) -> tuple[float, list[float]]:
    """Run one task per list of values; return the seconds, and the loop's lags in ms."""
    lags: list[float] = []

    async def task(number: int, values: list[Any]) -> None:
        for turn, value in enumerate(values):
            await put(number, turn, value)

    async def watch() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(_TICK)
            lags.append((time.perf_counter() - begun - _TICK) * 1000)

    watcher = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    begun = time.perf_counter()
    await asyncio.gather(*(task(n, values) for n, values in enumerate(work)))
    spent = time.perf_counter() - begun
    watcher.cancel()
    return spent, lags


def _p99(lags: list[float]) -> float:
    return sorted(lags)[int(len(lags) * 0.99)] if lags else 0.0
