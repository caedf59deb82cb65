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
CHARTS = ("peers.png", "growth.png")


def rendered(page: str) -> str:
    """Return the page with the tables of the stored reference runs."""
    for name, tables in (("peers", peers.page_tables), ("growth", growth.page_tables)):
        stored = _read(name)
        page = replaced(page, name, f"{_machine(stored)}\n\n{tables(stored)}")
    return page


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


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
    for chart in CHARTS:
        shutil.copyfile(RESULTS / chart, DOCS / f"benchmarks-{chart}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
