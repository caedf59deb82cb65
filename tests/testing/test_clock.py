"""The fake clock moves when it is told to, and wakes who waits."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from holdfast.clock import Clock, to_ns
from holdfast.testing import FakeClock


def test_time_stands_still_until_advanced() -> None:
    """`now_ns` returns the same moment until `advance`, then exactly that much later."""
    clock: Clock = FakeClock(5_000_000_000)
    assert clock.now_ns() == clock.now_ns() == 5_000_000_000
    fake = FakeClock(datetime(2030, 1, 1, tzinfo=UTC))
    fake.advance(0.25)
    assert fake.now_ns() == to_ns(datetime(2030, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC))


def test_the_wall_clock_can_be_put_back() -> None:
    """`set` moves the wall clock either way; `advance` refuses to go backwards."""
    clock = FakeClock(100)
    clock.set(40)
    assert clock.now_ns() == 40
    clock.set(datetime(2000, 1, 1, tzinfo=UTC))
    assert clock.now_ns() == to_ns(datetime(2000, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_wait_ends_when_enough_time_was_advanced() -> None:
    """A waiter sleeps through too small a step and wakes at its deadline, not told of an event."""
    clock, event, results = FakeClock(), threading.Event(), []
    thread = threading.Thread(target=lambda: results.append(clock.wait(event, 10)))
    thread.start()
    clock.await_waiters()
    clock.advance(9)
    clock.set(0)
    clock.set(1 << 62)  # the wall clock jumps; no time passes by it
    clock.await_waiters()
    assert results == []
    clock.advance(1)
    thread.join(10)
    assert results == [False]


def test_wait_ends_when_the_event_is_set() -> None:
    """A waiter whose event is set wakes with True though no time passes."""
    clock, event, results = FakeClock(), threading.Event(), []
    thread = threading.Thread(target=lambda: results.append(clock.wait(event, 10)))
    thread.start()
    clock.await_waiters()
    event.set()
    thread.join(10)
    assert results == [True]
    assert clock.wait(event, 10) is True
    assert clock.wait(threading.Event(), 0) is False


def test_many_waiters() -> None:
    """One advance wakes all whose time has come, and only them."""
    clock, never, woken = FakeClock(), threading.Event(), []

    def wait(seconds: int) -> None:
        clock.wait(never, seconds)
        woken.append(seconds)

    threads = [threading.Thread(target=wait, args=(seconds,)) for seconds in (1, 2, 3, 50)]
    for thread in threads:
        thread.start()
    clock.await_waiters(4)
    clock.advance(3)
    for thread in threads[:3]:
        thread.join(10)
    assert sorted(woken) == [1, 2, 3]
    clock.advance(47)
    threads[3].join(10)
    assert sorted(woken) == [1, 2, 3, 50]
    with pytest.raises(TimeoutError):
        clock.await_waiters(1, timeout=0.01)
