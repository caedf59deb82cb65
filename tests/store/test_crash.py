"""Restart and kill -9: every acknowledged write is there, with its exact bytes, and no half."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import StateManager

WRITER = Path(__file__).with_name("crash_writer.py")
CYCLES = 100 if os.environ.get("HOLDFAST_LONG") else 10
A = "agent:a"


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"], indirect=True)
def test_restart(open_store: Any) -> None:
    """Four scopes, closed and opened: everything is there, with its metadata and its past."""
    state = open_store()
    scopes = ["global", "agent:a", "workflow:w:step:s", "session:x"]
    for at, scope in enumerate(scopes):
        state.set(scope, "k", {"n": at, "text": "x" * 5000 * at}, actor=f"actor {at}")
        state.set(scope, "k", {"n": at + 10, "text": "x" * 5000 * at})
        state.set(scope, "gone", 1)
        state.delete(scope, "gone")
    before = [state.get_with_metadata(scope, "k") for scope in scopes]
    changes = list(state.changes())
    state = open_store.reopen(state)
    assert [str(scope) for scope in state.scopes()] == scopes
    assert [state.get_with_metadata(scope, "k") for scope in scopes] == before
    assert [state.list_keys(scope) for scope in scopes] == [["k"]] * 4
    assert list(state.changes()) == changes
    assert [state.get(scope, "k", as_of=1 + 4 * at)["n"] for at, scope in enumerate(scopes)] == [
        0, 1, 2, 3,
    ]  # fmt: skip
    assert state.set("global", "k", 1) == 17


class Oracle:
    """What the killed writers were told, and what a kill left undecided."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Any] = {}
        self.pending: dict[tuple[str, str], Any] = {}

    def effects(self, kind: int, key: str, text: str) -> dict[tuple[str, str], Any]:
        """Return what one step of the writer does."""
        if kind == 0:
            return {(A, key): None}
        if kind == 1:
            return {("agent:batch", f"b{n}"): text for n in range(4)}
        if kind == 2:
            return {("agent:left", "t"): text, ("agent:right", "t"): text}
        return {(A, key): text}

    def hear(self, lines: list[bytes]) -> int:
        """Take what a writer said; return how many commits it acknowledged."""
        done = 0
        for line in lines:
            word, kind, key, text = json.loads(line)
            self.pending = self.effects(kind, key, text)
            if word == "done":
                self.known |= self.pending
                self.pending = {}
                done += 1
        return done

    def check(self, state: StateManager) -> None:
        """Compare: all of the pending step or nothing of it, and all that is known."""
        found = {(s, k): state.get(s, k) for s, k in {**self.known, **self.pending}}
        if self.pending and all(found[p] == v for p, v in self.pending.items()):
            self.known |= self.pending
        self.pending = {}
        for place, value in self.known.items():
            assert found[place] == value, place
        for (scope, key), value in self.known.items():  # the indexes agree with the data
            assert (key in state.list_keys(scope)) is (value is not None)
        batch = {v.value for _, v in state.scan("agent:batch")}
        assert len(batch) <= 1, "a batch is torn"
        assert state.get("agent:left", "t") == state.get("agent:right", "t")
        last: dict[tuple[str, str], Any] = {}
        for change in state.changes():
            last[str(change.scope), change.key] = change.value
        live = {(str(s), k): v.value for s in state.scopes() for k, v in state.scan(s)}
        assert {p: v for p, v in last.items() if v is not None} == live


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_kill_9(engine: str, tmp_path: Path) -> None:
    """Kill the writer at a random moment, open, compare with what it was told; and again."""
    rng = random.Random(11)
    url = f"{engine}:{tmp_path / 'store'}"
    holdfast.open(url).close()
    oracle, acknowledged = Oracle(), 0
    for cycle in range(CYCLES):
        child = subprocess.Popen(
            [sys.executable, str(WRITER), url, str(cycle)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(rng.randrange(1, 40))]
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.wait(30)
        lines += rest.splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        assert child.returncode == -signal.SIGKILL
        acknowledged += oracle.hear(whole)
        with holdfast.open(url) as state:
            oracle.check(state)
            assert state.verify() == []
    assert acknowledged > CYCLES
