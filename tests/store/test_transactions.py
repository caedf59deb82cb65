"""Transactions from where a caller stands: what a conflict tells, and how a block ends.

That they are serialisable is `proof.hermitage`'s and `proof.appends`'s to attack.
"""

from __future__ import annotations

import pytest

from holdfast import StateManager, StateTransaction
from holdfast.errors import ConflictError, RejectedError

A = "agent:a"


@pytest.fixture
def store(state: StateManager) -> StateManager:
    """Fill a store with the two keys."""
    state.set(A, "1", 10)
    state.set(A, "2", 20)
    return state


def test_a_conflict_tells_both_revisions(store: StateManager) -> None:
    """A conflict carries what was relied on and what is there, and can be retried."""
    with pytest.raises(ConflictError) as caught, store.transaction() as tx:
        tx.get(A, "1")
        store.set(A, "1", 11)
        tx.set(A, "2", 0)
    error = caught.value
    assert (error.scope, error.key, error.expected, error.actual) == (A, "1", 1, 3)
    assert (error.reason, error.retryable) == ("revision", True)
    attempts = []

    def twice(tx: StateTransaction) -> str:
        attempts.append(tx.get(A, "1"))
        if len(attempts) == 1:
            store.set(A, "1", 12)
        tx.set(A, "2", attempts[-1])
        return "done"

    assert store.transact(twice) == "done"
    assert attempts == [11, 12]
    assert store.get(A, "2") == 12


def test_transactions_end(store: StateManager) -> None:
    """An exception rolls back, an ended transaction refuses, one that wrote nothing commits not."""
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.set(A, "1", 99)
        raise ZeroDivisionError
    with pytest.raises(RejectedError):
        tx.get(A, "1")
    with pytest.raises(RejectedError):
        tx.set(A, "1", 1)
    with pytest.raises(RejectedError):
        list(tx.scan(A))
    with store.transaction() as tx:
        assert tx.get(A, "1") == 10
    assert (tx.revision, store.revision) == (None, 2)
    with store.transaction() as tx:
        tx.set(A, "1", 11)
        tx.set("workflow:w:step:s", "k", 1)
    assert (tx.revision, store.revision) == (3, 3)
