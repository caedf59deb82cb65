"""Schemas from types, and from values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.schemas import (
    UUID,
    Anything,
    Array,
    Checker,
    Enum,
    Float,
    Inference,
    Integer,
    InvalidSchemaError,
    Object,
    String,
    Timestamp,
    from_type,
)

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
ID = uuid.UUID(int=7)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


class Line(msgspec.Struct):
    id: uuid.UUID
    points: list[Point]
    colour: Colour
    sum: Decimal
    at: dt.datetime | None = None
    marks: dict[str, int] = {}


@dataclasses.dataclass
class Node:
    below: list[Node]


@dataclasses.dataclass
class Either:
    a: int | str


def test_from_types() -> None:
    """Structs and dataclasses become schemas that take what is stored of their instances."""
    line = from_type(Line, version=3)
    assert (line.name, line.version, line.semantic_version) == ("Line", 3, "3.0.0")
    assert line.fields == {
        "id": UUID(),
        "points": Array(items=Object(fields={"x": Integer(), "y": Float(default=0.5)},
                                     required=("x",))),
        "colour": Enum(variants=("red", "blue")),
        "sum": Anything(),
        "at": Timestamp(nullable=True, default=None),
        "marks": Object(values=Integer(), default={}),
    }  # fmt: skip
    assert line.required == ("id", "points", "colour", "sum")
    checker = Checker(line)
    good = Line(ID, [Point(1)], Colour.RED, Decimal("1.5"), NOW, {"a": 1})
    assert checker.problems(good) == ()
    bad: Any = Point("1")  # type: ignore[arg-type]
    problems = checker.problems(Line(ID, [bad], Colour.RED, Decimal(1)))
    assert [each.path for each in problems] == ["$.points[0].x"]


@pytest.mark.parametrize(("kind", "place"), [(Node, "$.below[*]"), (Either, "$.a"), (int, "")])
def test_types_without_a_kind(kind: type, place: str) -> None:
    """Recursive types, choices, and what has no fields are refused."""
    with pytest.raises(InvalidSchemaError) as caught:
        from_type(kind)
    assert caught.value.message.startswith(place)


def test_inference() -> None:
    """What is always there is required; what differs is anything; no value is in the proposal."""
    found = Inference()
    found.add({"a": 1, "b": "secret", "c": [1, 2.5], "d": None, "e": {"f": True}, "g": NOW})
    found.add({"a": 2, "b": 5, "c": [], "d": "x", "e": {}, "g": NOW, "h": float("nan")})
    found.add("no dict")
    made = found.schema("s")
    assert made.fields["a"] == Integer()
    assert made.fields["b"] == Anything()
    assert made.fields["c"] == Array(items=Float())
    assert made.fields["d"] == String(nullable=True)
    assert made.fields["e"].required == ()  # type: ignore[union-attr]
    assert made.fields["g"] == Timestamp()
    assert made.fields["h"] == Float(non_finite=True)
    assert made.required == ("a", "b", "c", "d", "e", "g")
    assert (found.count, found.skipped) == (2, 1)
    places = {each.path: (each.count, each.shapes) for each in found.places()}
    assert places["$.b"] == (2, (("str", 1), ("int", 1)))
    assert places["$.c[*]"] == (2, (("int", 1), ("float", 1)))
    assert "secret" not in f"{made.to_data()} {places}"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.datetimes() | st.datetimes(timezones=st.just(dt.UTC)) | st.uuids() | st.decimals(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=2), below),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=2), VALUES), max_size=4))
def test_a_proposal_takes_what_was_seen(several: list[dict[str, Any]]) -> None:
    """Every value that was looked at fits the proposal."""
    found = Inference()
    for value in several:
        found.add(value)
    checker = Checker(found.schema("s"))
    for value in several:
        assert checker.problems(value) == ()
