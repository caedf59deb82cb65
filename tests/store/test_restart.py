"""Restart: what was acknowledged is there, with its metadata and its past."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("open_store", ["sqlite", "rocksdb"], indirect=True)
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
