"""Holding values against a schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from holdfast.errors import ConfigurationError
from holdfast.schemas.conditions import Predicate, accepts, holds
from holdfast.schemas.errors import SchemaMismatchError
from holdfast.schemas.instance import TAG, NotPlainError, instance, is_instance
from holdfast.schemas.kinds import (
    UUID,
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
from holdfast.schemas.problem import Problem, path_text, shape
from holdfast.schemas.schema import StateSchema
from holdfast.schemas.validators import RULES, Validator
from holdfast.store import codec
from holdfast.store.value import MISSING

_MOST: Final = 100
_MAX_BYTES: Final = 1 << 31


class Checker:
    """A schema, compiled: holds any number of values against it. Immutable, for any thread.

    Args:
        schema: The schema.
        validators: The functions that its custom kinds and predicates name. They get what is
            stored, and return whether it fits; raising is a no.
        strict: Fields that the schema does not name do not fit, at any depth.

    Raises:
        ConfigurationError: A function that the schema names is not given.
        InvalidSchemaError: A pattern is none, or none that takes linear time.
        MissingExtraError: jsonschema-rs is not installed.
    """

    def __init__(
        self,
        schema: StateSchema,
        validators: Mapping[str, Predicate] | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self.schema, self.strict = schema, strict
        self._functions = dict(validators or {})
        missing = sorted(schema.validators - self._functions.keys())
        if missing:
            raise ConfigurationError(
                f"schema {schema.name} {schema.version} names {missing[0]!r}, which is not given",
                hint="pass it: validators={" + repr(missing[0]) + ": function}",
            )
        self._validator = Validator(schema.root, strict=strict)
        self._by_function = bool(schema.validators or schema.rules)

    def fits(self, value: Any) -> bool:
        """Say whether a value fits."""
        if self._by_function:
            return not self.problems(value)
        return self._validator.fits(_instance(value)[0])

    def check(self, value: Any, where: str = "the value") -> None:
        """Refuse a value that does not fit.

        Args:
            value: Anything that the store keeps; a Struct, dataclass or model counts as what is
                stored of it.
            where: What the error calls it.

        Raises:
            SchemaMismatchError: With the problems.
            InvalidValueError: The store could not keep the value.
        """
        problems = self.problems(value)
        if problems:
            more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
            raise SchemaMismatchError(
                f"{where} does not fit schema {self.schema.name} {self.schema.version}: "
                f"{problems[0]}{more}",
                problems=problems,
            )

    def problems(self, value: Any) -> tuple[Problem, ...]:
        """Return what is wrong with a value, at most 100 problems; nothing where it fits."""
        data, value = _instance(value)
        found: list[Problem] = []
        if not self._validator.fits(data):
            for path, keyword, named in self._validator.faults(data):
                found += [p for p in self._told(value, path, keyword, named) if p not in found]
                if len(found) >= _MOST:
                    return tuple(found[:_MOST])
        if self._by_function:
            found += self._customs(self.schema.root, value, ())
            if not found:  # rules speak of values that are sound by themselves
                found += self._rules(value)
        return tuple(found[:_MOST])

    def _told(
        self, value: Any, path: list[str | int], keyword: str, named: list[str]
    ) -> Iterator[Problem]:
        if TAG in path:  # a stand-in of a type that JSON has not
            path, keyword, named = path[: path.index(TAG)], "type", []
        steps = tuple(s[1:] if isinstance(s, str) and s[:1] == TAG else s for s in path)
        kind = _kind_at(self.schema.root, steps)
        if keyword in ("required", "additionalProperties") and not isinstance(kind, Object):
            keyword, named = "type", []
        rule = RULES.get(keyword, keyword)
        found = _value_at(value, steps)
        if named and not (isinstance(found, dict) and all(type(name) is str for name in found)):
            return  # it is no object at all, which is told by itself
        if rule == "required":
            for name in named:
                below = _kind_at(kind, (name,))
                yield Problem(path_text((*steps, name)), rule, _wanted(below, rule), "nothing")
        elif rule == "unknown":
            for name in named:
                name = name[1:] if name[:1] == TAG else name
                there = _value_at(found, (name,))
                yield Problem(path_text((*steps, name)), rule, "no such field", shape(there))
        else:
            yield Problem(path_text(steps), rule, _wanted(kind, rule), shape(found))

    def _customs(self, kind: Kind | None, value: Any, path: tuple[str | int, ...]) -> list[Problem]:
        if kind is not None and kind.nullable and value is None:
            return []
        if isinstance(kind, Custom):
            if accepts(self._functions[kind.validator], value):
                return []
            return [Problem(path_text(path), "validator", _wanted(kind, "type"), shape(value))]
        if isinstance(kind, Array) and isinstance(value, (list, tuple)):
            items: Any = enumerate(value)
        elif isinstance(kind, Object) and isinstance(value, dict):
            items = value.items()
        else:
            return []
        return [
            problem
            for step, item in items
            for problem in self._customs(_kind_at(kind, (step,)), item, (*path, step))
        ]

    def _rules(self, value: Any) -> list[Problem]:
        return [
            Problem("$", f"rule:{rule.name}", rule.description or "the rule to hold", shape(value))
            for rule in self.schema.rules
            if rule.when is None or holds(rule.when, value, self._functions)
            if not holds(rule.then, value, self._functions)
        ]


def _instance(value: Any) -> tuple[Any, Any]:
    """Return a value as data of JSON, and as it is stored."""
    try:
        return value if is_instance(value) else instance(value), value
    except (NotPlainError, RecursionError):
        value = codec.decode(codec.encode(value, max_bytes=_MAX_BYTES))
        return instance(value), value


def _kind_at(kind: Kind | None, path: tuple[str | int, ...]) -> Kind | None:
    for step in path:
        if isinstance(kind, Array):
            kind = kind.items
        elif isinstance(kind, Object) and isinstance(step, str):
            kind = kind.fields.get(step, kind.values)
        else:
            return None
    return kind


def _value_at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return MISSING
    return value


def _wanted(kind: Kind | None, rule: str) -> str:
    words = _words(kind, rule)
    return f"{words} or null" if rule == "type" and kind is not None and kind.nullable else words


def _words(kind: Kind | None, rule: str) -> str:
    match kind, rule:
        case Integer() | Float(), "minimum":
            return f"{kind.min} or more"
        case Integer() | Float(), "maximum":
            return f"{kind.max} or less"
        case String(), "min_length":
            return f"{kind.min_length} characters or more"
        case String(), "max_length":
            return f"{kind.max_length} characters or fewer"
        case String(), "pattern":
            return f"text like {kind.pattern}"
        case Array(), "min_items":
            return f"{kind.min_items} items or more"
        case Array(), "max_items":
            return f"{kind.max_items} items or fewer"
        case Enum(), _:
            return "one of " + ", ".join(kind.variants)
        case Timestamp(), _:
            return "a datetime with an offset"
        case UUID(), _:
            return "a UUID"
        case Custom(), _:
            return f"a {kind.type_name}"
        case Boolean() | String() | Integer() | Float() | Array() | Object(), _:
            return _NAMES[type(kind)]
    return "a value"


_NAMES: Final[dict[type, str]] = {
    Boolean: "true or false",
    String: "text",
    Integer: "a whole number",
    Float: "a number",
    Array: "a list",
    Object: "a dict with text keys",
}
