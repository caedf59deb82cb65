r"""Dotted paths into values: ``profile.age``, ``items[*].price``, ``tags[0]``.

A dot, a bracket or a backslash within a key is escaped by a backslash: ``site\.name``. ``[*]``
stands for every element of a list, ``[2]`` for one. Pure; it knows no store.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from holdfast.errors import InvalidArgumentError, MigrationStepError
from holdfast.store.value import MISSING


class Every:
    """The type of `EVERY`: each element of a list."""

    def __repr__(self) -> str:
        return "[*]"


EVERY: Final = Every()
Part = str | int | Every
Place = tuple[str | int, ...]
_SPECIAL: Final = frozenset("\\.[]")


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[Part, ...]:
    """Return the parts of a path.

    Raises:
        InvalidArgumentError: It is none: empty, with an empty key, or with a bad bracket.
    """
    if not isinstance(text, str) or not text:
        raise InvalidArgumentError("a path must be text, and not empty")
    parts: list[Part] = []
    at, end, wants = 0, len(text), True
    while at < end:
        char = text[at]
        if char == "[":
            close = text.find("]", at)
            inner = text[at + 1 : close] if close > 0 else ""
            if inner == "*":
                parts.append(EVERY)
            elif inner.isascii() and inner.isdigit():
                parts.append(int(inner))
            else:
                raise _wrong(text, "a bracket holds * or a number, as items[*] or items[0]")
            at, wants = close + 1, False
            continue
        if char == ".":
            if wants or at + 1 == end:
                raise _wrong(text, "a key between dots is empty")
            at, wants = at + 1, True
            if text[at] == "[":
                raise _wrong(text, "a bracket follows its list without a dot")
            continue
        if not wants:
            raise _wrong(text, "a dot is missing behind a bracket")
        key, at = _key(text, at)
        parts.append(key)
        wants = False
    return tuple(parts)


def _key(text: str, at: int) -> tuple[str, int]:
    key: list[str] = []
    while at < len(text) and text[at] not in ".[":
        if text[at] == "]":
            raise _wrong(text, "a closing bracket is not escaped")
        if text[at] == "\\":
            at += 1
            if at == len(text) or text[at] not in _SPECIAL:
                raise _wrong(text, "a backslash escapes a dot, a bracket or a backslash only")
        key.append(text[at])
        at += 1
    return "".join(key), at


def _wrong(text: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{text!r} is no path: {why}", hint=r"write a.b, items[*].price, or a\.b for one key"
    )


def path_text(parts: tuple[Part, ...]) -> str:
    """Return the text of a path: `parse` of it gives the same parts."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            key = "".join(f"\\{char}" if char in _SPECIAL else char for char in part)
            text += f".{key}" if text else key
        else:
            text += repr(part) if part is EVERY else f"[{part}]"
    return text


def places(value: Any, parts: tuple[Part, ...]) -> Iterator[Place]:
    """Yield the concrete places of a path: one, or one for each element of its lists.

    The last keys need not exist; the lists of ``[*]`` must, or there is none.
    """
    if EVERY not in parts:
        yield parts  # type: ignore[misc]
        return
    at = parts.index(EVERY)
    head: Place = parts[:at]  # type: ignore[assignment]
    found = get(value, head)
    if isinstance(found, list):
        for number in range(len(found)):
            for rest in places(found[number], parts[at + 1 :]) if parts[at + 1 :] else [()]:
                yield (*head, number, *rest)


def bound(parts: tuple[Part, ...], source: tuple[Part, ...], place: Place) -> Place:
    """Return `parts` with each ``[*]`` bound as `place` binds those of `source`.

    Raises:
        InvalidArgumentError: They have not as many.
    """
    numbers = [place[at] for at, part in enumerate(source) if part is EVERY]
    if len(numbers) != parts.count(EVERY):
        raise InvalidArgumentError(
            f"{path_text(source)} and {path_text(parts)} do not go through lists alike",
            hint="both paths need as many [*]",
        )
    left = iter(numbers)
    return tuple(next(left) if part is EVERY else part for part in parts)  # type: ignore[misc]


def get(value: Any, place: Place) -> Any:
    """Return what is at a place, or `MISSING`."""
    for part in place:
        if isinstance(part, str):
            if not isinstance(value, dict) or part not in value:
                return MISSING
        elif not isinstance(value, list) or part >= len(value):
            return MISSING
        value = value[part]
    return value


def put(value: Any, place: Place, new: Any) -> None:
    """Set what is at a place, making the objects on the way.

    Raises:
        MigrationStepError: Something on the way is no object, or a list is too short.
    """
    for at, part in enumerate(place):
        last = at == len(place) - 1
        if isinstance(part, str):
            if not isinstance(value, dict):
                raise _blocked(place[:at], "object", value)
            if last:
                value[part] = new
                return
            if part not in value:
                value[part] = {}
        else:
            if not isinstance(value, list):
                raise _blocked(place[:at], "list", value)
            if part >= len(value):
                raise MigrationStepError(
                    f"{path_text(place[: at + 1])}: the list has {len(value)} elements",
                    path=path_text(place[: at + 1]),
                    reason="missing",
                )
            if last:
                value[part] = new
                return
        value = value[part]


def take(value: Any, place: Place) -> Any:
    """Remove what is at a place and return it, or `MISSING`."""
    owner = get(value, place[:-1])
    found = get(value, place)
    if found is not MISSING:
        del owner[place[-1]]
    return found


def _blocked(place: Place, wanted: str, found: Any) -> MigrationStepError:
    where = path_text(place) or "$"
    return MigrationStepError(
        f"{where} is of type {type(found).__name__}, and no {wanted}", path=where, reason="type"
    )
