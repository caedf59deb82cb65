"""A fault at every system call by which a store reaches the disk.

A first life under strace counts the calls; then one life per call has that call fail (EIO, or
ENOSPC, once or from then on) or is killed in it. strace counts in each thread by itself, so the
n-th call of every thread is hit.
"""

from __future__ import annotations

import functools
import random
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import holdfast
from proof.case import Case, Counts, Refuted, Trial
from proof.nursery import shared
from proof.oracle import Oracle
from proof.stores import PARTITIONS

CALLS = (
    "write", "pwrite64", "pwritev", "fsync", "fdatasync", "sync_file_range", "rename", "ftruncate",
    "unlink", "fallocate", "openat", "mkdir", "link",
)  # fmt: skip
FAULTS = ("error=EIO", "error=ENOSPC", "error=ENOSPC+", "signal=KILL")
Situation = tuple[int, str, str, int]


@functools.cache
def _unable() -> str | None:
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return "tracing is not permitted here" if tried.returncode else None


def attempt(trial: Trial) -> Counts:
    """Live once with one fault, reopen without, and compare."""
    run_seed = trial.seed.rpartition("/")[0]
    situations = _situations(trial.engine, run_seed)
    if trial.index >= len(situations):
        return {"beyond the last call": 1}
    partitions, call, fault, number = situations[trial.index]
    once = fault.removesuffix("+")
    when = f"{number}{fault[len(once) :]}"
    inject = f"inject={call}:{once}:when={when}"
    words, status = _life(trial.engine, run_seed, partitions, trial.directory, inject)
    try:
        counts = _judge(words, status, partitions, trial)
    except Refuted as error:
        raise Refuted(f"{call} {once} when={when}, {partitions} partitions: {error}") from error
    return {"faults": 1, "with several partitions": int(partitions > 1), call: 1, **counts}


@functools.lru_cache(maxsize=8)
def _situations(engine: str, run_seed: str) -> list[Situation]:
    """Return every fault at every call of a life, in an order of this run's.

    Each is drawn for a store of one partition or of four: all of either would take twice as long.
    """
    chance = random.Random(run_seed)
    calls = {partitions: _calls(engine, run_seed, partitions) for partitions in PARTITIONS}
    every = [
        (chance.choice([p for p in PARTITIONS if calls[p][call] >= number]), call, fault, number)
        for call in CALLS
        for fault in FAULTS
        for number in range(1, max(calls[p][call] for p in PARTITIONS) + 1)
    ]
    chance.shuffle(every)
    return every


def _calls(engine: str, run_seed: str, partitions: int) -> Counter[str]:
    """Count a life's calls: of each kind, those of the thread that makes the most."""
    with tempfile.TemporaryDirectory(prefix="holdfast-proof-") as scratch:
        _, status = _life(engine, run_seed, partitions, Path(scratch), None)
        if status != 0:
            raise Refuted(f"a life without a fault ended with {status}")
        trace = (Path(scratch) / "trace").read_text()
    found: Counter[tuple[str, str]] = Counter()
    for line in trace.splitlines():
        thread, _, what = line.partition(" ")
        name = what.strip().partition("(")[0]
        if name in CALLS:
            found[name, thread] += 1
    most: Counter[str] = Counter()
    for (name, _), count in found.items():
        most[name] = max(most[name], count)
    return most


def _life(
    engine: str, run_seed: str, partitions: int, directory: Path, inject: str | None
) -> tuple[list[list[Any]], int]:
    order = {"url": _url(engine, directory), "seed": run_seed, "partitions": partitions}
    tracing = ["strace", "-f", "-o", str(directory / "trace"), "-e", f"trace={','.join(CALLS)}"]
    if inject is not None:
        tracing += ["-e", inject]
    nursery = shared()
    nursery.abandon()
    child = nursery.child("proof.victim:run", order)
    if child.hear() != ["ready"]:
        raise Refuted(f"the first life broke: {child.words}")
    tracer = subprocess.Popen([*tracing, "-p", str(child.pid)], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    while "attached" not in (line := tracer.stderr.readline()):
        if not line:
            raise Refuted("strace did not attach")
    child.tell()
    child.rest()
    status = nursery.status()
    tracer.communicate()
    return child.words, status


def _url(engine: str, directory: Path) -> str:
    if engine == "sqlite":
        return f"sqlite:{directory / 'store'}?wal_limit=64KiB&checkpoint_every_ms=5"
    return f"rocksdb:{directory / 'store'}?write_buffer_size=64KiB&cache_capacity=1MiB"


def _judge(words: list[list[Any]], status: int, partitions: int, trial: Trial) -> Counts:
    oracle = Oracle()
    oracle.trimmed = any(word[0] in ("compacted", "upkeep") for word in words) or status != 0
    counts: Counter[str] = Counter()
    doubted = ""
    for word in words:
        kind = word[0]
        if kind == "broke":
            raise Refuted(f"a foreign error: {word[1]}")
        if kind == "open":
            doubted = ""
        if kind == "done" and doubted and word[4]:
            raise Refuted(f"{word} was acknowledged after {doubted}")
        if kind == "failed" and doubted and word[2] != "PoisonedError":
            raise Refuted(f"{word} instead of PoisonedError after {doubted}")
        if kind == "unknown" or (kind == "upkeep" and word[1] == "OutcomeUnknownError"):
            doubted = str(word)
        if kind in ("unknown", "failed", "upkeep", "unopened", "unclosed"):
            counts[kind] += 1
        oracle.hear(word)
    if status not in (0, -signal.SIGKILL):
        raise Refuted(f"the child ended with {status}: {words[-3:]}")
    url = _url(trial.engine, trial.directory)
    with holdfast.open(url, partitions=partitions) as state:
        counts["undecided that happened"] += oracle.check(state)
    counts["acknowledged"] = oracle.acknowledged
    counts["killed"] = int(status != 0)
    return counts


CASE = Case(
    name="syscalls",
    claim="a fault or a kill at any write, sync, rename or truncate leaves what was acknowledged",
    run=attempt,
    engines=("sqlite", "rocksdb"),
    quick=20,
    in_tests=8,
    long=4000,
    unable=lambda _engine: _unable(),
)
