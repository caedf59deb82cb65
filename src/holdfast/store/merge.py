"""Pure functions behind the single-key atomic operations."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from holdfast.errors import InvalidArgumentError, LimitExceededError, WrongTypeError
from holdfast.store.lowering import MAX_DEPTH
from holdfast.store.value import MISSING

Number = TypeVar("Number", int, float, Decimal)


def incremented(old: Any, by: Any) -> Any:
    """Return ``old + by``, counting from 0 where there is no value.

    Raises:
        WrongTypeError: Either is no number, or they do not mix (Decimal with float).
    """
    for number in (by, 0 if old is MISSING else old):
        if isinstance(number, bool) or not isinstance(number, int | float | Decimal):
            raise WrongTypeError(
                f"increment needs numbers, not {type(number).__name__}",
                hint="use update(fn) for other types",
            )
    try:
        return by if old is MISSING else old + by
    except (TypeError, ArithmeticError):  # also: too large for a float, a signalling NaN
        raise WrongTypeError(
            f"this {type(old).__name__} and {type(by).__name__} cannot be added"
        ) from None


def updated(fn: Callable[[Any], Any], old: Any) -> Any:
    """Return ``fn(old)``, which must be a value: a function that changes in place returns None.

    Raises:
        InvalidArgumentError: It returned None.
    """
    new = fn(old)
    if new is None:
        raise InvalidArgumentError(
            "the function of update returned None; nothing was written",
            hint="return the new value (list.append and dict.update return None); "
            "to store None use set, to remove the key delete",
        )
    return new


def appended(old: Any, items: list[Any]) -> list[Any]:
    """Return a list with `items` at its end, a new one where there is no value.

    Raises:
        WrongTypeError: The value is no list.
    """
    if old is MISSING:
        return list(items)
    if not isinstance(old, list):
        raise WrongTypeError(f"append needs a list, not {type(old).__name__}")
    return [*old, *items]


def merge_patched(target: Any, patch: Any, depth: int = 0) -> Any:
    """Apply a JSON merge patch (RFC 7396): None removes a member, dicts merge, others replace.

    Raises:
        LimitExceededError: The patch nests deeper than a value may.
    """
    if not isinstance(patch, dict):
        return patch
    if depth >= MAX_DEPTH:
        raise LimitExceededError(f"the patch nests deeper than {MAX_DEPTH} levels", limit=MAX_DEPTH)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patched(merged.get(name), value, depth + 1)
    return merged
