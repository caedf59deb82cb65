"""The command: ``python -m benchmarks.growth [--sizes N …] [--full] [--engine NAME …]``."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.growth.report import show
from benchmarks.growth.run import Run
from benchmarks.machine import facts
from benchmarks.server import running, stop_on_sigterm
from benchmarks.storing import RESULTS, write

ENGINES = ("memory", "sqlite", "rocksdb", "postgres")
CASES = ("size", "scopes", "tails")
_SIZES = (10_000, 100_000)
_FULL = (10_000, 100_000, 1_000_000, 5_000_000)
_SCOPES = (1, 100, 10_000, 100_000)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description="Measure what becomes slower or larger as a store grows.",
    )
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--sizes", nargs="+", type=int, help="keys; by default 10,000 and 100,000")
    parser.add_argument("--scopes", nargs="+", type=int, default=list(_SCOPES))
    parser.add_argument("--quick", action="store_true", help="1,000 and 10,000 keys")
    parser.add_argument("--full", action="store_true", help="up to 5,000,000 keys: hours")
    parser.add_argument("--dir", type=Path, help="where stores are made (a real disk)")
    parser.add_argument("--output", type=Path, help="the JSON file; by default in results/local")
    parser.add_argument(
        "--reference", action="store_true", help="write results/growth.json, which is committed"
    )
    parser.add_argument("--show", type=Path, help="print and draw a stored run; measure nothing")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for, print it, draw it and store it."""
    asked = arguments(argv)
    stop_on_sigterm()
    console = Console(width=None if Console().is_terminal else 140, highlight=False)
    if asked.show:
        stored = json.loads(asked.show.read_text(encoding="utf-8"))
        show(stored, console)
        _draw(stored, asked.show.with_suffix(".png"), console)
        return 0
    started, begun = datetime.now(UTC), time.monotonic()
    rows, left_out = measure(asked, console)
    stored = {
        "started_at": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - begun),
        "machine": facts(),
        "left_out": left_out,
        "rows": rows,
    }
    show(stored, console)
    file = asked.output or RESULTS / "local" / f"growth-{started:%Y%m%d-%H%M%S}.json"
    if asked.reference:
        file = RESULTS / "growth.json"
    write(file, stored)
    console.print(f"stored in {file} after {stored['seconds']} s")
    _draw(stored, file.with_suffix(".png"), console)
    return 0


def measure(
    asked: argparse.Namespace, console: Console
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Measure; return the rows, and which engines were left out and why."""
    sizes = asked.sizes or _SIZES
    if asked.full:
        sizes = _FULL
    if asked.quick:
        sizes = (1000, 10_000)
    middle = min(100_000, max(sizes))
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(dir=asked.dir, prefix="holdfast-growth-") as directory,
        running(Path(directory)) as server,
    ):
        run = Run(Path(directory), server, lambda text: console.print(text, style="dim"))
        if "postgres" in asked.engine and (server is None or not _has_postgres()):
            left_out["postgres"] = "no engine, or no server to run"
        engines = [one for one in asked.engine if one not in left_out]
        for keys in sizes if "size" in asked.case else ():
            for engine in engines:
                rows += run.sizes(engine, keys)
        for scopes in asked.scopes if "scopes" in asked.case else ():
            for engine in engines:
                if scopes <= middle:
                    rows += run.scopes(engine, middle, scopes)
        for engine in engines if "tails" in asked.case else ():
            rows += run.tails(engine, middle)
    return rows, left_out


def _has_postgres() -> bool:
    return find_spec("holdfast.engines.postgres") is not None


def _draw(stored: dict[str, Any], file: Path, console: Console) -> None:
    if find_spec("matplotlib") is None:
        console.print("no chart: matplotlib is not installed")
        return
    from benchmarks.growth.chart import draw

    draw(stored, file)
    console.print(f"drawn in {file}")


if __name__ == "__main__":
    raise SystemExit(main())
