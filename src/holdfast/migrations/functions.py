"""The functions that steps name: transformers, validators, predicates, and whole steps in Python.

A marked function is registered nowhere by being marked. A `Functions` holds those that a program,
or the command line, has given; what a store holds never chooses code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from holdfast.errors import InvalidArgumentError

F = TypeVar("F", bound=Callable[..., Any])
_MARK: Final = "__holdfast_migration__"
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


@dataclass(frozen=True, slots=True)
class Mark:
    """What a marked function is.

    Attributes:
        kind: ``"transformer"``, ``"validator"``, ``"predicate"`` or ``"migration"``.
        name: What steps call it; of a migration the schema.
        options: Of a migration: what else was said.
    """

    kind: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)


def _marking(mark: Mark) -> Callable[[F], F]:
    def put(fn: F) -> F:
        setattr(fn, _MARK, mark)
        return fn

    return put


def mark_of(fn: object) -> Mark | None:
    """Return what a function is marked as, or None."""
    found = getattr(fn, _MARK, None)
    return found if isinstance(found, Mark) else None


def transformer(name: str) -> Callable[[F], F]:
    """Mark ``fn(values, config)``: from the values of `from_fields` to those of `to_fields`.

    It returns a list with a value for each of `to_fields`, or the value where that is one.
    A field that is absent is `holdfast.migrations.MISSING`, going in and coming out.
    """
    return _marking(Mark("transformer", name))


def validator(name: str) -> Callable[[F], F]:
    """Mark ``fn(value) -> bool``: whether a field is as it should be."""
    return _marking(Mark("validator", name))


def predicate(name: str) -> Callable[[F], F]:
    """Mark ``fn(value) -> bool`` on a whole value, for conditions."""
    return _marking(Mark("predicate", name))


def migration(
    schema: str,
    from_version: int,
    to_version: int,
    *,
    name: str = "",
    down: Callable[[Any], Any] | None = None,
    lossless: bool = False,
) -> Callable[[F], F]:
    """Mark ``fn(value) -> value`` as the step of a schema from one version to the next.

    Args:
        schema: Name of the schema.
        from_version, to_version: Its versions.
        name: Of the step; that of the function by default.
        down: The way back.
        lossless: `down` of what the function returns is exactly what it was given.
    """
    options = {
        "from_version": from_version,
        "to_version": to_version,
        "name": name,
        "down": down,
        "lossless": lossless,
    }
    return _marking(Mark("migration", schema, options))


def email_format(value: Any) -> bool:
    """Say whether a value looks like an address."""
    return isinstance(value, str) and _EMAIL.fullmatch(value) is not None


def not_empty(value: Any) -> bool:
    """Say whether a value is there and is not empty."""
    return value is not None and value != "" and value != [] and value != {}


@dataclass(slots=True)
class Functions:
    """Functions by kind and name."""

    transformers: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = field(
        default_factory=dict
    )
    validators: dict[str, Callable[[Any], bool]] = field(
        default_factory=lambda: {"email_format": email_format, "not_empty": not_empty}
    )
    predicates: dict[str, Callable[[Any], bool]] = field(default_factory=dict)

    def add(self, kind: str, name: str, fn: Callable[..., Any]) -> None:
        """Register a function.

        Raises:
            InvalidArgumentError: There is another one of that name.
        """
        tables: dict[str, dict[str, Callable[..., Any]]] = {
            "transformer": self.transformers,
            "validator": self.validators,
            "predicate": self.predicates,
        }
        table = tables[kind]
        if table.setdefault(name, fn) is not fn:
            raise InvalidArgumentError(f"there are two of the {kind} {name}")
