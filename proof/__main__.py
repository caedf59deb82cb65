"""The command: ``python -m proof [--long] [--case NAME …] [--shard I/N --state FILE]``."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from proof.case import Case
from proof.cases import CASES
from proof.runner import Plan, Tally, run, to_data

ENGINES = ("memory", "sqlite", "rocksdb", "postgres", "lmdb")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m proof",
        description="Attack what Holdfast promises: crashes, faults, anomalies, long runs.",
        epilog="\n".join(f"  {name:14} {case.claim}" for name, case in CASES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", nargs="+", choices=CASES, metavar="NAME", default=list(CASES))
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=[])
    parser.add_argument("--long", action="store_true", help="the long form: hours")
    parser.add_argument("--trials", type=int, help="trials per case and engine, instead")
    parser.add_argument("--seed", type=int, help="by default another one in every run")
    parser.add_argument("--shard", default="0/1", metavar="I/N", help="the I-th of N parts, from 0")
    parser.add_argument("--state", type=Path, help="remember finished trials here, and resume")
    parser.add_argument("--dir", type=Path, help="where stores are made (a real disk)")
    parser.add_argument("--output", type=Path, help="write the counts as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 1 if a claim was refuted."""
    asked = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers and children end with us
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    shard, shards = (int(part) for part in asked.shard.split("/"))
    seed = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    plan = Plan(seed, asked.long, asked.trials, shard, shards, asked.dir, asked.state)
    console.print(f"seed {seed}, shard {shard} of {shards}, {'long' if asked.long else 'quick'}")
    started = datetime.now(UTC)

    def progress(case: Case, engine: str, tally: Tally) -> None:
        if tally.skipped is None and tally.done and len(tally.done) % 10 == 0:
            print(f"  {case.name}/{engine}: {len(tally.done)} trials", file=sys.stderr, flush=True)

    tallies = run([CASES[name] for name in asked.case], asked.engine, plan, progress)
    show(console, tallies)
    if asked.output is not None:
        result = {"seed": seed, "started": started.isoformat(), "cases": to_data(tallies)}
        asked.output.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(tally.refuted for tally in tallies.values()))


def show(console: Console, tallies: dict[tuple[str, str], Tally]) -> None:
    """Print what was tried and found."""
    table = Table("case", "engine", "trials", "counted", "s", "refuted")
    for (name, engine), tally in tallies.items():
        counted = tally.skipped or ", ".join(f"{n} {c:,}" for n, c in tally.counts.items())
        trials, seconds = str(len(tally.done)), f"{tally.seconds:.1f}"
        table.add_row(name, engine, trials, counted, seconds, str(len(tally.refuted)))
    console.print(table)
    for tally in tallies.values():
        for each in tally.refuted:
            console.print(f"refuted, seed {each['seed']}", style="bold red")
            console.print(each["traceback"], markup=False)


if __name__ == "__main__":
    sys.exit(main())
