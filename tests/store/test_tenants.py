"""Tenants: each sees itself only, whatever its name and whatever the verb."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import StateClass, StateManager
from holdfast.errors import InvalidScopeError

A = "agent:a"
NAMES = ["", "acme", "acme2", "acm", "a:b", "é", "agent:a"]


def managers(state: StateManager) -> dict[str, StateManager]:
    """Return a manager for each tenant of one store."""
    return {name: StateManager(state._kernel, tenant=name) for name in NAMES}


def test_tenants_are_apart(state: StateManager) -> None:
    """The same scope and key in every tenant is so many values, listed and counted apart."""
    by_name = managers(state)
    for at, (name, mine) in enumerate(by_name.items()):
        assert mine.tenant == name
        mine.set(A, "k", at)
        mine.set(f"user:only-{at}", "k", at)
    for at, mine in enumerate(by_name.values()):
        assert mine.get(A, "k") == at
        assert mine.list_keys(A) == ["k"]
        assert mine.get_batch([(A, "k")]) == [at]
        assert [str(s) for s in mine.scopes()] == [A, f"user:only-{at}"]
        assert [c.value for c in mine.changes()] == [at, at]
        assert {str(d.scope) for d in mine.diff(0)} == {A, f"user:only-{at}"}
        assert [c.value for c in mine.history(A, "k")] == [at]
        with mine.snapshot() as snapshot:
            assert snapshot.get(A, "k") == at
    acme = by_name["acme"]
    assert acme.delete_scope(A) == 1
    assert acme.rewind("user:only-0", to=0) == 0
    assert [m.get(A, "k") for m in by_name.values()] == [0, None, 2, 3, 4, 5, 6]
    with by_name["a:b"].transaction() as tx:
        assert tx.get(A, "k") == 4
        acme.set(A, "k", 0)
        tx.set(A, "k", 44)
    acme.set(A, "e", 1, state_class=StateClass.EPHEMERAL)
    assert [m.get(A, "e") for m in by_name.values()] == [None, 1] + [None] * 5
    assert [m.list_keys(A) for m in by_name.values()][:3] == [["k"], ["e", "k"], ["k"]]


@pytest.mark.parametrize("open_store", ["sqlite", "rocksdb"], indirect=True)
def test_a_tenant_is_found_again(open_store: Any) -> None:
    """A tenant's state is there when the store is opened for it again, and only then."""
    state = open_store(tenant="acme")
    state.set(A, "k", 1)
    assert open_store.reopen(state).get(A, "k") is None
    for other in open_store._open[1:]:
        other.close()
    assert open_store(tenant="acme").get(A, "k") == 1


@pytest.mark.parametrize("name", ["a\0b", "a\n", "\ud800", "\u0378", 5, b"acme"], ids=range(6))
def test_names_that_are_none(name: Any, memory_store: Any) -> None:
    """A tenant's name follows the rules of ids."""
    with pytest.raises(InvalidScopeError):
        memory_store(tenant=name)
