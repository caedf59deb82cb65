"""Schemas to JSON Schema (draft 2020-12) and back.

What JSON Schema has no word for stands under ``x-holdfast``, so that reading back what was written
makes the same schema; only a default that is a datetime or a UUID comes back as its text. What
Holdfast has no kind for is refused with its place, never dropped; annotations are.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from holdfast.schemas.errors import InvalidSchemaError
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
from holdfast.schemas.problem import path_text
from holdfast.schemas.schema import StateSchema

T = TypeVar("T")
Steps = tuple[str | int, ...]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
OURS: Final = "x-holdfast"

_NOTES: Final = frozenset(
    ["title", "$comment", "examples", "deprecated", "readOnly", "writeOnly", "$id", "$schema",
     "$defs", "$anchor"]
)  # fmt: skip
_HEAD: Final = (
    "version", "semantic_version", "compatibility", "rules", "dependencies", "metadata",
    "migration_path",
)  # fmt: skip


def to_json_schema(schema: StateSchema) -> dict[str, Any]:
    """Return a schema as JSON Schema 2020-12, plain data of JSON."""
    data = schema.to_data()
    made = _write(schema.root)
    ours = made.pop(OURS, {}) | {"name": schema.name}
    ours |= {name: _jsonable(data[name]) for name in _HEAD if name in data}
    head = {"$schema": DIALECT, "$id": f"urn:holdfast:{schema.name}:{schema.version}"}
    words = {"title": schema.name}
    if schema.description:
        words["description"] = schema.description
    return head | words | made | {OURS: ours}


def from_json_schema(document: Mapping[str, Any], **head: Any) -> StateSchema:
    """Read a schema from JSON Schema 2020-12.

    Args:
        document: Of an object. References within it are followed, where they come to an end.
        **head: What the document does not say, or what is to count instead: ``name``, ``version``,
            ``semantic_version``, ``description``, ``compatibility``, ``metadata`` and so on.

    Raises:
        InvalidSchemaError: It says what no kind says; `path` is where.
    """
    reader = _Reader(document)
    root = reader.read(document, (), ())
    if not isinstance(root, Object) or root.nullable or root.values is not None:
        raise InvalidSchemaError("the schema is not that of an object with named fields")
    ours = document.get(OURS, {})
    if not isinstance(ours, dict):
        raise InvalidSchemaError(f"{OURS} is no object", path=path_text((OURS,)))
    given: dict[str, Any] = {"name": document.get("title"), "version": 1}
    given |= {name: ours[name] for name in ("name", *_HEAD) if name in ours}
    given["description"] = document.get("description", "")
    given |= head
    given.setdefault("semantic_version", f"{given['version']}.0.0")
    plain = StateSchema.from_data(
        {name: msgspec.to_builtins(value) for name, value in given.items()}
    )
    return msgspec.structs.replace(
        plain, fields=root.fields, required=root.required, optional=(), closed=root.closed
    )


def from_model(model: type, **head: Any) -> StateSchema:
    """Make a schema from a pydantic model, by the names of its fields, as the store keeps it.

    Args:
        model: The class.
        **head: As of `from_json_schema`; the name is the class's where none is given.

    Raises:
        InvalidSchemaError: A field's type is none that a kind of field describes, or `model` is
            something else.
    """
    make: Callable[..., dict[str, Any]] | None = getattr(model, "model_json_schema", None)
    if make is None:
        raise InvalidSchemaError(f"{model.__name__} is no pydantic model")
    head.setdefault("name", model.__name__)
    return from_json_schema(make(by_alias=False), **head)


# --- writing ----------------------------------------------------------------------------------


def _write(kind: Kind) -> dict[str, Any]:
    made: dict[str, Any] = {}
    types = kind.types
    if types:
        made["type"] = [*types, "null"] if kind.nullable else types[0]
    made |= _keywords(kind)
    if kind.has_default:
        made["default"] = _jsonable(kind.default)
    if kind.description:
        made["description"] = kind.description
    return made


def _keywords(kind: Kind) -> dict[str, Any]:
    match kind:
        case String():
            return _given(
                minLength=kind.min_length, maxLength=kind.max_length, pattern=kind.pattern
            )
        case Integer():
            return _given(minimum=kind.min, maximum=kind.max)
        case Float():
            loose = {"non_finite": True} if kind.non_finite else None
            return _given(minimum=kind.min, maximum=kind.max) | _given(**{OURS: loose})
        case Array():
            items = _write(kind.items)
            return {"items": items} | _given(minItems=kind.min_items, maxItems=kind.max_items)
        case Object():
            return _write_object(kind)
        case Enum(variants=variants):
            return {"enum": [*variants, None] if kind.nullable else list(variants)}
        case Timestamp():
            return {"format": "date-time"}
        case UUID():
            return {"format": "uuid"}
        case Custom(type_name=name, validator=validator):
            named: dict[str, Any] = {"kind": "custom", "type_name": name, "validator": validator}
            return {OURS: named | ({"nullable": True} if kind.nullable else {})}
        case Anything():
            return {OURS: {"nullable": True}} if kind.nullable else {}
        case Boolean():
            return {}


def _write_object(kind: Object) -> dict[str, Any]:
    made: dict[str, Any] = {
        "properties": {name: _write(field) for name, field in kind.fields.items()}
    }
    demanded = [name for name in kind.required if not kind.fields[name].has_default]
    if demanded:
        made["required"] = demanded
    if kind.closed:
        made["additionalProperties"] = False
    elif kind.values is not None:
        made["additionalProperties"] = _write(kind.values)
    if len(demanded) < len(kind.required):
        made[OURS] = {"required": list(kind.required)}
    return made


def _given(**keywords: Any) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if value is not None}


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


# --- reading ----------------------------------------------------------------------------------


class _Reader:
    """Reads the kinds of one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def read(self, node: Any, path: Steps, following: tuple[str, ...]) -> Kind:
        """Return the kind that a part of the document describes."""
        if node is True:
            return Anything()
        if not isinstance(node, Mapping):
            raise _wrong(path, "is no schema")
        if "$ref" in node:
            return self._follow(node, path, following)
        words = {name: value for name, value in node.items() if name not in _NOTES}
        ours = words.pop(OURS, {})
        if not isinstance(ours, dict):
            raise _wrong((*path, OURS), "is no object")
        common = _common(words)
        for keyword in ("anyOf", "oneOf"):
            if keyword in words:
                return self._either(words, keyword, common, path, following)
        name, nullable = _type(words, path)
        if nullable or ours.get("nullable"):
            common["nullable"] = True
        if ours.get("kind") == "custom":
            custom = {"type_name": ours.get("type_name"), "validator": ours.get("validator")}
            kind: Kind = _made(Custom, path, common, **custom)
        else:
            kind = self._typed(name, words, ours, common, path, following)
        if words:
            raise _wrong((*path, next(iter(words))), "says what no kind of field says")
        return kind

    def _typed(
        self, name: str | None, words: dict[str, Any], ours: dict[str, Any],
        common: dict[str, Any], path: Steps, following: tuple[str, ...],
    ) -> Kind:  # fmt: skip
        take = words.pop
        if "enum" in words or "const" in words:
            return _enum(words, common, path)
        if name == "string":
            form = take("format", None)
            if form == "date-time":
                return _made(Timestamp, path, common)
            if form == "uuid":
                return _made(UUID, path, common)
            if form is not None:
                raise _wrong((*path, "format"), "is a format that no kind of field has")
            low, high = take("minLength", None), take("maxLength", None)
            pattern = take("pattern", None)
            limits = {"min_length": low, "max_length": high, "pattern": pattern}
            return _made(String, path, common, **limits)
        if name == "integer":
            low, high = take("minimum", None), take("maximum", None)
            if low is None and type(words.get("exclusiveMinimum")) is int:
                low = take("exclusiveMinimum") + 1
            if high is None and type(words.get("exclusiveMaximum")) is int:
                high = take("exclusiveMaximum") - 1
            return _made(Integer, path, common, min=low, max=high)
        if name == "number":
            limits = {"min": take("minimum", None), "max": take("maximum", None)}
            return _made(Float, path, common, **limits, non_finite=ours.get("non_finite", False))
        if name == "boolean":
            return _made(Boolean, path, common)
        if name == "array":
            items = self.read(take("items", True), (*path, "items"), following)
            limits = {"min_items": take("minItems", None), "max_items": take("maxItems", None)}
            return _made(Array, path, common, items=items, **limits)
        if name == "object":
            return self._object(words, ours, common, path, following)
        return _made(Anything, path, common)

    def _object(
        self, words: dict[str, Any], ours: dict[str, Any], common: dict[str, Any], path: Steps,
        following: tuple[str, ...],
    ) -> Kind:  # fmt: skip
        properties = words.pop("properties", {})
        if not isinstance(properties, Mapping):
            raise _wrong((*path, "properties"), "is no object")
        fields = {
            str(name): self.read(node, (*path, "properties", name), following)
            for name, node in properties.items()
        }
        required = words.pop("required", [])
        rest = words.pop("additionalProperties", True)
        values = (
            None
            if rest in (True, False)
            else self.read(rest, (*path, "additionalProperties"), following)
        )
        return _made(
            Object, path, common, fields=fields, required=tuple(ours.get("required", required)),
            values=values, closed=rest is False,
        )  # fmt: skip

    def _either(
        self, words: dict[str, Any], keyword: str, common: dict[str, Any], path: Steps,
        following: tuple[str, ...],
    ) -> Kind:  # fmt: skip
        several = words.pop(keyword)
        if words or not isinstance(several, list):
            raise _wrong((*path, keyword), "stands beside what no kind of field says")
        rest = [node for node in several if node != {"type": "null"}]
        if len(rest) != 1 or len(several) != 2:
            raise _wrong((*path, keyword), "is a choice; only one of a kind and null is known")
        kind = self.read(rest[0], (*path, keyword), following)
        return msgspec.structs.replace(kind, nullable=True, **common)

    def _follow(self, node: Mapping[str, Any], path: Steps, following: tuple[str, ...]) -> Kind:
        target = node["$ref"]
        beside = {k: v for k, v in node.items() if k not in _NOTES and k != "$ref"}
        common = _common(beside)
        if beside:
            raise _wrong((*path, next(iter(beside))), "stands beside a reference")
        if not isinstance(target, str) or not target.startswith("#/"):
            raise _wrong((*path, "$ref"), "leads out of the document")
        if target in following:
            raise _wrong((*path, "$ref"), "comes back to itself: a field has an end")
        found: Any = self._document
        for part in target[2:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or part not in found:
                raise _wrong((*path, "$ref"), "leads nowhere")
            found = found[part]
        kind = self.read(found, path, (*following, target))
        return msgspec.structs.replace(kind, **common) if common else kind


def _common(words: dict[str, Any]) -> dict[str, Any]:
    return {name: words.pop(name) for name in ("default", "description") if name in words}


def _type(words: dict[str, Any], path: Steps) -> tuple[str | None, bool]:
    given = words.pop("type", None)
    if given is None:
        implied = {"properties": "object", "required": "object", "items": "array"}
        return next((name for word, name in implied.items() if word in words), None), False
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list):
        raise _wrong((*path, "type"), "is no type")
    rest = [name for name in names if name != "null"]
    known = ("string", "integer", "number", "boolean", "array", "object")
    if len(rest) != 1 or rest[0] not in known:
        raise _wrong((*path, "type"), "is no type, or a choice of several")
    return rest[0], len(rest) < len(names)


def _enum(words: dict[str, Any], common: dict[str, Any], path: Steps) -> Kind:
    several = words.pop("enum", None)
    several = [words.pop("const")] if several is None else several
    if not isinstance(several, list):
        raise _wrong((*path, "enum"), "is no list")
    variants = [each for each in several if each is not None]
    if not all(isinstance(each, str) for each in variants):
        raise _wrong((*path, "enum"), "has a variant that is no text")
    if len(variants) < len(several):
        common["nullable"] = True
    return _made(Enum, path, common, variants=tuple(variants))


def _made(kind: type[T], path: Steps, common: dict[str, Any], **settings: Any) -> T:
    try:
        made = kind(**common, **settings)
        # A Struct does not check types when it is made; reading it back as data does.
        data = msgspec.to_builtins(made, builtin_types=(dt.datetime, uuid.UUID))
        msgspec.convert(data, kind, builtin_types=(dt.datetime, uuid.UUID))
    except (msgspec.ValidationError, InvalidSchemaError, TypeError) as error:
        text = error.message if isinstance(error, InvalidSchemaError) else str(error)
        raise _wrong(path, f"is not right: {text}") from None
    return made


def _wrong(path: Steps, text: str) -> InvalidSchemaError:
    return InvalidSchemaError(f"{path_text(path)} of the JSON Schema {text}", path=path_text(path))
