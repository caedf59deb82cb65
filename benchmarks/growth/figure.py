"""One figure of a store of a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure.

    Attributes:
        work, unit: What was measured.
        figure: The median of single calls, or the one value there is.
        p99, highest: Of single calls.
    """

    work: str
    unit: str
    figure: float
    p99: float | None = None
    highest: float | None = None

    def to_data(self) -> dict[str, Any]:
        """Return it as JSON types, with four digits."""
        return {
            name: float(f"{value:.4g}") if isinstance(value, int | float) else value
            for name, value in asdict(self).items()
        }


def spread(work: str, unit: str, seconds: Sequence[float]) -> Figure:
    """Return the figure of calls that took `seconds` each."""
    factor = {"µs": 1e6, "ms": 1e3, "s": 1.0}[unit]
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * factor

    return Figure(work, unit, at(0.5), at(0.99), ordered[-1] * factor)
