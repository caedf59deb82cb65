"""The breaker: pure decisions over what happened and when."""

from __future__ import annotations

import pytest

from holdfast import errors
from holdfast.failover import breaker as breaking
from holdfast.failover.breaker import Breaker, State, says_away

AWAY = (errors.EngineError, errors.OutcomeUnknownError, errors.PoisonedError, errors.DiskFullError)
THERE = (
    errors.ConflictError,
    errors.InvalidArgumentError,
    errors.CorruptionError,
    errors.BusyError,
    errors.NotAStoreError,
    errors.FencedError,
    errors.DegradedError,
    errors.ForkedError,
)


@pytest.mark.parametrize("kind", AWAY)
def test_failures_of_the_storage_say_away(kind: type[errors.StateError]) -> None:
    """A lost connection, a full disk, an unknown outcome: the primary is away."""
    assert says_away(kind("x"))


@pytest.mark.parametrize("kind", THERE)
def test_answers_do_not_say_away(kind: type[errors.StateError]) -> None:
    """What the primary answered, and what is wrong with the call, says nothing of the kind."""
    assert not says_away(kind("x"))


def test_threshold_counts_failures_in_a_row() -> None:
    """Below the threshold it stays closed, and a success begins the count anew."""
    error = errors.EngineError("x")
    one = breaking.failed(Breaker(), error, 5, threshold=2, wait=0.5)
    assert (one.state, one.failures) == (State.CLOSED, 1)
    again = breaking.failed(breaking.succeeded(one), error, 6, threshold=2, wait=0.5)
    assert (again.state, again.failures) == (State.CLOSED, 1)
    two = breaking.failed(again, error, 7, threshold=2, wait=0.5)
    assert (two.state, two.since_ns, two.code) == (State.OPEN, 7, "engine")


def test_an_unknown_outcome_opens_at_once() -> None:
    """An engine that refuses to go on is not asked again, whatever the threshold."""
    error = errors.OutcomeUnknownError("x")
    assert breaking.failed(Breaker(), error, 5, threshold=9, wait=0.5).state is State.OPEN


def test_probes_come_ever_more_seldom() -> None:
    """The wait doubles up to its bound, and counts from the last attempt."""
    breaker = breaking.opened("engine", 0, 0.5)
    assert breaking.due_in(breaker, 200_000_000) == pytest.approx(0.3)
    assert breaking.due_in(breaker, 500_000_000) == 0
    waits = []
    for _ in range(4):
        breaker = breaking.probing(breaker, 1)
        assert breaker.state is State.HALF_OPEN
        breaker = breaking.probe_failed(breaker, "engine", 10, 0, most=2.0)
        waits.append(breaker.wait)
    assert waits == [1.0, 2.0, 2.0, 2.0]


def test_a_clock_put_back_delays_no_probe() -> None:
    """Where time ran backwards nobody knows how long it was: the probe is due."""
    breaker = breaking.opened("engine", 10_000_000_000, 0.5)
    assert breaking.due_in(breaker, 1) == 0
    again = breaking.probe_failed(breaking.probing(breaker, 1), "engine", 1, 0, most=2.0)
    assert breaking.due_in(again, 1) == 1.0


def test_a_wait_may_count_from_the_beginning() -> None:
    """What a probe took counts as waiting where whoever probed says so."""
    breaker = breaking.probing(breaking.opened("engine", 0, 0.5), 500_000_000)
    assert breaker.tried_ns == 500_000_000
    failed = breaking.probe_failed(breaker, "engine", breaker.tried_ns, 0, most=2.0)
    assert breaking.due_in(failed, 1_500_000_000) == 0
