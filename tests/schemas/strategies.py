"""Schemas of every kind, and values that fit them."""

from __future__ import annotations

import datetime as dt
import string
from typing import Any

from hypothesis import strategies as st

from holdfast.schemas import (
    UUID,
    Anything,
    Array,
    Boolean,
    Enum,
    Float,
    Integer,
    Kind,
    Object,
    StateSchema,
    String,
    Timestamp,
)

NAMES = st.sampled_from(["a", "b", "c", "d e", "ü"])
WORDS = st.text(string.ascii_lowercase, max_size=6)


def _limits(
    draw: st.DrawFn, numbers: st.SearchStrategy[Any], low: str, high: str
) -> dict[str, Any]:
    one, other = sorted([draw(numbers), draw(numbers)])
    return {low: draw(st.sampled_from([None, one])), high: draw(st.sampled_from([None, other]))}


@st.composite
def kinds(draw: st.DrawFn, depth: int = 2) -> Kind:
    """Draw a kind."""
    common: dict[str, Any] = {"nullable": draw(st.booleans())}
    names = ["string", "integer", "float", "boolean", "enum", "timestamp", "uuid", "anything"]
    match draw(st.sampled_from(names + (["array", "object"] * 2 if depth else []))):
        case "string":
            return String(
                **common, **_limits(draw, st.integers(0, 6), "min_length", "max_length"),
                pattern=draw(st.sampled_from([None, "^[a-z]*$"])),
            )  # fmt: skip
        case "integer":
            return Integer(**common, **_limits(draw, st.integers(-(2**70), 2**70), "min", "max"))
        case "float":
            limits = _limits(draw, st.integers(-9, 9).map(float), "min", "max")
            return Float(**common, **limits, non_finite=draw(st.booleans()))
        case "boolean":
            return Boolean(**common)
        case "enum":
            variants = draw(st.lists(WORDS, min_size=1, max_size=3, unique=True))
            return Enum(**common, variants=tuple(variants))
        case "timestamp":
            return Timestamp(**common)
        case "uuid":
            return UUID(**common)
        case "array":
            limits = _limits(draw, st.integers(0, 3), "min_items", "max_items")
            return Array(**common, **limits, items=draw(kinds(depth - 1)))
        case "object":
            return draw(objects(depth - 1))
    return Anything(**common)


@st.composite
def objects(draw: st.DrawFn, depth: int) -> Object:
    """Draw an object; some of its fields have a default that fits them."""
    fields = draw(st.dictionaries(NAMES, kinds(depth), max_size=4))
    required = tuple(name for name in fields if draw(st.booleans()))
    closed = draw(st.booleans())
    return Object(
        fields=fields,
        required=required,
        closed=closed,
        values=None if closed or draw(st.booleans()) else draw(kinds(0)),
        nullable=draw(st.booleans()),
    )


@st.composite
def schemas(draw: st.DrawFn, version: int = 1) -> StateSchema:
    """Draw a schema."""
    root = draw(objects(2))
    return StateSchema(
        name="drawn",
        version=version,
        semantic_version=f"{version}.0.0",
        fields=root.fields,
        required=root.required,
        closed=root.closed,
    )


@st.composite
def values(draw: st.DrawFn, kind: Kind) -> Any:
    """Draw a value that fits a kind."""
    if kind.nullable and draw(st.integers(0, 4)) == 0:
        return None
    match kind:
        case String(min_length=low, max_length=high):
            low = low or 0
            high = low + 4 if high is None else high
            return draw(st.text(string.ascii_lowercase, min_size=low, max_size=high))
        case Integer(min=low, max=high):
            return draw(st.integers(low, high))
        case Float(min=low, max=high, non_finite=loose):
            odd = [float("inf"), float("-inf"), float("nan")]
            if loose and draw(st.booleans()):
                return draw(st.sampled_from(odd))
            return draw(st.floats(low, high, allow_nan=False, allow_infinity=False))
        case Boolean():
            return draw(st.booleans())
        case Array(items=items, min_items=least, max_items=most):
            least = least or 0
            most = least + 2 if most is None else most
            return draw(st.lists(values(items), min_size=least, max_size=most))
        case Object():
            return draw(filled(kind))
        case Enum(variants=variants):
            return draw(st.sampled_from(variants))
        case Timestamp():
            moment = draw(st.datetimes(timezones=st.just(dt.UTC)))
            return draw(st.sampled_from([moment, moment.isoformat()]))
        case UUID():
            found = draw(st.uuids())
            return draw(st.sampled_from([found, str(found)]))
    return draw(st.sampled_from([None, 1, "x", b"x", 1.5, [1], {"a": 1}, {1, 2}]))


@st.composite
def filled(draw: st.DrawFn, kind: Object) -> dict[str, Any]:
    """Draw an object's value."""
    made: dict[str, Any] = {}
    for name, field in kind.fields.items():
        if name in kind.required or draw(st.booleans()):
            made[name] = draw(values(field))
    if kind.values is not None and draw(st.booleans()):
        made["other"] = draw(values(kind.values))
    return made
