"""What observing costs: increments and gets in memory, watched in each way, against plain ones.

The plain side is the class's verb as it was written, without the wrapper that tells of failures.
(`get` and `set` have none: they tell themselves, so `off` measures them against themselves.)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import holdfast
from benchmarks.data import Values, keys, scope_of
from benchmarks.measure import Bench, Row, Target, ratio_row
from holdfast import StateManager
from holdfast.observe.telling import raw

_KEYS = 1000
_WRITES, _GETS = 4000, 20_000

#: Each way of watching, its options, and what it may cost of an increment and of a get.
_WAYS: tuple[tuple[str, dict[str, Any], Target | None, Target | None], ...] = (
    ("off", {}, Target(1.05), Target(1.05)),
    ("metrics", {"metrics": True}, None, None),
    ("tracing without an SDK", {"tracing": True}, None, None),
)


def run(bench: Bench) -> list[Row]:
    """Change and read numbers in one caller."""
    rows: list[Row] = []
    for engine in bench.engines("memory"):
        for name, options, write_target, get_target in _WAYS:
            if options.get("tracing") and not _has_opentelemetry():
                continue
            with (
                closing(holdfast.open("memory:", **options)) as watched,
                closing(holdfast.open("memory:")) as plain,
            ):
                for verb, full, target in (
                    ("increment", _WRITES, write_target),
                    ("get", _GETS, get_target),
                ):
                    work = _increments if verb == "increment" else _gets
                    count = bench.count(full, 20)
                    pair = bench.compare(
                        lambda _, work=work, count=count: work(watched, None, count),
                        lambda _, work=work, count=count: work(plain, StateManager, count),
                        operations=count,
                    )
                    rows.append(ratio_row("observe", engine, f"{verb}, {name}", pair, target))
    return rows


def _increments(state: StateManager, plain: type | None, count: int) -> Callable[[], None]:
    values, names, scope = Values(1), keys(_KEYS), scope_of(0)
    items = [names[n] for n in values.shuffled(count, _KEYS)]
    call = _call(state, plain, "increment")

    def loop() -> None:
        for key in items:
            call(scope, key)

    return loop


def _gets(state: StateManager, plain: type | None, count: int) -> Callable[[], None]:
    values, names, scope = Values(2), keys(_KEYS), scope_of(0)
    items = [names[n] for n in values.shuffled(count, _KEYS)]
    call = _call(state, plain, "get")

    def loop() -> None:
        for key in items:
            call(scope, key)

    return loop


def _call(state: StateManager, plain: type | None, verb: str) -> Callable[..., Any]:
    if plain is None:
        found: Callable[..., Any] = getattr(state, verb)
        return found
    written = raw(plain, verb)
    assert written is not None
    bound: Callable[..., Any] = written.__get__(state)
    return bound


def _has_opentelemetry() -> bool:
    try:
        import opentelemetry.trace  # noqa: F401
    except ImportError:
        return False
    return True
