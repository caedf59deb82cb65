"""Kinds of fields: what a value at one place may be. Plain data; they know no validator."""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from typing import Any, ClassVar, Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.schemas.errors import InvalidSchemaError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


class _Kind(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """What all kinds have.

    Attributes:
        nullable: None fits too.
        default: What a missing field is read as; a field with one may always be missing.
        description: For people.
    """

    #: The types of JSON Schema that values of the kind have; none for every type.
    types: ClassVar[tuple[str, ...]] = ()

    nullable: bool = False
    default: Any = UNSET
    description: str = ""

    @property
    def has_default(self) -> bool:
        """Say whether there is a default."""
        return self.default is not UNSET


class String(_Kind, frozen=True, kw_only=True, tag="string"):
    """Text.

    Attributes:
        min_length, max_length: In characters.
        pattern: A regular expression that is found in it (write ``^…$`` for all of it); without
            look-around and back-references, so that none takes more than linear time.
    """

    types = ("string",)
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None

    def __post_init__(self) -> None:
        _ordered(self.min_length, self.max_length, "length", least=0)


class Integer(_Kind, frozen=True, kw_only=True, tag="integer"):
    """A whole number of any size; as in JSON Schema, 1.0 is one, and True is none."""

    types = ("integer",)
    min: int | None = None
    max: int | None = None

    def __post_init__(self) -> None:
        _ordered(self.min, self.max, "number")


class Float(_Kind, frozen=True, kw_only=True, tag="float"):
    """A number.

    Attributes:
        min, max: Limits, included.
        non_finite: NaN and the infinities fit too, whatever the limits.
    """

    types = ("number",)
    min: float | None = None
    max: float | None = None
    non_finite: bool = False

    def __post_init__(self) -> None:
        for limit in (self.min, self.max):
            if limit is not None and not math.isfinite(limit):
                raise InvalidSchemaError("a limit of a number must be finite")
        _ordered(self.min, self.max, "number")


class Boolean(_Kind, frozen=True, kw_only=True, tag="boolean"):
    """True or False."""

    types = ("boolean",)


class Array(_Kind, frozen=True, kw_only=True, tag="array"):
    """A list, or a tuple, which is stored as one; a set is neither."""

    types = ("array",)
    items: Kind
    min_items: int | None = None
    max_items: int | None = None

    def __post_init__(self) -> None:
        _ordered(self.min_items, self.max_items, "length", least=0)


class Object(_Kind, frozen=True, kw_only=True, tag="object"):
    """A dict with text keys.

    Attributes:
        fields: By name.
        required: Those that must be there, where they have no default.
        values: What fields of other names must be; None for anything.
        closed: Fields of other names do not fit. Else they are kept.
    """

    types = ("object",)
    fields: dict[str, Kind] = {}
    required: tuple[str, ...] = ()
    values: Kind | None = None
    closed: bool = False

    def __post_init__(self) -> None:
        check_fields(self.fields, self.required)
        if self.closed and self.values is not None:
            raise InvalidSchemaError("a closed object has no other values to describe")


class Enum(_Kind, frozen=True, kw_only=True, tag="enum"):
    """One of several texts."""

    types = ("string",)
    variants: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.variants or len(set(self.variants)) != len(self.variants):
            raise InvalidSchemaError("an enum has one variant or more, and none twice")


class Timestamp(_Kind, frozen=True, kw_only=True, tag="timestamp"):
    """A datetime with an offset, or text of RFC 3339 with one."""

    types = ("string",)


class UUID(_Kind, frozen=True, kw_only=True, tag="uuid"):
    """A UUID, or its text of 36 characters."""

    types = ("string",)


class Custom(_Kind, frozen=True, kw_only=True, tag="custom"):
    """Whatever a function of the program takes: a stored schema has its name only.

    Attributes:
        type_name: What people call the type.
        validator: The function's name among the `validators` that the program gives. It takes the
            value and returns whether it fits.
    """

    type_name: str
    validator: str

    def __post_init__(self) -> None:
        check_name(self.type_name, "the type's name")
        check_name(self.validator, "the validator's name")


class Anything(_Kind, frozen=True, kw_only=True, tag="anything"):
    """Any value that the store keeps; the only kind for bytes, Decimal, dates, spans and sets."""


Kind: TypeAlias = (
    String
    | Integer
    | Float
    | Boolean
    | Array
    | Object
    | Enum
    | Timestamp
    | UUID
    | Custom
    | Anything
)

_DEFAULTS: Final = (str, bool, int, float, dt.datetime, uuid.UUID, type(None))


def check_default(value: Any) -> None:
    """Check that a default is plain data.

    Raises:
        InvalidSchemaError: It is something else, or not finite.
    """
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise InvalidSchemaError("a default has text keys only")
        for item in value.values():
            check_default(item)
    elif isinstance(value, list):
        for item in value:
            check_default(item)
    elif not isinstance(value, (*_DEFAULTS, UnsetType)):
        raise InvalidSchemaError(
            f"a default is data of JSON, a datetime or a UUID, not {type(value).__name__}"
        )
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidSchemaError("a default is finite")


def check_name(name: str, what: str) -> None:
    """Check a name: a letter, then letters, digits and ``_ . -``, at most 128 of them.

    Raises:
        InvalidSchemaError: It is none.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidSchemaError(
            f"{what} is no name",
            hint="write a letter, then letters, digits and _ . - (128 at most)",
        )


def check_fields(fields: dict[str, Kind], required: tuple[str, ...]) -> None:
    """Check names and defaults of fields, and that those which are required are there.

    Raises:
        InvalidSchemaError: They are not.
    """
    for name, kind in fields.items():
        if not name or any(ord(char) < 32 for char in name):
            raise InvalidSchemaError("a field's name is text without control characters")
        check_default(kind.default)
    if len(set(required)) != len(required):
        raise InvalidSchemaError("a field is required once")
    for name in required:
        if name not in fields:
            raise InvalidSchemaError(f"{name!r} is required, and no field")


def _ordered(
    low: float | None, high: float | None, what: str, *, least: float | None = None
) -> None:
    for limit in (low, high):
        if limit is not None and least is not None and limit < least:
            raise InvalidSchemaError(f"a limit of {what} is {least} at least")
    if low is not None and high is not None and low > high:
        raise InvalidSchemaError(f"the least {what} is above the greatest")
