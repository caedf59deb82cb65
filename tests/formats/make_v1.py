"""Make the golden files of format 1. Run once; the files are test inputs for ever.

    python tests/formats/make_v1.py

Writes ``v1.db`` (SQLite), ``v1.rocksdb.tar.gz``, ``v1.jsonl`` (an export) and ``v1.expected.jsonl``
(every version that the journal holds, as JSON).
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import holdfast
from holdfast import Change, HistoryPolicy, StateClass, StateManager
from holdfast.store.lines import to_json
from holdfast.testing import FakeClock

HERE = Path(__file__).parent

EVERYTHING: dict[str, Any] = {
    "json": {"a": [1, 1.5, True, None, "text\0with NUL", {"deep": {}}], "b": []},
    "numbers": [2**200, -(2**200), 2**63, -1, 1e300, float("inf"), 0.1],
    "times": [
        datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        datetime(2026, 1, 2),
        datetime(2026, 1, 2, fold=1),
        date(2026, 1, 2),
        time(1, 2, 3),
        timedelta(days=-3, seconds=5, microseconds=7),
    ],
    "others": [UUID(int=5), Decimal("-1.50"), b"\x00\xff", {1, (2, "x")}, frozenset({"f"})],
}


def fill(state: StateManager, clock: FakeClock) -> None:
    """Write something of everything that the format knows."""
    for key, value in EVERYTHING.items():
        state.set("global", key, value)
        clock.advance(1)
    growing: list[str] = []
    for turn in range(40):
        growing.append(f"turn {turn}: " + "lorem ipsum dolor sit amet " * 12)
        state.set("session:s1", "turns", growing, actor="agent", correlation="talk")
        clock.advance(1)
    state.touch("session:s1", "turns", expires_in=10**8)
    state.set("agent:ada", "trusted", 1, state_class=StateClass.TRUSTED)
    state.set("workflow:w:step:one", "out", "x", commit_id=b"golden-commit-id")
    state.set("agent:a%3Ab", "특수 문자 🎉", "key and id")
    for name in ("deleted", "expired"):
        state.set("user:u", name, name, expires_in=50 if name == "expired" else None)
    state.delete("user:u", "deleted")
    clock.advance(60)
    state.sweep()
    holdfast.StateManager(state._kernel, tenant="acme").set("agent:ada", "k", "of acme")
    with state.transaction(cause="golden") as tx:
        tx.set("custom:one", "k", 1)
        tx.set("custom:two", "k", 2)
    for at in range(200):
        state.set("custom:many", f"k{at:03}", {"role": "user", "content": f"message number {at}"})
    state.set("custom:trimmed", "k", "first")
    state.set("custom:trimmed", "k", "second")
    state.compact([HistoryPolicy("custom:trimmed", max_versions=1)], train=True)
    for at in range(0, 200, 10):
        state.set("custom:many", f"k{at:03}", {"role": "user", "content": f"message anew {at}"})


def line(change: Change) -> str:
    """Return one change as JSON."""
    return json.dumps(
        {
            "revision": change.revision,
            "scope": str(change.scope),
            "key": change.key,
            "operation": change.operation.name,
            "version": change.version,
            "previous": change.previous_revision,
            "at": change.at.isoformat(),
            "class": change.state_class.name,
            "actor": change.actor,
            "correlation": change.correlation_id,
            "cause": change.cause,
            "readable": change.readable,
            "value": to_json(change.value),
        },
        ensure_ascii=False,
        sort_keys=True,
    )


def main() -> None:
    """Write the files."""
    with tempfile.TemporaryDirectory() as name:
        there = Path(name)
        for url in (f"sqlite:{there / 'v1.db'}", f"rocksdb:{there / 'v1.rocksdb'}"):
            clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
            with holdfast.open(url, clock=clock) as state:
                fill(state, clock)
                changes = "".join(line(c) + "\n" for c in state.changes())
                export = "".join(text + "\n" for text in state.export_lines())
        (HERE / "v1.db").write_bytes((there / "v1.db").read_bytes())
        with tarfile.open(HERE / "v1.rocksdb.tar.gz", "w:gz") as tar:
            tar.add(there / "v1.rocksdb", "v1.rocksdb")
    (HERE / "v1.expected.jsonl").write_text(changes)
    (HERE / "v1.jsonl").write_text(export)


if __name__ == "__main__":
    main()
