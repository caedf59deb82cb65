"""From the words of a command line to values, moments and durations; nothing is guessed.

What is not what it should be is refused with a hint that shows a form that works.
"""

from __future__ import annotations

import json
import math
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from holdfast.cli.exits import FileError
from holdfast.errors import InvalidArgumentError, InvalidValueError
from holdfast.store.lines import TAG, from_json

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_REVISION = re.compile(r"[0-9]{1,20}")


def read_bytes(source: Path | None) -> bytes:
    """Read a whole file, or standard input where `source` is None.

    Raises:
        FileError: It cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if source is None else source.read_bytes()
    except OSError as error:
        name = "standard input" if source is None else str(source)
        raise FileError(f"cannot read {name}: {error.strerror}", hint="check the path") from None


def as_text(data: bytes) -> str:
    """Decode UTF-8, strictly.

    Raises:
        InvalidValueError: It is something else.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidValueError(
            f"the input is not UTF-8 (byte {error.start})", hint="store it as it is with --bytes"
        ) from None


def parse_value(text: str) -> Any:
    """Read a value from JSON, with extended types in their lossless form.

    Raises:
        InvalidValueError: It is no JSON, or names a key of an object twice.
    """
    try:
        return from_json(
            json.loads(
                text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
            )
        )
    except json.JSONDecodeError as error:
        raise InvalidValueError(
            f"the value is not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            hint="put JSON in single quotes ('{\"a\": 1}'), or store plain text with --text",
        ) from None
    except RecursionError:
        raise InvalidValueError("the JSON nests too deep") from None
    except ValueError:  # Python reads no decimal integer beyond some thousand digits
        raise InvalidValueError(
            "the JSON holds an integer with too many digits",
            hint="write it in hexadecimal: " + json.dumps({TAG: "int", "value": "0xff"}),
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidValueError(
            f"an object has the key {twice!r} twice", hint="keep one of the two"
        )
    return made


def _no_constant(name: str) -> NoReturn:
    form = json.dumps({TAG: "float", "value": name})
    raise InvalidValueError(f"{name} is not JSON", hint=f"write {form}")


def parse_moment(text: str) -> int | datetime:
    """Read a revision, or an ISO time with its offset.

    Raises:
        InvalidArgumentError: It is neither, or a time without an offset.
    """
    if _REVISION.fullmatch(text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgumentError(
            f"{text!r} is neither a revision nor a time",
            hint="give a revision (42) or an ISO time (2026-01-31T12:00:00Z)",
        ) from None
    if moment.tzinfo is None:
        raise InvalidArgumentError(
            f"the time {text!r} has no offset", hint=f"write {moment.isoformat()}Z for UTC"
        )
    return moment


def parse_duration(text: str) -> timedelta:
    """Read ``30d``, ``1.5h``, ``90s``, ``2w``, ``500ms``, or several in a row (``1h30m``).

    Raises:
        InvalidArgumentError: It is something else, or too long.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgumentError(
            f"{text!r} is not a duration", hint="write 500ms, 90s, 15m, 1h30m, 30d or 2w"
        )
    try:
        return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())
    except OverflowError:
        raise InvalidArgumentError(f"the duration {text!r} is too long") from None


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidValueError(
            f"the number {text[:40]} is too large for a float",
            hint='for a Decimal write {"$holdfast": "decimal", "value": "…"}',
        )
    return number
