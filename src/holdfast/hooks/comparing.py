"""Comparing what two runs of a hook came to, field by field. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from holdfast.errors import InvalidArgumentError
from holdfast.store.value import MISSING


@dataclass(frozen=True, slots=True)
class Compare:
    """What counts as a difference.

    A field is named by its path, as ``writes[0].value.total``, or by its last name alone
    (``total``); ``*`` stands for any text.

    Attributes:
        ignore_fields: Fields that may differ.
        ignore_order: Lists whose order does not count; True for all.
    """

    ignore_fields: tuple[str, ...] = ()
    ignore_order: tuple[str, ...] | bool = False

    def __post_init__(self) -> None:
        for name in ("ignore_fields", "ignore_order"):
            given = getattr(self, name)
            if isinstance(given, bool) and name == "ignore_order":
                continue
            if isinstance(given, str):
                given = (given,)
            try:
                fields = tuple(given)
            except TypeError:
                fields = (None,)
            if not all(isinstance(field, str) and field for field in fields):
                raise InvalidArgumentError(f"{name} are names or paths of fields, in a list")
            object.__setattr__(self, name, fields)

    def ignores(self, path: str) -> bool:
        """Say whether the field at `path` may differ."""
        return _named(path, self.ignore_fields)

    def unordered(self, path: str) -> bool:
        """Say whether the order of the list at `path` does not count."""
        if isinstance(self.ignore_order, bool):
            return self.ignore_order
        return _named(path, self.ignore_order)


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field that differs.

    Attributes:
        path: Where.
        before, after: The two; `MISSING` where one is not there.
    """

    path: str
    before: Any
    after: Any

    def __repr__(self) -> str:
        return f"FieldDifference({self.path})"


def differences(before: Any, after: Any, compare: Compare) -> list[FieldDifference]:
    """Return the fields in which two values differ, in the order of their paths."""
    return list(_walk("", before, after, compare))


def _walk(path: str, before: Any, after: Any, compare: Compare) -> Iterator[FieldDifference]:
    if path and compare.ignores(path):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            inner = f"{path}.{name}" if path else str(name)
            pair = before.get(name, MISSING), after.get(name, MISSING)
            yield from _walk(inner, *pair, compare)
    elif isinstance(before, list) and isinstance(after, list):
        if compare.unordered(path):
            yield from _unordered(path, before, after, compare)
            return
        for at in range(max(len(before), len(after))):
            one, other = (side[at] if at < len(side) else MISSING for side in (before, after))
            yield from _walk(f"{path}[{at}]", one, other, compare)
    elif not _equal(before, after):
        yield FieldDifference(path, before, after)


def _unordered(
    path: str, before: list[Any], after: list[Any], compare: Compare
) -> Iterator[FieldDifference]:
    left = list(before)
    new = []
    for item in after:
        for at, old in enumerate(left):
            if next(_walk(f"{path}[*]", old, item, compare), None) is None:
                del left[at]
                break
        else:
            new.append(item)
    both = min(len(left), len(new))
    for old, item in zip(left[:both], new[:both], strict=True):  # most likely the same, changed
        yield from _walk(f"{path}[*]", old, item, compare)
    for item in left[both:]:
        yield FieldDifference(f"{path}[*]", item, MISSING)
    for item in new[both:]:
        yield FieldDifference(f"{path}[*]", MISSING, item)


def _equal(before: Any, after: Any) -> bool:
    if before is after:
        return True
    # 1, 1.0 and True are three values here, and NaN is the same as itself.
    if type(before) is not type(after):
        return False
    return bool(before == after) or (before != before and after != after)


def _named(path: str, names: tuple[str, ...]) -> bool:
    last = path.rpartition(".")[2]
    return any(fnmatchcase(path, _literal(name)) or fnmatchcase(last, name) for name in names)


def _literal(name: str) -> str:
    """Keep the brackets of a path from being read as a set of characters."""
    return name.replace("[", "[[]")
