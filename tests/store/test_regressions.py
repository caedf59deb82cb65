"""What went wrong once, and must not again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast import HistoryPolicy, StateClass, StateManager
from holdfast.engines.base import Durability
from holdfast.errors import HorizonError
from holdfast.store.intent import LOW, Intent
from holdfast.store.kernel import Kernel, StoreSettings
from tests.conftest import Stores

A = "agent:a"


def test_a_scopes_horizon_never_goes_back(state: StateManager) -> None:
    """A compaction that gives up less than one before leaves the horizon where it was."""
    state.set(A, "standard", 1)
    state.set(A, "standard", 2)
    for at in range(5):
        state.set(A, "trusted", at, state_class=StateClass.TRUSTED)
    state.compact([HistoryPolicy(state_class=StateClass.TRUSTED, max_versions=1)])
    state.compact([HistoryPolicy(max_versions=1)])
    with pytest.raises(HorizonError):
        state.get(A, "trusted", as_of=5)
    with pytest.raises(HorizonError):
        state.list_keys(A, as_of=5)
    assert state.get(A, "trusted") == 4


def test_the_journals_horizon_never_goes_back(state: StateManager) -> None:
    """A trim of the journal that another compaction has overtaken changes nothing."""
    for at in range(5):
        state.set(A, "k", at)
    horizon = state.compact([HistoryPolicy(max_age=timedelta(0))]).horizon
    assert horizon == 5
    intent = Intent([], Durability.OS, LOW)
    intent.trims = [(b"", 3)]
    state._kernel.commit(intent)
    assert state.info()["horizon"] == horizon


def test_a_dictionary_never_replaces_another(memory_store: Stores) -> None:
    """Who opened the store before another trained a dictionary trains the next, not the same."""
    first = memory_store()
    second = StateManager(Kernel(first._kernel.engine, StoreSettings()))
    texts = [
        {"name": f"item {at}", "text": f"some words {at * 7} and more words" * 3}
        for at in range(300)
    ]
    for manager, name in ((first, "first"), (second, "second")):
        for at, text in enumerate(texts):
            manager.set(A, f"{name}{at}", text | {"by": name})
        manager.compact(train=True)
        for at, text in enumerate(texts):
            manager.set(A, f"{name}{at}", text | {"by": name})
    assert (first.info()["dictionary"], second.info()["dictionary"]) == (1, 2)
    for name in ("first", "second"):
        for at, text in enumerate(texts):
            assert first.get(A, f"{name}{at}") == text | {"by": name}
