"""Values: what is written reads back equal, or is refused with the path of what cannot be."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import StateClass, StateManager
from holdfast.errors import (
    CorruptionError,
    InvalidArgumentError,
    InvalidValueError,
    LimitExceededError,
    WrongTypeError,
)
from holdfast.store.codec import MAX_DEPTH, decode, encode

A = "agent:a"
MAX = 1 << 26

zones = st.timezones().map(lambda _: None) | st.builds(
    dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23))
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**300), 2**300),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.datetimes(timezones=zones),
    st.dates(),
    st.times(),
    st.times(timezones=zones),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=False),
)
members = st.recursive(
    scalars,
    lambda inner: st.one_of(st.frozensets(inner, max_size=3), st.tuples(inner, inner)),
    max_leaves=4,
)
values = st.recursive(
    st.one_of(scalars, st.sets(members, max_size=4), st.frozensets(members, max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Compare values and their types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, float | Decimal):
        return repr(one) == repr(other)
    if isinstance(one, dt.datetime | dt.time):
        return one == other and one.utcoffset() == other.utcoffset()
    return bool(one == other)


@given(values)
def test_what_is_encoded_decodes_equal(value: Any) -> None:
    """Every storable value comes back equal and of the same types."""
    assert same(decode(encode(value, max_bytes=MAX)), value)


@given(values)
def test_decoding_makes_a_fresh_object(value: Any) -> None:
    """Two decodings share no mutable part."""
    payload = encode([value], max_bytes=MAX)
    assert decode(payload) is not decode(payload)


EXACT = [
    {}, [], "", b"", 0, 1, 1.0, -0.0, True, False, None, math.inf, -math.inf, 2**200, -(2**200),
    2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, "\0", "a\0b", "🎉", set(),
    frozenset(), {1, "a", b"a", None, (1, (2, 3)), frozenset({4})}, Decimal("1.10"),
    Decimal("-0"), Decimal("1E+500"), Decimal("Infinity"), UUID(int=0), dt.date.min, dt.date.max,
    dt.datetime.min, dt.datetime.max, dt.timedelta.min, dt.timedelta.max, dt.time.max,
    dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=dt.UTC),
    dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-5, seconds=7, microseconds=9))),
    *(dt.time(1, tzinfo=dt.timezone(dt.timedelta(microseconds=n))) for n in (1, -1, 999_999)),
    *(dt.datetime(1, 1, 2, tzinfo=dt.timezone(dt.timedelta(microseconds=n))) for n in (1, -1)),
    {"__type__": "datetime", "$date": 1, "__class__": "os.system", "value": "!!python/object"},
    {"type": "set", "value": [1]}, {"": {"": {"": []}}}, {"a.b": 1, "a[0]": 2, "$": 3},
    [[[]], [{}], {}], {"n": [1, 1.0, True, "1", b"1"]},
]  # fmt: skip


@pytest.mark.parametrize("value", EXACT, ids=range(len(EXACT)))
def test_exact_values(value: Any, memory_store: Any) -> None:
    """The values that serialisers confuse read back as themselves."""
    state = memory_store()
    state.set(A, "k", value)
    assert same(state.get(A, "k"), value)


def test_every_engine_keeps_every_type(state: StateManager) -> None:
    """The same values go through every engine, small and large, and through reopening."""
    for at, value in enumerate(EXACT):
        state.set(A, f"k{at:02}", value)
    state.set(A, "big", EXACT * 50)
    found = [state.get(A, f"k{at:02}") for at in range(len(EXACT))]
    assert same(found, EXACT)
    assert same(state.get(A, "big"), EXACT * 50)


def test_nan_reads_back_as_nan(state: StateManager) -> None:
    """NaN, as a float and as a Decimal, quiet and signalling."""
    state.set(A, "k", [math.nan, Decimal("NaN"), Decimal("sNaN12")])
    found = state.get(A, "k")
    assert math.isnan(found[0])
    assert [repr(x) for x in found[1:]] == ["Decimal('NaN')", "Decimal('sNaN12')"]


def test_the_stated_exceptions(state: StateManager) -> None:
    """Tuples read back as lists, subclasses and views as what they hold, zones as offsets."""

    class Code(int):
        pass

    class Level(enum.IntEnum):
        HIGH = 3

    class Colour(enum.StrEnum):
        RED = "red"

    class Old(str, enum.Enum):  # noqa: UP042 - the older kind
        KEY = "key"

    value = {
        "tuple": (1, (2,)),
        "code": Code(5),
        "level": Level.HIGH,
        "colour": Colour.RED,
        Old.KEY: Old.KEY,
        "bytearray": bytearray(b"x"),
        "view": memoryview(b"y"),
    }
    state.set(A, "k", value)
    found = state.get(A, "k")
    assert same(
        found,
        {
            "tuple": [1, [2]],
            "code": 5,
            "level": 3,
            "colour": "red",
            "key": "key",
            "bytearray": b"x",
            "view": b"y",
        },
    )
    moment = dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    state.set(A, "zone", moment)
    assert state.get(A, "zone").timestamp() == moment.timestamp()
    assert state.get(A, "zone").utcoffset() == dt.timedelta(hours=1)


# --- refused ----------------------------------------------------------------------------------


class Plain:
    """An object of no known kind."""


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int


REFUSED = [
    (object(), "$"),
    ({"profile": {"tags": [1, 2, 3, object()]}}, "$.profile.tags[3]"),
    ({"a b": Plain()}, "$['a b']"),
    ({"a": (1, Plain())}, "$.a[1]"),
    ([{"x": "\ud800"}], "$[0].x"),
    ({"\ud800": 1}, "$['\\ud800']"),
    ({1: 2}, "$"),
    ({"a": {None: 2}}, "$.a"),
    ([{b"k": 1}], "$[0]"),
    (1j, "$"),
    ([range(3)], "$[0]"),
    ({"f": len}, "$.f"),
    ({"c": Plain}, "$.c"),
    ({"c": Colour.RED}, "$.c"),
    ({"s": {Plain()}}, "$.s{}"),
    ({"s": {Frozen(1)}}, "$.s{}"),
    ({"s": {(1, Frozen(1))}}, "$.s{}"),
    ({"g": (x for x in ())}, "$.g"),
    (Frozen(Plain()), "$.a"),  # type: ignore[arg-type]
    (iter([]), "$"),
]


@pytest.mark.parametrize(("value", "path"), REFUSED, ids=range(len(REFUSED)))
def test_refusals_name_the_path(value: Any, path: str, memory_store: Any) -> None:
    """What would not read back equal is refused, with its path and a hint; nothing is written."""
    state = memory_store()
    with pytest.raises(InvalidValueError) as caught:
        state.set(A, "k", value)
    assert caught.value.path == path
    assert caught.value.hint
    assert state.revision == 0
    with pytest.raises(InvalidValueError), state.transaction() as tx:
        tx.set(A, "k", value)
    assert state.revision == 0


def test_messages_hold_no_values(memory_store: Any) -> None:
    """A refusal tells where, never what."""
    with pytest.raises(InvalidValueError) as caught:
        memory_store().set(A, "k", {"token": ["hunter2\ud800"]})
    assert "hunter2" not in str(caught.value)


def test_cycles_are_refused_and_shared_parts_are_not(memory_store: Any) -> None:
    """A value that contains itself has no encoding; one that appears twice has."""
    state = memory_store()
    loop: list[Any] = [1]
    loop.append({"again": loop})
    with pytest.raises(InvalidValueError) as caught:
        state.set(A, "k", {"loop": loop})
    assert caught.value.path == "$.loop[1].again"
    shared = {"x": [1, {2, 3}]}
    state.set(A, "k", [shared, shared, {"a": shared}])
    found = state.get(A, "k")
    assert found == [shared, shared, {"a": shared}]
    assert found[0] is not found[1]


def nested(levels: int, kind: str) -> Any:
    """Return so many containers inside each other."""
    value: Any = [] if kind == "list" else {}
    for _ in range(levels - 1):
        value = [value] if kind == "list" else {"a": value}
    return value


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_depth(kind: str, memory_store: Any) -> None:
    """As many levels as stated, and not one more, whatever the size of the excess."""
    state = memory_store()
    deepest = nested(MAX_DEPTH, kind)
    state.set(A, "k", deepest)
    assert state.get(A, "k") == deepest
    for levels in (MAX_DEPTH + 1, 1000, 100_000):
        with pytest.raises(LimitExceededError):
            state.set(A, "k", nested(levels, kind))
    with_set = nested(MAX_DEPTH - 1, "list")
    assert decode(encode([{frozenset({1})}, with_set], max_bytes=MAX)) == [
        {frozenset({1})},
        with_set,
    ]
    assert state.revision == 1


def test_size(open_store: Any) -> None:
    """The limit is on the encoding, to the byte, for every verb."""
    state = open_store(max_value_bytes=1000)
    state.set(A, "k", "x" * 997)
    for call in (
        lambda: state.set(A, "k", "x" * 998),
        lambda: state.update(A, "k", lambda v: v + "x"),
        lambda: state.merge_patch(A, "k", {"a": "x" * 1000}),
        lambda: state.append(A, "l", b"x" * 1000),
        lambda: state.transact(lambda tx: tx.set(A, "k", "x" * 998)),
    ):
        with pytest.raises(LimitExceededError) as caught:
            call()
        assert (caught.value.limit, caught.value.hint != "") == (1000, True)
    assert (state.get(A, "k"), state.revision) == ("x" * 997, 1)


def test_one_write_that_cannot_be_does_not_touch_others(memory_store: Any) -> None:
    """Numbers that cannot be added, patches that are too deep: typed errors."""
    state = memory_store()
    state.set(A, "n", 10**400)
    state.set(A, "d", Decimal("sNaN"))
    state.set(A, "t", "text")
    patch: Any = 1
    for _ in range(5000):
        patch = {"a": patch}
    for call in (
        lambda: state.increment(A, "n", 1.5),
        lambda: state.increment(A, "d", 1),
        lambda: state.increment(A, "t"),
        lambda: state.increment(A, "n", True),
        lambda: state.increment(A, "n", "1"),
        lambda: state.increment(A, "new", None),
        lambda: state.append(A, "t", 1),
    ):
        with pytest.raises(WrongTypeError):
            call()
    with pytest.raises(LimitExceededError):
        state.merge_patch(A, "m", patch)
    assert state.revision == 3


# --- the caller's own -------------------------------------------------------------------------


def test_values_are_never_aliased(state: StateManager) -> None:
    """Changing what was written, or what was read, changes nothing in the store."""
    value: dict[str, Any] = {"a": [1], "s": {1}}
    state.set(A, "k", value)
    value["a"].append(2)
    first = state.get(A, "k")
    assert first == {"a": [1], "s": {1}}
    first["a"].append(3)
    first["s"].add(9)
    assert state.get(A, "k") == {"a": [1], "s": {1}}
    held = state.get_with_metadata(A, "k")
    held.value["a"].append(4)  # type: ignore[union-attr]
    listed = dict(state.scan(A))["k"].value
    listed["a"].append(5)
    state.get_batch([(A, "k")])[0]["a"].append(6)
    next(iter(state.history(A, "k"))).value["a"].append(7)
    assert state.get(A, "k") == {"a": [1], "s": {1}}
    with state.transaction() as tx:
        mine = tx.get(A, "k")
        mine["a"].append(8)
        assert tx.get(A, "k") == {"a": [1], "s": {1}}
        tx.set(A, "t", mine)
        mine["a"].append(9)
        assert tx.get(A, "t")["a"] == [1, 8]
    assert state.get(A, "t") == {"a": [1, 8], "s": {1}}
    state.set(A, "e", value, state_class=StateClass.EPHEMERAL)
    value["a"].append(0)
    state.get(A, "e")["a"].append(0)
    assert state.get(A, "e") == {"a": [1, 2], "s": {1}}
    given = [1]
    state.append(A, "l", given)
    given.append(2)
    assert state.get(A, "l") == [[1]]


def test_metadata_survives(open_store: Any, clock: Any) -> None:
    """created_at stays on overwrite, versions count, and the rest comes back as it was given."""
    state = open_store(clock=clock)
    for n in range(3):
        state.set(A, "k", "v" * n, state_class=StateClass.TRUSTED, actor="ada", correlation=f"c{n}")
        clock.advance(1.5)
    if open_store.persistent:
        state = open_store.reopen(state, clock=clock)
    found = state.get_with_metadata(A, "k")
    m = found.metadata
    assert (found.value, m.version, m.revision, m.previous_revision) == ("vv", 3, 3, 2)
    assert (m.updated_at - m.created_at) == dt.timedelta(seconds=3)
    assert m.created_at.tzinfo is dt.UTC
    assert (m.state_class, m.actor, m.correlation_id) == (StateClass.TRUSTED, "ada", "c2")
    assert (m.size_bytes, m.expires_at, m.schema_version) == (3, None, None)
    assert (m.compressed, m.ephemeral, m.encryption, len(m.checksum)) == (False, False, None, 32)
    state.set(A, "k", "again")
    assert state.get_with_metadata(A, "k").metadata.state_class is StateClass.TRUSTED
    state.delete(A, "k")
    state.set(A, "k", 1)
    m = state.get_with_metadata(A, "k").metadata
    assert (m.version, m.revision, m.previous_revision) == (1, 6, 0)
    assert (m.created_at, m.state_class) == (m.updated_at, StateClass.STANDARD)
    assert "again" not in repr(found)


def test_a_record_copied_to_another_key_is_detected(state: StateManager) -> None:
    """A record is bound to its place by its checksum."""
    from holdfast.engines.base import Batch, Durability
    from holdfast.store import layout

    state.set(A, "mine", {"balance": 1})
    state.set("agent:b", "mine", {"balance": 1_000_000})
    engine = state._kernel.engine
    here, there = (
        layout.DATA + state._address.place(state._address.owner(s), "mine") for s in (A, "agent:b")
    )
    kept = engine.get(here)
    stolen = engine.get(there)
    engine.write(Durability.OS, lambda _: Batch(puts=[(here, stolen)]))
    for call in (
        lambda: state.get(A, "mine"),
        lambda: state.get_with_metadata(A, "mine"),
        lambda: list(state.scan(A)),
        lambda: state.update(A, "mine", lambda v: v),
    ):
        with pytest.raises(CorruptionError) as caught:
            call()
        assert caught.value.where == "agent:a/mine"
    assert [type(x) for x in state.get_batch([(A, "mine"), ("agent:b", "mine")])] == [
        CorruptionError,
        dict,
    ]
    assert state.verify() != []
    engine.write(Durability.OS, lambda _: Batch(puts=[(here, kept)]))


# --- typed access -----------------------------------------------------------------------------


class Point(msgspec.Struct):
    x: int
    y: float = 0.0
    seen: dt.datetime | None = None
    ids: set[UUID] = set()


class Cat(msgspec.Struct, tag=True):
    name: str


class Dog(msgspec.Struct, tag="hound", tag_field="kind"):
    name: str
    owner_name: str = ""


class Renamed(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    first_name: str
    big: int = 2**100


class Row(msgspec.Struct, array_like=True):
    a: int
    b: str


@dataclasses.dataclass
class Inner:
    price: Decimal
    day: dt.date


@dataclasses.dataclass
class Outer:
    inner: Inner
    many: list[Inner]
    pair: tuple[int, str]
    blob: bytes = b""
    span: dt.timedelta = dt.timedelta(1)


class Model(pydantic.BaseModel):
    name: str
    when: dt.datetime
    alias: int = pydantic.Field(0, alias="aliasName")
    tags: set[str] = set()


MOMENT = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
TYPED: list[Any] = [
    Point(1, 2.5, MOMENT, {UUID(int=7)}),
    Cat("Tom"),
    Dog("Rex", "Ada"),
    Renamed("Ada"),
    Row(1, "x"),
    Inner(Decimal("1.50"), dt.date(2024, 1, 2)),
    Outer(Inner(Decimal(1), dt.date.min), [Inner(Decimal(2), dt.date.max)], (1, "b"), b"\0"),
    Model(name="n", when=MOMENT, aliasName=3, tags={"a"}),
]


@pytest.mark.parametrize("value", TYPED, ids=lambda v: type(v).__name__)
def test_typed_values_read_back_as_their_type(value: Any, state: StateManager) -> None:
    """A Struct, dataclass or model is stored as its fields and read back by asking for it."""
    state.set(A, "k", value)
    assert state.get(A, "k", type=type(value)) == value
    assert type(state.get(A, "k", type=type(value))) is type(value)
    if not isinstance(value, pydantic.BaseModel):  # models are converted at the top only
        state.set(A, "l", [value, value])
        assert state.get(A, "l", type=list[type(value)]) == [value, value]  # type: ignore[misc]
    with state.snapshot() as snapshot:
        assert snapshot.get(A, "k", type=type(value)) == value
    with state.transaction() as tx:
        assert tx.get(A, "k", type=type(value)) == value
    state.set(A, "e", value, state_class=StateClass.EPHEMERAL)
    assert state.get(A, "e", type=type(value)) == value


def test_typed_values_are_plain_data(memory_store: Any) -> None:
    """What is stored names no class of the program; names and tags are those of the type."""
    state = memory_store()
    for at, value in enumerate(TYPED):
        state.set(A, str(at), value)
    assert state.get(A, "1") == {"type": "Cat", "name": "Tom"}
    assert state.get(A, "2") == {"kind": "hound", "name": "Rex", "owner_name": "Ada"}
    assert state.get(A, "3") == {"firstName": "Ada", "big": 2**100}
    assert state.get(A, "4") == [1, "x"]
    assert state.get(A, "7") == {"name": "n", "when": MOMENT, "aliasName": 3, "tags": {"a"}}
    assert state.get(A, "3", type=dict[str, str | int]) == {"firstName": "Ada", "big": 2**100}


@pytest.mark.parametrize(
    ("value", "kind", "path"),
    [
        ({"x": "one"}, Point, "$.x"),
        ({"y": 1}, Point, "$"),
        ([1, "2"], list[int], "$[1]"),
        ({"inner": {"price": 1, "day": 5}}, Outer, "$.inner"),
        ({"name": 1, "when": MOMENT}, Model, "$.name"),
        ({"firstName": "a", "extra": 1}, Renamed, "$"),
        (None, int, "$"),
    ],
)
def test_values_that_do_not_fit(value: Any, kind: Any, path: str, memory_store: Any) -> None:
    """A value of another shape is an error that names the path and holds no value."""
    state = memory_store()
    state.set(A, "k", value)
    with pytest.raises(WrongTypeError) as caught:
        state.get(A, "k", type=kind)
    assert f"at {path}" in caught.value.message
    assert state.get(A, "k") == value


def test_types_and_defaults(memory_store: Any) -> None:
    """An absent key gives the default as it is; a stored None is a value."""
    state = memory_store()
    marker = object()
    assert state.get(A, "k", marker) is marker
    assert state.get(A, "k", marker, type=Point) is marker
    assert state.get(A, "k", type=Point) is None
    state.set(A, "k", None)
    assert state.get(A, "k", marker) is None
    state.set(A, "five", 5)
    with pytest.raises(WrongTypeError):
        state.get(A, "five", 5, type=str)
    with pytest.raises(InvalidArgumentError):
        state.get(A, "five", type="Point")


class Color(enum.Enum):
    """An enum without a value of its own type."""

    RED = "red"


class Painted(msgspec.Struct):
    """A Struct with what JSON has no word for."""

    color: Color
    colors: list[Color]
    by_name: dict[str, Color]


def test_enums_of_typed_objects(state: StateManager) -> None:
    """An enum in a field is stored as its value and comes back by the type; alone it is refused."""
    value = Painted(Color.RED, [Color.RED], {"a": Color.RED})
    state.set("agent:a", "k", value)
    assert state.get("agent:a", "k", type=Painted) == value
    assert state.get("agent:a", "k")["colors"] == ["red"]
    with pytest.raises(InvalidValueError):
        state.set("agent:a", "k", [Color.RED])


def test_models_inside_other_types(state: StateManager) -> None:
    """pydantic models are found inside generic types, Structs and dataclasses."""

    class Item(pydantic.BaseModel):
        name: str

    items = [Item(name="a"), Item(name="b")]
    state.set("agent:a", "k", items)
    assert state.get("agent:a", "k", type=list[Item]) == items
    state.set("agent:a", "k", [{"name": 5}])
    with pytest.raises(WrongTypeError) as caught:
        state.get("agent:a", "k", type=list[Item])
    assert "5" not in str(caught.value)


@pytest.mark.parametrize("extra", [None, {1}])
def test_shared_beyond_measure(state: StateManager, extra: object) -> None:
    """A small object that would be endless when written out is refused, at once."""
    value: list[object] = [extra]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(LimitExceededError):
        state.set("agent:a", "k", value)
    wide: list[object] = [None] * 1000
    for _ in range(4):
        wide = [wide] * 1000
    with pytest.raises(LimitExceededError):
        state.set("agent:a", "k", wide)
