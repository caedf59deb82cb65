"""Compare SQLite layouts under the store's own mix of rows; figures for decisions 0002 and 0003.

Run ``python benchmarks/sqlite_layout.py [--ops 20000] [--only LAYOUT] [--pages 4096 8192]``.

One operation is what one small `set` writes: a data row, a change row with the same value, a share
of a journal header row, and one overwrite of the head row per group. Values: 250 B, one in twenty
2 KB, one in two hundred 64 KB. All bytes vary, as SQLite skips writes of identical pages.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import apsw.sqlite_extra

CLUSTERED = "CREATE TABLE {t}(k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL) WITHOUT ROWID"
ROWID = "CREATE TABLE {t}(k BLOB NOT NULL UNIQUE, v BLOB NOT NULL)"
#: name -> (one table per space or a single one, the spaces whose table is clustered)
LAYOUTS = {
    "norowid": (True, (1, 3, 4, 5)),
    "norowid-1": (False, (0,)),
    "rowid": (True, ()),
    "rowid-1": (False, ()),
    "hybrid": (True, (1, 3)),
}
CHUNKS = (256, 64, 8, 1)
UPSERT = " ON CONFLICT(k) DO UPDATE SET v=excluded.v"


def register_checksums() -> None:
    """Load cksumvfs and put the former default VFS back."""
    with closing(apsw.Connection(":memory:")) as db:
        apsw.sqlite_extra.load(db, "cksumvfs")
    apsw.set_default_vfs("unix")


class Candidate:
    """One file in one layout."""

    def __init__(
        self, path: str, layout: str, page_size: int, checksums: bool, replace: bool
    ) -> None:
        self.path = path
        self.split, clustered = LAYOUTS[layout]
        self.replace = replace
        self.db = apsw.Connection(path, vfs="cksmvfs" if checksums else "unix")
        if checksums:
            self.db.reserve_bytes(reserve=8)
        for name, value in (
            ("page_size", page_size),
            ("auto_vacuum", "INCREMENTAL"),
            ("journal_mode", "WAL"),
            ("wal_autocheckpoint", 0),
            ("cache_size", -64 * 1024),
        ):
            self.db.pragma(name, value)
        for space in (1, 3, 4, 5) if self.split else (0,):
            ddl = CLUSTERED if space in clustered else ROWID
            self.db.execute(ddl.format(t=f"s{space}"))
        self.level = ""

    def synchronous(self, level: str) -> None:
        self.db.execute(f"PRAGMA synchronous={level}", can_cache=False)

    def put(self, rows: list[tuple[bytes, bytes]]) -> None:
        spaces: dict[int, list[bytes]] = {}
        for key, value in rows:
            spaces.setdefault(key[0] if self.split else 0, []).extend((key, value))
        for space, flat in spaces.items():
            at = 0
            for size in CHUNKS:
                while len(flat) - at >= 2 * size:
                    marks = ",".join(["(?,?)"] * size)
                    if self.replace:
                        sql = f"REPLACE INTO s{space}(k,v) VALUES{marks}"
                    else:
                        sql = f"INSERT INTO s{space}(k,v) VALUES{marks}{UPSERT}"
                    self.db.execute(sql, flat[at : at + 2 * size])
                    at += 2 * size

    def commit(self, rows: list[tuple[bytes, bytes]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.put(rows)
        self.db.execute("COMMIT")

    def get(self, key: bytes) -> bytes | None:
        table = key[0] if self.split else 0
        value: bytes | None = self.db.execute(f"SELECT v FROM s{table} WHERE k=?", (key,)).get
        return value

    def scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        table = start[0] if self.split else 0
        return self.db.execute(
            f"SELECT k,v FROM s{table} WHERE k>=? AND k<? ORDER BY k LIMIT ?", (start, stop, limit)
        ).fetchall()

    def checkpoint(self) -> None:
        self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


class Mix:
    """The rows of groups of operations."""

    def __init__(self, keys: int) -> None:
        self.random = random.Random(7)
        self.keys = keys
        self.revision = 0

    def key(self, number: int) -> bytes:
        return b"\x03" + f"agent:{number % 977:06d}/conversation/k{number:010d}".encode()

    def value(self) -> bytes:
        roll = self.random.random()
        return self.random.randbytes(64_000 if roll < 0.005 else 2_000 if roll < 0.055 else 250)

    def group(self, size: int) -> list[tuple[bytes, bytes]]:
        rows: list[tuple[bytes, bytes]] = []
        for number in self.random.sample(range(self.keys), size):
            self.revision += 1
            key, value = self.key(number), self.value()
            rows.append((key, value))
            rows.append((b"\x05" + key[1:] + self.revision.to_bytes(8, "big"), value))
        header = self.random.randbytes(100 + 100 * size)
        rows.append((b"\x04\0\0" + self.revision.to_bytes(8, "big"), header))
        rows.append((b"\x01head", self.random.randbytes(60)))
        return rows


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(
    args: argparse.Namespace, layout: str, page: int, checksums: bool, replace: bool
) -> str:
    folder = tempfile.mkdtemp(dir=args.dir)
    try:
        candidate = Candidate(f"{folder}/t.db", layout, page, checksums, replace)
        mix = Mix(args.ops)
        candidate.synchronous("NORMAL")
        wal = 0
        by_thousand = []
        for _ in range(args.ops // 1000):
            rows = mix.group(1000)
            by_thousand.append(timed(lambda rows=rows: candidate.commit(rows)))
            wal += os.path.getsize(f"{folder}/t.db-wal")
            candidate.checkpoint()
        by_hundred = []
        for _ in range(30):
            rows = mix.group(100)
            by_hundred.append(timed(lambda rows=rows: candidate.commit(rows)))
        candidate.checkpoint()
        singles = []
        for _ in range(600):
            rows = mix.group(1)
            singles.append(timed(lambda rows=rows: candidate.commit(rows)))
        single_wal = os.path.getsize(f"{folder}/t.db-wal") // 600
        candidate.checkpoint()
        candidate.synchronous("FULL")
        durable = []
        for _ in range(300):
            rows = mix.group(1)
            durable.append(timed(lambda rows=rows: candidate.commit(rows)))
        candidate.checkpoint()
        keys = [mix.key(mix.random.randrange(args.ops)) for _ in range(4000)]
        gets = [timed(lambda key=key: candidate.get(key)) for key in keys]
        candidate.db.execute("PRAGMA shrink_memory", can_cache=False)
        cold = [timed(lambda key=key: candidate.get(key)) for key in keys[:1000]]
        scans = [timed(lambda key=key: candidate.scan(key, b"\x04", 1000)) for key in keys[:40]]
        size = Path(candidate.path).stat().st_size
        candidate.db.close()
        us = [statistics.median(times) * 1e6 for times in (singles, durable, gets, cold, scans)]
        hundred, thousand = (
            statistics.median(times) * 1e6 / n
            for times, n in ((by_hundred, 100), (by_thousand, 1000))
        )
        return (
            f"| {layout} | {page} | {'yes' if checksums else 'no'} | "
            f"{'replace' if replace else 'upsert'} | {us[0]:.0f} | {us[1]:.0f} | {hundred:.1f} | "
            f"{thousand:.1f} | {us[2]:.1f} | {us[3]:.1f} | {us[4]:.0f} | {size / 1e6:.1f} | "
            f"{single_wal / 1e3:.1f} |"
        )
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", type=int, default=20_000)
    parser.add_argument("--only", nargs="*", default=list(LAYOUTS), choices=list(LAYOUTS))
    parser.add_argument("--pages", nargs="*", type=int, default=[4096, 8192, 16384])
    parser.add_argument("--checksums", nargs="*", default=["yes"], choices=["yes", "no"])
    parser.add_argument("--puts", nargs="*", default=["upsert"], choices=["upsert", "replace"])
    parser.add_argument("--dir", default=None, help="where the files go (a real disk)")
    args = parser.parse_args()
    register_checksums()
    print(
        "| layout | page | checksums | put | OS put µs | SYNC put µs | batch 100 µs/op "
        "| batch 1000 µs/op | get µs | get cold µs | scan 1000 µs | file MB | WAL KB/put |"
    )
    print("|" + "---|" * 13)
    for layout in args.only:
        for page in args.pages:
            for checksums in args.checksums:
                for put in args.puts:
                    print(
                        measure(args, layout, page, checksums == "yes", put == "replace"),
                        flush=True,
                    )


if __name__ == "__main__":
    main()
