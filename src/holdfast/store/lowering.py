"""Rewriting values that MessagePack alone would not keep, so that they read back equal.

Extended types become MessagePack extensions, typed objects their fields; what could not be read
back equal is refused with its path. Values that hold nothing of the kind never come here.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from holdfast.errors import InvalidValueError, LimitExceededError

MAX_DEPTH: Final = 100  # of nested containers

BIGINT, DATETIME, DATE, TIME, TIMEDELTA = 1, 2, 3, 4, 5
UUID_, DECIMAL, SET, FROZENSET = 6, 7, 8, 9

_encode = msgspec.msgpack.Encoder().encode
_ext = msgspec.msgpack.Ext


class Lowering:
    """One value on its way to its encoding."""

    def __init__(self) -> None:
        self._above: list[int] = []  # the containers around the element at hand
        self._typed = 0  # how many of them are typed objects

    def lower(self, value: Any, path: str = "$") -> Any:
        """Return `value` as msgspec encodes it faithfully.

        Raises:
            InvalidValueError: An element cannot be stored.
            LimitExceededError: Too deep.
        """
        kind = type(value)
        if kind in (float, bool, type(None), bytes):
            return value
        if isinstance(value, enum.Enum) and self._typed:
            return self.lower(value.value, path)  # the type that reads it back knows its enum
        if isinstance(value, str):
            return _text(value, path)
        if isinstance(value, int):
            return _integer(int(value))
        if isinstance(value, float):
            return float(value)
        lowered = _scalar(value)
        return self._container(value, path) if lowered is None else lowered

    def _container(self, value: Any, path: str) -> Any:
        above = self._above
        if id(value) in above:
            raise InvalidValueError(f"the value contains itself at {path}", path=path)
        if len(above) >= MAX_DEPTH:
            raise LimitExceededError(
                f"the value nests deeper than {MAX_DEPTH} levels at {path[:200]}",
                limit=MAX_DEPTH,
                actual=len(above) + 1,
            )
        above.append(id(value))
        try:
            if isinstance(value, dict):
                return self._dict(value, path)
            if isinstance(value, list | tuple):
                return [self.lower(item, f"{path}[{at}]") for at, item in enumerate(value)]
            if isinstance(value, set | frozenset):
                return self._set(value, path)
            fields = _fields_of(value)
            if fields is not None:
                self._typed += 1
                lowered = self.lower(fields, path)
                self._typed -= 1
                return lowered
        finally:
            above.pop()
        raise InvalidValueError(f"a {type(value).__name__} at {path} cannot be stored", path=path)

    def _dict(self, value: dict[Any, Any], path: str) -> dict[str, Any]:
        lowered: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidValueError(
                    f"a dict at {path} has a key of type {type(key).__name__}",
                    hint="keys of dicts must be text",
                    path=path,
                )
            where = f"{path}.{key}" if key.isidentifier() else f"{path}[{key!r}]"
            lowered[_text(key, where)] = self.lower(item, where)
        return lowered

    def _set(self, value: set[Any] | frozenset[Any], path: str) -> msgspec.msgpack.Ext:
        items = [self.lower(item, f"{path}{{}}") for item in value]
        if not all(map(_stays_hashable, items)):
            raise InvalidValueError(
                f"a set at {path} has a member that is stored as a dict",
                hint="a set's members must be plain hashable values; use a list",
                path=f"{path}{{}}",
            )
        return _ext(SET if isinstance(value, set) else FROZENSET, _encode(items))


def elements(value: Any) -> int:
    """Return how many elements `value` has when it is written out.

    Linear in what there really is: a small value can share its parts so often that writing it out,
    or only walking over it, would never end.
    """
    known: dict[int, int] = {}
    kept: list[Any] = []  # what was made here stays, so that no id is used twice

    def count(item: Any) -> int:
        if isinstance(item, dict):
            inner: Any = item.values()
        elif isinstance(item, list | tuple | set | frozenset):
            inner = item
        else:
            inner = _fields_of(item)
            if inner is None:
                return 1
            kept.append(inner)
            inner = inner.values() if isinstance(inner, dict) else inner
        number = known.get(id(item))
        if number is None:
            known[id(item)] = 0  # a value that contains itself is refused later, by name
            number = known[id(item)] = 1 + sum(map(count, inner))
        return number

    return count(value)


def _text(value: str, path: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(f"text with a lone surrogate at {path}", path=path) from None
    return text


def _integer(number: int) -> int | msgspec.msgpack.Ext:
    if -(1 << 63) <= number < 1 << 64:
        return number
    return _ext(BIGINT, number.to_bytes(number.bit_length() // 8 + 1, signed=True))


def _scalar(value: Any) -> msgspec.msgpack.Ext | bytes | None:
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, dt.datetime):
        return _ext(DATETIME, _iso(value))
    if isinstance(value, dt.date):
        return _ext(DATE, value.isoformat().encode())
    if isinstance(value, dt.time):
        return _ext(TIME, _iso(value))
    if isinstance(value, dt.timedelta):
        return _ext(TIMEDELTA, _encode([value.days, value.seconds, value.microseconds]))
    if isinstance(value, UUID):
        return _ext(UUID_, value.bytes)
    if isinstance(value, Decimal):
        return _ext(DECIMAL, str(value).encode())
    return None


def _iso(value: dt.datetime | dt.time) -> bytes:
    text = value.isoformat()
    # A zone's name is not kept: its offset is, which names the same moment.
    if value.fold and value.tzinfo is None:
        text += "#1"
    return text.encode()


def _stays_hashable(lowered: Any) -> bool:
    if isinstance(lowered, list):  # read back as a tuple
        return all(map(_stays_hashable, lowered))
    return not isinstance(lowered, dict)


def _fields_of(value: Any) -> Any:
    """Return the fields of a typed object as plain data, or None if it is not one we know."""
    if isinstance(value, enum.Enum | type):
        return None
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        pairs = list(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
        if config.array_like:
            tag = [] if config.tag is None else [config.tag]
            return tag + [getattr(value, name) for _, name in pairs]
        tagged = {} if config.tag is None else {config.tag_field: config.tag}
        return tagged | {shown: getattr(value, name) for shown, name in pairs}
    if hasattr(type(value), "__pydantic_serializer__") and hasattr(value, "model_dump"):
        return value.model_dump(by_alias=True, round_trip=True)
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return None
