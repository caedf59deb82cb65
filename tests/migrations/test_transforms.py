"""Transformations: what each one does, and that it does all of it or nothing."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidArgumentError, MigrationStepError
from holdfast.migrations import (
    Convert,
    Copy,
    Custom,
    Default,
    Map,
    Merge,
    MigrationStep,
    Move,
    Remove,
    Rename,
    Split,
    Validation,
    apply,
)
from holdfast.migrations.functions import Functions
from holdfast.migrations.paths import parse, path_text
from holdfast.migrations.planner import plan
from holdfast.migrations.steps import prepared
from holdfast.migrations.transformations import Transformation, dump, load
from holdfast.migrations.transforms import Trace


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        (Copy(from_field="a", to_field="b.c"), {"a": [1]}, {"a": [1], "b": {"c": [1]}}),
        (Move(from_field="age", to_field="profile.age"), {"age": 3}, {"profile": {"age": 3}}),
        (Move(from_field="a", to_field="b", missing="skip"), {"c": None}, {"c": None}),
        (Move(from_field="a", to_field="a.b"), {"a": 1}, {"a": {"b": 1}}),
        (Move(from_field=r"a\.b", to_field="a.b"), {"a.b": ""}, {"a": {"b": ""}}),
        (Rename(field="a.b", name="c.d"), {"a": {"b": "🎈"}}, {"a": {"c.d": "🎈"}}),
        (Remove(field="a[1]"), {"a": [1, 2, 3]}, {"a": [1, 3]}),
        (Remove(field="a[*]"), {"a": [1, 2, 3]}, {"a": []}),
        (Remove(field="a.b"), {"a": 1}, {"a": 1}),
        (Default(field="a.b", value=[]), {}, {"a": {"b": []}}),
        (Default(field="a", value=1), {"a": None}, {"a": None}),
        (
            Move(from_field="items[*].price", to_field="items[*].cost.amount"),
            {"items": [{"price": 1}, {"price": 2}]},
            {"items": [{"cost": {"amount": 1}}, {"cost": {"amount": 2}}]},
        ),
        (Convert(field="a[*]", to="integer"), {"a": ["1", 2.0, None]}, {"a": [1, 2, None]}),
        (Convert(field="a", to="decimal"), {"a": 0.1}, {"a": Decimal("0.1")}),
        (Convert(field="a", to="boolean"), {"a": "no"}, {"a": False}),
        (Convert(field="a", to="string"), {"a": True}, {"a": "true"}),
        (
            Convert(field="a", to="timestamp"),
            {"a": "2026-01-02T00:00:00+00:00"},
            {"a": datetime(2026, 1, 2, tzinfo=UTC)},
        ),
        (Split(field="n", to=("f", "l")), {"n": "Ada King Noel"}, {"f": "Ada", "l": "King Noel"}),
        (Merge(fields=("f", "l"), to="n"), {"f": "Ada", "l": "King"}, {"n": "Ada King"}),
        (Merge(fields=("n", "l"), to="n"), {"n": "Ada", "l": "King"}, {"n": "Ada King"}),
        (
            Map(
                field="items",
                transformations=(Default(field="n", value=0), {"op": "remove", "field": "x"}),
            ),
            {"items": [{"x": 1}, {"n": 2}]},
            {"items": [{"n": 0}, {"n": 2}]},
        ),
        (Validation(field="e", validator="email_format"), {"e": "a@b.org"}, {"e": "a@b.org"}),
        (
            Validation(field="e", validator="email_format", on_error="default", default=""),
            {"e": "ada"},
            {"e": ""},
        ),
        (Validation(field="e", validator="email_format", on_error="remove"), {"e": "ada"}, {}),
    ],
)
def test_changes(step: Transformation, before: Any, after: Any) -> None:
    """Each transformation does what it says; the value given is not touched; data come back."""
    kept = deepcopy(before)
    assert apply(before, [step]) == after
    assert before == kept
    assert load(dump(step)) == load(step)


@pytest.mark.parametrize(
    ("step", "value", "path", "reason"),
    [
        (Move(from_field="a", to_field="b"), {}, "a", "missing"),
        (Move(from_field="a", to_field="b"), {"a": 1, "b": None}, "b", "exists"),
        (Move(from_field="a", to_field="b.c"), {"a": 1, "b": "text"}, "b", "type"),
        (Move(from_field="l[*].a", to_field="l[*].b"), {"l": [{"a": 1}, {}]}, r"l[1].a", "missing"),
        (Copy(from_field="a", to_field="l[3]"), {"a": 1, "l": []}, "l[3]", "missing"),
        (Convert(field="a", to="integer"), {"a": "12.5"}, "a", "convert"),
        (Convert(field="a", to="integer"), {"a": 3.5}, "a", "convert"),
        (Convert(field="a", to="integer"), {"a": float("nan")}, "a", "convert"),
        (Convert(field="a", to="float"), {"a": 2**53 + 1}, "a", "convert"),
        (Convert(field="a", to="string"), {"a": {}}, "a", "convert"),
        (Split(field="n", to=("f", "l")), {"n": "Ada"}, "n", "convert"),
        (Merge(fields=("f", "l"), to="n"), {"f": "Ada", "l": 1}, "l", "type"),
        (
            Map(field="l", transformations=(Move(from_field="a", to_field="b"),)),
            {"l": [{"a": 1}, {}]},
            "l[1].a",
            "missing",
        ),
        (Validation(field="e", validator="email_format"), {"e": "x"}, "e", "validation"),
    ],
)
def test_refuses(step: Transformation, value: Any, path: str, reason: str) -> None:
    """What cannot be done is an error that says where, and shows no value."""
    kept = deepcopy(value)
    with pytest.raises(MigrationStepError) as caught:
        apply(value, [Default(field="first", value=1), step])
    assert (caught.value.path, caught.value.reason) == (path, reason)
    assert repr(value) == repr(kept)


def test_custom() -> None:
    """A transformer gets values and configuration; what it raises leaves the value as it was."""
    functions = Functions()

    def level(values: list[Any], config: dict[str, Any]) -> Any:
        return config[str(values[0]).lower()]

    functions.add("transformer", "level", level)
    step = Custom(
        from_fields=("on",), to_fields=("level",), transformer="level", config={"true": "all"}
    )
    assert apply({"on": True}, [step], functions) == {"on": True, "level": "all"}
    value = {"on": "secret"}
    with pytest.raises(MigrationStepError, match="level raised KeyError") as caught:
        apply(value, [step], functions)
    assert "secret" not in str(caught.value)
    assert value == {"on": "secret"}
    with pytest.raises(InvalidArgumentError, match="no transformer 'level'"):
        apply({"on": True}, [step])


@pytest.mark.parametrize(
    "text", ["", ".a", "a.", "a..b", "a[", "a[x]", "a]", "a\\x", "a.[0]", "[0]a"]
)
def test_no_path(text: str) -> None:
    """What is no path is refused."""
    with pytest.raises(InvalidArgumentError):
        parse(text)


KEYS = st.text(st.sampled_from("ab.[]\\*0é"), min_size=1, max_size=3)


@given(st.lists(KEYS | st.integers(0, 9), min_size=1, max_size=4))
def test_paths_come_back(parts: list[str | int]) -> None:
    """The text of any path is read as the same path."""
    assert parse(path_text(tuple(parts))) == tuple(parts)


NAMES = st.sampled_from("abc")
PATHS = st.builds(
    lambda first, rest: first + "".join(rest),
    NAMES,
    st.lists(st.sampled_from([".a", ".b", "[*]", "[0]"]), max_size=3),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats()
    | st.text(st.sampled_from("a 1é🎈"), max_size=4)
    | st.just(datetime(2026, 1, 1, tzinfo=UTC))
    | st.binary(max_size=2)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
MISSINGS = st.sampled_from(["error", "skip"])
SIMPLE = st.one_of(
    st.builds(Copy, from_field=PATHS, to_field=PATHS, missing=MISSINGS, overwrite=st.booleans()),
    st.builds(Move, from_field=PATHS, to_field=PATHS, missing=MISSINGS, overwrite=st.booleans()),
    st.builds(Rename, field=PATHS, name=NAMES, missing=MISSINGS),
    st.builds(Remove, field=PATHS),
    st.builds(Default, field=PATHS, value=VALUES),
    st.builds(
        Convert, field=PATHS, to=st.sampled_from(["string", "integer", "float", "boolean", "uuid"])
    ),
    st.builds(Split, field=PATHS, to=st.tuples(PATHS, PATHS)),
    st.builds(Merge, fields=st.tuples(PATHS, PATHS), to=PATHS),
    st.builds(
        Validation,
        field=PATHS,
        validator=st.just("not_empty"),
        on_error=st.sampled_from(["fail", "remove", "default", "quarantine"]),
    ),
)
STEPS = SIMPLE | st.builds(
    Map, field=PATHS, transformations=st.lists(SIMPLE, max_size=2).map(tuple)
)


@given(VALUES, st.lists(STEPS, min_size=1, max_size=3))
def test_all_or_nothing(value: Any, steps: list[Transformation]) -> None:
    """Any step on any value either succeeds or is refused, and never touches what it was given."""
    kept = repr(value)
    try:
        apply(value, steps)
    except (MigrationStepError, InvalidArgumentError):
        pass
    assert repr(value) == kept


PLAIN = st.recursive(
    st.none() | st.integers(-3, 3) | st.sampled_from(["", "é", "🎈"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(NAMES, PLAIN, max_size=3),
    st.lists(
        st.builds(Move, from_field=PATHS, to_field=PATHS)
        | st.builds(Rename, field=PATHS, name=NAMES),
        min_size=1,
        max_size=4,
    ),
)
def test_down_restores(value: Any, transformations: list[Transformation]) -> None:
    """Up and down again over steps declared lossless is exactly what was there."""
    steps = {}
    try:
        for at, each in enumerate(transformations):
            step = MigrationStep(
                schema="s",
                from_version=at + 1,
                to_version=at + 2,
                transformations=(each,),
                lossless=True,
            )
            steps[at + 1] = prepared(step, Functions())
        last = len(steps) + 1
        raised = plan(steps, "s", 1, last).run(deepcopy(value), Trace())
    except (InvalidArgumentError, MigrationStepError):
        return
    assert plan(steps, "s", last, 1).run(raised, Trace()) == value
