"""The case ``soak``: durable writes at a steady rate for long, with kills, compaction and sweeps.

The child writes and tells what was acknowledged; the parent measures it from outside, kills it,
starts the next one on the same store, and checks that nothing acknowledged is gone. Every write is
synced before it is acknowledged; several writers share the syncs, as callers of one store do. Run
as a module it is the child.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import holdfast
from holdfast import HistoryPolicy, SetOperation, StateManager
from proof import places
from proof.case import Case, Counts, Trial
from proof.children import Child, ready, say
from proof.stores import PARTITIONS, require, sound, url_of

RATE = 500  # writes per second, of all writers together
WRITERS = 16  # one that waits for each sync reaches what the disk syncs in a second
KEYS = 125  # of each writer
QUICK_SECONDS, LONG_SECONDS = 20.0, 330.0
LIFE = (4.0, 60.0)  # seconds until a kill, quick and long
COMPACT_EVERY = (0.5, 5.0)
#: A buffer that fills several times in a life: one that only ever grows looks like a leak.
OPTIONS = {"rocksdb": "?write_buffer_size=2MiB&cache_capacity=8MiB"}

#: What is kept: at most four versions, and the journal of so many seconds.
POLICY = HistoryPolicy(max_versions=4, max_age=timedelta(seconds=10))

#: Bounds. A store of 2,000 values of 200 bytes, with four versions of each, is some MB.
MAX_RSS = 300 * 1024 * 1024
MAX_FILES = 200
MAX_THREADS = 40
MAX_DISK = 256 * 1024 * 1024
MAX_SLOPE = 16 * 1024 * 1024  # bytes of RSS a minute in the second half of a life
MAX_GROWTH = 4 * 1024 * 1024  # bytes of disk a minute in the second half of a long run


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


@contextmanager
def _store(trial: Trial) -> Iterator[str]:
    """Yield a store's URL; a server's data lies in the trial's directory, and it syncs."""
    if trial.engine != "postgres":
        yield url_of(trial.engine, trial.directory) + OPTIONS.get(trial.engine, "")
        return
    from proof.servers import PostgresServer

    settings = {"max_wal_size": "64MB", "min_wal_size": "32MB", "autovacuum_naptime": "5s"}
    server = PostgresServer(trial.directory / "server", fsync=True, settings=settings)
    server.directory.mkdir()
    with server:
        yield server.url(schema="soak")


def run(trial: Trial) -> Counts:
    """Soak once: lives of a child, each ended by a kill, until the time is over."""
    with _store(trial) as url:
        return _soak(trial, url)


def _soak(trial: Trial, url: str) -> Counts:
    rng, partitions = trial.random(), PARTITIONS[trial.index % 2]
    total, longest = (LONG_SECONDS, LIFE[1]) if trial.long else (QUICK_SECONDS, LIFE[0])
    with holdfast.open(url, partitions=partitions) as state:
        state.set_retention([POLICY])
    samples: list[Sample] = []
    kept: dict[str, int] = {}
    counts, written = Counter[str](), 0.0
    until = time.monotonic() + total
    while time.monotonic() < until:
        life = rng.uniform(longest / 2, longest)
        counts["acknowledged"] += _life(trial, url, counts["kills"], life, samples, kept)
        counts["kills"] += 1
        written += life
    with holdfast.open(url) as state:
        for place, value in kept.items():
            there = state.get(*place.split("/"))
            require(there is not None and there["n"] >= value, "lost", place, value, there)
        sound(state)
    counts["writes a second"] = rate = round(counts["acknowledged"] / written)
    require(rate > RATE / 2, "it hardly wrote", rate)
    return counts | _bounded(samples, trial.long)


def _life(
    trial: Trial,
    url: str,
    number: int,
    seconds: float,
    samples: list[Sample],
    kept: dict[str, int],
) -> int:
    arguments = {
        "url": url,
        "seed": f"{trial.seed}/{number}",
        "first": number * 10_000_000 + 1,
        "compact_every": COMPACT_EVERY[trial.long],
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
            for place, value in told:
                acknowledged += 1
                if value:
                    kept[place] = max(value, kept.get(place, 0))
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


def _bounded(samples: list[Sample], long: bool) -> dict[str, int]:
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
    require(not long or disk < MAX_GROWTH, "the disk grows by bytes a minute", int(disk))
    return {
        **{f"most {name}": actual for name, (actual, _) in most.items()},
        "disk, bytes a minute": int(disk),
    }


def _child(arguments: dict[str, Any]) -> None:
    """Write until killed."""
    state = holdfast.open(arguments["url"], sweep_every=1.0)
    ready()
    for at in range(WRITERS):
        threading.Thread(target=_writing, args=(state, at, arguments), daemon=True).start()
    try:
        while True:
            time.sleep(arguments["compact_every"])
            state.compact()
            state.sweep()
    except BaseException as error:  # noqa: BLE001 - the parent is told
        say(repr(error))


def _writing(state: StateManager, at: int, arguments: dict[str, Any]) -> None:
    rng = random.Random(f"{arguments['seed']}/{at}")
    scope, number = f"agent:{at}", arguments["first"]
    began, written = time.monotonic() + rng.random() * WRITERS / RATE, 0
    try:
        while True:
            ahead = began + written * WRITERS / RATE - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            number += 1
            keys = [f"k{rng.randrange(KEYS)}"]
            chance = rng.random()
            if chance < 0.01:
                first = rng.randrange(KEYS - 10)
                keys = [f"k{key}" for key in range(first, first + 10)]
                items = [SetOperation(scope, key, _value(number, rng)) for key in keys]
                state.set_batch(items, atomic=True)
            elif chance < 0.2:
                key = f"e{rng.randrange(KEYS)}"
                state.set(f"session:{at}", key, _value(number, rng), expires_in=rng.uniform(0.5, 3))
                keys = [""]  # it will be gone: counted, not looked for
            else:
                state.set(scope, keys[0], _value(number, rng))
            say([[f"{scope}/{key}", number if key else 0] for key in keys])
            written += len(keys)
    except BaseException as error:  # noqa: BLE001 - the parent is told
        say(repr(error))


def _value(number: int, rng: random.Random) -> dict[str, Any]:
    return {"n": number, "text": rng.randbytes(75).hex()}


CASE = Case(
    name="soak",
    claim="durable writes for long, with kills and compaction: bounded, and nothing is lost",
    run=run,
    engines=("sqlite", "rocksdb", "postgres"),
    quick=1,
    long=10,
    unable=places.unable,
    tested=False,
)

if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
