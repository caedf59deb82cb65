"""What others wrote meanwhile: found exactly, settled by policy, recorded, never dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast import KEEP_THEIRS, Conflict, SetOperation, StateManager
from holdfast.store.value import MISSING
from tests.failover.conftest import World

A = "agent:a"
pytestmark = pytest.mark.parametrize("world", [1, 3], indirect=True)
Act = Callable[[StateManager], object]


def meet(world: World, ours: Act, theirs: Act, **options: Any) -> tuple[StateManager, StateManager]:
    """Let both sides act while the primary is away for us, and come back."""
    state, others = world.open(**options), world.others()
    state.set(A, "k", "before")
    world.cut.set()
    ours(state)
    theirs(others)
    world.cut.clear()
    assert state.failover.probe()
    return state, others


def value(state: StateManager, key: str = "k") -> Any:
    """Return what stands at the key."""
    return state.get(A, key)


SET_OURS: Act = lambda s: s.set(A, "k", "ours")  # noqa: E731
SET_THEIRS: Act = lambda s: s.set(A, "k", "theirs")  # noqa: E731


def test_keep_ours_is_the_default(world: World) -> None:
    """Ours is a new version on top of theirs: both are in the history, and the record says so."""
    state, others = meet(world, SET_OURS, SET_THEIRS)
    assert [c.value for c in others.history(A, "k")] == ["ours", "theirs", "before"]
    (conflict,) = state.failover.conflicts()
    assert conflict.ours is not None
    assert conflict.theirs is not None
    assert (conflict.ours.value, conflict.theirs.value) == ("ours", "theirs")
    assert (conflict.resolution, str(conflict.scope), conflict.key) == ("keep_ours", A, "k")
    assert state.failover.status().conflicts == 1
    assert state.health().components["failover"].detail["conflicts"] == 1


def test_keep_theirs(world: World) -> None:
    """Theirs stays, and ours is in the conflict's record."""
    state, others = meet(world, SET_OURS, SET_THEIRS, on_conflict="keep_theirs")
    assert [c.value for c in others.history(A, "k")] == ["theirs", "before"]
    (conflict,) = state.failover.conflicts()
    assert conflict.ours is not None
    assert (conflict.ours.value, conflict.resolution) == ("ours", "keep_theirs")
    assert conflict.ours.metadata.revision < 0
    assert value(state) == "theirs"


@pytest.mark.parametrize(
    ("said", "expected", "resolution"),
    [
        (lambda c: f"{c.ours.value}+{c.theirs.value}", "ours+theirs", "value"),
        (lambda c: KEEP_THEIRS, "theirs", "keep_theirs"),
        (lambda c: MISSING, None, "delete"),
        (lambda c: 1 / 0, "ours", "keep_ours"),
        (lambda c: object(), "ours", "keep_ours"),
    ],
)
def test_a_function_decides(
    world: World, said: Callable[[Conflict], Any], expected: Any, resolution: str
) -> None:
    """A function merges, yields or deletes; where it fails, ours is kept and the record says so."""
    state, others = meet(world, SET_OURS, SET_THEIRS, on_conflict=said)
    assert value(others) == expected
    (conflict,) = state.failover.conflicts()
    assert conflict.resolution == resolution
    assert (conflict.failed is not None) == (resolution == "keep_ours")


def test_deletes_conflict_too(world: World) -> None:
    """A delete on either side meets a change on the other as a conflict."""
    state, others = meet(world, lambda s: s.delete(A, "k"), SET_THEIRS)
    (conflict,) = state.failover.conflicts()
    assert conflict.ours is None
    assert conflict.theirs is not None
    assert value(others) is None


def test_theirs_deleted(world: World) -> None:
    """Theirs is None where they deleted the key; ours makes it anew."""
    state, others = meet(world, SET_OURS, lambda s: s.delete(A, "k"))
    (conflict,) = state.failover.conflicts()
    assert conflict.theirs is None
    assert value(others) == "ours"


def test_made_and_deleted_meanwhile(world: World) -> None:
    """A key that others made and removed again is a conflict, though nothing stands there."""
    state, _ = meet(
        world,
        lambda s: s.set(A, "fresh", "ours"),
        lambda s: (s.set(A, "fresh", "theirs"), s.delete(A, "fresh")),
    )
    assert len(state.failover.conflicts()) == 1


def test_other_keys_are_none(world: World) -> None:
    """What others wrote to other keys, and before the outage, is no conflict."""
    others = world.others()
    state = world.open()
    state.set(A, "k", 1)
    others.set(A, "k", "theirs, before")
    assert state.get(A, "else") is None
    state._kernel.look(state._kernel.primary)  # type: ignore[attr-defined]
    world.cut.set()
    state.set(A, "k", "ours")
    others.set(A, "other", 1)
    world.cut.clear()
    assert state.failover.probe()
    assert state.failover.conflicts() == []
    assert value(others) == "ours"


def test_an_expiry_is_no_conflict(world: World) -> None:
    """That a key's time ran out at the primary is nobody's change."""
    state, others = world.open(), world.others()
    state.set(A, "k", 1, expires_in=10)
    world.cut.set()
    state.set(A, "k", 2)
    world.clock.advance(20)
    assert others.sweep() == 1
    world.cut.clear()
    assert state.failover.probe()
    assert state.failover.conflicts() == []
    assert value(others) == 2


def test_ours_after_ours_is_no_second_conflict(world: World) -> None:
    """Once ours stands on top of theirs, our later commits just follow."""
    state, others = meet(
        world, lambda s: [s.set(A, "k", f"ours {n}") for n in range(3)], SET_THEIRS
    )
    assert len(state.failover.conflicts()) == 1
    assert value(others) == "ours 2"


def test_every_commit_that_yields_is_recorded(world: World) -> None:
    """With keep_theirs each acknowledged write that is not carried over has its record."""
    state, others = meet(
        world,
        lambda s: [s.set(A, "k", f"ours {n}") for n in range(3)],
        SET_THEIRS,
        on_conflict="keep_theirs",
    )
    assert [c.ours.value for c in state.failover.conflicts() if c.ours] == [
        "ours 0",
        "ours 1",
        "ours 2",
    ]
    assert value(others) == "theirs"


def test_an_atomic_commit_yields_whole(world: World) -> None:
    """One key that yields keeps the whole atomic commit back; a loose batch only that key."""
    pair = [SetOperation(A, "k", "ours"), SetOperation(A, "l", "ours")]
    state, others = meet(
        world, lambda s: s.set_batch(pair, atomic=True), SET_THEIRS, on_conflict="keep_theirs"
    )
    assert (value(others), value(others, "l")) == ("theirs", None)
    assert {c.key for c in state.failover.conflicts()} == {"k", "l"}


def test_a_loose_batch_yields_by_key(world: World) -> None:
    """Items of a batch that is not atomic are settled one by one."""
    pair = [SetOperation(A, "k", "ours"), SetOperation(A, "l", "ours")]
    _, others = meet(world, lambda s: s.set_batch(pair), SET_THEIRS, on_conflict="keep_theirs")
    assert (value(others), value(others, "l")) == ("theirs", "ours")


def test_a_touch_of_what_others_changed(world: World) -> None:
    """A touch has no value to put in the place of theirs: it touches theirs."""
    state, others = meet(world, lambda s: s.touch(A, "k", expires_in=50), SET_THEIRS)
    found = others.get_with_metadata(A, "k")
    assert found is not None
    assert found.value == "theirs"
    assert found.metadata.expires_at is not None
    assert len(state.failover.conflicts()) == 1


def test_records_survive_and_can_be_dismissed(world: World) -> None:
    """Conflicts are there after a restart, until somebody has seen to them."""
    state, _ = meet(world, SET_OURS, SET_THEIRS)
    state.close()
    state = world.open()
    assert len(state.failover.conflicts()) == 1
    assert state.failover.dismiss() == 1
    assert state.failover.conflicts() == []


def test_values_stay_out_of_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the key and the resolution, not the values."""
    meet(world, lambda s: s.set(A, "k", "secret-1"), lambda s: s.set(A, "k", "secret-2"))
    assert "agent:a/k" in caplog.text
    assert "secret" not in caplog.text
