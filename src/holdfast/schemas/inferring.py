"""A schema proposed from stored values: from their shapes, never from what they say."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.schemas.kinds import (
    UUID,
    Anything,
    Array,
    Boolean,
    Float,
    Integer,
    Kind,
    Object,
    String,
    Timestamp,
)
from holdfast.schemas.problem import path_text, shape
from holdfast.schemas.schema import StateSchema

_DEEPEST: Final = 32
_MOST_FIELDS: Final = 500


@dataclass(slots=True)
class _Seen:
    """What was seen at one place.

    Attributes:
        count: How many values.
        sorts: Of which sort, how often.
        shapes: As people see them, how often.
        below: Of dicts, by name.
        items: Of lists.
    """

    count: int = 0
    sorts: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    below: dict[str, _Seen] = field(default_factory=dict)
    items: _Seen | None = None
    wide: bool = False  # more fields than are worth a list, or names that no field has

    def add(self, value: Any, depth: int = 0) -> None:
        sort = _sort(value)
        self.count += 1
        self.sorts[sort] += 1
        self.shapes[shape(value).split(" of ")[0]] += 1
        if depth >= _DEEPEST:
            return
        if sort == "object":
            for name, item in value.items():
                if name not in self.below and (len(self.below) >= _MOST_FIELDS or not _named(name)):
                    self.wide = True
                    continue
                self.below.setdefault(name, _Seen()).add(item, depth + 1)
        elif sort == "array":
            self.items = self.items or _Seen()
            for item in value:
                self.items.add(item, depth + 1)

    def kind(self) -> Kind:
        sorts = {sort for sort in self.sorts if sort != "null"}
        nullable = self.sorts["null"] > 0
        if sorts & {"float", "nan"} and sorts <= {"integer", "float", "nan"}:
            return Float(nullable=nullable, non_finite="nan" in sorts)
        if len(sorts) != 1:
            return Anything(nullable=nullable)
        (sort,) = sorts
        if sort == "array":
            items = self.items.kind() if self.items is not None and self.items.count else Anything()
            return Array(items=items, nullable=nullable)
        if sort == "object":
            if self.wide:
                return Object(nullable=nullable)
            fields = {name: seen.kind() for name, seen in sorted(self.below.items())}
            objects = self.sorts["object"]
            required = tuple(n for n, seen in sorted(self.below.items()) if seen.count == objects)
            return Object(fields=fields, required=required, nullable=nullable)
        make = _KINDS.get(sort)
        return Anything(nullable=nullable) if make is None else make(nullable=nullable)


@dataclass(frozen=True, slots=True)
class Place:
    """What was seen at one place.

    Attributes:
        path: Where: ``$.items[*].price``.
        count: In how many values, or items.
        shapes: Of which types, how often; the most frequent first.
    """

    path: str
    count: int
    shapes: tuple[tuple[str, int], ...]


class Inference:
    """Looks at values, and proposes a schema that takes all of them."""

    def __init__(self) -> None:
        self._seen = _Seen()
        self.skipped = 0

    @property
    def count(self) -> int:
        """How many values were looked at."""
        return self._seen.count

    def add(self, value: Any) -> None:
        """Look at a value; one that is no dict with text keys is counted as skipped."""
        if _sort(value) == "object":
            self._seen.add(value)
        else:
            self.skipped += 1

    def places(self) -> list[Place]:
        """Return what was seen, place by place."""
        found: list[Place] = []

        def walk(seen: _Seen, path: tuple[str | int, ...]) -> None:
            text = path_text(path).replace("['*']", "[*]")
            found.append(Place(text, seen.count, tuple(seen.shapes.most_common())))
            for name, below in sorted(seen.below.items()):
                walk(below, (*path, name))
            if seen.items is not None:
                walk(seen.items, (*path, "*"))

        walk(self._seen, ())
        return found

    def schema(self, name: str, version: int = 1) -> StateSchema:
        """Return the proposal: what is in every value is required, what differs is `Anything`."""
        root = self._seen.kind() if self._seen.count else Object()
        assert isinstance(root, Object)
        return StateSchema(
            name=name,
            version=version,
            semantic_version=f"{version}.0.0",
            fields=root.fields,
            required=root.required,
        )


_KINDS: Final[dict[str, type[Boolean | Integer | String | Timestamp | UUID]]] = {
    "boolean": Boolean,
    "integer": Integer,
    "string": String,
    "timestamp": Timestamp,
    "uuid": UUID,
}


def _named(name: str) -> bool:
    return bool(name) and not any(ord(char) < 32 for char in name)


def _sort(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "float" if math.isfinite(value) else "nan"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (list, tuple)):
        return "array"
    if isinstance(value, dict):
        return "object" if all(type(name) is str for name in value) else "other"
    if isinstance(value, dt.datetime):
        return "timestamp" if value.utcoffset() is not None else "other"
    return "uuid" if isinstance(value, uuid.UUID) else "other"
