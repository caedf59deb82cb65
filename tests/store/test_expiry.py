"""Expiry: exact to the nanosecond on every read, on every engine; swept as journaled commits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast import ConflictError, Operation, SetOperation
from holdfast.clock import from_ns
from holdfast.errors import InvalidArgumentError

A = "agent:a"


@pytest.mark.parametrize("swept", [False, True])
def test_every_verb_sees_the_same_moment(swept: bool, open_store: Any, clock: Any) -> None:
    """One nanosecond before it is there for every verb; at the moment, for none."""
    state = open_store(clock=clock, sweep_every=0)
    state.set(A, "k", [1], expires_in=10)
    state.set(A, "stays", 1)
    clock.advance(9.999999999)
    assert state.sweep() == 0
    assert (state.get(A, "k"), state.exists(A, "k"), state.count(A)) == ([1], True, 2)
    assert state.get_with_metadata(A, "k").metadata.expires_at == from_ns(clock.now_ns() + 1)
    clock.advance(0.000000001)
    if swept:
        assert state.sweep() == 1
        assert state.sweep() == 0
    assert state.get(A, "k", "gone") == "gone"
    assert state.get_with_metadata(A, "k") is None
    assert not state.exists(A, "k")
    assert state.list_keys(A) == state.list_keys(A, reverse=True) == ["stays"]
    assert [k for k, _ in state.scan(A)] == ["stays"]
    assert (state.count(A), state.get_batch([(A, "k")])) == (1, [None])
    assert not state.delete(A, "k")
    assert not state.touch(A, "k", expires_in=5)
    with pytest.raises(ConflictError):
        state.set(A, "k", 1, if_revision=1)
    with pytest.raises(ConflictError):
        state.set(A, "k", 1, if_version=1)
    with state.transaction() as tx:
        assert (tx.get(A, "k"), tx.list_keys(A)) == (None, ["stays"])
    with state.snapshot() as snapshot:
        assert snapshot.list_keys(A) == ["stays"]
    assert state.append(A, "k", 2) == 1
    metadata = state.get_with_metadata(A, "k").metadata
    assert (metadata.version, metadata.expires_at) == (1, None)
    assert metadata.created_at == metadata.updated_at
    assert state.get(A, "k", as_of=2) == [1], "at revision 2 it had not expired"


def test_a_scope_of_expired_keys_does_not_exist(open_store: Any, clock: Any) -> None:
    """A scope whose last key ran out is not listed, swept or not."""
    state = open_store(clock=clock, sweep_every=0)
    state.set(A, "k", 1, expires_in=1)
    clock.advance(1)
    assert (state.scopes(), state.scope_exists(A)) == ([], False)
    state.sweep()
    assert (state.scopes(), state.scope_exists(A)) == ([], False)


def test_what_keeps_and_what_drops_an_expiry(open_store: Any, clock: Any) -> None:
    """A set makes a key stay; a change of the value keeps its expiry; a touch gives another."""
    state = open_store(clock=clock, sweep_every=0)

    def left() -> float | None:
        at = state.get_with_metadata(A, "k").metadata.expires_at
        return None if at is None else (at - from_ns(clock.now_ns())).total_seconds()

    state.set(A, "k", [1], expires_in=10)
    state.append(A, "k", 2)
    assert left() == 10
    state.update(A, "k", lambda v: v)
    state.transact(lambda tx: tx.append(A, "k", 3))
    assert left() == 10
    clock.advance(4)
    assert left() == 6
    assert state.touch(A, "k", expires_in=timedelta(minutes=1))
    assert left() == 60
    state.touch(A, "k", expires_at=from_ns(clock.now_ns()) + timedelta(seconds=7))
    assert left() == 7
    state.copy_scope(A, "agent:b")
    assert state.get_with_metadata("agent:b", "k").metadata.expires_at is not None
    assert state.touch(A, "k")
    assert left() is None
    state.touch(A, "k", expires_in=9)
    state.set(A, "k", 1)
    assert left() is None
    state.set_batch([SetOperation(A, "k", 2, expires_in=3)])
    assert left() == 3
    with state.transaction() as tx:
        tx.delete(A, "k")
        tx.increment(A, "k")
    assert (left(), state.get(A, "k")) == (None, 1)


def test_the_sweep_is_journaled(open_store: Any, clock: Any) -> None:
    """A sweep removes many keys in few commits, each an expire that history shows."""
    state = open_store(clock=clock, sweep_every=0)
    state.set_batch([SetOperation(A, f"k{n:04}", n, expires_in=5) for n in range(1200)])
    state.set(A, "stays", 1)
    clock.advance(6)
    assert state.sweep() == 1200
    assert state.revision == 5
    gone = [c for c in state.changes(2) if c.operation is Operation.EXPIRE]
    assert len(gone) == 1200
    assert {c.version for c in gone} == {1}
    assert state.list_keys(A) == ["stays"]
    assert state.info()["records"] == 1


def test_a_renewed_key_is_not_swept(open_store: Any, clock: Any) -> None:
    """A key touched or set again in time stays."""
    state = open_store(clock=clock, sweep_every=0)
    for key in "abc":
        state.set(A, key, 1, expires_in=5)
    state.touch(A, "a", expires_in=50)
    state.set(A, "b", 2)
    clock.advance(6)
    assert state.sweep() == 1
    assert state.list_keys(A) == ["a", "b"]


def test_the_background_sweep(open_store: Any, clock: Any) -> None:
    """A thread that starts with the first expiring key sweeps at its interval."""
    state = open_store(clock=clock, sweep_every=30)
    state.set(A, "k", 1, expires_in=5)
    clock.await_waiters(1)
    clock.advance(31)
    clock.await_waiters(1)
    while state.revision < 2:
        clock.await_waiters(1)
    assert [c.operation for c in state.changes(1)] == [Operation.EXPIRE]


def test_a_transaction_notices_expiry(open_store: Any, clock: Any) -> None:
    """What was read and ran out before the commit is a conflict, swept or not."""
    state = open_store(clock=clock, sweep_every=0)
    state.set(A, "k", 1, expires_in=5)
    for read in (lambda tx: tx.get(A, "k"), lambda tx: list(tx.scan(A))):
        state.set(A, "k", 1, expires_in=5)
        with pytest.raises(ConflictError), state.transaction() as tx:
            read(tx)
            clock.advance(6)
            tx.set("agent:b", "copy", 1)
    assert state.get("agent:b", "copy") is None


@pytest.mark.parametrize(
    "options",
    [
        {"expires_in": 0}, {"expires_in": -1}, {"expires_in": float("nan")},
        {"expires_in": float("inf")}, {"expires_in": "5"}, {"expires_in": True},
        {"expires_in": timedelta(0)}, {"expires_in": timedelta.max}, {"expires_in": 1e12},
        {"expires_at": 5}, {"expires_at": "2030-01-01"},
        {"expires_in": 5, "expires_at": from_ns(1)}, {"expires_at": from_ns(0)},
        {"expires_at": from_ns(0).replace(tzinfo=None)},
    ],
    ids=range(14),
)  # fmt: skip
def test_expiries_that_are_none(options: dict[str, Any], memory_store: Any) -> None:
    """What is no time is refused by set and touch, and nothing is written."""
    state = memory_store()
    state.set(A, "k", 1)
    with pytest.raises(InvalidArgumentError):
        state.set(A, "k", 2, **options)
    with pytest.raises(InvalidArgumentError):
        state.touch(A, "k", **options)
    assert (state.get(A, "k"), state.revision) == (1, 1)
