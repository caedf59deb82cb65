"""Converting scalars: exactly, or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID


def convert(value: Any, to: str) -> Any:
    """Return a scalar as another type.

    Raises:
        ValueError, ArithmeticError: It stands for none of that type, or not exactly.
    """
    if isinstance(value, dict | list | set | bytes):
        raise ValueError("no scalar")
    return KINDS[to](value)


def _integer(value: Any) -> int:
    if isinstance(value, bool | int | str):
        return int(value)
    if isinstance(value, float | Decimal) and value == int(value):
        return int(value)
    raise ValueError("no integer")


def _float(value: Any) -> float:
    if not isinstance(value, bool | int | str | float | Decimal):
        raise ValueError("no number")
    made = float(value)
    if isinstance(value, int | Decimal) and made != value:
        raise ValueError("not exact")
    if isinstance(value, str) and not math.isfinite(made):
        raise ValueError("not finite")
    return made


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | float | Decimal):
        raise ValueError("no number")
    made = Decimal(repr(value) if isinstance(value, float) else value)
    if not made.is_finite():
        raise ValueError("not finite")
    return made


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


_WORDS: Final = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower())
    if value not in (0, 1) or not isinstance(value, int | float | Decimal):
        raise ValueError("no boolean")
    return bool(value)


def _timestamp(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError("no timestamp")
    return value


def _uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str):
        raise ValueError("no UUID")
    return UUID(value)


KINDS: Final[dict[str, Callable[[Any], Any]]] = {
    "string": _string,
    "integer": _integer,
    "float": _float,
    "decimal": _decimal,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "uuid": _uuid,
}
