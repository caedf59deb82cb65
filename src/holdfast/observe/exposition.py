"""The Prometheus text format, version 0.0.4. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram's sample.

    Attributes:
        counts: Upper bounds, ascending, and how many are at or below each.
        total: The sum of all.
        count: How many there are.
    """

    counts: Sequence[tuple[float, int]]
    total: float
    count: int


@dataclass(slots=True)
class Family:
    """One metric with its samples.

    Attributes:
        name: With its unit, and ``_total`` where it counts.
        kind: ``counter``, ``gauge`` or ``histogram``.
        help: What it tells.
        samples: Labels, and the figure.
    """

    name: str
    kind: str
    help: str
    samples: list[tuple[Labels, float | Buckets]] = field(default_factory=list)


def exposition(families: Iterable[Family]) -> str:
    """Return the text; a family without samples is left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {_escape(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.samples:
            if isinstance(value, Buckets):
                lines += _buckets(family.name, labels, value)
            else:
                lines.append(_line(family.name, labels, value))
    return "\n".join(lines) + "\n"


def _buckets(name: str, labels: Labels, value: Buckets) -> list[str]:
    lines = [
        _line(f"{name}_bucket", {**labels, "le": _number(bound)}, count)
        for bound, count in value.counts
    ]
    lines.append(_line(f"{name}_bucket", {**labels, "le": "+Inf"}, value.count))
    lines.append(_line(f"{name}_sum", labels, value.total))
    lines.append(_line(f"{name}_count", labels, value.count))
    return lines


def _line(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{key}="{_escape(text, quoted=True)}"' for key, text in labels.items())
    return f"{name}{{{shown}}} {_number(value)}" if shown else f"{name} {_number(value)}"


def _escape(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
