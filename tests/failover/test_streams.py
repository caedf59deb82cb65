"""Watches and consumers of a store with failover: nothing provisional is told as a fact."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from holdfast import Change, DegradedError
from tests.failover.conftest import World


def test_a_watch_waits_for_the_primary(world: World) -> None:
    """While the primary is away nothing is told; then what was replayed is."""
    state = world.open()
    state.set("agent:a", "k", 1)
    watch = state.watch(timeout=0)
    state.failover.leave()
    state.set("agent:a", "k", 2)
    assert state.watch(since=0, timeout=0).position.revision == 0
    assert list(state.watch(since=0, timeout=0)) == []
    with pytest.raises(DegradedError):
        state.watch()
    waiting = state.watch(since=watch.position)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(next(waiting)), daemon=True)
    thread.start()
    assert state.failover.probe()
    while thread.is_alive():  # the look at the heads is by the world's clock
        world.clock.advance(0.05)
        thread.join(0.01)
    assert [(c.key, c.value) for c in got if isinstance(c, Change)] == [("k", 2)]
    assert got[0].revision > 0
    waiting.stop()


def test_a_consumer_waits_for_the_primary(world: World) -> None:
    """A batch in hand cannot be acked on the spill; it comes again when the primary is back."""
    state = world.open()
    state.set("agent:a", "k", 1)
    consumer = state.consumer("c", start="earliest")
    batch = consumer.poll(0)
    assert batch is not None
    state.failover.leave()
    with pytest.raises(DegradedError):
        batch.ack()
    assert consumer.poll(0) is None
    with pytest.raises(DegradedError):
        state.consumer("new")
    with pytest.raises(DegradedError):
        state.consumers.list()
    assert "consumers" not in state.health().components
    state.set("agent:a", "k", 2)
    assert state.failover.probe()
    got: list[Any] = []
    consumer.run(got.append, timeout=0)
    assert [each.value for each in got] == [1, 2]
    assert state.consumers.status("c").lag == 0
    consumer.close()
