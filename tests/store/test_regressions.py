"""What went wrong once, and must not again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast import HistoryPolicy, StateClass, StateManager
from holdfast.engines.base import Durability
from holdfast.errors import HorizonError
from holdfast.store.intent import LOW, Intent

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
