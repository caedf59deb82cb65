"""The command: ``python -m benchmarks [--case NAME …] [--quick] [--profile NAME]``."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.cases import CASES
from benchmarks.machine import facts
from benchmarks.measure import Bench, Row
from benchmarks.report import show, show_profile, to_json
from benchmarks.sampling import Sampler

RESULTS = Path(__file__).parent / "results"

ENGINES = ("memory", "sqlite", "rocksdb", "postgres")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    names = ", ".join(CASES)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Holdfast against the raw engines, in one interleaved run.",
        epilog="\n".join(f"  {name:9} {case.about}" for name, case in CASES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", nargs="+", choices=CASES, metavar="NAME", help=names)
    parser.add_argument(
        "--engine", nargs="+", choices=("memory", "sqlite", "rocksdb", "postgres"), default=()
    )
    parser.add_argument("--quick", action="store_true", help="a fifth of the work, fewer rounds")
    parser.add_argument(
        "--profile", choices=CASES, metavar="NAME", help="tell where a case's time goes"
    )
    parser.add_argument("--rounds", type=int, help="how often A, B is repeated")
    parser.add_argument("--dir", type=Path, help="where stores are made (a real disk)")
    parser.add_argument("--output", type=Path, help="the JSON file; by default in results/local")
    parser.add_argument(
        "--reference", action="store_true", help="write results/reference.json, which is committed"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for, print it, and store it unless it was a profile."""
    asked = arguments(argv)
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    factor, rounds = (0.2, 5) if asked.quick else (1.0, 11)
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory(dir=asked.dir, prefix="holdfast-bench-") as directory:
        bench = Bench(Path(directory), factor, asked.rounds or rounds, tuple(asked.engine))
        if asked.profile:
            return profile(bench, asked.profile, console)
        usual = [n for n, case in CASES.items() if case.usual or asked.reference]
        rows = measure(bench, asked.case or usual, console)
    about: dict[str, Any] = {
        "started_at": started.isoformat(timespec="seconds"),
        "quick": asked.quick,
        "rounds": bench.rounds,
        "machine": facts(),
    }
    show(rows, console)
    file = asked.output or RESULTS / "local" / f"{started:%Y%m%d-%H%M%S}.json"
    if asked.reference:
        file = RESULTS / "reference.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(rows, about), indent=1, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
    console.print(f"stored in {file}")
    return 0


def measure(bench: Bench, names: Sequence[str], console: Console) -> list[Row]:
    """Run cases one after the other."""
    rows: list[Row] = []
    for name in names:
        console.print(f"{name}: {CASES[name].about} …", style="dim")
        rows += CASES[name].run(bench)
    return rows


def profile(bench: Bench, name: str, console: Console) -> int:
    """Run a case and print where Holdfast's share of the time went."""
    with Sampler() as sampler:
        rows = CASES[name].run(replace(bench, sampler=sampler))
    show(rows, console)
    console.print("(times above are disturbed by the sampling)")
    show_profile(sampler, console)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
