"""Workflows and sessions: what a checkpoint adds to a durable set, and artifacts against files.

A file is written in the same chunks, with one fsync at its end; it is read in chunks with SHA-256,
as an artifact is. The content is random, so that compression gains nothing.
"""

from __future__ import annotations

import hashlib
import os
import random
import statistics
from time import perf_counter

import holdfast
from benchmarks.measure import Bench, Row, ratio_row, settle
from benchmarks.raw import url_of
from holdfast import StateManager
from holdfast.sessions import Sessions
from holdfast.sessions.core import CHUNK_BYTES
from holdfast.workflows import Workflows

_CHECKPOINTS = 500
_CHUNKS = 64


def run(bench: Bench) -> list[Row]:
    """Measure both on each engine."""
    rows = []
    for engine in bench.engines("sqlite", "rocksdb"):
        with holdfast.open(url_of(engine, bench.place("flows"))) as state:
            rows += [_checkpoint(bench, engine, state), *_artifacts(bench, engine, state)]
    return rows


def _checkpoint(bench: Bench, engine: str, state: StateManager) -> Row:
    count, value = bench.count(_CHECKPOINTS, 10), {"page": 1, "cursor": "x" * 100}
    with Workflows(state) as flows, flows.start("w") as run:
        step = run.begin("s")

        def ours(number: int):
            return lambda: [step.checkpoint(value) for _ in range(count)]

        def theirs(number: int):
            return lambda: [state.set("agent:a", "k", value) for _ in range(count)]

        pair = bench.compare(ours, theirs, operations=count)
    return ratio_row("flows", engine, "checkpoint of a step, against a durable set", pair, None)


def _artifacts(bench: Bench, engine: str, state: StateManager) -> list[Row]:
    size = bench.count(_CHUNKS, 2) * CHUNK_BYTES
    sessions, path = Sessions(state), bench.place("plain")
    sessions.start("s")
    rates: dict[str, list[tuple[float, float]]] = {"put": [], "read": []}
    settle()
    for number in range(bench.rounds):
        content = random.Random(number).randbytes(size)
        began = perf_counter()
        with bench.watched():
            sessions.put("s", "a", content)
        stored = perf_counter()
        with open(path, "wb") as file:
            for at in range(0, size, CHUNK_BYTES):
                file.write(content[at : at + CHUNK_BYTES])
            file.flush()
            os.fsync(file.fileno())
        written = perf_counter()
        for _ in sessions.read("s", "a"):
            pass
        read = perf_counter()
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while data := file.read(CHUNK_BYTES):
                digest.update(data)
        ended = perf_counter()
        rates["put"].append((size / (stored - began) / 1e6, size / (written - stored) / 1e6))
        rates["read"].append((size / (read - written) / 1e6, size / (ended - read) / 1e6))
    rows = []
    for verb, pairs in rates.items():
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        work = f"artifact {verb}, against a plain file"
        rows.append(
            Row("flows", engine, work, "MB/s", ours, yardstick=theirs, figure=ours / theirs)
        )
    return rows
