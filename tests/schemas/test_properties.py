"""What holds of all schemas and all values."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from holdfast.schemas import Checker, StateSchema, compare, from_json_schema, to_json_schema
from holdfast.store import codec
from tests.schemas.strategies import schemas, values

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(st.data())
def test_what_fits_fits(data: st.DataObject) -> None:
    """A value made for a schema fits it, as given and as the store gives it back."""
    schema = data.draw(schemas())
    value = data.draw(values(schema.root.__class__(
        fields=schema.fields, required=schema.required, closed=schema.closed
    )))  # fmt: skip
    checker = Checker(schema)
    assert checker.problems(value) == ()
    assert checker.fits(codec.decode(codec.encode(value, max_bytes=1 << 20)))


@quick
@given(schemas())
def test_plain_data_makes_the_same_schema(schema: StateSchema) -> None:
    """Data, bytes of the store, and JSON Schema read back as the schema that they were made of."""
    assert StateSchema.from_data(schema.to_data()) == schema
    stored = codec.decode(codec.encode(schema.to_data(), max_bytes=1 << 20))
    assert StateSchema.from_data(stored) == schema
    document = json.loads(json.dumps(to_json_schema(schema)))
    assert from_json_schema(document) == schema


@settings(quick, max_examples=80)
@given(st.data())
def test_what_is_kept_is_kept(data: st.DataObject) -> None:
    """Where a comparison says that old data is read, every value of the old version is."""
    old = data.draw(schemas())
    new = data.draw(st.one_of(schemas(version=2), _changed(old)))
    comparison = compare(old, new)
    assert comparison.keeps(comparison.level)
    assume(comparison.backward or comparison.forward)
    if comparison.backward:
        assert Checker(new).problems(data.draw(values(old.root))) == ()
    if comparison.forward:
        assert Checker(old).problems(data.draw(values(new.root))) == ()


@st.composite
def _changed(draw: st.DrawFn, old: StateSchema) -> StateSchema:
    other = draw(schemas(version=2))
    fields: dict[str, Any] = dict(old.fields)
    for name, field in other.fields.items():
        if draw(st.booleans()):
            fields[name] = field
    for name in old.fields:
        if draw(st.integers(0, 3)) == 0:
            del fields[name]
    required = tuple(name for name in fields if name in old.required or draw(st.booleans()))
    return StateSchema(
        name="drawn", version=2, semantic_version="2.0.0", fields=fields, required=required,
        closed=draw(st.booleans()),
    )  # fmt: skip


@quick
@given(
    schemas(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
        | st.decimals() | st.datetimes() | st.uuids() | st.frozensets(st.integers()),
        lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    ),
)  # fmt: skip
def test_any_value_is_answered(schema: StateSchema, value: Any) -> None:
    """Any value fits or has problems, the same either way of asking; none is told."""
    for strict in (False, True):
        checker = Checker(schema, strict=strict)
        assert checker.fits(value) is (checker.problems(value) == ())
    assert Checker(schema, strict=True).problems(value) or Checker(schema).fits(value)


@quick
@given(st.data())
def test_defaults_are_filled_in_copies(data: st.DataObject) -> None:
    """Filling leaves the value as it was, keeps what is there, and is done once."""
    schema = data.draw(schemas())
    value = data.draw(values(schema.root))
    before = codec.encode(value, max_bytes=1 << 20)
    made = schema.filled(value)
    assert codec.encode(value, max_bytes=1 << 20) == before
    assert codec.encode(schema.filled(made), max_bytes=1 << 20) == codec.encode(
        made, max_bytes=1 << 20
    )
