"""`StateSchema`: what the values of a kind look like at one version. Plain data, compared by value.

`to_data` and `from_data` are the form in which schemas are stored and written down; nothing in it
names what is imported or called: a custom kind and a predicate name a function that the program
gives when it checks.
"""

from __future__ import annotations

import copy
import datetime as dt
import enum
from decimal import Decimal
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import msgspec
import semver

from holdfast.schemas.conditions import Rule, names
from holdfast.schemas.errors import InvalidSchemaError
from holdfast.schemas.kinds import Array, Custom, Kind, Object, check_fields, check_name

_KEPT: Final = (bytes, dt.datetime, dt.date, dt.time, dt.timedelta, UUID, Decimal)
_MAX_VERSION: Final = 2**31 - 1


class Compatibility(enum.StrEnum):
    """What a version keeps of the version before it.

    Attributes:
        BREAKING: Nothing is promised.
        BACKWARD: The new version reads old data.
        FORWARD: The old version reads new data.
        FULL: Both.
    """

    BREAKING = "breaking"
    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"


class Dependency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another schema that this one speaks of.

    Attributes:
        name: Of the schema.
        version: The version that must be registered; None for any.
    """

    name: str
    version: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "the name of a dependency")


class StateSchema(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    dict=True,
):
    """What the values of a kind look like at one version.

    A value is a dict. Fields that the schema does not name are kept, unless it is `closed`.

    Attributes:
        name: A letter, then letters, digits and ``_ . -``.
        version: 1 and up; records hold it as their ``schema_version``.
        semantic_version: For people and for packages, as ``1.2.0``.
        description: For people.
        fields: Kinds by name.
        required: Fields that must be there; those with a default may be missing all the same.
        optional: All other fields (they may be left out here).
        closed: Fields of other names do not fit.
        compatibility: What it keeps of the version before it.
        rules: Across fields.
        dependencies: Other schemas that must be registered.
        metadata: The program's own, plain data.
        migration_path: The steps from the version before it, as data.
    """

    name: str
    version: int
    semantic_version: str
    description: str = ""
    fields: dict[str, Kind] = {}
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    closed: bool = False
    compatibility: Compatibility = Compatibility.BACKWARD
    rules: tuple[Rule, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    metadata: dict[str, Any] = {}
    migration_path: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name, "the name of a schema")
        if type(self.version) is not int or not 1 <= self.version <= _MAX_VERSION:
            raise InvalidSchemaError("a schema's version is a whole number from 1")
        parse_semantic(self.semantic_version)
        check_fields(self.fields, self.required)
        named = {*self.required, *self.optional}
        for name in self.optional:
            if name not in self.fields:
                raise InvalidSchemaError(f"{name!r} is optional, and no field")
            if name in self.required:
                raise InvalidSchemaError(f"{name!r} is both required and optional")
        rest = tuple(name for name in self.fields if name not in named)
        msgspec.structs.force_setattr(self, "optional", self.optional + rest)
        if len({rule.name for rule in self.rules}) != len(self.rules):
            raise InvalidSchemaError("two rules have the same name")

    def __hash__(self) -> int:
        return hash((self.name, self.version))

    def __repr__(self) -> str:
        return f"StateSchema({self.name} {self.version}, {self.semantic_version})"

    @cached_property
    def root(self) -> Object:
        """The kind of the whole value."""
        return Object(fields=self.fields, required=self.required, closed=self.closed)

    @property
    def validators(self) -> frozenset[str]:
        """The names of the functions that a program must give to check values."""
        found = set(_customs(self.root))
        for rule in self.rules:
            found |= names(rule.then) | names(rule.when)
        return frozenset(found)

    @property
    def semantic(self) -> semver.Version:
        """The semantic version, to be compared."""
        return parse_semantic(self.semantic_version)

    def filled(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of a value with the defaults of missing fields, nested ones included.

        Args:
            value: One that fits; it is left as it is.
        """
        made: dict[str, Any] = _filled(self.root, value)
        return made

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data; what equals its default is left out."""
        data: dict[str, Any] = msgspec.to_builtins(self, builtin_types=_KEPT)
        return data

    @classmethod
    def from_data(cls, data: Any) -> StateSchema:
        """Read what `to_data` made.

        Raises:
            InvalidSchemaError: It is something else; the message names the path.
        """
        try:
            return msgspec.convert(data, cls, builtin_types=_KEPT)
        except msgspec.ValidationError as error:
            inner = error.__cause__
            if isinstance(inner, InvalidSchemaError):
                raise inner from None
            raise InvalidSchemaError(f"this is no schema: {error}") from None
        except RecursionError:
            raise InvalidSchemaError("the schema nests too deep") from None


def parse_semantic(text: str) -> semver.Version:
    """Read a semantic version: three numbers, perhaps a pre-release and a build.

    Raises:
        InvalidSchemaError: It is none.
    """
    try:
        return semver.Version.parse(text)
    except (ValueError, TypeError):
        raise InvalidSchemaError(
            f"{text!r} is no semantic version", hint="write three numbers, as 1.2.0"
        ) from None


def _customs(kind: Kind) -> list[str]:
    if isinstance(kind, Custom):
        return [kind.validator]
    if isinstance(kind, Array):
        return _customs(kind.items)
    if isinstance(kind, Object):
        below = [*kind.fields.values(), *([] if kind.values is None else [kind.values])]
        return [name for one in below for name in _customs(one)]
    return []


def _filled(kind: Kind, value: Any) -> Any:
    if isinstance(kind, Array) and isinstance(value, (list, tuple)):
        return [_filled(kind.items, item) for item in value]
    if isinstance(kind, Object) and isinstance(value, dict):
        made = {
            name: _filled(kind.fields[name], item)
            if name in kind.fields
            else item
            if kind.values is None
            else _filled(kind.values, item)
            for name, item in value.items()
        }
        for name, field in kind.fields.items():
            if name not in made and field.has_default:
                made[name] = _filled(field, copy.deepcopy(field.default))
        return made
    return value
