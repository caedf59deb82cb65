"""The figures of hooks as samples: a name, labels, a number. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Sample = tuple[str, Mapping[str, str], float]

#: Figures of a hook that only grow, and what they are called as samples.
_COUNTS: Final = {
    "calls": "calls_total",
    "failures": "failures_total",
    "timeouts": "timeouts_total",
    "vetoes": "vetoes_total",
    "skipped": "skipped_total",
    "total_seconds": "seconds_total",
}
_QUEUE_COUNTS: Final = ("delivered", "dropped", "not_run", "waited", "refused")


def samples(figures: Mapping[str, Any]) -> list[Sample]:
    """Return the samples of `Hooks.figures`."""
    found: list[Sample] = []
    queue = figures["queue"]
    if queue:
        found.append(("queued", {}, queue["queued"]))
        found.extend((f"{name}_total", {}, queue[name]) for name in _QUEUE_COUNTS)
    for hook in figures["hooks"]:
        labels = {"hook": hook["name"], "phase": hook["phase"]}
        found.extend((name, labels, hook[figure]) for figure, name in _COUNTS.items())
        found.append(("breaker_open", labels, int(hook["breaker"] != "closed")))
    return found
