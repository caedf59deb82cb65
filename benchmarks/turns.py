"""An agent's conversation kept as one list that every turn rewrites: what the history costs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import holdfast
from benchmarks.data import Values, scope_of
from benchmarks.measure import Bench, Row, Target, settle, timed
from benchmarks.raw import url_of

_TURNS = 400
_TEXT = 2000


def run(bench: Bench) -> list[Row]:
    """Rewrite a list that grows by 2 KB of text a turn, compact, read every version."""
    return [row for engine in bench.engines("sqlite", "rocksdb") for row in _engine(bench, engine)]


def _engine(bench: Bench, engine: str) -> list[Row]:
    turns = bench.count(_TURNS, 40)
    values, scope = Values(), scope_of(0)
    path = bench.place(engine)
    texts = [values.text(_TEXT) for _ in range(turns)]
    state = holdfast.open(url_of(engine, path))
    with closing(state):
        settle()

        def talk() -> None:
            said: list[dict[str, str]] = []
            for number, text in enumerate(texts):
                said.append({"role": "assistant" if number % 2 else "user", "content": text})
                state.set(scope, "conversation", said)

        with bench.watched():
            spent = timed(talk)
        state.compact()
        size = disk_bytes(path)
        versions = 0

        def look() -> None:
            nonlocal versions
            for change in state.history(scope, "conversation"):
                assert len(change.value) == turns - versions
                versions += 1

        with bench.watched():
            read = timed(look)
    text_bytes = sum(map(len, texts))
    assert versions == turns
    return [
        Row(
            "turns",
            engine,
            f"{turns} turns of 2 KB on disk",
            "MB",
            size / 1e6,
            text_bytes / 1e6,
            size / text_bytes,
            target=Target(3),
            note="compacted, all history kept",
        ),
        Row(
            "turns",
            engine,
            f"history of all {turns} read",
            "s",
            read,
            None,
            read,
            target=Target(1, "s"),
        ),
        Row("turns", engine, "a turn, durable", "µs", spent / turns * 1e6),
    ]


def disk_bytes(path: Path) -> int:
    """Return what a store takes on disk: a directory, or a file and what lies beside it."""
    files = path.iterdir() if path.is_dir() else path.parent.glob(path.name + "*")
    return sum(file.stat().st_size for file in files)
