"""Puts the reference results into docs/benchmarks.md. Run ``python -m benchmarks.page``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.growth import report as growth
from benchmarks.peers import report as peers
from benchmarks.storing import RESULTS, replaced

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
_CHARTS = {
    "peers": "bars of six works, by store and durability",
    "growth": "lines of nine works over the number of keys",
}


def rendered(page: str) -> str:
    """Return the page with the tables and charts of the reference runs that are stored."""
    for name, tables in (("peers", peers.page_tables), ("growth", growth.page_tables)):
        file = RESULTS / f"{name}.json"
        text = f"No reference run is stored yet: `make bench-{name} ARGS=--reference` makes it."
        if file.exists():
            stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            text = f"{_machine(stored)}\n\n{tables(stored)}"
        if (RESULTS / f"{name}.png").exists():
            text = f"![{_CHARTS[name]}](benchmarks-{name}.png)\n\n{text}"
        page = replaced(page, name, text)
    return page


def _machine(stored: dict[str, Any]) -> str:
    machine = stored["machine"]
    left_out = ", ".join(stored["left_out"])
    return (
        f"Run of {stored['started_at'][:10]} in {stored['seconds']:,} s on {machine['cpus']} CPUs "
        f"({machine['cpu']}), {machine['python']}; load {machine['load']} at its end."
        + (f" Left out: {left_out}." if left_out else "")
    )


def main() -> int:
    """Write the page and its charts."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name in _CHARTS:
        if (chart := RESULTS / f"{name}.png").exists():
            shutil.copyfile(chart, DOCS / f"benchmarks-{name}.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
