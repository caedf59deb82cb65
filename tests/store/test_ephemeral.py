"""Ephemeral state: this process's memory, no journal, no revision, and never mixed with durable."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from holdfast import ConflictError, SetOperation, StateClass, StateManager, StateScope
from holdfast.errors import EphemeralMixError, InvalidArgumentError, WrongTypeError

A = "agent:a"
EPHEMERAL = {"state_class": StateClass.EPHEMERAL}


def put(state: StateManager, key: str, value: Any, **options: Any) -> None:
    """Set an ephemeral value."""
    assert state.set(A, key, value, state_class=StateClass.EPHEMERAL, **options) == 0


def test_it_is_read_as_anything_else(state: StateManager) -> None:
    """Get, metadata, exists, lists, scans, counts, batches, scopes, views show it, in order."""
    state.set(A, "b", "durable")
    put(state, "a", [1])
    put(state, "c", {"x": 1})
    assert (state.get(A, "a"), state.exists(A, "c")) == ([1], True)
    metadata = state.get_with_metadata(A, "a").metadata  # type: ignore[union-attr]
    assert (metadata.ephemeral, metadata.revision, metadata.version) == (True, 0, 1)
    assert metadata.state_class is StateClass.EPHEMERAL
    assert state.list_keys(A) == ["a", "b", "c"]
    assert state.list_keys(A, reverse=True, limit=2) == ["c", "b"]
    assert state.list_keys(A, after="a") == ["b", "c"]
    assert [(k, v.value) for k, v in state.scan(A)] == [
        ("a", [1]), ("b", "durable"), ("c", {"x": 1}),
    ]  # fmt: skip
    assert [k for k, _ in state.scan(A, prefix="c")] == ["c"]
    assert state.count(A) == len(state.scope(A)) == 3
    assert state.get_batch([(A, "a"), (A, "b"), (A, "z")]) == [[1], "durable", None]
    state.set("session:s", "k", 1, state_class=StateClass.EPHEMERAL)
    assert state.scopes() == [StateScope.agent("a"), StateScope.session("s")]
    assert state.scope_exists("session:s")


def test_it_is_changed_as_anything_else(state: StateManager) -> None:
    """Increments, appends, patches, updates and deletes work, and a set without class stays."""
    put(state, "n", 1)
    assert state.increment(A, "n", 2) == 3
    assert state.update(A, "n", lambda n: n * 2) == 6
    put(state, "l", [])
    assert state.append(A, "l", 1, 2) == 2
    assert state.merge_patch(A, "m", {}) == {}
    assert state.delete(A, "m")
    put(state, "m", {"a": 1})
    assert state.merge_patch(A, "m", {"a": None, "b": 2}) == {"b": 2}
    with pytest.raises(WrongTypeError):
        state.increment(A, "l")
    assert state.set(A, "n", "again") == 0
    metadata = state.get_with_metadata(A, "n").metadata  # type: ignore[union-attr]
    assert (metadata.version, metadata.ephemeral) == (4, True)
    assert state.delete(A, "n")
    assert not state.delete(A, "n")
    assert state.get(A, "n") is None


def test_conditions(state: StateManager) -> None:
    """if_absent and if_version work; there is no revision to compare."""
    put(state, "k", 1, if_absent=True)
    with pytest.raises(ConflictError):
        put(state, "k", 2, if_absent=True)
    put(state, "k", 2, if_version=1)
    with pytest.raises(ConflictError):
        put(state, "k", 3, if_version=1)
    with pytest.raises(InvalidArgumentError):
        put(state, "k", 3, if_revision=1)
    assert state.get(A, "k") == 2


def test_it_leaves_no_trace(state: StateManager) -> None:
    """No revision, no history, no change, no past, no transaction, no snapshot."""
    put(state, "k", 1)
    state.delete(A, "k")
    put(state, "k", 2)
    assert state.revision == 0
    assert list(state.history(A, "k")) == list(state.changes()) == list(state.diff(0)) == []
    with pytest.raises(EphemeralMixError):
        state.get(A, "k", as_of=0)
    assert state.list_keys(A, as_of=0) == []
    with state.snapshot() as snapshot:
        assert (snapshot.get(A, "k"), snapshot.list_keys(A)) == (None, [])
    for step in (
        lambda tx: tx.get(A, "k"),
        lambda tx: tx.set(A, "k", 1),
        lambda tx: tx.delete(A, "k"),
        lambda tx: tx.set(A, "new", 1, **EPHEMERAL),
    ):
        with pytest.raises(EphemeralMixError), state.transaction() as tx:
            step(tx)
    assert state.get(A, "k") == 2
    assert state._kernel.engine.get(b"\x03" + state._address.place(b"\0", "k")) is None


def test_crossing_over_raises_until_deleted(state: StateManager) -> None:
    """A key is ephemeral or durable; neither becomes the other without a delete."""
    state.set(A, "durable", 1)
    with pytest.raises(EphemeralMixError):
        put(state, "durable", 2)
    assert state.get(A, "durable") == 1
    state.delete(A, "durable")
    put(state, "durable", 2)
    with pytest.raises(EphemeralMixError):
        state.set(A, "durable", 3, state_class=StateClass.STANDARD)
    state.delete(A, "durable")
    assert state.set(A, "durable", 3) == 3
    state.set("agent:b", "k", 1)
    state.set("agent:b", "x", 1)
    then = state.revision
    state.delete("agent:b", "k")
    state.set("agent:b", "k", 2, state_class=StateClass.EPHEMERAL)
    before = state.revision
    for call in (
        lambda: state.rewind("agent:b", to=then),
        lambda: state.rewind("agent:b", "k", to=then),
        lambda: state.set_batch([SetOperation("agent:b", "k", 3, **EPHEMERAL)], atomic=True),
        lambda: state.set_batch([SetOperation("agent:b", "k", 3)], atomic=True),
    ):
        with pytest.raises(EphemeralMixError):
            call()
    state.set("agent:c", "k", 1)
    with pytest.raises(EphemeralMixError):
        state.copy_scope("agent:c", "agent:b", overwrite=True)
    with pytest.raises(EphemeralMixError):
        state.rewind("agent:b", to=then)
    assert (state.get("agent:b", "k"), state.revision) == (2, before + 1)
    assert state.list_keys("agent:b") == ["k", "x"]


def test_batches(state: StateManager) -> None:
    """Beside durable items of a batch that need not be atomic; an atomic one refuses."""
    items = [SetOperation(A, "d", 1), SetOperation(A, "e", 2, **EPHEMERAL)]
    assert state.set_batch(items) == [1, 0]
    assert state.get_batch([(A, "d"), (A, "e")]) == [1, 2]
    with pytest.raises(EphemeralMixError):
        state.set_batch(items, atomic=True)
    assert state.revision == 1


def test_expiry(open_store: Any, clock: Any) -> None:
    """It expires exactly, is renewed by touch, and leaves the key to durable state."""
    state = open_store(clock=clock, sweep_every=0)
    put(state, "k", 1, expires_in=10)
    put(state, "t", 1, expires_in=timedelta(seconds=10))
    assert state.touch(A, "t", expires_in=30)
    clock.advance(9.999999999)
    assert state.get(A, "k") == 1
    clock.advance(0.000000001)
    assert state.get(A, "k") is None
    assert state.list_keys(A) == ["t"]
    assert not state.touch(A, "k", expires_in=5)
    state.set(A, "k", "durable")
    assert state.touch(A, "k", expires_in=100)
    with state.transaction() as tx:
        assert tx.get(A, "k") == "durable"
    assert state.sweep() == 1
    assert state.delete(A, "k")
    assert state.get(A, "k") is None
    put(state, "k", 2, expires_in=1)
    clock.advance(2)
    put(state, "k", 3)
    assert state.get_with_metadata(A, "k").metadata.version == 1
    assert state.get_with_metadata(A, "k").metadata.expires_at is None


def test_delete_scope_takes_it_along(state: StateManager) -> None:
    """Deleting a scope counts and removes ephemeral keys too; copying leaves them behind."""
    put(state, "e", 1)
    state.set(A, "d", 1)
    assert state.copy_scope(A, "agent:b") == 1
    assert state.list_keys("agent:b") == ["d"]
    assert state.delete_scope(A) == 2
    assert (state.list_keys(A), state.scope_exists(A)) == ([], False)


@pytest.mark.parametrize("open_store", ["sqlite", "rocksdb"], indirect=True)
def test_restart_forgets_it(open_store: Any) -> None:
    """It is gone when the store is opened again."""
    state = open_store()
    put(state, "e", 1)
    state.set(A, "d", 1)
    state = open_store.reopen(state)
    assert state.list_keys(A) == ["d"]


@pytest.mark.parametrize("open_store", ["sqlite"], indirect=True)
def test_other_processes_do_not_see_it(open_store: Any) -> None:
    """It belongs to one process; another may use the key for itself."""
    state = open_store()
    put(state, "e", "mine")
    program = (
        "import sys, holdfast\n"
        "with holdfast.open(sys.argv[1]) as s:\n"
        "    assert s.get('agent:a', 'e') is None and s.list_keys('agent:a') == []\n"
        "    s.set('agent:a', 'd', 'theirs')\n"
    )
    subprocess.run([sys.executable, "-c", program, open_store.url()], check=True, timeout=60)
    assert (state.get(A, "e"), state.get(A, "d")) == ("mine", "theirs")
