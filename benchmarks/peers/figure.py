"""The values that a run is made of: what one measurement found, and a line of the tables."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Found:
    """What one contender did in one round of a case.

    Attributes:
        figures: By work, the figures of this round.
        tails: By work, every single call's time, for percentiles.
        errors: Texts of failed calls, and how many failed so.
        absent: By work, why there is no figure.
        facts: What the store says of its durability.
    """

    figures: dict[str, float] = field(default_factory=dict)
    tails: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    absent: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def failed(self, errors: Sequence[BaseException]) -> None:
        """Count errors by their text."""
        self.errors.update(text_of(error) for error in errors)


def text_of(error: BaseException) -> str:
    """Return an error in a line, without what differs between equal ones."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{type(error).__name__}: {first}"[:100]


@dataclass(frozen=True, slots=True)
class Line:
    """A figure of a contender.

    Attributes:
        case, work, unit: What was measured.
        peer, durability, kind: Whose figure it is.
        figure: The median of the rounds; None where there is none (see `note`).
        p99: Of the single calls of all rounds, where calls were timed one by one.
        errors: Failed calls by text, over all rounds.
        note: Why there is no figure.
    """

    case: str
    work: str
    unit: str
    peer: str
    durability: str
    kind: str
    figure: float | None
    p99: float | None = None
    errors: dict[str, int] = field(default_factory=dict)
    note: str = ""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def merged(
    case: str, units: dict[str, str], who: tuple[str, str, str], rounds: Sequence[Found]
) -> list[Line]:
    """Return the lines of a contender: medians over its rounds, percentiles over all calls.

    Args:
        case: The case.
        units: Its works, in order, with their units.
        who: Name, durability and kind of the contender.
        rounds: What it did in each round.
    """
    lines: list[Line] = []
    errors: Counter[str] = Counter()
    for found in rounds:
        errors.update(found.errors)
    for work, unit in units.items():
        figures = [found.figures[work] for found in rounds if work in found.figures]
        tails = [value for found in rounds for value in found.tails.get(work, ())]
        note = next((found.absent[work] for found in rounds if work in found.absent), "")
        lines.append(
            Line(
                case,
                work,
                unit,
                *who,
                statistics.median(figures) if figures else None,
                percentile(tails, 0.99) if tails else None,
                dict(errors) if work == next(iter(units)) else {},
                "" if figures else note or "failed",
            )
        )
    return lines
