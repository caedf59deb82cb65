"""What differs between two values, element by element. Pure; it knows no store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from holdfast.store.value import MISSING

_WORD: Final = str.isidentifier


def value_changes(before: Any, after: Any, path: str = "$") -> Iterator[tuple[str, Any, Any]]:
    """Yield ``(path, old, new)`` for each element that differs; MISSING where there is none.

    Objects are compared by key, lists by position with their common beginning and end left out.
    Values are plain JSON data, so ``1`` and ``1.0`` (and True) are told apart.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            where = f"{path}.{key}" if _WORD(key) else f"{path}[{key!r}]"
            yield from value_changes(before.get(key, MISSING), after.get(key, MISSING), where)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _list_changes(before, after, path)
    elif type(before) is not type(after) or before != after:
        yield path, before, after


def _list_changes(before: list[Any], after: list[Any], path: str) -> Iterator[tuple[str, Any, Any]]:
    shortest = min(len(before), len(after))
    head = 0
    while head < shortest and _same(before[head], after[head]):
        head += 1
    tail = 0
    while tail < shortest - head and _same(before[-1 - tail], after[-1 - tail]):
        tail += 1
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    for at in range(max(len(old), len(new))):
        yield from value_changes(
            old[at] if at < len(old) else MISSING,
            new[at] if at < len(new) else MISSING,
            f"{path}[{head + at}]",
        )


def _same(before: Any, after: Any) -> bool:
    return next(value_changes(before, after), None) is None
