"""Values to bytes and back: MessagePack, with extension types where JSON's are not enough.

What is encoded decodes equal, or encoding raises with the path of the offending element. The one
stated exception: tuples read back as lists. Decoding builds data only: nothing is imported or
called by name. ``docs/format.md`` lists the extension codes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from holdfast.errors import CorruptionError, LimitExceededError
from holdfast.store.lowering import (
    BIGINT,
    DATE,
    DATETIME,
    DECIMAL,
    FROZENSET,
    MAX_DEPTH,
    SET,
    TIME,
    TIMEDELTA,
    UUID_,
    Lowering,
    elements,
)

_SCALARS: Final = frozenset([str, int, float, bool, type(None), bytes])

_GLANCE: Final = 100_000  # elements that are walked over before they are counted

_encoder = msgspec.msgpack.Encoder()
_encode = _encoder.encode


def encode(value: Any, *, max_bytes: int) -> bytes:
    """Encode `value`.

    Args:
        value: JSON types, bytes, datetime, date, time, timedelta, UUID, Decimal, sets, integers of
            any size, or a msgspec Struct, dataclass or pydantic model (stored as its fields).
        max_bytes: The longest encoding allowed.

    Raises:
        InvalidValueError: An element cannot be read back equal; `path` says which.
        LimitExceededError: Too deep or too large.
    """
    left = [_GLANCE]
    try:
        plain = _is_plain(value, MAX_DEPTH, left)
        if not plain:
            if elements(value) > max_bytes:  # every element takes a byte at least
                raise LimitExceededError(
                    f"the value has more elements than its encoding may have bytes ({max_bytes})",
                    hint="does it share one part over and over? store that part once",
                    limit=max_bytes,
                )
            plain = left[0] < 0 and _is_plain(value, MAX_DEPTH, [max_bytes])
        payload = _encode(value if plain else Lowering().lower(value))
    except (OverflowError, UnicodeEncodeError):  # integers beyond 64 bits; lone surrogates
        payload = _encode(Lowering().lower(value))
    except RecursionError:
        raise LimitExceededError(f"the value nests deeper than {MAX_DEPTH} levels") from None
    if len(payload) > max_bytes:
        raise LimitExceededError(
            f"the value is {len(payload)} bytes encoded, the limit is {max_bytes}",
            hint="split it over several keys, or raise max_value_bytes",
            limit=max_bytes,
            actual=len(payload),
        )
    return payload


def _is_plain(value: Any, depth: int, left: list[int]) -> bool:
    """Say whether `value` consists of nothing but types that MessagePack keeps by itself.

    Ends after ``left[0]`` elements: a value can share its parts beyond all measure.
    """
    kind = type(value)
    if kind is dict:
        left[0] -= len(value)
        if depth == 0 or left[0] < 0:
            return False
        for key, item in value.items():
            if type(key) is not str:
                return False
            if type(item) not in _SCALARS and not _is_plain(item, depth - 1, left):
                return False
        return True
    if kind is list:
        left[0] -= len(value)
        if depth == 0 or left[0] < 0:
            return False
        for item in value:
            if type(item) not in _SCALARS and not _is_plain(item, depth - 1, left):
                return False
        return True
    return kind in _SCALARS


# --- back -------------------------------------------------------------------------------------


def _tupled(value: Any) -> Any:
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value


def _timedelta(data: bytes) -> dt.timedelta:
    days, seconds, microseconds = _decoder.decode(data)
    return dt.timedelta(days, seconds, microseconds)


M = TypeVar("M", dt.datetime, dt.time)


def parse_moment(kind: type[M], text: str) -> M:
    """Return the datetime or time of an ISO text, with ``#1`` behind it where its fold is 1."""
    text, mark, _ = text.partition("#")
    found = kind.fromisoformat(text)
    if text[-7:-6] == "." and text[-16:-15] in ("+", "-") and found.tzinfo is dt.UTC:
        # CPython takes an offset of less than a second for UTC.
        offset = dt.timedelta(microseconds=int(text[-6:]))
        found = found.replace(tzinfo=dt.timezone(offset if text[-16] == "+" else -offset))
    return found.replace(fold=1 if mark else 0)


_RAISERS: Final[dict[int, Callable[[bytes], Any]]] = {
    BIGINT: lambda data: int.from_bytes(data, signed=True),
    DATETIME: lambda data: parse_moment(dt.datetime, data.decode()),
    DATE: lambda data: dt.date.fromisoformat(data.decode()),
    TIME: lambda data: parse_moment(dt.time, data.decode()),
    TIMEDELTA: _timedelta,
    UUID_: lambda data: UUID(bytes=data),
    DECIMAL: lambda data: Decimal(data.decode()),
    # Members of sets are hashable, so a list in here was a tuple.
    SET: lambda data: {_tupled(v) for v in _decoder.decode(data)},
    FROZENSET: lambda data: frozenset(_tupled(v) for v in _decoder.decode(data)),
}


def _ext_hook(code: int, data: memoryview) -> Any:
    raiser = _RAISERS.get(code)
    if raiser is None:
        raise ValueError(f"unknown extension type {code}")
    return raiser(bytes(data))


_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ext_hook=_ext_hook)
_decode = _decoder.decode


def decode(payload: bytes) -> Any:
    """Decode what `encode` made; every call returns a fresh object.

    Raises:
        CorruptionError: The bytes are no encoding (they passed their checksum, so they were
            written by something else).
    """
    try:
        return _decode(payload)
    except (ValueError, msgspec.MsgspecError, ArithmeticError, TypeError) as error:
        raise CorruptionError(f"a stored value does not decode: {type(error).__name__}") from None
