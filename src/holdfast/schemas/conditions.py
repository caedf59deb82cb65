r"""Rules across fields: conditions over the whole value, as plain data.

Paths are dotted, as ``profile.age`` or ``items[0].price``; a dot, bracket or backslash in a name
is escaped by a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from holdfast.schemas.errors import InvalidSchemaError
from holdfast.schemas.kinds import check_default, check_name
from holdfast.store.value import MISSING

Predicate = Callable[[Any], Any]
TypeName = Literal["null", "boolean", "integer", "number", "string", "array", "object"]

_PART: Final = re.compile(r"(?:^|\.)((?:[^.\[\]\\]|\\.)+)|\[(\d+)\]")


class _Condition(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="is", forbid_unknown_fields=True
):
    pass


class Exists(_Condition, frozen=True, kw_only=True, tag="exists"):
    """Something is at the path, None included."""

    path: str

    def __post_init__(self) -> None:
        parse(self.path)


class Absent(_Condition, frozen=True, kw_only=True, tag="absent"):
    """Nothing is at the path."""

    path: str

    def __post_init__(self) -> None:
        parse(self.path)


class OfType(_Condition, frozen=True, kw_only=True, tag="type"):
    """A value of a type of JSON is at the path."""

    path: str
    type: TypeName

    def __post_init__(self) -> None:
        parse(self.path)


class Equals(_Condition, frozen=True, kw_only=True, tag="equals"):
    """A value equal to this one is at the path; 1, 1.0 and True are three values."""

    path: str
    value: Any

    def __post_init__(self) -> None:
        parse(self.path)
        check_default(self.value)


class Satisfies(_Condition, frozen=True, kw_only=True, tag="predicate"):
    """A function of the program takes the whole value, or what is at the path.

    Attributes:
        predicate: Its name among the `validators` that the program gives.
        path: None for the whole value. Where nothing is at the path, the condition does not hold.
    """

    predicate: str
    path: str | None = None

    def __post_init__(self) -> None:
        check_name(self.predicate, "the predicate's name")
        if self.path is not None:
            parse(self.path)


class Every(_Condition, frozen=True, kw_only=True, tag="every"):
    """All of several conditions hold."""

    of: tuple[Condition, ...]


class Either(_Condition, frozen=True, kw_only=True, tag="either"):
    """One of several conditions holds at least."""

    of: tuple[Condition, ...]


class Not(_Condition, frozen=True, kw_only=True, tag="not"):
    """A condition does not hold."""

    of: Condition


Condition: TypeAlias = Exists | Absent | OfType | Equals | Satisfies | Every | Either | Not


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule across fields.

    Attributes:
        name: What problems call it.
        then: What must hold.
        when: Where this holds; None for always.
        description: For people; problems say it as what is wanted.
    """

    name: str
    then: Condition
    when: Condition | None = None
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "a rule's name")


def parse(path: str) -> tuple[str | int, ...]:
    """Return the steps of a path.

    Raises:
        InvalidSchemaError: It is none.
    """
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        found = _PART.match(path, at)
        if found is None or (at == 0 and path[0] == "."):
            break
        name, index = found.groups()
        steps.append(re.sub(r"\\(.)", r"\1", name) if name is not None else int(index))
        at = found.end()
    if not path or at < len(path):
        raise InvalidSchemaError(
            f"{path!r} is no path", hint=r"write profile.age, items[0] or site\.name"
        )
    return tuple(steps)


def look(value: Any, path: str) -> Any:
    """Return what is at a path, or `MISSING`."""
    for step in parse(path):
        if isinstance(step, int):
            if not isinstance(value, (list, tuple)) or step >= len(value):
                return MISSING
            value = value[step]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return MISSING
    return value


def holds(condition: Condition, value: Any, predicates: Mapping[str, Predicate]) -> bool:
    """Say whether a condition holds of a value; a predicate that raises says no."""
    match condition:
        case Exists(path=path):
            return look(value, path) is not MISSING
        case Absent(path=path):
            return look(value, path) is MISSING
        case OfType(path=path, type=name):
            return name in _types(look(value, path))
        case Equals(path=path, value=wanted):
            return same(look(value, path), wanted)
        case Satisfies(predicate=name, path=path):
            found = value if path is None else look(value, path)
            return found is not MISSING and accepts(predicates[name], found)
        case Every(of=several):
            return all(holds(one, value, predicates) for one in several)
        case Either(of=several):
            return any(holds(one, value, predicates) for one in several)
        case Not(of=one):
            return not holds(one, value, predicates)


def names(condition: Condition | None) -> frozenset[str]:
    """Return the names of the predicates that a condition calls."""
    match condition:
        case Satisfies(predicate=name):
            return frozenset([name])
        case Every(of=several) | Either(of=several):
            return frozenset().union(*map(names, several))
        case Not(of=one):
            return names(one)
    return frozenset()


def accepts(fn: Predicate, value: Any) -> bool:
    """Say whether a program's function takes a value; what it raises would tell the value."""
    try:
        return bool(fn(value))
    except Exception:  # noqa: BLE001 - it is the answer no
        return False


def same(one: Any, other: Any) -> bool:
    """Say whether two values are equal and of the same types throughout."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def _types(value: Any) -> tuple[str, ...]:
    if value is None:
        return ("null",)
    if isinstance(value, bool):
        return ("boolean",)
    if isinstance(value, int):
        return ("integer", "number")
    if isinstance(value, float):
        return ("integer", "number") if value.is_integer() else ("number",)
    if isinstance(value, str):
        return ("string",)
    if isinstance(value, dict):
        return ("object",)
    return ("array",) if isinstance(value, (list, tuple)) else ()
