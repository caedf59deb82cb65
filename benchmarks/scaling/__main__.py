"""The command: ``python -m benchmarks.scaling [--quick]``."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import facts
from benchmarks.scaling import chart, costs, fleet, plan, store
from benchmarks.scaling.model import Costs, Figures, Fleet, fields, simulate, uniform
from proof.servers import PostgresServer

RESULTS = Path(__file__).parents[1] / "results" / "scaling.json"
_PROCESSES = 4
#: What a slow log adds to each flush, in µs: a disk far away, or a standby that is waited for.
_SLOW = 10_000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, simulate, compare; store it all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--dir", type=Path, help="where the server's data goes (a real disk)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the JSON file")
    parser.add_argument("--chart", type=Path, help="a PNG file; needs matplotlib")
    asked = parser.parse_args(argv)
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    factor = 0.1 if asked.quick else 1.0
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory(dir=asked.dir, prefix="holdfast-scaling-") as directory:
        found = measure(Path(directory), factor, console)
    found = {
        "started_at": began.isoformat(timespec="seconds"),
        "quick": asked.quick,
        "machine": facts(),
        **found,
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(rounded(found), indent=1) + "\n", encoding="utf-8")
    show(found, console)
    if asked.chart is not None:
        chart.draw(rounded(found), asked.chart)
    console.print(f"stored in {asked.output}")
    return 0


def measure(directory: Path, factor: float, console: Console) -> dict[str, Any]:
    """Run everything, in one go on one machine."""

    def count(full: int) -> int:
        return max(2, int(full * factor))

    seconds = max(2.0, 8.0 * factor)
    with PostgresServer(directory / "server", fsync=True) as server:
        console.print("what one thing costs …", style="dim")
        unit: dict[str, Any] = {
            "round_trip": costs.round_trip(server, count(2000)),
            "flush_ms": costs.flush_seconds(directory, count(200)) * 1e3,
            "log_bytes_per_s": costs.bandwidth(directory),
        }
        rounds = {1: count(300), 10: count(100), 100: count(30), 1000: count(10)}
        unit["groups"] = costs.groups(server, server.url(schema="groups"), rounds)
        unit["empty_write"] = costs.empty_write(server, server.url(schema="groups"), count(300))
        unit["round_trips"] = store.trips(server.url(schema="trips"))
        console.print("what a store takes …", style="dim")
        size = store.measure(
            server, server.url(schema="sizes"), "sizes", directory, max(1000, count(10_000))
        )
        console.print("one process …", style="dim")
        alone = _fleet(server, "alone", 1, 1, seconds)
        base = plan.costs_of(unit, client_set=alone["client_us_per_set"] / 1e6)
        followed = _fleet(server, "followed", 4, _PROCESSES, seconds, followed=True)
        runs = _validate(server, base, unit["round_trip"], "this disk", seconds, console)
    slow = {"commit_delay": str(_SLOW), "commit_siblings": "0"}
    late = replace(base, flush=base.flush + _SLOW / 1e6)
    with PostgresServer(directory / "slow", fsync=True, settings=slow) as server:
        runs += _validate(server, late, unit["round_trip"], "10 ms more", seconds, console)
    console.print("simulating …", style="dim")
    swept = plan.sweep(
        base, (4, 8, 16, 32), (1, 2, 4, 8, 16, 32, 64), seconds=1.0 if factor < 1 else 2.0
    )
    return {
        "unit": unit,
        "store": size,
        "one_process": alone,
        "followed": followed,
        "costs": asdict(base),
        "validation": runs,
        "sweep": swept,
        "plan": [plan.of_keys(size, base, keys=1e9, sets=rate) for rate in (1_000, 10_000)],
    }


def _fleet(
    server: PostgresServer,
    name: str,
    partitions: int,
    processes: int,
    seconds: float,
    *,
    followed: bool = False,
) -> dict[str, Any]:
    return fleet.run(
        server,
        server.url(schema=f"fleet_{name}", pool_size=partitions + 4),
        partitions=partitions,
        processes=processes,
        writers=1000,
        seconds=seconds,
        followed=followed,
    )


def _validate(
    server: PostgresServer,
    base: Costs,
    probe: dict[str, float],
    log: str,
    seconds: float,
    console: Console,
) -> list[dict[str, Any]]:
    """Run fleets, and the model of each with what others took of the machine meanwhile."""
    found = []
    cores = facts()["cpus"]
    work = (probe["trip_client_us"] + probe["trip_server_us"]) / 1e6
    for partitions in (1, 2, 4, 8):
        console.print(f"{_PROCESSES} processes, {partitions} partitions, log: {log} …", style="dim")
        real = _fleet(server, str(partitions), partitions, _PROCESSES, seconds)
        left = max(0.2, cores - real["others_cores"])
        trip = max(base.trip, real["trip_us"] / 1e6 - work)
        figures = simulate(
            replace(base, trip=trip),
            Fleet(
                writers=1000,
                processes=_PROCESSES,
                shares=uniform(partitions),
                cores=math.ceil(left),
                slowed=math.ceil(left) / left,
                connections=partitions + 4,
            ),
            seconds=20.0,
        )
        found.append({"log": log, "real": real, "model": figures})
    return found


def rounded(found: Any) -> Any:
    """Return JSON types, with four digits."""
    if isinstance(found, Figures):
        return fields(found)
    if isinstance(found, dict):
        return {name: rounded(each) for name, each in found.items()}
    if isinstance(found, list):
        return [rounded(each) for each in found]
    return float(f"{found:.4g}") if isinstance(found, float) else found


def show(found: dict[str, Any], console: Console) -> None:
    """Print the groups, the comparison and the plan."""
    table = Table("sets a group", "elapsed ms", "lane µs", "server µs", "log bytes a set", "trips")
    for row in found["unit"]["groups"]:
        size = row["size"]
        cells = row["elapsed_ms"], row["lane_us"], row["server_us"], row["wal_bytes"] / size
        table.add_row(str(size), *(f"{x:,.1f}" for x in cells), f"{row['round_trips']:.1f}")
    console.print(table)
    table = Table("log", "partitions", "sets/s", "model", "error", "p50 ms", "model", "waits")
    for row in found["validation"]:
        real, model = row["real"], row["model"]
        table.add_row(
            row["log"],
            str(real["partitions"]),
            f"{real['rate']:,.0f}",
            f"{model.rate:,.0f}",
            f"{100 * (model.rate / real['rate'] - 1):+.0f} %",
            f"{real['p50'] * 1e3:,.0f}",
            f"{model.p50 * 1e3:,.0f}",
            ", ".join(f"{name} {share:.0%}" for name, share in list(real["waits"].items())[:3]),
        )
    console.print(table)
    table = Table("processes", "partitions", "scopes", "sets/s", "p50 ms", "p99 ms", "held", "cpu")
    for row in found["sweep"]:
        figures = row["figures"]
        table.add_row(
            str(row["processes"]),
            str(row["partitions"]),
            row["scopes"],
            f"{figures.rate:,.0f}",
            f"{figures.p50 * 1e3:.1f}",
            f"{figures.p99 * 1e3:.1f}",
            f"{figures.held:.0%}",
            f"{figures.cpu:.0%}",
        )
    console.print(table)
    for each in found["plan"]:
        console.print({name: f"{value:,.4g}" for name, value in each.items()})


if __name__ == "__main__":
    raise SystemExit(main())
