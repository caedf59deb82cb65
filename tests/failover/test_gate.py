"""The gate of the spill: whoever is inside is waited for, whoever comes later learns."""

from __future__ import annotations

import threading
from collections.abc import Callable

from holdfast.failover.gate import Gate

Until = Callable[[Callable[[], bool]], None]


def test_a_shut_gate_lets_nobody_in() -> None:
    """Without an outage no write goes to the spill."""
    gate = Gate()
    assert not gate.enter()
    gate.open()
    assert gate.enter()
    gate.leave()
    gate.shut()
    assert not gate.enter()


def test_the_switch_waits_for_those_inside() -> None:
    """The switch begins when the last write has left; a write that comes then waits for its end."""
    gate = Gate()
    gate.open()
    assert gate.enter()
    order: list[str] = []
    alone = threading.Event()

    def switch() -> None:
        with gate.alone():
            order.append("switch")
            alone.set()
            gate.shut()

    switching = threading.Thread(target=switch)
    switching.start()
    assert not alone.wait(0.05)  # nothing may happen: there is no event to wait for
    order.append("left")
    gate.leave()
    switching.join()
    assert order == ["left", "switch"]
    assert not gate.enter()


def test_paced_writers(until: Until) -> None:
    """Only so many come in before the next part is carried over."""
    gate = Gate()
    gate.open()
    gate.pace(2)
    inside: list[int] = []

    def write(number: int) -> None:
        if gate.enter():
            inside.append(number)
            gate.leave()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    until(lambda: len(inside) == 2)
    gate.pace(1)
    until(lambda: len(inside) == 3)
    gate.pace(None)
    for thread in threads:
        thread.join()
    assert len(inside) == 5
