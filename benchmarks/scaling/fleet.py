"""Several processes that write one store at once, for a while: what they reach together.

``python -m benchmarks.scaling.fleet URL TASKS SCOPES SEED`` is one of them. It says when it is
ready, begins when it is told a duration, and answers with what it did.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg

import holdfast
from benchmarks.data import Values, scope_of
from benchmarks.scaling.costs import Watched, server_seconds
from benchmarks.scaling.model import quantile
from proof.servers import PostgresServer

_WARM = 0.2  # share of the time that does not count


async def write(url: str, tasks: int, scopes: int, seed: int) -> dict[str, float]:
    """Set documents from so many tasks; each waits for its acknowledgement and sets again."""
    state = await holdfast.open_async(url)
    kernel = state._kernel
    watched = Watched(kernel.engine)
    kernel.committer._engine = watched  # type: ignore[assignment]
    documents = Values(seed).documents(2000)
    rng = random.Random(seed)
    latencies: list[float] = []
    print("ready", flush=True)
    seconds = float(await asyncio.to_thread(sys.stdin.readline))
    begun = time.perf_counter()
    counting, end = begun + seconds * _WARM, begun + seconds
    marks: dict[str, float] = {}

    async def task() -> None:
        while (called := time.perf_counter()) < end:
            if not marks and called >= counting:
                marks.update(_marks(kernel.lane, watched))
                latencies.clear()
            document = {**documents[rng.randrange(2000)], "id": rng.random()}
            await state.set(scope_of(rng.randrange(scopes)), "k", document)
            latencies.append(time.perf_counter() - called)

    await asyncio.gather(*(task() for _ in range(tasks)))
    after = _marks(kernel.lane, watched)
    found = {name: after[name] - marks[name] for name in after}
    latencies.sort()
    found |= {"p50": quantile(latencies, 0.5), "p99": quantile(latencies, 0.99)}
    found["mean"] = sum(latencies) / len(latencies)
    await state.close()
    return found


def _marks(lane: Any, watched: Watched) -> dict[str, float]:
    return {
        "at": time.perf_counter(),
        "cpu": time.process_time(),
        "lane_cpu": watched.lane,
        "sets": lane.items,
        "groups": lane.groups,
    }


def run(
    server: PostgresServer,
    url: str,
    *,
    partitions: int,
    processes: int,
    writers: int,
    seconds: float,
    scopes: int = 1000,
    followed: bool = False,
) -> dict[str, Any]:
    """Run a fleet on a fresh store and return rates, latencies, and where sessions waited.

    If it is `followed`, a process asks for changes again and again all the while.
    """
    values = Values(partitions)
    with holdfast.open(url, partitions=partitions) as state:
        for start in range(0, scopes, 100):
            state.set_batch(
                [
                    holdfast.SetOperation(scope_of(start + n), "k", document)
                    for n, document in enumerate(values.documents(100))
                ],
                durability="os",
            )
    server.execute("CHECKPOINT")
    program = (sys.executable, "-m", "benchmarks.scaling.fleet")
    children = [
        subprocess.Popen(
            [*program, url, str(writers // processes), str(scopes), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for number in range(processes)
    ]
    follower = Follower(url) if followed else None
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        others = _busy() - _own(server, children)
        begun = time.perf_counter()
        for child in children:
            assert child.stdin is not None
            child.stdin.write(f"{seconds}\n")
            child.stdin.flush()
        waits: Counter[str] = Counter()
        trips: list[float] = []
        with psycopg.connect(server.url(), autocommit=True) as link:
            while time.perf_counter() - begun < seconds:
                for state_, kind, event in link.execute(
                    "SELECT state, wait_event_type, wait_event FROM pg_stat_activity"
                    " WHERE application_name = 'holdfast' AND state <> 'idle'"
                ):
                    waits[_where(state_, kind, event)] += 1
                started = time.perf_counter()
                link.execute("SELECT 1")
                trips.append(time.perf_counter() - started)
                time.sleep(0.05)
        others = _busy() - _own(server, children) - others
        taken = time.perf_counter() - begun
        told = [json.loads(child.communicate(timeout=60)[0]) for child in children]
    finally:
        asked = follower.end() if follower is not None else 0
        for child in children:
            child.kill()
            child.wait()
    sets, groups = sum(each["sets"] for each in told), sum(each["groups"] for each in told)
    looks = sum(waits.values())
    return {
        "partitions": partitions,
        "processes": processes,
        "writers": writers,
        "rate": sum(each["sets"] / each["at"] for each in told),
        "groups": sum(each["groups"] / each["at"] for each in told),
        "mean_group": sets / groups,
        "p50": quantile(sorted(each["p50"] for each in told), 0.5),
        "p99": max(each["p99"] for each in told),
        "mean": sum(each["mean"] * each["sets"] for each in told) / sets,
        "client_us_per_set": sum(each["cpu"] - each["lane_cpu"] for each in told) / sets * 1e6,
        "lane_us_per_group": sum(each["lane_cpu"] for each in told) / groups * 1e6,
        "others_cores": others / taken,
        "trip_us": sum(trips) / len(trips) * 1e6,
        "follower_calls": asked / taken,
        "waits": {name: round(count / looks, 3) for name, count in waits.most_common()},
    }


class Follower(threading.Thread):
    """Reads all changes as they come, in pages, without a pause."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._state = holdfast.open(url)
        self._ending = False
        self._asked = 0
        self.start()

    def run(self) -> None:
        """Follow until the end."""
        seen = self._state.revision
        while not self._ending:
            for change in self._state.changes(seen, limit=1000, values=False):
                seen = change.revision
            self._asked += 1

    def end(self) -> int:
        """Stop; return how often it asked."""
        self._ending = True
        self.join()
        self._state.close()
        return self._asked


def _where(state: str, kind: str | None, event: str | None) -> str:
    if state.startswith("idle in transaction") or (kind, event) == ("Client", "ClientRead"):
        return "for the client"
    if kind == "Lock":
        return "for a row lock"
    if event in ("WALSync", "WALWrite", "WalSync", "WalWrite"):
        return "for the log"
    return "running" if kind is None else f"{kind} {event}"


def _busy() -> float:
    """Return the machine's processor time so far, in seconds."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    ticks = [int(each) for each in fields]
    return (sum(ticks[:3]) + sum(ticks[5:8])) / os.sysconf("SC_CLK_TCK")


def _own(server: PostgresServer, children: list[subprocess.Popen[str]]) -> float:
    total = server_seconds(server) + time.process_time()
    for child in children:
        for task in Path(f"/proc/{child.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread may end meanwhile
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
    return total


if __name__ == "__main__":
    done = asyncio.run(write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
    print(json.dumps(done), flush=True)
