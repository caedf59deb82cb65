"""The time axis: from moments to places, long idle stretches drawn short, and round ticks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from holdfast.timeline.shown import duration_text

_IDLE: Final = 0.3  # the share of the whole from which on an idle stretch is drawn short
_BREAK: Final = 56.0  # how wide that is then
_LEAST: Final = 90.0  # how wide every other stretch is at least
_INSET: Final = 6.0
_BETWEEN_TICKS: Final = 96.0
_ZERO: Final = timedelta(0)
_MICROSECOND: Final = timedelta(microseconds=1)
_STEPS: Final[tuple[timedelta, ...]] = tuple(
    sorted(
        [_MICROSECOND * factor * 10**power for power in range(7) for factor in (1, 2, 5)]
        + [timedelta(seconds=seconds) for seconds in (15, 30, 60, 120, 300, 600, 900, 1800)]
        + [timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 168, 720, 8760)]
    )
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time drawn to scale.

    Attributes:
        start, end: Moments.
        left, right: Places.
    """

    start: datetime
    end: datetime
    left: float
    right: float

    def at(self, moment: datetime) -> float:
        """Return the place of a moment."""
        left, right = self.left + _INSET, self.right - _INSET
        length = self.end - self.start
        if not length:
            return left
        share = min(1.0, max(0.0, (moment - self.start) / length))
        return left + share * (right - left)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the axis.

    Attributes:
        place: Where.
        label: The time since the beginning, or since that of a later stretch, with a ``+``.
        first: It begins a stretch.
    """

    place: float
    label: str
    first: bool


class Scale:
    """A time axis between two places.

    Attributes:
        stretches: What is drawn to scale.
        breaks: Between them: places from and to, and how long the idle time was.
    """

    def __init__(
        self, busy: Iterable[tuple[datetime, datetime]], left: float, right: float
    ) -> None:
        merged = _merged(sorted(busy))
        active = sum((end - start for start, end in merged), _ZERO)
        spare = right - left - _BREAK * (len(merged) - 1) - _LEAST * len(merged)
        self.stretches: list[Stretch] = []
        self.breaks: list[tuple[float, float, timedelta]] = []
        place = left
        for start, end in merged:
            if self.stretches:
                self.breaks.append((place, place + _BREAK, start - self.stretches[-1].end))
                place += _BREAK
            share = (end - start) / active if active else 1 / len(merged)
            width = _LEAST + max(0.0, spare) * share
            self.stretches.append(Stretch(start, end, place, place + width))
            place += width

    def at(self, moment: datetime) -> float:
        """Return the place of a moment."""
        for stretch in self.stretches:
            if moment <= stretch.end:
                return stretch.at(max(moment, stretch.start))
        return self.stretches[-1].at(moment)

    def ticks(self) -> list[Tick]:
        """Return round times along the axis."""
        begin = self.stretches[0].start
        found: list[Tick] = []
        for number, stretch in enumerate(self.stretches):
            offset = stretch.start - begin
            label = f"+{duration_text(offset)}" if number else "0"
            found.append(Tick(stretch.at(stretch.start), label, first=True))
            step = _step(stretch)
            if step is None:
                continue
            count = 1
            while stretch.start + step * count <= stretch.end:
                place = stretch.at(stretch.start + step * count)
                words = duration_text(step * count)
                found.append(Tick(place, f"+{words}" if number else words, first=False))
                count += 1
        return found


def _step(stretch: Stretch) -> timedelta | None:
    """Return the distance of ticks that leaves room for their labels."""
    length = stretch.end - stretch.start
    room = stretch.right - stretch.left - 2 * _INSET
    wide = (step for step in _STEPS if length and step / length * room >= _BETWEEN_TICKS)
    return next(wide, None)


def _merged(
    busy: Sequence[tuple[datetime, datetime]],
) -> list[tuple[datetime, datetime]]:
    """Join what overlaps or lies near; a few idle stretches remain, the longest."""
    whole = max(end for _, end in busy) - busy[0][0]
    merged = [busy[0]]
    for start, end in busy[1:]:
        first, last = merged[-1]
        if start - last <= whole * _IDLE:
            merged[-1] = (first, max(last, end))
        else:
            merged.append((start, end))
    return merged
