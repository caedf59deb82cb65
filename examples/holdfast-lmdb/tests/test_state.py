"""What the engine is for: a store on it keeps state, its past, and its promises."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import holdfast
from holdfast import ConflictError, StateScope
from holdfast.errors import LimitExceededError

SCOPE = StateScope.agent("researcher-7")


def test_a_store_keeps_state_and_its_past(tmp_path: Path) -> None:
    """Values, conflicts, transactions and history work and outlive the process's handle."""
    url = f"lmdb:{tmp_path}/state"
    with holdfast.open(url) as state:
        first = state.set(SCOPE, "plan", {"step": 1})
        state.set(SCOPE, "plan", {"step": 2}, if_revision=first)
        with pytest.raises(ConflictError):
            state.set(SCOPE, "plan", {"step": 3}, if_revision=first)
        with state.transaction() as tx:
            tx.set(SCOPE, "a", 1)
            tx.set("user:ada", "b", 2)
    with holdfast.open(url, read_only=True) as state:
        assert state.get(SCOPE, "plan") == {"step": 2}
        assert state.get(SCOPE, "plan", as_of=first) == {"step": 1}
        assert [change.value for change in state.history(SCOPE, "plan")] == [
            {"step": 2},
            {"step": 1},
        ]
        assert state.verify() == []


def test_threads_lose_no_update(tmp_path: Path) -> None:
    """Four threads that each add one 50 times make 200."""
    with holdfast.open(f"lmdb:{tmp_path}/state") as state:

        def add() -> None:
            for _ in range(50):
                state.increment(SCOPE, "n", durability="os")

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert state.get(SCOPE, "n") == 200
        assert state.verify() == []


def test_keys_are_checked_against_the_engines_limit(tmp_path: Path) -> None:
    """A key that LMDB cannot hold is refused by name, before anything is queued."""
    with holdfast.open(f"lmdb:{tmp_path}/state") as state:
        state.set(SCOPE, "k" * 400, 1)
        with pytest.raises(LimitExceededError, match="bytes"):
            state.set(SCOPE, "k" * 600, 1)
        assert state.list_keys(SCOPE) == ["k" * 400]


def test_a_store_moves_in_and_out(tmp_path: Path) -> None:
    """`copy_to` brings a store with its history to the engine and back."""
    with holdfast.open(tmp_path / "state.db") as state:
        for n in range(20):
            state.set(SCOPE, "n", n)
        state.copy_to(f"lmdb:{tmp_path}/moved")
    with holdfast.open(f"lmdb:{tmp_path}/moved") as state:
        assert [change.value for change in state.history(SCOPE, "n")] == [*range(19, -1, -1)]
        assert state.verify() == []
