"""From measured figures to a plan: fitting costs, then arithmetic. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.scaling.model import Costs, Figures, Fleet, simulate, uniform, zipf

DAY = 86_400
#: The server that the plan is for: cores, round trip, flush of a replicated cloud disk.
CORES, TRIP, FLUSH = 16, 0.0005, 0.001


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return a and b of ``a + b * size``, by least squares of relative errors; none below 0."""
    weights = [1 / (value * value) for _, value in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    over = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True))
    under = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    slope = max(0.0, over / under) if under else 0.0
    return max(0.0, mean_y - slope * mean_x), slope


def costs_of(unit: Mapping[str, Any], *, client_set: float) -> Costs:
    """Return the model's costs from what was measured; `client_set` is in seconds."""

    def line(name: str) -> tuple[float, float]:
        return fit([(row["size"], row[name]) for row in unit["groups"]])

    lane, server, log = line("lane_us"), line("server_us"), line("wal_bytes")
    empty, trip = unit["empty_write"], unit["round_trip"]
    work = trip["trip_client_us"] + trip["trip_server_us"]
    return Costs(
        trip=max(0.0, trip["trip_us"] - work) / 1e6,
        client_set=client_set,
        client_group=min(lane[0], empty["client_us"]) / 1e6,
        held_group=max(0.0, lane[0] - empty["client_us"]) / 1e6,
        held_set=lane[1] / 1e6,
        begin=min(server[0], empty["server_us"]) / 1e6,
        held_server=max(0.0, server[0] - empty["server_us"]) / 1e6,
        server_set=server[1] / 1e6,
        flush=unit["flush_ms"] / 1e3,
        bandwidth=unit["log_bytes_per_s"],
        wal_group=log[0],
        wal_set=log[1],
    )


def target(costs: Costs) -> Costs:
    """Return the costs on the server of the plan."""
    return replace(costs, trip=TRIP, flush=FLUSH)


def sweep(
    costs: Costs, processes: Sequence[int], partitions: Sequence[int], *, seconds: float
) -> list[dict[str, Any]]:
    """Return the figures of fleets of 1,000 writers on the server of the plan."""
    found = []
    for count in processes:
        for parts in partitions:
            for name, shares in (
                ("uniform", uniform(parts)),
                ("zipf", zipf(parts, 10_000, 1.0)),
                ("routed", uniform(parts)),
            ):
                fleet = Fleet(
                    writers=1000,
                    processes=count,
                    shares=shares,
                    cores=CORES,
                    apart=True,
                    connections=parts + 2,
                    routed=name == "routed",
                )
                figures: Figures = simulate(target(costs), fleet, seconds=seconds)
                found.append(
                    {
                        "processes": count,
                        "partitions": parts,
                        "scopes": name,
                        "largest_share": max(shares),
                        "figures": figures,
                    }
                )
    return found


def of_keys(
    store: Mapping[str, float], costs: Costs, *, keys: float, sets: float
) -> dict[str, float]:
    """Return the size and the upkeep of so many keys, with so many sets a second all day."""
    per_set = store["versions_bytes_per_key"] + store["headers_bytes_per_key"]
    fat = store["disk_bytes_per_key"] / (
        store["data_bytes_per_key"]
        + store["versions_bytes_per_key"]
        + store["headers_bytes_per_key"]
    )
    measured, scopes = store["keys"], store["scopes"]
    return {
        "keys": keys,
        "sets_per_s": sets,
        "disk_bytes": keys * store["disk_bytes_per_key"],
        "history_bytes_per_day": sets * DAY * per_set * fat,
        "wal_bytes_per_day_warm": sets * DAY * store["warm_wal_bytes_per_set"],
        "wal_bytes_per_day_cold": sets * DAY * store["cold_wal_bytes_per_set"],
        "verify_cpu_hours": keys * store["verify_cpu_us_per_key"] / 1e6 / 3600,
        "verify_trips_per_scope": store["verify_trips"] / scopes,
        "copy_cpu_hours": keys * store["copy_cpu_us_per_key"] / 1e6 / 3600,
        "compact_cpu_hours": keys * store["compact_cpu_us_per_key"] / 1e6 / 3600,
        "compact_trips_per_scope": store["compact_trips"] / scopes,
        "scopes_at_same_density": keys / measured * scopes,
    }
