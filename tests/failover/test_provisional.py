"""Provisional writes: decided by what the spill knows, confirmed or reported after the replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast import ConflictError, DegradedError, Provisional, SetOperation, StateManager
from holdfast.errors import InvalidArgumentError
from tests.failover.conftest import World
from tests.store.test_concurrency import together

A = "agent:a"
pytestmark = pytest.mark.parametrize("world", [1, 3], indirect=True)


def back(world: World, state: StateManager) -> list[Provisional]:
    """Let the primary return; return what became of the provisional writes."""
    world.cut.clear()
    assert state.failover.probe()
    return state.failover.provisional()


def test_confirmed(world: World) -> None:
    """Where all that it was based on holds, a provisional result is the primary's too."""
    state, others = world.open(), world.others()
    state.set(A, "n", 1)
    state.set(A, "l", [1])
    world.cut.set()
    assert state.increment(A, "n", provisional=True) == 2
    assert state.increment(A, "n", provisional=True) == 3
    assert state.append(A, "l", 2, provisional=True) == 2
    assert state.update(A, "n", lambda n: n * 10, provisional=True) == 30
    assert [p.status for p in state.failover.provisional()] == ["pending"] * 4
    told = back(world, state)
    assert [p.status for p in told] == ["confirmed"] * 4
    assert all(p.revision is not None for p in told)
    assert (others.get(A, "n"), others.get(A, "l")) == (30, [1, 2])
    assert state.failover.conflicts() == []


def test_not_confirmed(world: World) -> None:
    """Where others changed the premise, the report says on what it was decided and what is."""
    state, others = world.open(), world.others()
    state.set(A, "n", 1)
    world.cut.set()
    state.increment(A, "n", provisional=True)
    others.increment(A, "n", 100)
    (told,) = back(world, state)
    (where,) = told.keys
    assert told.status == "not_confirmed"
    assert (str(where[0]), where[1]) == (A, "n")
    assert told.based_on == {where: 1}
    assert told.actual == {where: 2}
    (conflict,) = state.failover.conflicts()
    assert conflict.provisional
    assert conflict.theirs is not None
    assert (conflict.theirs.value, conflict.resolution) == (101, "keep_ours")
    assert others.get(A, "n") == 2
    assert state.failover.status().not_confirmed == 1


def test_what_follows_from_it_is_not_confirmed_either(world: World) -> None:
    """A premise that was itself resolved otherwise does not hold."""
    state, others = world.open(on_conflict="keep_theirs"), world.others()
    state.set(A, "n", 1)
    world.cut.set()
    state.increment(A, "n", provisional=True)
    state.increment(A, "n", provisional=True)
    others.set(A, "n", 50)
    told = back(world, state)
    assert [p.status for p in told] == ["not_confirmed", "not_confirmed"]
    assert [p.revision for p in told] == [None, None]
    assert others.get(A, "n") == 50
    assert len(state.failover.conflicts()) == 2


def test_a_read_that_no_longer_holds(world: World) -> None:
    """A transaction is not confirmed where a key that it only read has changed."""
    state, others = world.open(), world.others()
    state.set(A, "limit", 10)
    world.cut.set()
    with state.transaction(provisional=True) as tx:
        tx.set(A, "order", tx.get(A, "limit"))
    assert tx.revision is not None
    assert tx.revision < 0
    others.set(A, "limit", 1)
    (told,) = back(world, state)
    assert told.status == "not_confirmed"
    assert [key for _, key in told.actual] == ["limit"]
    assert others.get(A, "order") == 10


def test_preconditions(world: World) -> None:
    """Conditions are judged by what is known: revisions of the primary, and of the spill."""
    state, others = world.open(), world.others()
    revision = state.set(A, "x", 1)
    assert state.get(A, "absent") is None
    world.cut.set()
    with pytest.raises(ConflictError):
        state.set(A, "x", 2, if_revision=revision + 5, provisional=True)
    second = state.set(A, "x", 2, if_revision=revision, provisional=True)
    with pytest.raises(ConflictError):
        state.set(A, "x", 3, if_revision=revision, provisional=True)
    state.set(A, "x", 3, if_revision=second, provisional=True)
    state.set(A, "absent", 1, if_absent=True, provisional=True)
    with pytest.raises(ConflictError):
        state.set(A, "absent", 1, if_absent=True, provisional=True)
    with pytest.raises(DegradedError):
        state.set(A, "unknown", 1, if_absent=True, provisional=True)
    assert {p.status for p in back(world, state)} == {"confirmed"}
    assert (others.get(A, "x"), others.get(A, "absent")) == (3, 1)


def test_in_the_same_outage_as_plain_writes(world: World) -> None:
    """Plain writes before and after count as the state that they made."""
    state, others = world.open(), world.others()
    state.set(A, "n", 1)
    world.cut.set()
    state.set(A, "n", 10)
    assert state.increment(A, "n", provisional=True) == 11
    state.delete(A, "n")
    assert state.increment(A, "n", provisional=True) == 1
    assert [p.status for p in back(world, state)] == ["confirmed", "confirmed"]
    assert others.get(A, "n") == 1


def test_transactions_see_the_spill(world: World) -> None:
    """A provisional transaction reads its own writes, ours of the outage, and mirrored keys."""
    state, others = world.open(), world.others()
    state.set(A, "old", 1)
    world.cut.set()
    state.set(A, "new", 2)
    with state.transaction(provisional=True) as tx:
        tx.set(A, "sum", tx.get(A, "old") + tx.get(A, "new"))
        assert tx.get(A, "sum") == 3
        with pytest.raises(DegradedError):
            tx.get(A, "unknown")
        with pytest.raises(DegradedError):
            tx.list_keys(A)
        tx.core.ranges.clear()  # the refused listing
    (told,) = back(world, state)
    assert told.status == "confirmed"
    assert others.get(A, "sum") == 3


def test_what_a_transaction_shows_is_marked(world: World) -> None:
    """Metadata read in a transaction says that the spill answered, and shows its revisions so."""
    state = world.open()
    first = state.set(A, "old", 1)
    world.cut.set()
    revision = state.set(A, "new", 2)
    with state.transaction(provisional=True) as tx:
        assert tx.start_revision == revision
        for key, expected in (("old", first), ("new", revision)):
            found = tx.get_with_metadata(A, key)
            assert found is not None
            assert (found.metadata.degraded, found.metadata.revision) == (True, expected)
        state.set(A, "new", 3)
        with pytest.raises(ConflictError) as caught:
            tx.get(A, "new")
        assert caught.value.expected == revision
        assert caught.value.actual is not None
        assert revision < caught.value.actual < 0
        tx.core.reads.clear()
    back(world, state)
    with state.transaction() as tx:
        found = tx.get_with_metadata(A, "new")
        assert found is not None
        assert not found.metadata.degraded
        assert found.metadata.revision > 0


ASKED: dict[str, Callable[[StateManager, dict[str, Any]], object]] = {
    "if_revision": lambda s, how: s.set(A, "x", 9, if_revision=1, **how),
    "if_version": lambda s, how: s.set(A, "x", 9, if_version=1, **how),
    "if_absent": lambda s, how: s.set(A, "gone", 9, if_absent=True, **how),
    "delete": lambda s, how: s.delete(A, "x", if_version=1, **how),
    "increment": lambda s, how: s.increment(A, "x", **how),
    "append": lambda s, how: s.append(A, "l", 1, **how),
    "merge_patch": lambda s, how: s.merge_patch(A, "d", {"a": 1}, **how),
    "update": lambda s, how: s.update(A, "x", lambda n: n + 1, **how),
    "transact": lambda s, how: s.transact(lambda tx: tx.set(A, "x", 5), **how),
    "batch": lambda s, how: s.set_batch(
        [SetOperation(A, "gone", 1, if_absent=True), SetOperation(A, "x", 2)], atomic=True, **how
    ),
}


@pytest.mark.parametrize("verb", ASKED)
def test_every_demanding_verb(world: World, verb: str) -> None:
    """What needs the primary's truth is refused, taken if provisional, and confirmed later."""
    state, others = world.open(), world.others()
    state.set(A, "x", 1)
    state.set(A, "l", [])
    state.set(A, "d", {})
    assert state.get(A, "gone") is None
    world.cut.set()
    with pytest.raises(DegradedError, match="the primary is away"):
        ASKED[verb](state, {})
    ASKED[verb](state, {"provisional": True})
    keys = [(A, key) for key in ("x", "l", "d", "gone")]
    values = state.get_batch(keys)
    (told,) = back(world, state)
    assert told.status == "confirmed"
    assert others.get_batch(keys) == values
    assert state.failover.conflicts() == []


def test_a_transaction_over_the_switch_conflicts(world: World) -> None:
    """One that began on the spill is not committed on the primary: it is run again there."""
    state = world.open()
    state.set(A, "n", 1)
    world.cut.set()
    runs = 0

    def add(tx: object) -> None:
        nonlocal runs
        runs += 1
        n = tx.get(A, "n")  # type: ignore[attr-defined]
        if runs == 1:
            back(world, state)
        tx.set(A, "n", n + 1)  # type: ignore[attr-defined]

    assert state._kernel.degraded is False  # type: ignore[attr-defined]
    state.get(A, "n")
    state.transact(add, provisional=True)
    assert runs == 2
    assert state.get(A, "n") == 2


@pytest.mark.parametrize("verb", ["increment", "update"])
def test_concurrent_increments_are_exact(world: World, verb: str) -> None:
    """Many threads incrementing on the spill lose none, also where they meet conflicts."""
    state, others = world.open(), world.others()
    state.set(A, "n", 0)
    world.cut.set()

    def work() -> None:
        for _ in range(20):
            if verb == "increment":
                state.increment(A, "n", provisional=True, durability="os")
            else:
                state.update(A, "n", lambda n: n + 1, provisional=True, durability="os")

    together(*[work] * 5)
    assert state.get(A, "n") == 100
    assert {p.status for p in back(world, state)} == {"confirmed"}
    assert others.get(A, "n") == 100


def test_without_an_outage_it_means_nothing(world: World) -> None:
    """On the primary a write marked provisional is an ordinary one."""
    state = world.open()
    assert state.increment(A, "n", provisional=True) == 1
    assert state.failover.provisional() == []
    with pytest.raises(InvalidArgumentError, match="provisional"):
        state.increment(A, "n", provisional="yes")  # type: ignore[arg-type]
