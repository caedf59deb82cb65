"""What one version of a schema keeps of another, computed from the two; pure.

The question behind all of it is whether every value that one kind takes is read by another. Asked
from old to new it is backward compatibility, from new to old forward. What cannot be decided
(patterns, functions, rules that differ) counts as not kept.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.schemas.conditions import same
from holdfast.schemas.kinds import (
    Anything,
    Array,
    Custom,
    Enum,
    Float,
    Integer,
    Kind,
    Object,
    String,
)
from holdfast.schemas.problem import path_text
from holdfast.schemas.schema import Compatibility, StateSchema

Steps = tuple[str | int, ...]

_ITEM: Final = "*"


class Risk(enum.IntEnum):
    """How likely a difference is to hurt.

    Attributes:
        NONE: It cannot.
        LOW: It is read, perhaps not as it was meant.
        MEDIUM: Some values are refused.
        HIGH: Most or all values are refused, or no longer seen.
    """

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3


@dataclass(frozen=True, slots=True)
class Reason:
    """One difference that matters.

    Attributes:
        path: Where: ``$.items[*].price``.
        direction: ``"backward"`` (old data, new version) or ``"forward"`` (new data, old version).
        text: What it is.
        risk: How likely it hurts.
        breaks: The direction is not kept because of it.
    """

    path: str
    direction: str
    text: str
    risk: Risk
    breaks: bool = True

    def __str__(self) -> str:
        return f"{self.path}: {self.text} ({self.direction}, risk {self.risk.name.lower()})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions of a schema, one against the other.

    Attributes:
        name, old, new: The schema and its versions.
        reasons: What differs and matters.
    """

    name: str
    old: int
    new: int
    reasons: tuple[Reason, ...]

    @property
    def backward(self) -> bool:
        """Say whether the new version reads old data."""
        return not any(r.breaks and r.direction == "backward" for r in self.reasons)

    @property
    def forward(self) -> bool:
        """Say whether the old version reads new data."""
        return not any(r.breaks and r.direction == "forward" for r in self.reasons)

    @property
    def level(self) -> Compatibility:
        """What is kept."""
        if self.backward:
            return Compatibility.FULL if self.forward else Compatibility.BACKWARD
        return Compatibility.FORWARD if self.forward else Compatibility.BREAKING

    @property
    def risk(self) -> Risk:
        """The highest risk among the reasons."""
        return max((reason.risk for reason in self.reasons), default=Risk.NONE)

    def keeps(self, declared: Compatibility) -> bool:
        """Say whether as much is kept as was declared."""
        needs_backward = declared in (Compatibility.BACKWARD, Compatibility.FULL)
        needs_forward = declared in (Compatibility.FORWARD, Compatibility.FULL)
        return (self.backward or not needs_backward) and (self.forward or not needs_forward)


def compare(old: StateSchema, new: StateSchema) -> Comparison:
    """Compare a version of a schema with a later one."""
    backward = [*_unread(old.root, new.root, ()), *_lost(old.root, new.root, ())]
    forward = [*_unread(new.root, old.root, ())]
    if new.version < old.version or new.semantic < old.semantic:
        backward.append(((), "the version goes down", Risk.HIGH, True))
        forward.append(((), "the version goes down", Risk.HIGH, True))
    backward += _rules(old, new)
    forward += _rules(new, old)
    reasons = [
        Reason(path_text(path).replace("['*']", "[*]"), direction, text, risk, breaks)
        for direction, several in (("backward", backward), ("forward", forward))
        for path, text, risk, breaks in several
    ]
    return Comparison(new.name, old.version, new.version, tuple(reasons))


_Found = tuple[Steps, str, Risk, bool]


def _rules(writer: StateSchema, reader: StateSchema) -> list[_Found]:
    return [
        ((), f"rule {rule.name} is not one of the writer's", Risk.MEDIUM, True)
        for rule in reader.rules
        if not any(rule.then == one.then and rule.when == one.when for one in writer.rules)
    ]


def _unread(writer: Kind, reader: Kind, path: Steps) -> Iterator[_Found]:
    """Yield why a value that `writer` takes may be one that `reader` does not."""
    if isinstance(reader, Anything):
        return
    if isinstance(writer, Anything):
        yield path, f"anything becomes {_name(reader)}", Risk.HIGH, True
        return
    if writer.nullable and not reader.nullable:
        yield path, "null is no longer taken", Risk.MEDIUM, True
    if type(writer) is type(reader):
        yield from _narrower(writer, reader, path)
    elif isinstance(writer, Integer) and isinstance(reader, Float):
        yield from _limits(writer.min, writer.max, reader.min, reader.max, path, "number")
    elif _is_free(reader) and isinstance(writer, Enum):
        return
    else:
        yield path, f"{_name(writer)} becomes {_name(reader)}", Risk.HIGH, True


def _narrower(writer: Kind, reader: Kind, path: Steps) -> Iterator[_Found]:
    match writer, reader:
        case String(), String():
            yield from _limits(
                writer.min_length or 0,
                writer.max_length,
                reader.min_length or 0,
                reader.max_length,
                path,
                "length",
            )
            if reader.pattern is not None and reader.pattern != writer.pattern:
                yield path, "the pattern is another one", Risk.MEDIUM, True
        case Integer(), Integer():
            yield from _limits(writer.min, writer.max, reader.min, reader.max, path, "number")
        case Float(), Float():
            yield from _limits(writer.min, writer.max, reader.min, reader.max, path, "number")
            if writer.non_finite and not reader.non_finite:
                yield path, "NaN and infinities are not taken", Risk.LOW, True
        case Array(), Array():
            yield from _limits(
                writer.min_items or 0,
                writer.max_items,
                reader.min_items or 0,
                reader.max_items,
                path,
                "length",
            )
            yield from _unread(writer.items, reader.items, (*path, _ITEM))
        case Object(), Object():
            yield from _fields(writer, reader, path)
        case Enum(), Enum():
            gone = [each for each in writer.variants if each not in reader.variants]
            if gone:
                yield path, f"variants are not taken: {', '.join(gone)}", Risk.MEDIUM, True
        case Custom(), Custom():
            if writer.validator != reader.validator:
                yield path, "the validator is another one", Risk.MEDIUM, True


def _fields(writer: Object, reader: Object, path: Steps) -> Iterator[_Found]:
    for name, field in reader.fields.items():
        there = (*path, name)
        demanded = name in reader.required and not field.has_default
        sure = name in writer.required and not _missing(writer, name)
        if name in writer.fields:
            if demanded and not sure:
                yield there, "may be missing, and is required", Risk.HIGH, True
            yield from _unread(writer.fields[name], field, there)
        elif demanded:
            yield there, "is not written, and is required", Risk.HIGH, True
        elif writer.values is not None:
            yield from _unread(writer.values, field, there)
        elif not writer.closed and not isinstance(field, Anything):
            text = "an unknown field of this name may be there, of another kind"
            yield there, text, Risk.LOW, False
    unknown = [name for name in writer.fields if name not in reader.fields]
    for name in unknown:
        there = (*path, name)
        if reader.closed:
            yield there, "is not known, and unknown fields do not fit", Risk.HIGH, True
        elif reader.values is not None:
            yield from _unread(writer.fields[name], reader.values, there)
    if not writer.closed:
        if reader.closed:
            yield path, "unknown fields do not fit", Risk.MEDIUM, True
        elif reader.values is not None:
            values = Anything() if writer.values is None else writer.values
            yield from _unread(values, reader.values, (*path, _ITEM))


def _missing(kind: Object, name: str) -> bool:
    return kind.fields[name].has_default


def _lost(old: Kind, new: Kind, path: Steps) -> Iterator[_Found]:
    """Yield what old data has for sure and the new version no longer knows, or reads otherwise."""
    if isinstance(old, Array) and isinstance(new, Array):
        yield from _lost(old.items, new.items, (*path, _ITEM))
    if not (isinstance(old, Object) and isinstance(new, Object)):
        return
    for name, field in old.fields.items():
        there = (*path, name)
        if name not in new.fields:
            if name in old.required:
                yield there, "a required field is removed", Risk.HIGH, True
            else:
                yield there, "an optional field is removed", Risk.LOW, False
            continue
        later = new.fields[name]
        if field.has_default and later.has_default and not same(field.default, later.default):
            yield there, "the default is another one", Risk.LOW, False
        yield from _lost(field, later, there)


def _limits(
    low: float | None,
    high: float | None,
    least: float | None,
    most: float | None,
    path: Steps,
    what: str,
) -> Iterator[_Found]:
    if least is not None and (low is None or low < least):
        yield path, f"the least {what} is {least}", Risk.MEDIUM, True
    if most is not None and (high is None or high > most):
        yield path, f"the greatest {what} is {most}", Risk.MEDIUM, True


def _is_free(kind: Kind) -> bool:
    """Say whether a kind takes every text."""
    return isinstance(kind, String) and (kind.min_length, kind.max_length, kind.pattern) == (
        None,
        None,
        None,
    )


def _name(kind: Kind) -> str:
    name = type(kind).__name__.lower()
    return f"custom {kind.type_name}" if isinstance(kind, Custom) else name
