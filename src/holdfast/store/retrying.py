"""How often, and after how long a wait, a write that met a conflict is tried again."""

from __future__ import annotations

import random
from collections.abc import Sequence

from holdfast.errors import ConflictError
from holdfast.store import layout

ATTEMPTS = 64


def attempts() -> Sequence[int]:
    """Return the numbers of the tries that a retrying verb makes."""
    return range(ATTEMPTS)


def backoff(attempt: int) -> float:
    """Return seconds to wait before a retry: exponential with full jitter, at most 50 ms."""
    return random.uniform(0, min(0.05, 0.0002 * 2 ** min(attempt, 8)))  # noqa: S311


def exhausted(place: bytes) -> ConflictError:
    """Return the error of a verb whose retries all met a conflict."""
    _, scope, key = layout.split_place(place)
    return ConflictError(
        f"{scope}/{key} changed under each of {ATTEMPTS} attempts",
        scope=str(scope),
        key=key,
        reason="exhausted",
    )
