"""What an analysis reports, and how the lists of it are made. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from holdfast.store.scope import StateScope


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigures:
    """One key.

    Attributes:
        scope, key: Which.
        present: It holds a value; otherwise only its history is there.
        bytes: Of its value, as stored.
        versions, history_bytes: Kept of its history.
        writes, written_bytes: Of the window: how often it was changed, bytes of those versions.
        growth_per_day: `written_bytes` by day.
        last_write: When it was changed last, where that is known.
    """

    scope: StateScope
    key: str
    present: bool
    bytes: int
    versions: int
    history_bytes: int
    writes: int
    written_bytes: int
    growth_per_day: float
    last_write: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeFigures:
    """One scope, or all of them.

    Attributes:
        scope: Which; None for all.
        keys: How many hold a value.
        bytes, versions, history_bytes, writes, written_bytes, growth_per_day, last_write: As of
            `KeyFigures`, of all its keys together.
    """

    scope: StateScope | None
    keys: int
    bytes: int
    versions: int
    history_bytes: int
    writes: int
    written_bytes: int
    growth_per_day: float
    last_write: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Which scopes and keys are hot, cold, and growing.

    Attributes:
        taken_at, revision: When, and the store's last revision then.
        window: Writes of this time were counted.
        complete: The journal reaches back to the beginning of the window.
        total: All together.
        hot_scopes, hot_keys: Most writes in the window first.
        growing_scopes, growing_keys: Most bytes written in the window first.
        cold_scopes, cold_keys: Those that hold values and were written longest ago.
        largest_keys: By the bytes of the value.
        longest_keys: By the versions kept.
    """

    taken_at: datetime
    revision: int
    window: timedelta
    complete: bool
    total: ScopeFigures
    hot_scopes: list[ScopeFigures]
    growing_scopes: list[ScopeFigures]
    cold_scopes: list[ScopeFigures]
    hot_keys: list[KeyFigures]
    growing_keys: list[KeyFigures]
    cold_keys: list[KeyFigures]
    largest_keys: list[KeyFigures]
    longest_keys: list[KeyFigures]


F = TypeVar("F")


class Ranking(Generic[F]):
    """Keeps the first few of many, in bounded memory.

    Args:
        most: How many.
        score: What is ranked by; the highest comes first, None is left out.
    """

    def __init__(self, most: int, score: Callable[[F], float | None]) -> None:
        self._most, self._score = most, score
        self._heap: list[tuple[float, int, F]] = []
        self._seen = 0

    def offer(self, item: F) -> None:
        """Take an item in, if it is among the first; of equals, those that came first are."""
        score = self._score(item)
        if score is None:
            return
        self._seen -= 1  # never equal, so items are not compared
        entry = score, self._seen, item
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif self._heap and entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    def items(self) -> list[F]:
        """Return them, the first one first."""
        return [item for _, _, item in sorted(self._heap, reverse=True)]


def rankings(top: int) -> dict[str, Ranking[Any]]:
    """Return the rankings of an analysis, by the names of its lists, empty."""

    def some(field: str) -> Callable[[Any], float | None]:
        return lambda item: getattr(item, field) or None

    def age(item: Any) -> float | None:
        holds = item.present if isinstance(item, KeyFigures) else item.keys
        return -item.last_write.timestamp() if holds and item.last_write else None

    return {
        "hot_scopes": Ranking(top, some("writes")),
        "growing_scopes": Ranking(top, some("written_bytes")),
        "cold_scopes": Ranking(top, age),
        "hot_keys": Ranking(top, some("writes")),
        "growing_keys": Ranking(top, some("written_bytes")),
        "cold_keys": Ranking(top, age),
        "largest_keys": Ranking(top, some("bytes")),
        "longest_keys": Ranking(top, some("versions")),
    }
