"""What one thing costs on a real server: a round trip, a group, a row, a byte of log.

Work is told as processor time of the two ends, which a busy machine does not stretch; elapsed times
are medians. Groups are of an exact size: intents are gathered, and committed as one.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

import holdfast
from benchmarks.data import Values, scope_of
from holdfast import StateManager
from holdfast.engines.base import Batch, Durability, View
from holdfast.store.intent import Intent
from proof.servers import PostgresServer

GROUPS = (1, 10, 100, 1000)
_SCOPES = 1000


def server_seconds(server: PostgresServer) -> float:
    """Return the processor time of all of a server's processes that live."""
    total = 0
    for pid in server.pids():
        try:
            total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


def log_bytes(server: PostgresServer) -> int:
    """Return how much log the server has written since it was made."""
    return int(server.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")[0][0])


@dataclass(slots=True)
class Spent:
    """What a stretch of work took: seconds elapsed, and of processor at both ends."""

    elapsed: float = 0.0
    client: float = 0.0
    server: float = 0.0


@contextmanager
def spending(server: PostgresServer) -> Iterator[Spent]:
    """Measure a block, all threads of this process together."""
    spent = Spent()
    before = server_seconds(server), time.process_time(), time.perf_counter()
    yield spent
    spent.elapsed = time.perf_counter() - before[2]
    spent.client = time.process_time() - before[1]
    spent.server = server_seconds(server) - before[0]


class Gatherer:
    """Stands in for a store's lane: keeps what would be committed."""

    def __init__(self) -> None:
        self.intents: list[Intent] = []

    def submit(self, intent: Intent) -> None:
        """Keep it."""
        self.intents.append(intent)


@dataclass(slots=True)
class Watched:
    """An engine whose writes are timed; everything else is the engine's own.

    Attributes:
        lane: Processor time of the threads that wrote, inside `write`.
        held: That of it between getting the locks and sending the batch: the body's.
        spans: Seconds elapsed inside each `write`; the last ones.
    """

    engine: Any
    lane: float = 0.0
    held: float = 0.0
    spans: list[float] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def write(
        self,
        durability: Durability,
        body: Callable[[View], Batch],
        partitions: Sequence[int] = (0,),
    ) -> None:
        """Write, and note what it took."""
        inside = 0.0

        def timed(view: View) -> Batch:
            nonlocal inside
            begun = time.thread_time()
            try:
                return body(view)
            finally:
                inside = time.thread_time() - begun

        begun, started = time.thread_time(), time.perf_counter()
        self.engine.write(durability, timed, partitions)
        self.lane += time.thread_time() - begun
        self.held += inside
        self.spans.append(time.perf_counter() - started)


def round_trip(server: PostgresServer, count: int) -> dict[str, float]:
    """Return what ``SELECT 1`` takes, and drawing a number of a sequence, in µs."""
    server.execute("CREATE SEQUENCE IF NOT EXISTS scaling_probe CACHE 1")
    found = {}
    with psycopg.connect(server.url(), autocommit=True) as link:
        for name, text in (("trip", "SELECT 1"), ("nextval", "SELECT nextval('scaling_probe')")):
            spans = []
            with spending(server) as spent:
                for _ in range(count):
                    begun = time.perf_counter()
                    link.execute(text, prepare=False).fetchone()
                    spans.append(time.perf_counter() - begun)
            found[f"{name}_us"] = statistics.median(spans) * 1e6
            found[f"{name}_client_us"] = spent.client / count * 1e6
            found[f"{name}_server_us"] = spent.server / count * 1e6
    return found


def flush_seconds(directory: Path, count: int) -> float:
    """Return the median time to bring 8 KiB to the disk, as a log does."""
    file = directory / "flush"
    spans = []
    handle = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(handle, bytes(8192 * 64), 0)
        os.fsync(handle)
        for number in range(count):
            os.pwrite(handle, os.urandom(8192), 8192 * (number % 64))
            begun = time.perf_counter()
            os.fdatasync(handle)
            spans.append(time.perf_counter() - begun)
    finally:
        os.close(handle)
        file.unlink()
    return statistics.median(spans)


def bandwidth(directory: Path, size: int = 64 << 20) -> float:
    """Return the bytes a second at which a file is written and synced."""
    file = directory / "bandwidth"
    block = os.urandom(1 << 20)
    begun = time.perf_counter()
    with file.open("wb") as out:
        for _ in range(size >> 20):
            out.write(block)
        out.flush()
        os.fdatasync(out.fileno())
    taken = time.perf_counter() - begun
    file.unlink()
    return size / taken


def groups(server: PostgresServer, url: str, rounds: dict[int, int]) -> list[dict[str, float]]:
    """Return what a group of each size takes, updating documents of 200 B in one partition."""
    values = Values()
    found = []
    with holdfast.open(url, partitions=1) as state:
        kernel = state._kernel
        watched = Watched(kernel.engine)
        kernel.committer._engine = watched  # type: ignore[assignment]
        for number in range(_SCOPES):
            state.set(scope_of(number), "k", values.document(), durability="os")
        for size in GROUPS:
            _commit(state, values, size)  # warms up
            watched.lane = watched.held = prepared = 0.0
            watched.spans.clear()
            server.execute("CHECKPOINT")  # so that every size begins with whole pages in the log
            log, trips = log_bytes(server), kernel.engine.stats()["round_trips"]
            with spending(server) as spent:
                for _ in range(rounds[size]):
                    prepared += _commit(state, values, size)
            count = rounds[size]
            found.append(
                {
                    "size": size,
                    "groups": count,
                    "elapsed_ms": statistics.median(watched.spans) * 1e3,
                    "prepare_us": prepared / count * 1e6,
                    "lane_us": watched.lane / count * 1e6,
                    "held_us": watched.held / count * 1e6,
                    "server_us": spent.server / count * 1e6,
                    "wal_bytes": (log_bytes(server) - log) / count,
                    "round_trips": (int(kernel.engine.stats()["round_trips"]) - int(trips) - 1)
                    / count,
                }
            )
    return found


def _commit(state: StateManager, values: Values, size: int) -> float:
    """Commit a group of so many sets; return the processor time that preparing them took."""
    kernel, lane, gathered = state._kernel, state._kernel.lane, Gatherer()
    documents = values.documents(size)
    begun = time.thread_time()
    kernel.lane = gathered  # type: ignore[assignment]
    try:
        for number, document in enumerate(documents):
            state.set(scope_of(number), "k", document, durability="sync")
    finally:
        kernel.lane = lane
    prepared = time.thread_time() - begun
    kernel.committer.commit(gathered.intents)
    assert all(intent.error is None for intent in gathered.intents)
    return prepared


def empty_write(server: PostgresServer, url: str, count: int) -> dict[str, float]:
    """Return what a write that changes nothing takes: up to the lock, and out again."""
    with holdfast.open(url) as state:
        engine = state._kernel.engine
        engine.write(Durability.OS, lambda _: Batch())
        with spending(server) as spent:
            for _ in range(count):
                engine.write(Durability.OS, lambda _: Batch())
    return {"server_us": spent.server / count * 1e6, "client_us": spent.client / count * 1e6}
