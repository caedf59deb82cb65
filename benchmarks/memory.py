"""Memory: the full pipeline with its journal against a dict of MessagePack bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

import holdfast
from benchmarks.data import Values, keys, scope_of
from benchmarks.measure import Bench, Row, Target, ratio_row

_KEYS = 1000
_OPERATIONS = 10_000


def run(bench: Bench) -> list[Row]:
    """Set and get values of 200 B in one caller."""
    if not bench.engines("memory"):
        return []
    values, operations = Values(), bench.count(_OPERATIONS, 20)
    scopes = [scope_of(n) for n in range(10)]
    names = keys(_KEYS)
    places = [(scopes[n % 10], names[n // 10 % _KEYS]) for n in range(10 * _KEYS)]
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    rows: dict[tuple[str, str], bytes] = {}
    state = holdfast.open("memory:")

    def work() -> list[Any]:
        at = values.shuffled(operations, len(places))
        return [(*places[n], values.document()) for n in at]

    def ours_set(_: int) -> Callable[[], None]:
        items, set_ = work(), state.set

        def loop() -> None:
            for scope, key, value in items:
                set_(scope, key, value)

        return loop

    def dict_set(_: int) -> Callable[[], None]:
        items = [(str(scope), key, value) for scope, key, value in work()]

        def loop() -> None:
            for scope, key, value in items:
                rows[scope, key] = encode(value)

        return loop

    def ours_get(_: int) -> Callable[[], None]:
        items, get = [places[n] for n in values.shuffled(operations, len(places))], state.get

        def loop() -> None:
            for scope, key in items:
                get(scope, key)

        return loop

    def dict_get(_: int) -> Callable[[], None]:
        items = [places[n] for n in values.shuffled(operations, len(places))]
        texts = [(str(scope), key) for scope, key in items]

        def loop() -> None:
            for scope, key in texts:
                decode(rows[scope, key])

        return loop

    for scope, key in places:
        value = values.document()
        rows[str(scope), key] = encode(value)
        state.set(scope, key, value)
    sets = bench.compare(ours_set, dict_set, operations=operations)
    gets = bench.compare(ours_get, dict_get, operations=operations)
    state.close()
    return [
        ratio_row("memory", "memory", "set 200 B", sets, Target(5)),
        ratio_row("memory", "memory", "get 200 B", gets, Target(1.5)),
    ]
