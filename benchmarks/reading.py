"""Reads: one value, and a thousand in order, against the raw engine and the decoding."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import msgspec

import holdfast
from benchmarks.data import Values, keys, packed, scope_of
from benchmarks.measure import Bench, Pair, Row, Target, ratio_row
from benchmarks.raw import Raw, open_raw, url_of
from holdfast import SetOperation, StateManager

_ENGINES = ("memory", "sqlite", "rocksdb")
_SCOPES = 10
_KEYS = 2000  # of each scope
_GETS = 4000
_SCANNED = 1000


def run_get(bench: Bench) -> list[Row]:
    """Get values of 200 B at random."""
    return [
        ratio_row("get", engine, "get 200 B", _measure(bench, engine, _gets), Target(1.5))
        for engine in bench.engines(*_ENGINES)
    ]


def run_scan(bench: Bench) -> list[Row]:
    """Scan keys with values and metadata, in order."""
    return [
        ratio_row(
            "scan",
            engine,
            f"scan of {bench.count(_SCANNED, 20)}, each",
            _measure(bench, engine, _scans),
            Target(1.5),
        )
        for engine in bench.engines(*_ENGINES)
    ]


def _measure(
    bench: Bench, engine: str, compare: Callable[[Bench, StateManager, Raw, int], Pair]
) -> Pair:
    values = Values()
    count = bench.count(_KEYS, 40)
    encode = msgspec.msgpack.Encoder().encode
    state = holdfast.open(url_of(engine, bench.place(engine)))
    raw = open_raw(engine, bench.place("raw"))
    with closing(state), closing(raw):
        for number in range(_SCOPES):
            scope = scope_of(number)
            items = [(key, values.document()) for key in keys(count)]
            state.set_batch([SetOperation(scope, key, value) for key, value in items])
            raw.put_many([(packed(scope, key), encode(value)) for key, value in items])
        raw.settle()
        return compare(bench, state, raw, count)


def _gets(bench: Bench, state: StateManager, raw: Raw, count: int) -> Pair:
    values, operations = Values(3), bench.count(_GETS, 20)
    decode = msgspec.msgpack.Decoder().decode
    places = [(scope_of(n), key) for n in range(_SCOPES) for key in keys(count)]
    raw_keys = [packed(scope, key) for scope, key in places]

    def ours(_: int) -> Callable[[], None]:
        items, get = [places[n] for n in values.shuffled(operations, len(places))], state.get

        def loop() -> None:
            for scope, key in items:
                get(scope, key)

        return loop

    def theirs(_: int) -> Callable[[], None]:
        items, get = [raw_keys[n] for n in values.shuffled(operations, len(places))], raw.get

        def loop() -> None:
            for key in items:
                decode(get(key))  # type: ignore[arg-type]

        return loop

    return bench.compare(ours, theirs, operations=operations)


def _scans(bench: Bench, state: StateManager, raw: Raw, count: int) -> Pair:
    limit, each = bench.count(_SCANNED, 20), bench.count(6, 1)
    decode = msgspec.msgpack.Decoder().decode
    ranges = [(packed(scope_of(n), "task/"), packed(scope_of(n), "task0")) for n in range(_SCOPES)]

    def ours(number: int) -> Callable[[], None]:
        def loop() -> None:
            for n in range(each):
                for _key, _value in state.scan(scope_of((number + n) % _SCOPES), limit=limit):
                    pass

        return loop

    def theirs(number: int) -> Callable[[], None]:
        def loop() -> None:
            for n in range(each):
                start, stop = ranges[(number + n) % _SCOPES]
                for _key, value in raw.scan(start[:-1], stop, limit):
                    decode(value)

        return loop

    return bench.compare(ours, theirs, operations=limit * each)
