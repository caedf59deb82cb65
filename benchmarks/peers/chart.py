"""The chart of a stored run. Needs matplotlib, which only the benchmarks' own environment has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

_PANELS = (
    ("single-2k", "set", "one durable set of 2 KB, µs (p50)"),
    ("single-2k", "get", "one get of 2 KB, µs (p50)"),
    ("together", "all", "1,000 concurrent sets of 2 KB, ms"),
    ("agents", "on disk", "10,000 agents x 2 KB on disk, MB"),
    ("turns", "on disk", "400 turns on disk, MB (text: 0.8)"),
    ("increments", "read, change, write", "of 1,000 increments, how many survive"),
)
_COLOURS = {"holdfast": "#00796b", "peer": "#b0793b", "raw": "#9e9e9e"}


def draw(stored: dict[str, Any], file: Path) -> None:
    """Draw the panels; bars are on a logarithmic scale, but for counts."""
    figure = Figure(figsize=(17, 14), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for axis, (case, work, title) in zip(axes, _PANELS, strict=True):
        rows = [
            row
            for row in stored["rows"]
            if row["case"] == case and row["work"] == work and row["figure"] is not None
        ]
        rows.reverse()
        names = [f"{row['peer']} [{row['durability']}]" for row in rows]
        bars = axis.barh(
            names,
            [row["figure"] for row in rows],
            color=[_COLOURS[row["kind"]] for row in rows],
        )
        axis.bar_label(bars, [f"{row['figure']:,.4g}" for row in rows], padding=3, fontsize=7)
        if work == "read, change, write":
            axis.set_xlim(0, 1150)
        elif rows:
            axis.set_xscale("log")
            axis.margins(x=0.15)
        axis.set_title(title, fontsize=10, loc="left")
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    machine = stored["machine"]
    figure.suptitle(
        f"Holdfast beside other stores. {machine['cpu']}, {machine['cpus']} CPUs, "
        f"{machine['python']}. [sync]: on disk when it returns; [os]: given to the system; "
        "[memory]. Compare within one of them.",
        fontsize=10,
    )
    figure.savefig(file, dpi=80)
