"""The case ``soak``: durable writes at a steady rate for long, with kills, compaction and sweeps.

The child writes and tells what was acknowledged; the parent measures it from outside, kills it,
starts the next one on the same store, and checks that nothing acknowledged is gone. Run as a
module it is the child.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast import HistoryPolicy, SetOperation, StateManager
from proof.case import Case, Counts, Trial
from proof.children import Child, ready, say
from proof.stores import open_store, require, sound

RATE = 500  # writes per second
KEYS = 2000
QUICK_SECONDS, LONG_SECONDS = 20.0, 3600.0
LIFE = (4.0, 30.0)  # seconds until a kill, quick and long

#: Bounds. A store of `KEYS` values of 200 bytes that keeps four versions of each is some MB.
MAX_RSS = 300 * 1024 * 1024
MAX_FILES = 200
MAX_THREADS = 40
MAX_DISK = 256 * 1024 * 1024
MAX_SLOPE = 16 * 1024 * 1024  # bytes of RSS per minute in the second half of a life


@dataclass(frozen=True, slots=True)
class Sample:
    """What the system says of a process and its store at one moment."""

    at: float
    rss: int
    files: int
    threads: int
    disk: int


def sample(pid: int, directory: Path) -> Sample:
    """Measure from outside."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    disk = 0
    for path in directory.rglob("*"):
        try:
            disk += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # a log or a table that was just replaced
    return Sample(
        time.monotonic(),
        int(fields["VmRSS"].split()[0]) * 1024,
        len(os.listdir(f"/proc/{pid}/fd")),
        int(fields["Threads"]),
        disk,
    )


def slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line through points."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def run(trial: Trial) -> Counts:
    """Soak once: lives of a child, each ended by a kill, until the time is over."""
    rng = trial.random()
    total, longest = (LONG_SECONDS, LIFE[1]) if trial.long else (QUICK_SECONDS, LIFE[0])
    with open_store(trial.engine, trial.directory):
        pass
    samples: list[Sample] = []
    kept: dict[str, int] = {}
    counts = Counter[str]()
    until = time.monotonic() + total
    while time.monotonic() < until:
        life = rng.uniform(longest / 2, longest)
        counts["acknowledged"] += _life(trial, counts["kills"], life, samples, kept)
        counts["kills"] += 1
    with open_store(trial.engine, trial.directory) as state:
        for key, value in kept.items():
            there = state.get("agent:a", key)
            require(there is not None and there["n"] >= value, "lost", key, value, there)
        sound(state)
    rate = counts["acknowledged"] / total
    require(rate > RATE / 10, "it hardly wrote", rate)
    return counts | _bounded(samples)


def _life(
    trial: Trial, number: int, seconds: float, samples: list[Sample], kept: dict[str, int]
) -> int:
    seed = f"{trial.seed}/{number}"
    arguments = {
        "engine": trial.engine,
        "directory": str(trial.directory),
        "seed": seed,
        "first": number * 10_000_000 + 1,
    }
    child = Child("proof.soak", arguments)
    mine: list[Sample] = []
    acknowledged = 0
    try:
        child.line()
        child.start()
        threading.Timer(seconds, child.kill).start()
        end, last = time.monotonic() + seconds, 0.0
        for told in child.lines():
            require(not isinstance(told, str), "the child broke", told)
            for key, value in told:
                kept[key] = max(value, kept.get(key, 0))
                acknowledged += 1
            if last + 0.25 < time.monotonic() < end - 0.1:
                last = time.monotonic()
                mine.append(sample(child.pid, trial.directory))
    finally:
        child.kill()
        child.end()
    samples.extend(mine)
    later = [(s.at, float(s.rss)) for s in mine[len(mine) // 2 :]]
    if later and later[-1][0] - later[0][0] > 5:
        growth = slope(later) * 60
        require(growth < MAX_SLOPE, "memory grows by bytes a minute", int(growth))
    return acknowledged


def _bounded(samples: list[Sample]) -> dict[str, int]:
    require(bool(samples), "nothing was measured")
    most = {
        "RSS": (max(s.rss for s in samples), MAX_RSS),
        "files": (max(s.files for s in samples), MAX_FILES),
        "threads": (max(s.threads for s in samples), MAX_THREADS),
        "disk": (max(s.disk for s in samples), MAX_DISK),
    }
    for name, (actual, bound) in most.items():
        require(actual <= bound, f"{name} is not bounded", actual, bound)
    disk = slope([(s.at, float(s.disk)) for s in samples[len(samples) // 2 :]]) * 60
    return {
        **{f"most {name}": actual for name, (actual, _) in most.items()},
        "disk, bytes a minute": int(disk),
    }


def _child(arguments: dict[str, Any]) -> None:
    """Write until killed."""
    rng = random.Random(arguments["seed"])
    options = {"policies": (), "sweep_every": 1.0}
    state = open_store(arguments["engine"], Path(arguments["directory"]), **options)
    state.set_retention([HistoryPolicy(max_versions=4)])
    ready()
    threading.Thread(target=_compacting, args=(state,), daemon=True).start()
    number = arguments["first"]
    began, written = time.monotonic(), 0
    while True:
        told = []
        if rng.random() < 0.05:
            items = [
                SetOperation("agent:a", f"k{rng.randrange(KEYS)}-{at}", _value(number, rng))
                for at in range(10)
            ]
            state.set_batch(items, atomic=True)
            told = [[item.key, number] for item in items]
        elif rng.random() < 0.2:
            key = f"e{rng.randrange(KEYS)}"
            state.set("session:s", key, _value(number, rng), expires_in=rng.uniform(0.5, 3))
            written += 1
        else:
            key = f"k{rng.randrange(KEYS)}"
            state.set("agent:a", key, _value(number, rng))
            told = [[key, number]]
        say(told)
        number += 1
        written += len(told)
        ahead = began + written / RATE - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)


def _value(number: int, rng: random.Random) -> dict[str, Any]:
    return {"n": number, "text": rng.randbytes(75).hex()}


def _compacting(state: StateManager) -> None:
    try:
        while True:
            time.sleep(0.5)
            state.compact()
            state.sweep()
    except BaseException as error:  # noqa: BLE001 - the parent is told
        say(repr(error))


CASE = Case(
    name="soak",
    claim="durable writes for long, with kills and compaction: bounded, and nothing is lost",
    run=run,
    engines=("sqlite", "rocksdb"),
    quick=1,
    long=1,
    tested=False,
)

if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
