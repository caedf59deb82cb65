"""Schemas as validators of JSON, and the only module that knows the library which runs them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from holdfast.errors import MissingExtraError
from holdfast.schemas.errors import InvalidSchemaError
from holdfast.schemas.instance import DATETIME, FLOAT, TAG, UUID_
from holdfast.schemas.kinds import (
    UUID,
    Anything,
    Array,
    Boolean,
    Custom,
    Enum,
    Float,
    Integer,
    Kind,
    Object,
    String,
    Timestamp,
)

#: Keywords of JSON Schema, and what problems call them.
RULES: Final = {
    "type": "type",
    "required": "required",
    "additionalProperties": "unknown",
    "minimum": "minimum",
    "maximum": "maximum",
    "minLength": "min_length",
    "maxLength": "max_length",
    "pattern": "pattern",
    "minItems": "min_items",
    "maxItems": "max_items",
    "enum": "variants",
    "format": "format",
}


class Validator:
    """A compiled schema.

    Args:
        root: The kind of the whole value.
        strict: Unknown fields do not fit anywhere.

    Raises:
        MissingExtraError: The library is not installed.
        InvalidSchemaError: A pattern is none, or none that takes linear time.
    """

    def __init__(self, root: Object, *, strict: bool) -> None:
        library = _library()
        try:
            self._validator = library.Draft202012Validator(
                keywords(root, strict=strict),
                validate_formats=True,
                pattern_options=library.RegexOptions(),
                offline=True,
            )
        except (library.ValidationError, ValueError) as error:
            path = ".".join(map(str, getattr(error, "instance_path", None) or ()))
            raise InvalidSchemaError(
                f"the schema cannot be compiled (at {path or 'a pattern'})",
                hint="patterns have neither look-around nor back-references",
            ) from None

    def fits(self, data: Any) -> bool:
        """Say whether an instance fits."""
        return bool(self._validator.is_valid(data))

    def faults(self, data: Any) -> Iterable[tuple[list[str | int], str, list[str]]]:
        """Yield where an instance does not fit, the keyword that says so, and whom it names."""
        for error in self._validator.iter_errors(data):
            kind = error.kind
            named = getattr(kind, "property", None)
            unknown = list(getattr(kind, "unexpected", ()))
            yield list(error.instance_path), kind.name, [named] if named is not None else unknown


def keywords(kind: Kind, *, strict: bool) -> dict[str, Any]:
    """Return the keywords that take exactly the instances of a kind."""
    if isinstance(kind, (Anything, Custom)):
        return {}
    made = _own(kind, strict=strict)
    types = list(kind.types)
    tags = [
        *([DATETIME] if isinstance(kind, Timestamp) else ()),
        *([UUID_] if isinstance(kind, UUID) else ()),
        *([FLOAT] if isinstance(kind, Float) and kind.non_finite else ()),
    ]
    if tags:
        types.append("object")
        made |= {"required": [TAG], "properties": {TAG: {"enum": tags}}}
    if kind.nullable:
        types.append("null")
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return {"type": types if len(types) > 1 else types[0]} | made


def _own(kind: Kind, *, strict: bool) -> dict[str, Any]:
    match kind:
        case String(min_length=low, max_length=high, pattern=pattern):
            return _given(minLength=low, maxLength=high, pattern=pattern)
        case Integer(min=low, max=high) | Float(min=low, max=high):
            return _given(minimum=low, maximum=high)
        case Array(items=items, min_items=least, max_items=most):
            return _given(items=keywords(items, strict=strict), minItems=least, maxItems=most)
        case Object():
            return _object(kind, strict=strict)
        case Enum(variants=variants):
            return {"enum": list(variants)}
        case Timestamp():
            return {"format": "date-time"}
        case UUID():
            return {"format": "uuid"}
        case Boolean() | Custom() | Anything():
            return {}


def _object(kind: Object, *, strict: bool) -> dict[str, Any]:
    fields = {name: keywords(one, strict=strict) for name, one in kind.fields.items()}
    made: dict[str, Any] = {"properties": {TAG: False, **fields}}
    required = [name for name in kind.required if not kind.fields[name].has_default]
    if required:
        made["required"] = required
    if kind.values is not None:
        made["additionalProperties"] = keywords(kind.values, strict=strict)
    elif kind.closed or strict:
        made["additionalProperties"] = False
    return made


def _given(**keyword: Any) -> dict[str, Any]:
    return {name: value for name, value in keyword.items() if value is not None}


def _library() -> Any:
    try:
        import jsonschema_rs
    except ImportError as error:
        raise MissingExtraError(
            "checking values against schemas needs jsonschema-rs",
            hint="pip install 'holdfast[schemas]'",
        ) from error
    return jsonschema_rs
