"""The command: ``python -m benchmarks.peers [--quick] [--case NAME …] [--peer TEXT …]``."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.machine import facts
from benchmarks.peers.cases import CASES
from benchmarks.peers.contenders import CONTENDERS, Contender
from benchmarks.peers.figure import Line
from benchmarks.peers.report import show, to_json
from benchmarks.peers.run import Run
from benchmarks.server import running, stop_on_sigterm
from benchmarks.storing import RESULTS, write


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Measure Holdfast beside other stores, in one interleaved run.",
        epilog="\n".join(f"  {name:10} {case.about}" for name, case in CASES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", nargs="+", choices=CASES, metavar="NAME", default=list(CASES))
    parser.add_argument("--peer", nargs="+", default=[], help="only names with one of these texts")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one round")
    parser.add_argument("--rounds", type=int, help="at most so many rounds of each case")
    parser.add_argument("--dir", type=Path, help="where stores are made (a real disk)")
    parser.add_argument("--output", type=Path, help="the JSON file; by default in results/local")
    parser.add_argument(
        "--reference", action="store_true", help="write results/peers.json, which is committed"
    )
    parser.add_argument("--show", type=Path, help="print and draw a stored run; measure nothing")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for, print it, draw it and store it."""
    asked = arguments(argv)
    stop_on_sigterm()
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    if asked.show:
        stored = json.loads(asked.show.read_text(encoding="utf-8"))
        show(stored, console)
        _draw(stored, asked.show.with_suffix(".png"), console)
        return 0
    started, begun = datetime.now(UTC), time.monotonic()
    lines, about = measure(asked, console)
    about = {
        "started_at": started.isoformat(timespec="seconds"),
        "quick": asked.quick,
        "seconds": round(time.monotonic() - begun),
        "machine": facts(),
        **about,
    }
    stored = to_json(lines, about)
    show(stored, console)
    file = asked.output or RESULTS / "local" / f"peers-{started:%Y%m%d-%H%M%S}.json"
    if asked.reference:
        file = RESULTS / "peers.json"
    write(file, stored)
    console.print(f"stored in {file} after {about['seconds']} s")
    _draw(stored, file.with_suffix(".png"), console)
    return 0


def measure(asked: argparse.Namespace, console: Console) -> tuple[list[Line], dict[str, Any]]:
    """Measure; return the lines, and what is to be known of the contenders."""
    wanted = [
        each
        for each in CONTENDERS
        if not asked.peer or any(text.lower() in each.name.lower() for text in asked.peer)
    ]
    missing = {each: each.missing() for each in wanted} if wanted else {}
    for each, modules in missing.items():
        if modules:
            console.print(f"left out: {each.name}, for there is no {', '.join(modules)}")
    present = [each for each, modules in missing.items() if not modules]
    lines: list[Line] = []
    warnings.filterwarnings("ignore", module="key_value|platformdirs")
    with (
        tempfile.TemporaryDirectory(dir=asked.dir, prefix="holdfast-peers-") as directory,
        running(Path(directory)) as server,
        console.status("") as status,
    ):
        run = Run(
            Path(directory),
            server,
            0.1 if asked.quick else 1.0,
            asked.rounds or (1 if asked.quick else 3),
            status.update,
            {},
        )
        for name in asked.case:
            begun = time.monotonic()
            lines += run.measure(name, CASES[name], present)
            console.print(f"{name}: {time.monotonic() - begun:.0f} s", style="dim")
    known = {
        f"{each.name} ({each.durability})": {
            "kind": each.kind,
            "durability": each.durability,
            "how": each.how,
            "package": package,
            "version": _version(package),
            "facts": run.facts.get(f"{each.name} ({each.durability})", {}),
        }
        for each, package in ((one, _package(one)) for one in present)
    }
    left_out = {f"{each.name} ({each.durability})": m for each, m in missing.items() if m}
    return lines, {"contenders": known, "left_out": left_out}


def _package(contender: Contender) -> str | None:
    return "holdfast" if contender.kind == "holdfast" else contender.make().package


def _version(package: str | None) -> str | None:
    try:
        return None if package is None else version(package)
    except PackageNotFoundError:
        return None


def _draw(stored: dict[str, Any], file: Path, console: Console) -> None:
    try:
        from benchmarks.peers.chart import draw
    except ModuleNotFoundError:
        console.print("no chart: matplotlib is not installed")
        return
    draw(stored, file)
    console.print(f"drawn in {file}")


if __name__ == "__main__":
    raise SystemExit(main())
