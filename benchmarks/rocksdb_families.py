"""One column family per space, or one for all? Measured for docs/decisions/0004.

Run: python benchmarks/rocksdb_families.py [--commits 40000]

Each variant does the same work: commits of one record (overwritten at random), one journal
change, one journal header (both appended) and one index row, in a WriteBatch, and takes the
snapshot(s) that readers need and, for SYNC, the iterator(s) that keep the state before readable.
Then single gets, scans of 1000, and what is on the disk.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rocksdict as r

SPACES = [bytes([n]) for n in range(1, 13)]
DATA, JOURNAL, HEADERS, INDEX = SPACES[0], SPACES[1], SPACES[2], SPACES[3]
KEYS = 20_000
BUFFER = 32 << 20  # bytes of memtables in all; four spaces are written


def options(buffer: int = BUFFER) -> r.Options:
    made = r.Options(raw_mode=True)
    made.create_if_missing(True)
    made.create_missing_column_families(True)
    made.set_write_buffer_size(buffer)
    made.set_compression_type(r.DBCompressionType.zstd())
    blocks = r.BlockBasedOptions()
    blocks.set_bloom_filter(10, False)
    blocks.set_block_size(32 << 10)
    blocks.set_block_cache(CACHE)
    made.set_block_based_table_factory(blocks)
    return made


CACHE = r.Cache(256 << 20)


class One:
    """All spaces in the default family; one snapshot a commit."""

    name = "one family"

    def __init__(self, path: Path) -> None:
        self.db = r.Rdict(str(path), options())
        self.snapshot = self.db.snapshot()

    def commit(self, pairs: list[tuple[bytes, bytes]], sync: bool) -> None:
        batch = r.WriteBatch(raw_mode=True)
        for key, value in pairs:
            batch.put(key, value)
        if sync:
            self.pins = [family.iter() for family in self.families()]
        self.db.write(batch)
        if sync:
            self.db.flush_wal(True)
            self.pins.clear()
        self.snapshot = self.db.snapshot()

    def get(self, key: bytes) -> Any:
        return self.snapshot[key]

    def scan(self, start: bytes, stop: bytes) -> list[Any]:
        bounds = r.ReadOptions()
        bounds.set_iterate_upper_bound(stop)
        return list(self.db.items(from_key=start, read_opt=bounds))

    def families(self) -> list[r.Rdict]:
        return [self.db]

    def close(self) -> None:
        del self.snapshot
        self.db.close()


class Families(One):
    """A family per space, a snapshot of every family at each commit (the only consistent set)."""

    name = "family per space, all snapshots"

    def __init__(self, path: Path) -> None:
        self.db = r.Rdict(
            str(path), options(), column_families={f"s{s[0]}": options(BUFFER // 4) for s in SPACES}
        )
        self.parts = {s[0]: self.db.get_column_family(f"s{s[0]}") for s in SPACES}
        self.handles = {s[0]: self.db.get_column_family_handle(f"s{s[0]}") for s in SPACES}
        self.publish({})

    def publish(self, touched: dict[int, None]) -> None:
        self.snapshots = {space: part.snapshot() for space, part in self.parts.items()}

    def commit(self, pairs: list[tuple[bytes, bytes]], sync: bool) -> None:
        batch = r.WriteBatch(raw_mode=True)
        handles = self.handles
        for key, value in pairs:
            batch.put(key, value, handles[key[0]])
        if sync:
            self.pins = [family.iter() for family in self.families()]
        self.db.write(batch)
        if sync:
            self.db.flush_wal(True)
            self.pins.clear()
        self.publish(dict.fromkeys(key[0] for key, _ in pairs))

    def get(self, key: bytes) -> Any:
        return self.snapshots[key[0]][key]

    def scan(self, start: bytes, stop: bytes) -> list[Any]:
        bounds = r.ReadOptions()
        bounds.set_iterate_upper_bound(stop)
        return list(self.parts[start[0]].items(from_key=start, read_opt=bounds))

    def families(self) -> list[r.Rdict]:
        return list(self.parts.values())

    def close(self) -> None:
        self.snapshots.clear()
        self.handles.clear()
        for part in self.parts.values():
            part.close()
        self.parts.clear()
        self.db.close()


class Touched(Families):
    """A family per space, a new snapshot only of the families that a commit touches."""

    name = "family per space, touched snapshots"

    def publish(self, touched: dict[int, None]) -> None:
        if not touched:
            return super().publish(touched)
        self.snapshots = self.snapshots | {s: self.parts[s].snapshot() for s in touched}
        return None


def pairs_of(number: int, chooser: random.Random) -> list[tuple[bytes, bytes]]:
    key = b"%08d" % chooser.randrange(KEYS)
    value = chooser.randbytes(100) * 2
    revision = number.to_bytes(8, "big")
    return [
        (DATA + key, value),
        (JOURNAL + revision, value),
        (HEADERS + revision, value[:80]),
        (INDEX + key + revision, b""),
    ]


def per_call(work: Callable[[], object], calls: int, repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        gc.disable()
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) / calls * 1e6)
        gc.enable()
    return statistics.median(times)


def written() -> int:
    with open("/proc/self/io") as file:
        return int(next(line for line in file if line.startswith("wchar")).split()[1])


def measure(kind: type[One], directory: Path, commits: int) -> dict[str, float]:
    shutil.rmtree(directory, ignore_errors=True)
    store = kind(directory)
    chooser = random.Random(1)
    work = [pairs_of(number, chooser) for number in range(commits + 1_500)]
    before = written()
    single = commits // 4
    begun = time.perf_counter()
    for pairs in work[:single]:
        store.commit(pairs, False)
    one = (time.perf_counter() - begun) / single * 1e6
    begun = time.perf_counter()
    for first in range(single, commits, 100):
        store.commit([pair for pairs in work[first : first + 100] for pair in pairs], False)
    grouped = (time.perf_counter() - begun) / (commits - single) * 1e6
    begun = time.perf_counter()
    for pairs in work[commits : commits + 1_500]:
        store.commit(pairs, True)
    synced = (time.perf_counter() - begun) / 1_500 * 1e6
    for family in store.families():
        family.flush()
    total = written() - before
    keys = [pairs[0][0] for pairs in work[:5_000]]
    get = per_call(lambda: [store.get(key) for key in keys], len(keys))
    starts = [JOURNAL + n.to_bytes(8, "big") for n in range(0, commits - 1_000, commits // 10)]
    stops = [s[:1] + (int.from_bytes(s[1:], "big") + 1_000).to_bytes(8, "big") for s in starts]
    scan = per_call(
        lambda: [store.scan(a, b) for a, b in zip(starts, stops, strict=True)], len(starts)
    )
    figures = {
        "commit, us": one,
        "commit of 100, us each": grouped,
        "commit sync, us": synced,
        "get, us": get,
        "scan 1000, us": scan,
        "MB written": total / 1e6,
        "files": len(list(directory.glob("*.sst"))),
        "MB of files": sum(f.stat().st_size for f in directory.glob("*.sst")) / 1e6,
    }
    store.close()
    begun = time.perf_counter()
    store = kind(directory)
    figures["open, ms"] = (time.perf_counter() - begun) * 1e3
    store.close()
    return figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--commits", type=int, default=40_000)
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    kinds: list[type[One]] = [One, Families, Touched]
    results: dict[type[One], list[dict[str, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as directory:
        for _ in range(chosen.rounds):
            for kind in kinds:
                results[kind].append(measure(kind, Path(directory) / "store", chosen.commits))
    names = list(results[One][0])
    print("| | " + " | ".join(kind.name for kind in kinds) + " |")
    print("|---" * (len(kinds) + 1) + "|")
    for name in names:
        middle = [statistics.median(run[name] for run in results[kind]) for kind in kinds]
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in middle) + " |")


if __name__ == "__main__":
    main()
