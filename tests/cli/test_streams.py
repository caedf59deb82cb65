"""Consumers and watches as the command line shows them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import holdfast
from holdfast import Change, Retry, StateEvent
from tests.cli.conftest import Holdfast


def _fail(_: object) -> None:
    raise ValueError("a secret")


def _store(path: Path) -> None:
    with holdfast.open(path) as state:
        state.set("agent:a", "k", 1)
        state.events.emit("happened", {"n": 1}, scope="agent:a")
        consumer = state.consumer(
            "indexer", start="earliest", events=True, retry=Retry(first=0), max_attempts=1
        )
        consumer.run(_fail, timeout=0)
        state.set("agent:a", "k", 2)


def test_consumers(holdfast_command: Holdfast, tmp_path: Path) -> None:
    """They are listed with their lag, reset, replayed, and deleted."""
    _store(tmp_path / "s.db")
    listed = holdfast_command("consumers", "list", "-s", "s.db", "--json")
    (found,) = map(json.loads, listed.out.splitlines())
    assert (found["name"], found["lag"], found["dead_letters"]) == ("indexer", 1, 2)
    letters = holdfast_command("consumers", "dead-letters", "indexer", "-s", "s.db", "--json")
    rows = [json.loads(line) for line in letters.out.splitlines()]
    assert [(row["id"], row["what"], row["error"]) for row in rows] == [
        ("1-0", "k", "ValueError"),
        ("2-0", "happened", "ValueError"),
    ]
    assert "secret" not in letters.out
    replayed = holdfast_command(
        "consumers", "dead-letters", "indexer", "--replay", "1-0", "-s", "s.db"
    )
    assert replayed.out == "to be tried again: 1 dead letter\n"
    discarded = holdfast_command(
        "consumers", "dead-letters", "indexer", "--discard", "2-0", "-s", "s.db"
    )
    assert discarded.status == 0
    with holdfast.open(tmp_path / "s.db") as state:
        got: list[object] = []
        state.consumer("indexer").run(got.append, timeout=0)
        assert [each.value for each in got if isinstance(each, Change)] == [1, 2]
    assert holdfast_command("consumers", "lag", "indexer", "-s", "s.db").out.startswith("name\t")
    moved = holdfast_command("consumers", "reset", "indexer", "--to", "earliest", "-s", "s.db")
    assert moved.out == "indexer goes on behind revision 0\n"
    assert holdfast_command("consumers", "delete", "indexer", "-s", "s.db").status == 0
    assert holdfast_command("consumers", "delete", "indexer", "-s", "s.db").status == 2


def test_watch_shows_events(holdfast_command: Holdfast, tmp_path: Path) -> None:
    """With --events, they come between the changes, with their data."""
    _store(tmp_path / "s.db")
    told = holdfast_command(
        "watch", "--since", "0", "--events", "--timeout", "0", "-s", "s.db", "--json"
    )
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert [row["type"] for row in rows] == ["change", "event", "change"]
    assert rows[1]["data"] == {"n": 1}
    assert StateEvent.__name__ == "StateEvent"


def test_watch_is_live_and_can_be_interrupted(tmp_path: Path) -> None:
    """A watching process shows what another commits at once, and ends at an interrupt."""
    path = tmp_path / "s.db"
    with holdfast.open(path) as state:
        state.set("agent:a", "first", 1)
        command = [sys.executable, "-m", "holdfast.cli", "watch", "--since", "0", "-s", str(path)]
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert watching.stdout is not None
        try:
            assert "first" in watching.stdout.readline()
            for at in range(3):
                state.set("agent:a", f"k{at}", at)
                assert f"k{at}\tset\t{at}" in watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            assert watching.wait(30) == 130
        finally:
            watching.kill()
            watching.stdout.close()
