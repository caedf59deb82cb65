"""State classes, policies and durability: where they come from and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from holdfast import Durability, ScopePolicy, SetOperation, StateClass
from holdfast.engines.memory import MemoryEngine
from holdfast.errors import (
    ConfigurationError,
    EphemeralMixError,
    InvalidArgumentError,
    ProtectionRequiredError,
    SchemaRequiredError,
    StateError,
)
from holdfast.manager import StateManager
from holdfast.store.kernel import Kernel, StoreSettings

A = "agent:a"
REFUSED = [
    (StateClass.SENSITIVE, ProtectionRequiredError),
    (StateClass.EXTERNAL, SchemaRequiredError),
]


@pytest.mark.parametrize(("state_class", "error"), REFUSED)
def test_classes_without_their_protection(
    state_class: StateClass, error: type[StateError], memory_store: Any
) -> None:
    """Sensitive without encryption and external without a schema are refused, by every verb."""
    state = memory_store()
    bound = memory_store("bound", policies=[ScopePolicy("agent:*", state_class)])
    calls = [
        lambda: state.set(A, "k", 1, state_class=state_class),
        lambda: state.set_batch([SetOperation(A, "k", 1, state_class)], atomic=True),
        lambda: state.transact(lambda tx: tx.set(A, "k", 1, state_class=state_class)),
        lambda: bound.set(A, "k", 1),
        lambda: bound.increment(A, "k"),
        lambda: bound.append(A, "k", 1),
        lambda: bound.merge_patch(A, "k", {}),
        lambda: bound.update(A, "k", lambda _: 1),
        lambda: bound.transact(lambda tx: tx.set(A, "k", 1)),
        lambda: bound.transact(lambda tx: tx.increment(A, "k")),
        lambda: bound.transact(lambda tx: tx.update(A, "k", lambda _: 1)),
        lambda: bound.transact(lambda tx: tx.merge_patch(A, "k", {})),
    ]
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        assert caught.value.hint
    (result,) = state.set_batch([SetOperation(A, "k", 1, state_class)])
    assert type(result) is error
    assert state.revision == bound.revision == 0
    assert bound.set("user:u", "k", 1) == 1, "other scopes are not concerned"


@pytest.mark.parametrize("wrong", ["standard", 2, True, object()], ids=range(4))
def test_things_that_are_no_class(wrong: Any, memory_store: Any) -> None:
    """A class is a StateClass."""
    state = memory_store()
    with pytest.raises(InvalidArgumentError):
        state.set(A, "k", 1, state_class=wrong)
    assert state.revision == 0


def test_the_most_specific_pattern_wins(memory_store: Any) -> None:
    """An exact scope beats a wildcard, a wildcard beats everything's."""
    state = memory_store(
        policies=[
            ScopePolicy("*", StateClass.TRUSTED),
            ScopePolicy("workflow:*:step:*", StateClass.STANDARD),
            ScopePolicy("workflow:etl:step:*", StateClass.TRUSTED),
            ScopePolicy("session:*", StateClass.EPHEMERAL),
            ScopePolicy("session:kept", StateClass.STANDARD),
        ]
    )
    expected = {
        "global": StateClass.TRUSTED,
        "workflow:w:step:s": StateClass.STANDARD,
        "workflow:etl:step:s": StateClass.TRUSTED,
        "workflow:etl": StateClass.TRUSTED,
        "session:x": StateClass.EPHEMERAL,
        "session:kept": StateClass.STANDARD,
    }
    for scope in expected:
        state.set(scope, "k", 1)
        state.increment(scope, "n")
    for key in ("k", "n"):
        found = {s: state.get_with_metadata(s, key).metadata.state_class for s in expected}
        assert found == expected
    with pytest.raises(EphemeralMixError):
        state.set_batch([SetOperation("session:x", "k", 2)], atomic=True)
    with pytest.raises(EphemeralMixError):
        state.transact(lambda tx: tx.increment("session:x", "new"))


@pytest.mark.parametrize("pattern", ["", "agents:*", "agent:", "agent:*:x", "**", "Agent:*"])
def test_patterns_that_are_none(pattern: str, memory_store: Any) -> None:
    """A pattern is a scope's text with ``*`` for ids, or ``*`` alone."""
    with pytest.raises(ConfigurationError) as caught:
        memory_store(policies=[ScopePolicy(pattern, StateClass.TRUSTED)])
    assert caught.value.hint
    with pytest.raises(ConfigurationError):
        memory_store(policies=[{"scopes": "*"}])


class Recorder(MemoryEngine):
    """Remembers how durable each write was asked to be."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Durability] = []

    def write(self, durability: Durability, body: Any, partitions: Sequence[int] = (0,)) -> None:
        """Write, and remember."""
        self.asked.append(durability)
        super().write(durability, body, partitions)


def test_durability_comes_from_the_call_the_policy_or_the_class() -> None:
    """The call beats the policy, the policy beats the class; sync is what nobody asked for."""
    engine = Recorder()
    policies = [ScopePolicy("session:*", durability=Durability.RELAXED)]
    settings = StoreSettings(sweep_every=0)
    state = StateManager(Kernel(engine, settings), policies=policies)
    engine.asked.clear()
    state.set(A, "k", 1)
    state.set("session:s", "k", 1)
    state.set("session:s", "k", 1, durability="os")
    state.set("session:s", "k", 1, durability=Durability.SYNC)
    state.set_batch([SetOperation("session:s", "k", 1), SetOperation("session:t", "k", 1)])
    state.set_batch([SetOperation("session:s", "k", 1), SetOperation(A, "k", 1)])
    state.set_batch([SetOperation(A, "k", 1)], durability="memory")
    sync, os, relaxed = Durability.SYNC, Durability.OS, Durability.RELAXED
    assert engine.asked == [sync, relaxed, os, sync, relaxed, sync, Durability.MEMORY]
    for wrong in ("fsync", 3, 1.5, b"sync"):
        with pytest.raises(InvalidArgumentError) as caught:
            state.set(A, "k", 1, durability=wrong)  # type: ignore[arg-type]
        assert caught.value.hint
    state.close()


def test_misspelt_options_are_refused(memory_store: Any) -> None:
    """A precondition with a typo must not become a blind write."""
    state = memory_store()
    state.set(A, "k", 1)
    for call in (
        lambda: state.set(A, "k", 2, if_revison=7),
        lambda: state.delete(A, "k", if_absent=True),
        lambda: state.increment(A, "k", expires_in=5),
        lambda: state.set_batch([SetOperation(A, "k", 2)], durabilty="os"),
    ):
        with pytest.raises((InvalidArgumentError, TypeError)):
            call()
    for name, wrong in (
        ("commit_id", b"short"), ("commit_id", "x" * 16), ("actor", ""), ("actor", 5),
        ("correlation", "x" * 256), ("cause", "\ud800"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgumentError):
            state.set(A, "k", 2, **{name: wrong})
    assert (state.get(A, "k"), state.revision) == (1, 1)
