"""Schemas by example: what fits, what is told of what does not, and what a version keeps."""

from __future__ import annotations

import builtins
import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any, Literal

import msgspec
import pydantic
import pytest

from holdfast.errors import ConfigurationError, MissingExtraError
from holdfast.schemas import (
    UUID,
    Absent,
    Anything,
    Array,
    Boolean,
    Checker,
    Compatibility,
    Custom,
    Either,
    Enum,
    Equals,
    Every,
    Exists,
    Float,
    Integer,
    InvalidSchemaError,
    Kind,
    Not,
    Object,
    OfType,
    Risk,
    Rule,
    Satisfies,
    SchemaMismatchError,
    StateSchema,
    String,
    Timestamp,
    compare,
    from_json_schema,
    from_model,
    to_json_schema,
)

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
ID = uuid.UUID(int=7)
ODD = [b"x", Decimal("1"), NOW.replace(tzinfo=None), NOW.date(), NOW.time(), {1}, {1: 2}]


def schema(version: int = 1, **fields: Any) -> StateSchema:
    """Make a schema of required fields."""
    settings = {"semantic_version": f"{version}.0.0", "required": tuple(fields)}
    settings |= fields.pop("settings", {})
    settings["required"] = tuple(n for n in settings["required"] if n in fields)
    return StateSchema(name="s", version=version, fields=fields, **settings)


def told(value: Any, kind: Kind, **options: Any) -> list[tuple[str, str, str]]:
    """Return place, rule and shape of each problem of a value of one field."""
    problems = Checker(schema(f=kind), **options).problems({"f": value})
    return [(p.path, p.rule, p.shape) for p in problems]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (String(), ["", "x", "😀"], [1, None, True, [], {}, NOW, ID, *ODD]),
        (Integer(), [0, -(2**80), 2**64, 1.0], [1.5, "1", True, None, float("nan"), *ODD]),
        (Float(), [0, 1.5, 2**70], ["1", True, float("nan"), float("inf"), None, *ODD]),
        (Float(non_finite=True), [float("nan"), float("-inf"), 1], ["nan", {}, *ODD]),
        (Boolean(), [True, False], [0, 1, "true", None, *ODD]),
        (Array(items=Integer()), [[], [1], (1, 2)], [{}, "x", [None], ["1"], None, *ODD]),
        (Object(), [{}, {"a": {1}}], [[], None, NOW, ID, float("nan"), *ODD]),
        (Enum(variants=("a", "b")), ["a"], ["A", "", None, 1, *ODD]),
        (Timestamp(), [NOW, NOW.isoformat(), "2026-01-02T03:04:05Z"],
         ["2026-01-02", "2026-01-02T03:04:05", "", 1, None, ID, {}, {"\0": "datetime"}, *ODD]),
        (UUID(), [ID, str(ID)], ["7", NOW, 7, None, {}, {"\0": "uuid"}, *ODD]),
        (Anything(), [None, 1, {}, [], NOW, ID, float("nan"), *ODD], []),
    ],
)  # fmt: skip
def test_kinds(kind: Kind, good: list[Any], bad: list[Any]) -> None:
    """Each kind takes its own values and no other's; None where it is nullable."""
    for value in good:
        assert told(value, kind) == [], value
    for value in bad:
        assert {path.split(".")[1][0] for path, _, _ in told(value, kind)} == {"f"}, value
    assert told(None, msgspec.structs.replace(kind, nullable=True)) == []
    assert Checker(schema(f=kind)).fits({"f": good[0]})
    assert not bad or not Checker(schema(f=kind)).fits({"f": bad[0]})


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (String(max_length=2), "secret", ("$.f", "max_length", "str of 6 characters")),
        (String(min_length=9), "secret", ("$.f", "min_length", "str of 6 characters")),
        (String(pattern="^[0-9]+$"), "secret", ("$.f", "pattern", "str of 6 characters")),
        (Integer(min=3), 2, ("$.f", "minimum", "int")),
        (Integer(max=2**70), 2**70 + 1, ("$.f", "maximum", "int")),
        (Float(max=1.5), 1.6, ("$.f", "maximum", "float")),
        (Array(items=String(), max_items=1), ["a", "b"], ("$.f", "max_items", "list of 2 items")),
        (Array(items=String(), min_items=1), [], ("$.f", "min_items", "list of 0 items")),
        (Array(items=Array(items=String())), [["a", 5]], ("$.f[0][1]", "type", "int")),
        (Object(fields={"x y": String()}), {"x y": 5}, ("$.f['x y']", "type", "int")),
        (Object(fields={"a": String()}, required=("a",)), {}, ("$.f.a", "required", "nothing")),
        (Object(closed=True), {"b": b"xx"}, ("$.f.b", "unknown", "bytes of 2 bytes")),
        (Object(values=Integer()), {"b": "x"}, ("$.f.b", "type", "str of 1 characters")),
        (Enum(variants=("a",)), "secret", ("$.f", "variants", "str of 6 characters")),
        (Timestamp(), "secret", ("$.f", "format", "str of 6 characters")),
        (UUID(), {"a": 1}, ("$.f", "type", "dict of 1 keys")),
        (Float(), float("nan"), ("$.f", "type", "float that is not finite")),
    ],
)
def test_what_is_told(kind: Kind, value: Any, problem: tuple[str, str, str]) -> None:
    """A problem names place, rule and shape."""
    assert told(value, kind) == [problem]


def test_no_value_is_told() -> None:
    """Neither the error nor its problems hold a value."""
    kinds = {"a": Integer(), "b": Enum(variants=("x",)), "c": String(pattern="^x"), "d": UUID()}
    value = dict.fromkeys(kinds, "hunter2") | {"e": "hunter2"}
    with pytest.raises(SchemaMismatchError) as caught:
        Checker(schema(**kinds), strict=True).check(value, "user:1/profile")
    assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.problems!r}"
    assert str(caught.value).startswith(
        "user:1/profile does not fit schema s 1: $.a breaks type: wants a whole number, "
        "has str of 7 characters, and 4 more"
    )


def test_unknown_fields() -> None:
    """They are kept, unless the schema is closed or the check strict, at any depth."""
    one = schema(f=Object(fields={"a": Anything()}))
    value = {"f": {"b": 1}, "g": 2}
    assert Checker(one).fits(value)
    problems = Checker(one, strict=True).problems(value)
    assert {(p.path, p.rule) for p in problems} == {("$.f.b", "unknown"), ("$.g", "unknown")}
    assert Checker(one).problems([]) != ()
    assert Checker(one).problems({1: 2})[0].path == "$"


def test_defaults() -> None:
    """A required field with a default may be missing, and is filled in, nested too."""
    below = Object(fields={"n": Integer(default=5)})
    one = schema(a=String(default="x"), b=Array(items=below))
    assert Checker(one).fits({"b": []})
    assert one.filled({"b": [{}, {"n": 6}], "z": 1}) == {
        "a": "x", "b": [{"n": 5}, {"n": 6}], "z": 1,
    }  # fmt: skip


def test_custom_kinds() -> None:
    """A program's function decides; what it raises is a no, and it must be given."""
    kind = Array(items=Custom(type_name="even_number", validator="even", nullable=True))
    even = {"even": lambda n: n % 2 == 0}
    assert told([2, None], kind, validators=even) == []
    assert told([2, 3, "x"], kind, validators=even) == [
        ("$.f[1]", "validator", "int"),
        ("$.f[2]", "validator", "str of 1 characters"),
    ]
    with pytest.raises(ConfigurationError, match="'even', which is not given"):
        Checker(schema(f=kind))


def test_rules() -> None:
    """Rules speak of the whole value, each condition as it says."""

    def holds(then: Any, value: dict[str, Any], when: Any = None) -> bool:
        one = schema(settings={"rules": (Rule(name="r", then=then, when=when),)})
        return Checker(one, {"big": lambda v: v > 9}).fits(value)

    deep = {"a": {"b": [1, None]}, "x.y": 1.0}
    assert holds(Exists(path="a.b[1]"), deep)
    assert not holds(Exists(path="a.b[2]"), deep)
    assert holds(Exists(path=r"x\.y"), deep)
    assert holds(Absent(path="x.y"), deep)
    assert holds(Equals(path="a.b[0]", value=1), deep)
    assert not holds(Equals(path="a.b[0]", value=1.0), deep)
    assert not holds(Equals(path="a.b[0]", value=True), deep)
    assert holds(OfType(path="a.b[0]", type="number"), deep)
    assert not holds(OfType(path="a", type="array"), deep)
    assert holds(Satisfies(predicate="big", path="n"), {"n": 10})
    assert not holds(Satisfies(predicate="big", path="n"), {"n": "x"})
    assert not holds(Satisfies(predicate="big", path="n"), {})
    assert holds(Every(of=(Exists(path="n"), Not(of=Absent(path="n")))), {"n": 1})
    assert not holds(Either(of=(Absent(path="n"), Exists(path="m"))), {"n": 1})
    assert holds(Exists(path="m"), {"n": 1}, when=Exists(path="k"))
    assert not holds(Exists(path="m"), {"n": 1}, when=Exists(path="n"))
    problem = Checker(
        schema(settings={"rules": (Rule(name="r", then=Exists(path="n")),)})
    ).problems({})[0]
    assert (problem.path, problem.rule) == ("$", "rule:r")


@pytest.mark.parametrize("text", ["1.2", "1.2.3.4", "a.b.c", "", "01.2.3", None])
def test_versions_are_semantic(text: Any) -> None:
    """Anything but a semantic version is refused."""
    with pytest.raises(InvalidSchemaError, match="no semantic version"):
        StateSchema(name="s", version=1, semantic_version=text)


def test_versions_are_compared() -> None:
    """A pre-release's numbers are numbers."""
    one, other = (
        schema(settings={"semantic_version": f"1.0.0-alpha.{n}"}).semantic for n in (2, 10)
    )
    assert one < other


@pytest.mark.parametrize(
    "make",
    [
        lambda: schema(0),
        lambda: StateSchema(name="no name", version=1, semantic_version="1.0.0"),
        lambda: StateSchema(name="s", version=True, semantic_version="1.0.0"),
        lambda: StateSchema(name="s", version=1, semantic_version="1.0.0", required=("a",)),
        lambda: schema(a=String(), settings={"optional": ("a",)}),
        lambda: schema(a=String(default={1})),
        lambda: schema(a=String(default=float("nan"))),
        lambda: schema(**{"a\0": String()}),
        lambda: schema(settings={"rules": (Rule(name="r", then=Exists(path="a")),) * 2}),
        lambda: String(min_length=3, max_length=2),
        lambda: Integer(min=3, max=2),
        lambda: Float(max=float("nan")),
        lambda: Array(items=String(), min_items=-1),
        lambda: Enum(variants=()),
        lambda: Object(closed=True, values=String()),
        lambda: Object(required=("a",)),
        lambda: Custom(type_name="t", validator="os.system('x')"),
        lambda: Exists(path="a..b"),
        lambda: Checker(schema(a=String(pattern="("))),
        lambda: Checker(schema(a=String(pattern="(?=x)"))),
        lambda: StateSchema.from_data({"name": "s"}),
        lambda: StateSchema.from_data([]),
        lambda: StateSchema.from_data(schema().to_data() | {"more": 1}),
        lambda: StateSchema.from_data(schema().to_data() | {"fields": {"a": {"kind": "eval"}}}),
        lambda: StateSchema.from_data(schema().to_data() | {"semantic_version": "1"}),
    ],
)
def test_what_is_no_schema(make: Any) -> None:
    """What is no schema is refused when it is made or read."""
    with pytest.raises(InvalidSchemaError):
        make()


# --- compatibility ------------------------------------------------------------------------------

A, B = String(), Integer()


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        ({"a": A}, {"a": A}, "full"),
        ({"a": A}, {"a": A, "b": Integer(default=1)}, "full"),
        ({"a": A}, {"a": A, "b": B}, "forward"),
        ({"a": A}, {"a": B}, "breaking"),
        ({"a": A, "b": B}, {"a": A}, "breaking"),
        ({"a": A}, {"a": String(nullable=True)}, "backward"),
        ({"a": A}, {"a": String(max_length=9)}, "forward"),
        ({"a": String(max_length=9)}, {"a": String(max_length=10)}, "backward"),
        ({"a": B}, {"a": Float()}, "backward"),
        ({"a": Enum(variants=("x",))}, {"a": Enum(variants=("x", "y"))}, "backward"),
        ({"a": Enum(variants=("x",))}, {"a": A}, "backward"),
        ({"a": A}, {"a": String(pattern="x")}, "forward"),
        ({"a": Array(items=B)}, {"a": Array(items=Float())}, "backward"),
        ({"a": Object()}, {"a": Object(closed=True)}, "forward"),
        ({"a": Anything()}, {"a": A}, "forward"),
        ({"a": UUID()}, {"a": A}, "breaking"),
    ],
)
def test_levels(old: dict[str, Kind], new: dict[str, Kind], level: str) -> None:
    """Each difference keeps what it keeps."""
    assert compare(schema(**old), schema(2, **new)).level.value == level


def test_required_and_optional() -> None:
    """Optional to required is not backward compatible; required to optional, and optional, are."""
    must, may = schema(a=A), schema(2, a=A, settings={"required": ()})
    assert compare(must, may).level is Compatibility.BACKWARD
    may, must = schema(a=A, settings={"required": ()}), schema(2, a=A)
    assert compare(may, must).level is Compatibility.FORWARD
    added = compare(schema(a=A), schema(2, a=A, b=B, settings={"required": ("a",)}))
    assert (added.level, added.risk) == (Compatibility.FULL, Risk.LOW)
    down = compare(schema(2, a=A), schema(1, a=A))
    assert (down.level, down.risk) == (Compatibility.BREAKING, Risk.HIGH)


def test_reasons() -> None:
    """A reason says where, which way, what, and how bad."""
    old = schema(a=Array(items=Object(fields={"p": Integer(max=9)})))
    new = schema(2, a=Array(items=Object(fields={"p": Integer(max=8)})))
    assert [str(each) for each in compare(old, new).reasons] == [
        "$.a[*].p: the greatest number is 8 (backward, risk medium)"
    ]


def test_rules_count() -> None:
    """A new rule may refuse old data; without one, data may come that old versions refuse."""
    rule = Rule(name="r", then=Exists(path="a"))
    free, bound = schema(), schema(2, settings={"rules": (rule,)})
    assert compare(free, bound).level is Compatibility.FORWARD
    assert compare(schema(settings={"rules": (rule,)}), schema(2)).level is Compatibility.BACKWARD


# --- from elsewhere, and to it ------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Shape(pydantic.BaseModel):
    id: uuid.UUID
    word: str = pydantic.Field(min_length=1, pattern="^[a-z]+$")
    count: int = pydantic.Field(gt=0, default=1)
    kind: Literal["a", "b"] = "a"
    note: str | None = None
    at: dt.datetime = NOW
    inner: Colour


def test_from_models() -> None:
    """Pydantic models become schemas that take what is stored of them."""
    shape = from_model(Shape, name="shape")
    assert shape.fields["word"] == String(min_length=1, pattern="^[a-z]+$")
    assert shape.fields["count"] == Integer(min=1, default=1)
    assert shape.fields["kind"] == Enum(variants=("a", "b"), default="a")
    assert shape.fields["note"] == String(nullable=True, default=None)
    assert isinstance(shape.fields["at"], Timestamp)
    assert Checker(shape).problems(Shape(id=ID, word="x", inner=Colour.BLUE)) == ()
    with pytest.raises(InvalidSchemaError, match="int is no pydantic model"):
        from_model(int)


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": ["string", "integer"]}, "$.properties.a.type"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "$.properties.a.anyOf"),
        ({"allOf": []}, "$.properties.a.allOf"),
        ({"type": "string", "format": "email"}, "$.properties.a.format"),
        ({"type": "number", "multipleOf": 2}, "$.properties.a.multipleOf"),
        ({"enum": [1]}, "$.properties.a.enum"),
        ({"$ref": "http://x/y"}, "$.properties.a['$ref']"),
        ({"$ref": "#/properties/a"}, "$.properties.a['$ref']"),
        ({"type": "array", "items": False}, "$.properties.a.items"),
        ({"type": "string", "maxLength": "x"}, "$.properties.a"),
    ],
)
def test_what_no_kind_says(part: dict[str, Any], place: str) -> None:
    """What JSON Schema says and no kind does is refused with its place, not dropped."""
    with pytest.raises(InvalidSchemaError) as caught:
        from_json_schema({"title": "t", "type": "object", "properties": {"a": part}})
    assert caught.value.path == place


def test_json_schema_of_everything() -> None:
    """What JSON Schema has no word for comes back all the same."""
    one = StateSchema(
        name="s",
        version=4,
        semantic_version="1.2.3-rc.1",
        description="words",
        fields={
            "a": Float(non_finite=True, min=1.0),
            "b": Custom(type_name="t", validator="v", nullable=True),
            "c": String(default="x", description="c"),
            "d": Anything(nullable=True),
        },
        required=("a", "c"),
        closed=True,
        compatibility=Compatibility.FULL,
        rules=(Rule(name="r", then=Not(of=Equals(path="a", value=1))),),
        metadata={"k": [1]},
        migration_path=({"do": "move"},),
    )
    document = to_json_schema(one)
    assert document["required"] == ["a"]
    assert document["properties"]["c"] == {"type": "string", "default": "x", "description": "c"}
    assert from_json_schema(document) == one
    assert StateSchema.from_data(one.to_data()) == one


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without jsonschema-rs schemas are compared, not checked, and the error names the extra."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "jsonschema_rs":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert compare(schema(), schema(2)).level is Compatibility.FULL
    with pytest.raises(MissingExtraError) as caught:
        Checker(schema())
    assert caught.value.hint == "pip install 'holdfast[schemas]'"
