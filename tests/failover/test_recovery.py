"""Nothing keeps the way back shut: clocks, interrupts, surprises, probes that hang."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast import DegradedError, StateManager
from holdfast.engines.base import Durability, Engine
from holdfast.errors import EngineError
from holdfast.failover.breaker import due_in
from holdfast.failover.kernel import FailoverKernel
from holdfast.failover.replay import Replay
from holdfast.failover.spilling import Spilled, _finish
from holdfast.keys import after
from holdfast.store import intent as wanted
from holdfast.store import layout
from holdfast.store.intent import Intent, Op
from tests.failover.conftest import World

A = "agent:a"
Until = Callable[[Callable[[], bool]], None]
OFTEN = {"heartbeat": 1.0, "probe_every": 0.5, "probe_most": 0.5}


def kernel_of(state: StateManager) -> FailoverKernel:
    """Return the kernel of a store with failover."""
    kernel = state._kernel
    assert isinstance(kernel, FailoverKernel)
    return kernel


def comes_back(world: World, state: StateManager, until: Until) -> None:
    """Let time pass until the store runs on its primary, by itself."""

    def back() -> bool:
        world.clock.advance(0.5)
        return state.failover.status().state == "closed"

    until(back)


def test_a_clock_that_is_put_back(world: World, until: Until) -> None:
    """An hour that happens twice does not keep the store on its spill for an hour."""
    state = world.open(**OFTEN)
    world.cut.set()
    state.set(A, "k", 1)
    world.clock.set(world.clock.now_ns() - 3600 * 10**9)
    world.cut.clear()
    for _ in range(5):
        if state.failover.status().state == "closed":
            break
        world.clock.await_waiters()
        world.clock.advance(0.5)
    until(lambda: state.failover.status().state == "closed")
    assert world.others().get(A, "k") == 1


def test_a_surprise_in_the_background(
    world: World, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw does not end the thread that notices outages."""
    state = world.open(**OFTEN)
    kernel, surprised = kernel_of(state), []

    def surprise(_: object) -> None:
        surprised.append(1)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(kernel, "look", surprise)
        world.clock.await_waiters()
        world.clock.advance(1.0)
        until(lambda: bool(surprised))
    world.clock.await_waiters()
    world.cut.set()
    world.clock.advance(1.0)
    until(lambda: state.failover.status().state == "open")
    world.cut.clear()
    comes_back(world, state, until)


@pytest.mark.parametrize("moment", ["connecting", "replaying"])
def test_an_interrupted_probe(
    world: World, until: Until, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whoever interrupts a probe of their own does not end the others."""
    state = world.open(**OFTEN)
    world.cut.set()
    state.set(A, "k", 1)
    world.cut.clear()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "connecting":
            patch.setattr(kernel_of(state), "_open_primary", interrupt)
        else:
            patch.setattr(Replay, "begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            state.failover.probe()
    assert state.failover.status().state == "open"
    comes_back(world, state, until)
    assert world.others().get(A, "k") == 1


def test_a_probe_that_hangs_was_the_wait(world: World) -> None:
    """After a probe that nobody answered for long the next one is due at once."""
    state = world.open()
    kernel = kernel_of(state)
    world.cut.set()
    state.set(A, "k", 1)

    def hang(_: bool) -> Engine:
        assert state.failover.status().state == "half-open"
        world.clock.advance(7200)
        raise EngineError("no answer")

    kernel._open_primary = hang
    assert not state.failover.probe()
    assert due_in(kernel.breaker, world.clock.now_ns()) == 0
    kernel._open_primary = world.primary


def test_a_replay_that_fails_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay that fails each time, however long it takes, leaves room for other work."""
    state = world.open()
    kernel = kernel_of(state)
    world.cut.set()
    state.set(A, "k", 1)
    world.cut.clear()

    def fail(_: object) -> None:
        world.clock.advance(7200)
        raise EngineError("away again")

    with monkeypatch.context() as patch:
        patch.setattr(Replay, "begin", fail)
        assert not state.failover.probe()
    assert due_in(kernel.breaker, world.clock.now_ns()) == kernel.failover.probe_most
    assert state.failover.probe()


@pytest.mark.parametrize("decoded", [False, True])
def test_a_dictionary_that_is_not_at_hand(world: World, decoded: bool) -> None:
    """A row that waits for its dictionary keeps no outage from being noticed, and is unknown."""
    state, others = world.open(), world.others()
    for number in range(300):
        others.set(A, f"k{number}", {"name": f"agent number {number}", "kind": "sample " * 5})
    others.compact(train=True)
    for key in ("one", "two"):
        others.set(A, key, {"name": "agent number 9999", "kind": "sample " * 5})
    with kernel_of(state).engine.read() as view:  # rows that nobody decodes
        assert len(view.scan(layout.DATA, after(layout.DATA))) == 302
    if decoded:
        state.get(A, "two")
    world.cut.set()
    assert state.set(A, "k", 1) < 0
    if decoded:
        assert state.get(A, "one")["name"] == "agent number 9999"
    else:
        with pytest.raises(DegradedError, match="not known here"):
            state.get(A, "one")
    assert state.get(A, "k7")["name"] == "agent number 7"


def test_a_result_that_does_not_fit() -> None:
    """A write in the spill's lane ends, with an error, whatever is wrong with its outcome."""
    asked = Intent([Op(wanted.SET, b"", b"place")], Durability.OS)
    made = Intent([Op(wanted.SET, b"", b"place")], Durability.OS)
    made.results = []
    told: list[bool] = []
    _finish(Spilled(asked, made, {}, False), lambda: told.append(True))
    assert told == [True]
    assert asked.error is not None
