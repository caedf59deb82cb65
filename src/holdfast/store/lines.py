"""Export and import as JSON Lines: one line a key, lossless, readable by people and other tools.

Types that JSON lacks are written as an object with the single member ``"$holdfast"`` and a
``"value"``; a dict of the user's that has the member ``"$holdfast"`` is written wrapped itself.
The first line says what the file is. ``docs/format.md`` lists the tags.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

from holdfast.errors import FormatVersionError, InvalidArgumentError
from holdfast.store.codec import parse_moment
from holdfast.store.scope import StateScope
from holdfast.store.value import SetOperation, StateClass, StateValue

FORMAT = 1
TAG = "$holdfast"


def to_json(value: Any) -> Any:
    """Return `value` as plain JSON data, extended types tagged."""
    kind = type(value)
    if kind in (str, bool, type(None)) or (kind is int and -(1 << 53) < value < 1 << 53):
        return value
    if kind is float:
        return value if math.isfinite(value) else _tagged("float", repr(value))
    if kind is dict:
        if TAG in value:
            return _tagged("dict", [[k, to_json(v)] for k, v in value.items()])
        return {k: to_json(v) for k, v in value.items()}
    if kind in (list, tuple):
        return [to_json(v) for v in value]
    if kind is int:
        # Python writes and reads no decimal beyond some thousand digits; hexadecimal has no limit.
        return _tagged("int", str(value) if value.bit_length() < 10_000 else hex(value))
    if kind is bytes:
        return _tagged("bytes", base64.b64encode(value).decode())
    if kind is dt.datetime or kind is dt.time:
        return _tagged(kind.__name__, value.isoformat() + ("#1" if value.fold else ""))
    if kind is dt.date:
        return _tagged("date", value.isoformat())
    if kind is dt.timedelta:
        return _tagged("timedelta", [value.days, value.seconds, value.microseconds])
    if kind in (UUID, Decimal):
        return _tagged(kind.__name__.lower(), str(value))
    if kind in (set, frozenset):
        # Sorted: the order of a set differs from process to process.
        return _tagged(kind.__name__, sorted(map(to_json, value), key=json.dumps))
    raise InvalidArgumentError(f"a {kind.__name__} has no JSON form")


def _tagged(name: str, value: Any) -> dict[str, Any]:
    return {TAG: name, "value": value}


def from_json(data: Any) -> Any:
    """Return the value that `to_json` wrote as `data`.

    Raises:
        InvalidArgumentError: An unknown tag, or a malformed one.
    """
    if isinstance(data, list):
        return [from_json(v) for v in data]
    if not isinstance(data, dict):
        return data
    if TAG not in data:
        return {k: from_json(v) for k, v in data.items()}
    name, value = data[TAG], data.get("value")
    try:
        return _untagged(name, value)
    except (ValueError, TypeError, ArithmeticError, AttributeError):
        raise InvalidArgumentError(f"a malformed {TAG} object of type {name!r}") from None


def _untagged(name: Any, value: Any) -> Any:
    match name:
        case "float":
            return float(value)
        case "int":
            return int(value, 0)
        case "dict":
            return {str(k): from_json(v) for k, v in value}
        case "bytes":
            return base64.b64decode(value, validate=True)
        case "datetime":
            return parse_moment(dt.datetime, value)
        case "time":
            return parse_moment(dt.time, value)
        case "date":
            return dt.date.fromisoformat(value)
        case "timedelta":
            days, seconds, microseconds = value
            return dt.timedelta(days, seconds, microseconds)
        case "uuid":
            return UUID(value)
        case "decimal":
            return Decimal(value)
        case "set" | "frozenset":
            members = [_hashable(from_json(v)) for v in value]
            return set(members) if name == "set" else frozenset(members)
    raise InvalidArgumentError(f"an unknown {TAG} type {name!r}", hint="upgrade Holdfast")


def _hashable(value: Any) -> Any:
    return tuple(_hashable(v) for v in value) if isinstance(value, list) else value


def header_line(revision: int, lineage: str) -> str:
    """Return the first line of an export."""
    return json.dumps({TAG: "export", "format": FORMAT, "revision": revision, "lineage": lineage})


def record_line(scope: StateScope, key: str, item: StateValue) -> str:
    """Return the line of one key."""
    m = item.metadata
    line: dict[str, Any] = {"scope": str(scope), "key": key, "value": to_json(item.value)}
    line["class"] = m.state_class.name.lower()
    line["revision"], line["version"] = m.revision, m.version
    line["created_at"], line["updated_at"] = m.created_at.isoformat(), m.updated_at.isoformat()
    if m.expires_at is not None:
        line["expires_at"] = m.expires_at.isoformat()
    for name, text in (
        ("schema_version", m.schema_version),
        ("correlation_id", m.correlation_id),
        ("actor", m.actor),
    ):
        if text is not None:
            line[name] = text
    return json.dumps(line, ensure_ascii=False)


def parse_lines(lines: Iterable[str]) -> Iterator[SetOperation]:
    """Yield the set operation of each line of an export.

    Raises:
        InvalidArgumentError: A line is no JSON, or lacks a member; it is named by number.
        FormatVersionError: The export is of a newer format.
    """
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidArgumentError(f"line {number} is not JSON: {error}") from None
        if not isinstance(line, dict):
            raise InvalidArgumentError(f"line {number} is no object")
        if line.get(TAG) == "export":
            if line.get("format", 0) > FORMAT:
                raise FormatVersionError(f"the export has format {line['format']}, not {FORMAT}")
            continue
        try:
            expires = line.get("expires_at")
            operation = SetOperation(
                StateScope.parse(line["scope"]),
                line["key"],
                from_json(line["value"]),
                StateClass[line["class"].upper()] if "class" in line else None,
                expires_at=None if expires is None else dt.datetime.fromisoformat(expires),
            )
        except KeyError as error:
            raise InvalidArgumentError(
                f"line {number} lacks or misnames {error}",
                hint="a line has scope, key and value, as export writes them",
            ) from None
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"line {number}: {error.message}", hint=error.hint) from None
        except (ValueError, TypeError, AttributeError):
            raise InvalidArgumentError(f"line {number}: class or expires_at is malformed") from None
        yield operation


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
