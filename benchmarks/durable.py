"""One caller, one durable set after the other: what an acknowledgement costs above the fsync."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

import holdfast
from benchmarks.data import Values, keys, packed, scope_of
from benchmarks.measure import Bench, Row, Target, ratio_row
from benchmarks.raw import open_raw, url_of

_OPERATIONS = 60
_KEYS = 2000


def run(bench: Bench) -> list[Row]:
    """Compare `set` with the raw engine's put of the encoded value, both with fsync."""
    return [row for engine in bench.engines("sqlite", "rocksdb") for row in _engine(bench, engine)]


def _engine(bench: Bench, engine: str) -> list[Row]:
    values, operations = Values(), bench.count(_OPERATIONS, 5)
    encode = msgspec.msgpack.Encoder().encode
    names = keys(_KEYS)
    scope = scope_of(0)
    state = holdfast.open(url_of(engine, bench.place(engine)))
    raw = open_raw(engine, bench.place("raw"))

    def ours(_: int) -> Callable[[], None]:
        items = [(names[n], values.document()) for n in values.shuffled(operations, _KEYS)]

        def loop() -> None:
            for key, value in items:
                state.set(scope, key, value)

        return loop

    def theirs(_: int) -> Callable[[], None]:
        at = values.shuffled(operations, _KEYS)
        items = [(packed(scope, names[n]), values.document()) for n in at]
        raw.settle()

        def loop() -> None:
            for key, value in items:
                raw.put(key, encode(value))

        return loop

    rounds, bench.rounds = bench.rounds, bench.rounds * 3  # short ones: an fsync varies a lot
    try:
        pair = bench.compare(ours, theirs, operations=operations)
    finally:
        bench.rounds = rounds
    state.close()
    raw.close()
    return [ratio_row("durable", engine, "durable set, one caller", pair, Target(1.25))]
