"""While the primary is away: what is answered, what is taken, what is refused, how it is marked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from holdfast import (
    ConflictError,
    DegradedError,
    GetRequest,
    SetOperation,
    StateClass,
    StateManager,
)
from holdfast.errors import InvalidArgumentError
from tests.failover.conftest import World

A = "agent:a"


def away(world: World, **known: object) -> StateManager:
    """Return a store that knows some keys and has just lost its primary."""
    state = world.open()
    for key, value in known.items():
        state.set(A, key, value)
    world.cut.set()
    return state


def test_known_keys_go_on(world: World) -> None:
    """What was written or read through the primary is read, and written, while it is away."""
    world.others().set(A, "theirs", [1])
    state = world.open()
    assert state.get(A, "theirs") == [1]
    state.set(A, "ours", {"n": 1})
    world.cut.set()
    assert state.get(A, "theirs") == [1]
    assert state.get(A, "ours") == {"n": 1}
    state.set(A, "ours", {"n": 2})
    state.set(A, "new", 3)
    assert state.get_batch([(A, "ours"), GetRequest(A, "new"), (A, "theirs")]) == [
        {"n": 2},
        3,
        [1],
    ]
    assert state.exists(A, "new")


def test_the_first_call_that_fails_is_answered(world: World) -> None:
    """Neither the read nor the write that notices the outage fails for it."""
    state = away(world, x=1)
    assert state.get(A, "x") == 1
    assert state.failover.status().state == "open"


def test_known_to_be_absent(world: World) -> None:
    """A key that was read as absent, or deleted, is known to be absent."""
    state = world.open()
    state.set(A, "gone", 1)
    state.delete(A, "gone")
    assert state.get(A, "never") is None
    world.cut.set()
    assert state.get(A, "gone", "default") == "default"
    assert state.get(A, "never", "default") == "default"


def test_unknown_keys_are_an_error(world: World) -> None:
    """What the spill does not know is never passed off as absent."""
    world.others().set(A, "theirs", 1)
    state = away(world)
    with pytest.raises(DegradedError, match="not known here"):
        state.get(A, "theirs")
    with pytest.raises(DegradedError):
        state.get_with_metadata(A, "theirs")
    (found,) = state.get_batch([(A, "theirs")])
    assert isinstance(found, DegradedError)
    assert found.retryable


REFUSED: dict[str, Callable[[StateManager], object]] = {
    "list_keys": lambda s: s.list_keys(A),
    "scan": lambda s: list(s.scan(A)),
    "count": lambda s: s.count(A),
    "scopes": lambda s: s.scopes(),
    "scope_exists": lambda s: s.scope_exists(A),
    "history": lambda s: list(s.history(A, "x")),
    "as_of": lambda s: s.get(A, "x", as_of=1),
    "as_of time": lambda s: s.get(A, "x", as_of=datetime.now(UTC)),
    "diff": lambda s: list(s.diff(0)),
    "changes": lambda s: list(s.changes()),
    "verify": lambda s: s.verify(),
    "compact": lambda s: s.compact(),
    "info": lambda s: s.info(),
    "revision": lambda s: s.revision,
    "retention": lambda s: s.retention(),
    "set_retention": lambda s: s.set_retention([]),
    "sweep": lambda s: s.sweep(),
    "export": lambda s: list(s.export_lines()),
    "snapshot": lambda s: s.snapshot().__enter__(),
    "rewind": lambda s: s.rewind(A, to=1),
    "delete_scope": lambda s: s.delete_scope(A),
    "copy_scope": lambda s: s.copy_scope(A, "agent:b"),
    "find_commit": lambda s: s.find_commit(b"0" * 16),
    "if_revision": lambda s: s.set(A, "x", 2, if_revision=1),
    "if_version": lambda s: s.set(A, "x", 2, if_version=1),
    "if_absent": lambda s: s.set(A, "x", 2, if_absent=True),
    "delete if": lambda s: s.delete(A, "x", if_revision=1),
    "increment": lambda s: s.increment(A, "x"),
    "append": lambda s: s.append(A, "l", 1),
    "merge_patch": lambda s: s.merge_patch(A, "d", {"a": 1}),
    "update": lambda s: s.update(A, "x", lambda n: n + 1),
    "touch unknown": lambda s: s.touch(A, "unknown", expires_in=5),
    "transact": lambda s: s.transact(lambda tx: tx.get(A, "x") and tx.set(A, "x", 5)),
    "blind transaction": lambda s: s.transact(lambda tx: tx.set(A, "x", 5)),
}


@pytest.mark.parametrize("verb", REFUSED)
def test_what_needs_the_primary_is_refused(world: World, verb: str) -> None:
    """A verb that only the primary can answer says so, and changes nothing."""
    state = away(world, x=1, l=[], d={})
    with pytest.raises(DegradedError, match="the primary is away"):
        REFUSED[verb](state)
    assert state.get(A, "x") == 1


def test_refusals_name_the_way_out(world: World) -> None:
    """Where a provisional write would be taken, the hint says how to ask for one."""
    state = away(world, x=1)
    with pytest.raises(DegradedError, match="provisional=True"):
        state.increment(A, "x")


def test_results_are_marked(world: World) -> None:
    """Metadata says that the spill answered; a mirrored key keeps the primary's revision."""
    state = away(world, x=1)
    found = state.get_with_metadata(A, "x")
    assert found is not None
    assert found.metadata.degraded
    assert found.metadata.revision == 1
    revision = state.set(A, "x", 2)
    found = state.get_with_metadata(A, "x")
    assert found is not None
    assert found.metadata.degraded
    assert found.metadata.revision == revision < 0
    health = state.health()
    assert health.status == "degraded"
    detail = health.components["failover"].detail
    assert (detail["state"], detail["code"]) == ("open", "engine")
    world.cut.clear()
    assert state.failover.probe()
    found = state.get_with_metadata(A, "x")
    assert found is not None
    assert not found.metadata.degraded
    assert state.health().status == "ok"


def test_the_past_of_an_outage(world: World) -> None:
    """A revision of this outage shows what it wrote until then, marked; no other past is known."""
    state, others = away(world, x=1, y=1), world.others()
    state.set(A, "y", 2)
    world.cut.clear()
    assert state.failover.probe()
    others.set(A, "y", 3)
    assert state.get(A, "y") == 3
    world.cut.set()
    first = state.set(A, "x", 2)
    second = state.set(A, "x", 3)
    state.delete(A, "x")
    last = state.set(A, "z", 4)
    assert (state.get(A, "x", as_of=first), state.get(A, "x", as_of=second)) == (2, 3)
    assert state.get(A, "x", as_of=last) is None
    found = state.get_with_metadata(A, "x", as_of=first)
    assert found is not None
    assert (found.metadata.degraded, found.metadata.revision) == (True, first)
    for key in ("y", "never"):  # the spill has a version of y, of an earlier outage
        with pytest.raises(DegradedError):
            state.get(A, key, as_of=last)


def test_revisions_of_the_spill_are_unmistakable(world: World) -> None:
    """They are negative, ordered, and match no revision of the primary."""
    state = away(world, x=1)
    first, second = state.set(A, "x", 2), state.set(A, "y", 2)
    assert first < second < -(1 << 51)
    world.cut.clear()
    assert state.failover.probe()
    with pytest.raises(ConflictError) as caught:
        state.set(A, "x", 3, if_revision=first)
    assert caught.value.expected == first
    assert state.get(A, "x") == 2
    with pytest.raises(InvalidArgumentError):
        list(state.changes(first))
    with pytest.raises(InvalidArgumentError):
        state.set(A, "x", 3, if_revision=-1)


def test_a_revision_read_on_the_spill_counts_at_the_primary(world: World) -> None:
    """A mirrored key's revision is the primary's: what was read degraded can be written after."""
    state = away(world, x=1)
    found = state.get_with_metadata(A, "x")
    world.cut.clear()
    assert state.failover.probe()
    assert found is not None
    assert state.set(A, "x", 2, if_revision=found.metadata.revision) == 2


def test_delete_touch_and_expiry(world: World) -> None:
    """Deletes and touches of known keys answer exactly; expiry is kept and obeyed."""
    state = world.open()
    state.set(A, "short", 1, expires_in=10)
    state.set(A, "long", 1)
    world.cut.set()
    assert state.touch(A, "long", expires_in=20)
    assert state.delete(A, "short")
    assert not state.delete(A, "short")
    assert not state.touch(A, "short", expires_in=5)
    state.set(A, "brief", 1, expires_in=5)
    world.clock.advance(6)
    assert state.get(A, "brief") is None
    world.clock.advance(15)
    assert state.get(A, "long") is None


def test_delete_of_an_unknown_key_is_taken(world: World) -> None:
    """What a delete leaves behind is known, whatever was there: it is carried out later."""
    others = world.others()
    others.set(A, "theirs", 1)
    state = away(world)
    assert state.delete(A, "theirs")
    assert state.get(A, "theirs") is None
    assert others.get(A, "theirs") == 1
    world.cut.clear()
    assert state.failover.probe()
    assert others.get(A, "theirs") is None


def test_batches(world: World) -> None:
    """A batch is taken; items with a precondition are refused one by one."""
    state = away(world, x=1)
    results = state.set_batch(
        [SetOperation(A, "x", 2), SetOperation(A, "y", 2, if_absent=True), SetOperation(A, "z", 3)]
    )
    assert [type(r) for r in results] == [int, DegradedError, int]
    assert state.get_batch([(A, "x"), (A, "z")]) == [2, 3]
    with pytest.raises(DegradedError):
        state.set_batch(
            [SetOperation(A, "q", 1), SetOperation(A, "r", 1, if_absent=True)], atomic=True
        )
    with pytest.raises(DegradedError):
        state.get(A, "q")


def test_a_class_is_kept(world: World) -> None:
    """A known key keeps its class on the spill and behind it; a class given is carried over."""
    state = world.open()
    state.set(A, "x", 1, state_class=StateClass.TRUSTED)
    world.cut.set()
    state.set(A, "x", 2)
    state.set(A, "y", 2, state_class=StateClass.TRUSTED)
    world.cut.clear()
    assert state.failover.probe()
    for key in ("x", "y"):
        found = state.get_with_metadata(A, key)
        assert found is not None
        assert found.metadata.state_class is StateClass.TRUSTED


def test_ephemeral_values_do_not_notice(world: World) -> None:
    """What lives in the process only is there before, during and after."""
    state = world.open()
    state.set(A, "e", 1, state_class=StateClass.EPHEMERAL)
    world.cut.set()
    assert state.get(A, "e") == 1
    state.set(A, "e", 2)
    world.cut.clear()
    assert state.get(A, "e") == 2


def test_a_second_outage_begins_anew(world: World) -> None:
    """What the spill wrote in one outage is not believed in the next."""
    state = away(world, x=1)
    state.set(A, "x", 2)
    world.cut.clear()
    assert state.failover.probe()
    state.set(A, "x", 3)
    state.delete(A, "x")
    state.set(A, "y", 1)
    world.cut.set()
    assert state.get(A, "x") is None
    state.set(A, "x", 4)
    found = state.get_with_metadata(A, "x")
    assert found is not None
    assert found.metadata.version == 1
    world.cut.clear()
    assert state.failover.probe()
    assert [c.value for c in state.history(A, "x", newest_first=False)] == [1, 2, 3, None, 4]
