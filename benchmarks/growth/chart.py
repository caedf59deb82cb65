"""The chart of a stored run. Needs matplotlib, which only the benchmarks' own environment has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

_PANELS = (
    "fill, a key",
    "get",
    "set, sync",
    "set, os",
    "list 1,000 keys",
    "open",
    "info()",
    "verify()",
    "compact()",
)


def draw(stored: dict[str, Any], file: Path) -> None:
    """Draw a panel a work, a line an engine, both axes logarithmic."""
    figure = Figure(figsize=(14, 11), layout="constrained")
    for axis, work in zip(figure.subplots(3, 3).ravel(), _PANELS, strict=True):
        rows = [row for row in stored["rows"] if row["case"] == "size" and row["work"] == work]
        for engine in dict.fromkeys(row["engine"] for row in rows):
            points = sorted((row["keys"], row["figure"]) for row in rows if row["engine"] == engine)
            axis.plot(*zip(*points, strict=True), marker="o", label=engine)
        if rows:
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_title(f"{work}, {rows[0]['unit']}", fontsize=10, loc="left")
            axis.legend(fontsize=8)
        axis.grid(visible=True, alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    machine = stored["machine"]
    figure.suptitle(
        f"Growth by number of keys. {machine['cpu']}, {machine['cpus']} CPUs, {machine['python']}",
        fontsize=11,
    )
    figure.savefig(file, dpi=80)
