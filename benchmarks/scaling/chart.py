"""One picture of the results. It needs matplotlib, which nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw(found: dict[str, Any], file: Path) -> None:
    """Draw measured and modelled rates, and what the model says of the plan's server."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for log, colour in (("this disk", "teal"), ("10 ms more", "tab:orange")):
        rows = [row for row in found["validation"] if row["log"] == log]
        counts = [row["real"]["partitions"] for row in rows]
        real = [row["real"]["rate"] for row in rows]
        model = [row["model"]["rate"] for row in rows]
        left.plot(counts, real, "o-", color=colour, label=f"measured, log: {log}")
        left.plot(counts, model, "x--", color=colour, label=f"model, log: {log}")
    left.set_title("4 processes on this machine, 1,000 writers")
    for count, colour in ((4, "tab:gray"), (8, "tab:blue"), (16, "tab:green"), (32, "tab:red")):
        for scopes, line in (("uniform", "-"), ("zipf", ":"), ("routed", "--")):
            rows = [
                row
                for row in found["sweep"]
                if row["processes"] == count and row["scopes"] == scopes
            ]
            right.plot(
                [row["partitions"] for row in rows],
                [row["figures"]["rate"] for row in rows],
                line,
                color=colour,
                label=f"{count} processes, {scopes}",
            )
    right.set_title("model: 16 cores, 0.5 ms round trip, 1 ms flush")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("partitions")
        axes.set_ylabel("sets a second")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=110, metadata={"Software": None})
