"""Schemas of msgspec Structs and dataclasses, from their types; what is stored of them fits."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import msgspec
from msgspec import inspect as seen

from holdfast.schemas.errors import InvalidSchemaError
from holdfast.schemas.json_schema import from_model
from holdfast.schemas.kinds import (
    UUID,
    Anything,
    Array,
    Boolean,
    Enum,
    Float,
    Integer,
    Kind,
    Object,
    String,
    Timestamp,
)
from holdfast.schemas.problem import path_text
from holdfast.schemas.schema import StateSchema

Steps = tuple[str | int, ...]

_LOOSE = (
    seen.AnyType, seen.BytesType, seen.ByteArrayType, seen.DecimalType, seen.DateType,
    seen.TimeType, seen.TimeDeltaType, seen.SetType, seen.FrozenSetType,
)  # fmt: skip
_KEPT = (dt.datetime, uuid.UUID)


def from_type(kind: type, **head: Any) -> StateSchema:
    """Make a schema of a msgspec Struct, a dataclass, a TypedDict or a pydantic model.

    Types for which there is no kind of their own (bytes, Decimal, dates, sets) become `Anything`.

    Args:
        kind: The class.
        **head: ``name`` (the class's where none is given), ``version`` (1), ``semantic_version``,
            ``description``, ``compatibility`` and so on.

    Raises:
        InvalidSchemaError: A field's type is a choice of several, or refers to itself.
    """
    if hasattr(kind, "model_json_schema"):
        return from_model(kind, **head)
    try:
        root = _kind(seen.type_info(kind), (), ())
    except TypeError as error:
        raise InvalidSchemaError(f"{kind} has no schema: {error}") from None
    if not isinstance(root, Object) or root.values is not None:
        raise InvalidSchemaError(f"{kind} has no named fields")
    head.setdefault("name", kind.__name__)
    head.setdefault("version", 1)
    head.setdefault("semantic_version", f"{head['version']}.0.0")
    return StateSchema(fields=root.fields, required=root.required, closed=root.closed, **head)


def _kind(info: seen.Type, path: Steps, within: tuple[type, ...]) -> Kind:
    if isinstance(info, seen.Metadata):
        return _kind(info.type, path, within)
    if isinstance(info, seen.UnionType):
        rest = [one for one in info.types if not isinstance(one, seen.NoneType)]
        if len(rest) != 1:
            raise _wrong(path, "is a choice of several types")
        kind = _kind(rest[0], path, within)
        return msgspec.structs.replace(kind, nullable=len(rest) < len(info.types))
    if isinstance(info, _LOOSE):
        return Anything()
    match info:
        case seen.NoneType():
            return Anything(nullable=True)
        case seen.BoolType():
            return Boolean()
        case seen.StrType():
            return String(
                min_length=info.min_length, max_length=info.max_length, pattern=info.pattern
            )
        case seen.IntType(multiple_of=None):
            low = info.ge if info.gt is None else info.gt + 1
            return Integer(min=low, max=info.le if info.lt is None else info.lt - 1)
        case seen.FloatType(gt=None, lt=None, multiple_of=None):
            return Float(min=info.ge, max=info.le)
        case seen.DateTimeType():
            # Without an offset it is no moment; where the type does not say, it is to have one.
            return Timestamp() if info.tz is not False else Anything()
        case seen.UUIDType():
            return UUID()
        case seen.ListType() | seen.VarTupleType() | seen.CollectionType():
            return Array(
                items=_kind(info.item_type, (*path, "*"), within),
                min_items=info.min_length,
                max_items=info.max_length,
            )
        case seen.DictType(key_type=seen.StrType(), min_length=None, max_length=None):
            values = _kind(info.value_type, (*path, "*"), within)
            return Object(values=None if values == Anything() else values)
        case seen.LiteralType(values=several):
            return _enum(several, path)
        case seen.EnumType(cls=members):
            return _enum([member.value for member in members], path)
        case seen.StructType(array_like=False) | seen.DataclassType() | seen.TypedDictType():
            return _object(info, path, within)
    raise _wrong(path, f"is of a type without a kind ({type(info).__name__})")


def _object(info: Any, path: Steps, within: tuple[type, ...]) -> Object:
    if info.cls in within:
        raise _wrong(path, "comes back to itself: a field has an end")
    fields: dict[str, Kind] = {}
    if getattr(info, "tag_field", None) is not None:
        fields[info.tag_field] = _enum([info.tag], path)
    required = [*fields]
    for field in info.fields:
        name = field.encode_name
        kind = _kind(field.type, (*path, name), (*within, info.cls))
        if field.default is not msgspec.NODEFAULT:
            default = msgspec.to_builtins(field.default, builtin_types=_KEPT)
            kind = msgspec.structs.replace(kind, default=default)
        elif field.default_factory in (list, dict):
            kind = msgspec.structs.replace(kind, default=field.default_factory())
        if field.required:
            required.append(name)
        fields[name] = kind
    closed = bool(getattr(info, "forbid_unknown_fields", False))
    return Object(fields=fields, required=tuple(required), closed=closed)


def _enum(values: Any, path: Steps) -> Enum:
    several = list(values)
    nullable = None in several
    texts = [each for each in several if each is not None]
    if not all(isinstance(each, str) for each in texts):
        raise _wrong(path, "has a variant that is no text")
    return Enum(variants=tuple(texts), nullable=nullable)


def _wrong(path: Steps, text: str) -> InvalidSchemaError:
    place = path_text(path).replace("['*']", "[*]")
    return InvalidSchemaError(f"{place} {text}", path=place)
