"""Events emitted while the primary is away reach it once, as they were."""

from __future__ import annotations

from holdfast import correlate
from tests.failover.conftest import World

A = "agent:a"


def test_events_of_an_outage_arrive_once(world: World) -> None:
    """They stand in the primary's journal in their order, with ids, data, causes and step."""
    state, others = world.open(), world.others()
    first = state.events.emit("before", 0, scope=A)
    world.cut.set()
    ids = []
    with correlate("run-1", component="till") as step:
        for number in range(5):
            ids.append(state.events.emit("during", number, scope=A, causes=[first]))
            state.set(A, "k", number)
        with state.transaction(provisional=True) as tx:
            tx.set(A, "t", 1)
            ids.append(tx.emit("in.transaction", scope=A))
    world.cut.clear()
    assert state.failover.probe()
    found = list(others.events.read())
    assert [event.id for event in found] == [first, *ids]
    assert [event.data for event in found] == [0, 0, 1, 2, 3, 4, None]
    assert found[1].causes == (first,)
    assert {event.correlation_id for event in found[1:]} == {"run-1"}
    for event in found[1:]:
        assert event.context is not None
        assert (event.context.span, event.context.component) == (step.span, "till")
    assert [e.id for e in others.timeline("run-1") if e.kind == "event"] == ids
    assert not state.failover.probe() or [e.id for e in others.events.read()] == [first, *ids]


def test_a_replay_that_is_interrupted_tells_nothing_twice(world: World) -> None:
    """A process that dies between two outages replays the rest, and no event again."""
    state, others = world.open(), world.others()
    world.cut.set()
    ids = [state.events.emit("during", n, scope=A) for n in range(3)]
    world.crash(state)
    world.cut.clear()
    state = world.open()
    state.failover.probe()
    assert [event.id for event in others.events.read()] == ids
    state.close()
    state = world.open()
    state.failover.probe()
    assert [event.id for event in others.events.read()] == ids


def test_a_cause_survives_the_replay(world: World) -> None:
    """A write whose cause names an event is still behind it in the graph after the replay."""
    state, others = world.open(), world.others()
    world.cut.set()
    with correlate("run-1"):
        asked = state.events.emit("asked", scope=A)
        state.set(A, "k", 1, cause=asked)
    world.cut.clear()
    assert state.failover.probe()
    graph = others.timeline("run-1").graph
    assert graph.missing == ()
    assert [step.depth for step in graph.steps] == [0, 1]
