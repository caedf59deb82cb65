"""Values to bytes and back: MessagePack, with extension types where JSON's are not enough.

What is encoded decodes equal, or encoding raises with the path of the offending element. The one
stated exception: tuples read back as lists. Decoding builds data only: nothing is imported or
called by name. ``docs/format.md`` lists the extension codes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from holdfast.errors import CorruptionError, InvalidValueError, LimitExceededError

MAX_DEPTH: Final = 100  # of nested containers

_SCALARS: Final = frozenset([str, int, float, bool, type(None), bytes])

_BIGINT, _DATETIME, _DATE, _TIME, _TIMEDELTA = 1, 2, 3, 4, 5
_UUID, _DECIMAL, _SET, _FROZENSET = 6, 7, 8, 9

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
    try:
        if _is_plain(value, MAX_DEPTH):
            payload = _encode(value)
        else:
            payload = _encode(_lower(value, "$", []))
    except (OverflowError, UnicodeEncodeError):  # integers beyond 64 bits; lone surrogates
        payload = _encode(_lower(value, "$", []))
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


def _is_plain(value: Any, depth: int) -> bool:
    """Say whether `value` consists of nothing but types that MessagePack keeps by itself."""
    kind = type(value)
    if kind is dict:
        if depth == 0:
            return False
        for key, item in value.items():
            if type(key) is not str:
                return False
            if type(item) not in _SCALARS and not _is_plain(item, depth - 1):
                return False
        return True
    if kind is list:
        if depth == 0:
            return False
        for item in value:
            if type(item) not in _SCALARS and not _is_plain(item, depth - 1):
                return False
        return True
    return kind in _SCALARS


def _lower(value: Any, path: str, above: list[int]) -> Any:
    """Rewrite `value` so that msgspec encodes it faithfully; refuse what cannot be."""
    kind = type(value)
    if kind in (float, bool, type(None), bytes):
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(f"text with a lone surrogate at {path}", path=path) from None
        return text
    if isinstance(value, int):
        number = int(value)
        if -(1 << 63) <= number < 1 << 64:
            return number
        size = number.bit_length() // 8 + 1
        return msgspec.msgpack.Ext(_BIGINT, number.to_bytes(size, signed=True))
    if isinstance(value, float):
        return float(value)
    lowered = _lower_scalar(value)
    if lowered is not None:
        return lowered
    return _lower_container(value, path, above)


def _lower_scalar(value: Any) -> msgspec.msgpack.Ext | bytes | None:
    ext = msgspec.msgpack.Ext
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, dt.datetime):
        return ext(_DATETIME, _iso(value))
    if isinstance(value, dt.date):
        return ext(_DATE, value.isoformat().encode())
    if isinstance(value, dt.time):
        return ext(_TIME, _iso(value))
    if isinstance(value, dt.timedelta):
        return ext(_TIMEDELTA, _encode([value.days, value.seconds, value.microseconds]))
    if isinstance(value, UUID):
        return ext(_UUID, value.bytes)
    if isinstance(value, Decimal):
        return ext(_DECIMAL, str(value).encode())
    return None


def _iso(value: dt.datetime | dt.time) -> bytes:
    text = value.isoformat()
    # A zone's name is not kept: its offset is, which names the same moment.
    if value.fold and value.tzinfo is None:
        text += "#1"
    return text.encode()


def _lower_container(value: Any, path: str, above: list[int]) -> Any:
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
            return _lower_dict(value, path, above)
        if isinstance(value, list | tuple):
            return [_lower(item, f"{path}[{at}]", above) for at, item in enumerate(value)]
        if isinstance(value, set | frozenset):
            code = _SET if isinstance(value, set) else _FROZENSET
            items = [_lower(item, f"{path}{{}}", above) for item in value]
            if not all(map(_stays_hashable, items)):
                raise InvalidValueError(
                    f"a set at {path} has a member that is stored as a dict",
                    hint="a set's members must be plain hashable values; use a list",
                    path=f"{path}{{}}",
                )
            return msgspec.msgpack.Ext(code, _encode(items))
        fields = _fields_of(value)
        if fields is not None:
            return _lower(fields, path, above)
    finally:
        above.pop()
    raise InvalidValueError(f"a {type(value).__name__} at {path} cannot be stored", path=path)


def _stays_hashable(lowered: Any) -> bool:
    if isinstance(lowered, list):  # read back as a tuple
        return all(map(_stays_hashable, lowered))
    return not isinstance(lowered, dict)


def _lower_dict(value: dict[Any, Any], path: str, above: list[int]) -> dict[str, Any]:
    lowered: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidValueError(
                f"a dict at {path} has a key of type {type(key).__name__}",
                hint="keys of dicts must be text",
                path=path,
            )
        where = f"{path}.{key}" if key.isidentifier() else f"{path}[{key!r}]"
        lowered[_lower(key, where, above)] = _lower(item, where, above)
    return lowered


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


# --- back -------------------------------------------------------------------------------------


def _tupled(value: Any) -> Any:
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value


def _timedelta(data: bytes) -> dt.timedelta:
    days, seconds, microseconds = _decoder.decode(data)
    return dt.timedelta(days, seconds, microseconds)


def _moment(data: bytes) -> tuple[str, int]:
    text, mark, _ = data.decode().partition("#")
    return text, 1 if mark else 0


def _datetime(data: bytes) -> dt.datetime:
    text, fold = _moment(data)
    return dt.datetime.fromisoformat(text).replace(fold=fold)


def _time(data: bytes) -> dt.time:
    text, fold = _moment(data)
    return dt.time.fromisoformat(text).replace(fold=fold)


_RAISERS: Final[dict[int, Callable[[bytes], Any]]] = {
    _BIGINT: lambda data: int.from_bytes(data, signed=True),
    _DATETIME: _datetime,
    _DATE: lambda data: dt.date.fromisoformat(data.decode()),
    _TIME: _time,
    _TIMEDELTA: _timedelta,
    _UUID: lambda data: UUID(bytes=data),
    _DECIMAL: lambda data: Decimal(data.decode()),
    # Members of sets are hashable, so a list in here was a tuple.
    _SET: lambda data: {_tupled(v) for v in _decoder.decode(data)},
    _FROZENSET: lambda data: frozenset(_tupled(v) for v in _decoder.decode(data)),
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
