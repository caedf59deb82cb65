"""Values as instances of JSON, for a validator that knows only JSON.

Types that the store keeps and JSON has not become an object with one key that no field can have,
so that a Decimal never passes for a number, nor bytes for text.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Any, Final
from uuid import UUID

TAG: Final = "\0"

DATETIME: Final = "datetime"
UUID_: Final = "uuid"
FLOAT: Final = "float"
OTHER: Final = "other"

_SCALARS: Final = frozenset([str, int, bool, type(None)])


class NotPlainError(Exception):
    """The value holds what is no plain data: look at what is stored of it instead."""


def is_instance(value: Any) -> bool:
    """Say whether a value is data of JSON as it is; most values are, and need no copy."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or key[:1] == TAG:
                return False
            if type(item) not in _SCALARS and not is_instance(item):
                return False
        return True
    if kind is list:
        return all(type(item) in _SCALARS or is_instance(item) for item in value)
    return math.isfinite(value) if kind is float else kind in _SCALARS


def instance(value: Any) -> Any:
    """Return a value as data of JSON; parts that are such data already are shared.

    Raises:
        NotPlainError: An element is none that `codec.decode` makes.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        made: dict[str, Any] = {}
        for key, item in value.items():
            if type(key) is not str:
                return {TAG: OTHER}
            if key[:1] == TAG:
                key = TAG + key
            made[key] = item if type(item) in _SCALARS else instance(item)
        return made
    if kind is list or kind is tuple:
        return [item if type(item) in _SCALARS else instance(item) for item in value]
    if kind is float:
        return value if math.isfinite(value) else {TAG: FLOAT}
    if kind is dt.datetime:
        return {TAG: DATETIME if value.utcoffset() is not None else OTHER}
    if kind is UUID:
        return {TAG: UUID_}
    if kind.__module__ in ("builtins", "datetime", "decimal"):
        return {TAG: OTHER}
    raise NotPlainError
