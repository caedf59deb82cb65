"""The replay: everything acknowledged arrives once, in order, and late writes do not."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from holdfast import ConflictError, DegradedError, SetOperation, StateManager
from holdfast.errors import EngineError, OutcomeUnknownError
from holdfast.failover.kernel import FailoverKernel
from holdfast.failover.replay import stamped
from holdfast.testing import Fault, FaultPlan
from tests.failover.conftest import World

A = "agent:a"


def back(world: World, state: StateManager) -> None:
    """Let the primary return, and the store with it."""
    world.cut.clear()
    assert state.failover.probe()


def test_in_order_and_once(world: World) -> None:
    """Commits of the outage stand in the primary's journal in their order, each one time."""
    state, others = world.open(), world.others()
    state.set(A, "k", 0)
    world.cut.set()
    for number in range(1, 30):
        state.set(A, "k", number)
        state.set(A, f"only-{number}", number)
    back(world, state)
    assert [c.value for c in others.history(A, "k", newest_first=False)] == list(range(30))
    assert others.get_batch([(A, f"only-{n}") for n in range(1, 30)]) == list(range(1, 30))
    assert state.failover.status().pending == 0
    assert state.failover.status().replayed == 58


def test_more_than_a_page(world: World) -> None:
    """A queue longer than any page of it is carried over whole."""
    state, others = world.open(), world.others()
    world.cut.set()
    for number in range(450):
        state.set(A, f"k{number % 50}", number, durability="os")
    back(world, state)
    assert [others.get(A, f"k{n}") for n in range(50)] == list(range(400, 450))
    assert len(list(others.changes())) == 450


def test_everything_travels(world: World) -> None:
    """Class, expiry, actor, correlation, commit id and cause arrive; the cause says when."""
    state, others = world.open(), world.others()
    world.cut.set()
    made = world.clock.now_ns()
    state.set(
        A,
        "k",
        "x" * 9000,
        expires_in=100,
        actor="ada",
        correlation="run-1",
        cause="because",
        commit_id=b"i" * 16,
    )
    world.clock.advance(10)
    back(world, state)
    (change,) = others.changes()
    assert (change.actor, change.correlation_id) == ("ada", "run-1")
    assert change.commit_id == (b"i" * 16).hex()
    assert change.cause == stamped("because", made)
    assert "failover: made at 2023-11-14T22:13:20" in change.cause
    found = others.get_with_metadata(A, "k")
    assert found is not None
    assert found.value == "x" * 9000
    assert found.metadata.expires_at is not None
    assert found.metadata.expires_at - change.at == timedelta(seconds=90)


def test_a_long_cause_is_left_alone() -> None:
    """A cause that leaves no room for the time stays what its caller said."""
    assert stamped("c" * 250, 0) == "c" * 250
    assert stamped(None, 0) == "failover: made at 1970-01-01T00:00:00+00:00"


def test_dictionaries_and_deltas_stay_behind(world: World) -> None:
    """Values compressed with the primary's dictionary are read, changed and carried over."""
    others = world.others()
    for number in range(300):
        others.set(A, f"k{number}", {"name": f"agent number {number}", "kind": "sample " * 5})
    others.compact(train=True)
    state = world.open()
    state.set(A, "small", {"name": "agent number 9999", "kind": "sample " * 5})
    state.set(A, "large", ["turn " * 100] * 50)
    world.cut.set()
    assert state.get(A, "small")["name"] == "agent number 9999"
    state.set(A, "small", {"name": "agent number 8888", "kind": "sample " * 5})
    state.set(A, "large", ["turn " * 100] * 51)
    state.set(A, "large", ["turn " * 100] * 52)
    back(world, state)
    assert others.get(A, "small")["name"] == "agent number 8888"
    assert [len(c.value) for c in others.history(A, "large", newest_first=False)] == [50, 51, 52]


def test_tenants_keep_apart(world: World) -> None:
    """A replay brings each tenant's keys back under their tenant."""
    state = world.open(tenant="acme")
    world.cut.set()
    state.set(A, "k", 1)
    back(world, state)
    assert world.others("acme").get(A, "k") == 1
    assert world.others().get(A, "k") is None


def test_atomic_commits_stay_one_commit(world: World) -> None:
    """What was one commit on the spill is one on the primary."""
    state, others = world.open(), world.others()
    world.cut.set()
    state.set_batch([SetOperation(A, "a", 1), SetOperation(A, "b", 2)], atomic=True)
    back(world, state)
    assert {c.revision for c in others.changes()} == {1}


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.LANDED])
def test_a_write_in_doubt_is_made_once(world: World, fault: Fault) -> None:
    """A write that the primary may have made is acknowledged, and is there exactly once."""
    state, others = world.open(), world.others()
    state.set(A, "k", 0)
    engine = world.engines[-1]
    engine.plan = FaultPlan({("commit", engine.counts["commit"]): fault})
    revision = state.set(A, "k", 1)
    assert revision < 0
    assert state.get(A, "k") == 1
    state.set(A, "k", 2)
    back(world, state)
    assert [c.value for c in others.history(A, "k", newest_first=False)] == [0, 1, 2]
    assert state.failover.conflicts() == []


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.LANDED])
def test_a_conditional_write_in_doubt_says_so(world: World, fault: Fault) -> None:
    """Where only the primary can tell what a condition came to, nobody guesses."""
    state = world.open()
    state.set(A, "k", 0)
    engine = world.engines[-1]
    engine.plan = FaultPlan({("commit", engine.counts["commit"]): fault})
    with pytest.raises(OutcomeUnknownError) as caught:
        state.increment(A, "k")
    assert caught.value.commit_id is not None
    with pytest.raises(DegradedError):
        state.get(A, "k")  # it is 0 or 1
    back(world, state)
    found = state.find_commit(caught.value.commit_id)
    assert (found is not None) == (fault is Fault.LANDED)
    assert state.get(A, "k") == (1 if found else 0)


def test_a_disk_full_goes_to_the_spill(world: World) -> None:
    """A primary that cannot write for want of space is away for writing."""
    state = world.open()
    engine = world.engines[-1]
    engine.plan = FaultPlan({("commit", engine.counts["commit"]): Fault.DISK_FULL})
    assert state.set(A, "k", 1) < 0
    assert state.failover.status().code == "disk_full"
    back(world, state)
    assert state.get(A, "k") == 1


def test_a_late_write_of_an_old_epoch_is_refused(world: World) -> None:
    """What hangs in the primary while the store comes back under a new epoch does nothing."""
    state, others = world.open(), world.others()
    state.set(A, "k", "first")
    kernel = state._kernel
    assert isinstance(kernel, FailoverKernel)
    stuck, engine = kernel.primary, world.engines[-1]
    assert stuck is not None
    reached, go = threading.Event(), threading.Event()

    def hang() -> None:
        reached.set()
        go.wait(30)

    engine.plan = FaultPlan({("ack", engine.counts["ack"]): OutcomeUnknownError("no reply")})
    before = world.primary  # the old engine's writes wait in front of the file
    late: list[Any] = []

    def write_late() -> None:
        from holdfast.engines.base import Durability
        from holdfast.store.intent import Intent

        intent = state._writer.set(A, "k", "late")
        assert isinstance(intent, Intent)
        intent.durability = Durability.SYNC
        hang()
        stuck.committer.commit([intent])
        late.append(intent.error)

    thread = threading.Thread(target=write_late)
    thread.start()
    assert reached.wait(30)
    assert before is not None
    state.set(A, "k", "second")  # its reply is lost: the store goes to the spill
    back(world, state)
    state.set(A, "k", "third")
    go.set()
    thread.join()
    assert isinstance(late[0], EngineError)
    assert others.get(A, "k") == "third"


def test_the_fence_itself(world: World) -> None:
    """A handle whose epoch has passed is refused inside the engine's own write."""
    state = world.open()
    kernel = state._kernel
    assert isinstance(kernel, FailoverKernel)
    old = kernel.connect()
    new = kernel.connect()
    intent = state._writer.set(A, "k", 1)
    assert intent is not None
    old.lane.submit(intent)
    assert getattr(intent.error, "code", None) == "fenced"
    again = state._writer.set(A, "k", 1)
    assert again is not None
    new.lane.submit(again)
    assert again.error is None
    old.close()
    new.close()
    # The store's own handle is of an earlier epoch too: it notices, and comes back under another.
    assert state.set(A, "k", 2) < 0
    assert state.failover.status().code == "fenced"
    back(world, state)
    assert state.get(A, "k") == 2


@pytest.mark.parametrize("point", ["body", "commit", "ack"])
@pytest.mark.parametrize("number", range(6))
def test_a_replay_cut_off_goes_on(world: World, point: str, number: int) -> None:
    """Wherever the primary goes away again during a replay, nothing is lost or done twice."""
    state, others = world.open(), world.others()
    state.set(A, "k", 0)
    world.cut.set()
    for value in range(1, 6):
        state.set(A, "k", value)
    world.cut.clear()
    world.plan = FaultPlan({(point, number): OutcomeUnknownError("gone again")})  # type: ignore[dict-item]
    state.failover.probe()
    assert state.failover.probe()
    assert [c.value for c in others.history(A, "k", newest_first=False)] == [0, 1, 2, 3, 4, 5]
    assert state.failover.conflicts() == []


@pytest.mark.parametrize("number", range(8))
def test_a_process_that_dies_in_a_replay(world: World, number: int) -> None:
    """After a crash at any commit of a replay the next process finishes it, exactly once."""
    state, others = world.open(), world.others()
    state.set(A, "k", 0)
    world.cut.set()
    for value in range(1, 6):
        state.set(A, "k", value)
    world.cut.clear()
    world.plan = FaultPlan({("ack", number): OutcomeUnknownError("the process dies")})
    state.failover.probe()
    world.crash(state)
    state = world.open()
    assert state.failover.status().state == "closed"
    assert [c.value for c in others.history(A, "k", newest_first=False)] == [0, 1, 2, 3, 4, 5]
    assert state.failover.conflicts() == []


def test_a_write_in_doubt_keeps_its_place(world: World) -> None:
    """A write that landed before others of ours stands behind them if so it was acknowledged."""
    state, others = world.open(), world.others()
    state.set(A, "k", 0)
    kernel = state._kernel
    assert isinstance(kernel, FailoverKernel)
    late = state._writer.set(A, "k", "late")
    assert late is not None
    kernel.lane._name(late)  # type: ignore[attr-defined]
    primary = kernel.primary
    assert primary is not None
    since = kernel.known_head(primary, late)
    primary.lane.submit(late)  # it landed, but its reply is lost
    world.cut.set()
    state.set(A, "k", "early")
    late.error = None
    kernel._gate.enter()
    kernel._spilling.commit(late, since)
    kernel._gate.leave()
    assert state.get(A, "k") == "late"
    back(world, state)
    assert others.get(A, "k") == "late"
    assert state.failover.conflicts() == []


def test_events_of_a_write_in_doubt_are_told_once(world: World) -> None:
    """A commit that is done again to keep its place does not tell its events again."""
    state, others = world.open(), world.others()
    state.set(A, "k", 0)
    kernel = state._kernel
    assert isinstance(kernel, FailoverKernel)
    late = state._writer.set(A, "k", "late")
    assert late is not None
    late.events = state.events.intent("late", None, A, (), {}).events
    kernel.lane._name(late)  # type: ignore[attr-defined]
    primary = kernel.primary
    assert primary is not None
    since = kernel.known_head(primary, late)
    primary.lane.submit(late)  # it landed, but its reply is lost
    world.cut.set()
    state.set(A, "k", "early")
    late.error = None
    kernel._gate.enter()
    kernel._spilling.commit(late, since)
    kernel._gate.leave()
    back(world, state)
    assert others.get(A, "k") == "late"
    assert [event.id for event in others.events.read()] == [late.events[0].id.hex()]


def test_events_that_the_primary_refuses_are_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A commit of events alone that the primary can never take does not vanish in silence."""
    world.others().events.emit("theirs", scope=A, commit_id=b"i" * 16)
    state = world.open(tenant="acme")
    world.cut.set()
    state.events.emit("ours", scope=A, commit_id=b"i" * 16)
    state.set(A, "next", 3)
    back(world, state)
    assert state.get(A, "next") == 3
    assert list(state.events.read()) == []
    assert "invalid_argument" in caplog.text


def test_what_the_primary_refuses_is_recorded(world: World) -> None:
    """A commit that the primary can never take does not stop the others, and is reported."""
    world.others().set(A, "k", 1, commit_id=b"i" * 16)
    state = world.open(tenant="acme")
    world.cut.set()
    state.set(A, "k", 2, commit_id=b"i" * 16)  # an id that names a commit of another tenant
    state.set(A, "next", 3)
    back(world, state)
    (conflict,) = state.failover.conflicts()
    assert (conflict.resolution, conflict.failed) == ("refused", "invalid_argument")
    assert conflict.ours is not None
    assert conflict.ours.value == 2
    assert state.get(A, "next") == 3


def test_a_write_in_doubt_that_was_seen(world: World) -> None:
    """A write that landed is found also where the head that was seen lies behind it."""
    state, others = world.open(), world.others()
    state.set(A, "k", 0)
    kernel = state._kernel
    assert isinstance(kernel, FailoverKernel)

    def lose_the_reply() -> None:
        assert kernel.primary is not None
        kernel.look(kernel.primary)  # the heartbeat of that very moment
        raise OutcomeUnknownError("no reply")

    engine = world.engines[-1]
    engine.plan = FaultPlan({("ack", engine.counts["ack"]): lose_the_reply})
    assert state.set(A, "k", 1) < 0
    back(world, state)
    assert [c.value for c in others.history(A, "k", newest_first=False)] == [0, 1]


def test_a_delta_taken_before_the_outage(world: World) -> None:
    """A delta against a version of the primary is none against the spill's of that number."""
    state = world.open()
    state.set(A, "other", 0)
    assert state.set(A, "k", ["turn " * 100] * 50) == 2
    late = state._writer.set(A, "k", ["turn " * 100] * 51)
    assert late is not None
    assert late.ops[0].prepared is not None
    assert late.ops[0].prepared.delta is not None
    world.cut.set()
    state.set(A, "k", [f"{n} something else" * 10 for n in range(50)])  # the spill's second
    state._kernel.commit(late)
    state.set(A, "k", "short")
    back(world, state)
    lengths = [len(c.value) for c in state.history(A, "k", newest_first=False)]
    assert lengths == [50, 50, 51, 5]


def test_what_was_only_adopted_is_still_the_primarys(world: World) -> None:
    """A key taken over for a write that failed shows the primary's revision, also later."""
    state = world.open()
    state.set(A, "k", 1)
    world.cut.set()
    with pytest.raises(ConflictError):
        state.set(A, "k", 2, if_revision=99, provisional=True)
    for _ in range(2):
        found = state.get_with_metadata(A, "k")
        assert found is not None
        assert (found.value, found.metadata.revision) == (1, 1)
        world.crash(state)
        state = world.open()
    back(world, state)
    assert state.revision == 1
