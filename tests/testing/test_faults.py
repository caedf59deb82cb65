"""The fault engine fails at the call that was planned, tells the truth later, and counts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from holdfast.engines.base import Batch, Body, Durability, View
from holdfast.engines.memory import MemoryEngine
from holdfast.errors import (
    CorruptionError,
    DiskFullError,
    EngineError,
    OutcomeUnknownError,
    PoisonedError,
)
from holdfast.testing import Fault, FaultPlan, FaultyEngine


def put(engine: FaultyEngine, key: bytes, value: bytes = b"1") -> None:
    """Commit one put."""
    engine.write(Durability.SYNC, lambda view: Batch(puts=[(key, value)]))


def test_without_a_plan_only_counts() -> None:
    """Calls are counted by point, in views and bodies too."""
    engine = FaultyEngine(MemoryEngine())

    def body(view: View) -> Batch:
        view.get(b"a")
        view.scan(b"a", b"b")
        return Batch()

    engine.write(Durability.OS, body)
    engine.get(b"a")
    engine.get_many([b"a", b"b"])
    with engine.read() as view:
        view.get_many([b"a"])
    engine.flush()
    assert engine.counts == {"get": 4, "scan": 1, "body": 1, "commit": 1, "ack": 1, "flush": 1}


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.ERROR, EngineError), (Fault.DISK_FULL, DiskFullError)]
)
@pytest.mark.parametrize("point", ["body", "commit"])
def test_definite_errors_write_nothing(point: str, fault: Fault, error: type[EngineError]) -> None:
    """A failure before the commit writes nothing, and the next write goes through."""
    engine = FaultyEngine(MemoryEngine(), FaultPlan({(point, 1): fault}))  # type: ignore[dict-item]
    put(engine, b"a")
    with pytest.raises(error) as caught:
        put(engine, b"b")
    assert type(caught.value) is error
    put(engine, b"c")
    assert engine.get_many([b"a", b"b", b"c"]) == [b"1", None, b"1"]


@pytest.mark.parametrize(
    ("point", "fault", "landed"),
    [
        ("commit", Fault.LOST, False),
        ("commit", Fault.LANDED, True),
        ("ack", Fault.LANDED, True),
        ("ack", Fault.ERROR, True),
    ],
)
def test_unknown_outcomes_poison_until_reopened(point: str, fault: Fault, landed: bool) -> None:
    """After an unknown outcome writes are refused, reads go on, and reopening shows the truth."""
    engine = FaultyEngine(MemoryEngine(), FaultPlan({(point, 0): fault}))  # type: ignore[dict-item]
    with pytest.raises(OutcomeUnknownError):
        put(engine, b"a")
    for call in (lambda: put(engine, b"b"), engine.flush, engine.reclaim):
        with pytest.raises(PoisonedError):
            call()
    assert engine.get(b"b") is None
    engine.reopen()
    assert engine.get(b"a") == (b"1" if landed else None)
    put(engine, b"b")
    assert engine.get(b"b") == b"1"


def test_reopen_opens_the_engine_again() -> None:
    """With an opener, `reopen` closes the wrapped engine and takes a new one."""
    engine = FaultyEngine(MemoryEngine(), opener=MemoryEngine)
    put(engine, b"a")
    engine.reopen()
    assert engine.get(b"a") is None


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.LOST, Fault.LANDED])
def test_a_failed_flush_is_an_unknown_outcome(fault: Fault) -> None:
    """Any failure of a flush is an unknown outcome and poisons."""
    engine = FaultyEngine(MemoryEngine(), FaultPlan({("flush", 0): fault}))
    put(engine, b"a")
    with pytest.raises(OutcomeUnknownError):
        engine.flush()
    with pytest.raises(PoisonedError):
        put(engine, b"b")


def test_reads_fail_as_planned() -> None:
    """Damage is raised at the planned read, of the engine or of a view, and nowhere else."""
    plan = FaultPlan({("get", 1): Fault.CORRUPT, ("scan", 0): Fault.CORRUPT})
    plan.at("get", 2, Fault.ERROR).at("get", 3, CorruptionError("mine", where="here"))
    engine = FaultyEngine(MemoryEngine(), plan)
    put(engine, b"a")
    assert engine.get(b"a") == b"1"
    with pytest.raises(CorruptionError):
        engine.get_many([b"a"])
    with engine.read() as view:
        with pytest.raises(EngineError):
            view.get(b"a")
        with pytest.raises(CorruptionError, match="mine"):
            view.get(b"a")
        with pytest.raises(CorruptionError):
            view.scan(b"a", b"b")
        assert view.scan(b"a", b"b") == [(b"a", b"1")]


@pytest.mark.parametrize("point", ["body", "commit"])
def test_a_body_can_be_called_again(point: str) -> None:
    """A serialisation failure rolls the first attempt back; another writer can come between."""
    engine = FaultyEngine(MemoryEngine(), FaultPlan({(point, 0): Fault.TWICE}))  # type: ignore[dict-item]
    seen = []

    def body(view: View) -> Batch:
        seen.append(view.get(b"n"))
        return Batch(puts=[(b"n", b"%d" % (int(seen[-1] or b"0") + 1))])

    engine.write(Durability.OS, body)
    assert engine.get(b"n") == b"1"
    assert engine.counts["body"] == 2
    assert len(seen) == (2 if point == "commit" else 1)


def test_hooks_hold_a_commit_in_flight() -> None:
    """A hook runs at its place and may block there: the commit is then in flight."""
    reached, go_on = threading.Event(), threading.Event()

    def hook() -> None:
        reached.set()
        go_on.wait(10)

    engine = FaultyEngine(MemoryEngine(), FaultPlan({("ack", 0): hook}))
    thread = threading.Thread(target=put, args=(engine, b"a"))
    thread.start()
    assert reached.wait(10)
    assert engine.get(b"a") == b"1", "committed"
    assert thread.is_alive(), "not acknowledged"
    go_on.set()
    thread.join(10)


def test_an_unknown_outcome_of_the_tests_own_poisons_too() -> None:
    """An exception in the plan is raised as it is; an OutcomeUnknownError poisons."""
    plan = FaultPlan({("commit", 0): KeyError("k"), ("commit", 1): OutcomeUnknownError("mine")})
    engine = FaultyEngine(MemoryEngine(), plan)
    with pytest.raises(KeyError):
        put(engine, b"a")
    with pytest.raises(OutcomeUnknownError, match="mine"):
        put(engine, b"a")
    with pytest.raises(PoisonedError):
        put(engine, b"a")


def test_a_plan_refuses_what_cannot_happen() -> None:
    """A fault at a point where it makes no sense is an error of the test."""
    with pytest.raises(ValueError, match="TWICE"):
        FaultPlan({("get", 0): Fault.TWICE})


def test_a_sweep_fails_at_every_commit() -> None:
    """Counting once and failing at each commit: what was acknowledged is there, exactly."""

    def work(engine: FaultyEngine) -> list[bytes]:
        acknowledged = []
        for number in range(4):
            try:
                put(engine, b"k%d" % number)
            except (OutcomeUnknownError, PoisonedError):
                continue
            acknowledged.append(b"k%d" % number)
        return acknowledged

    dry = FaultyEngine(MemoryEngine())
    assert len(work(dry)) == dry.counts["commit"] == 4
    for number in range(dry.counts["commit"]):
        engine = FaultyEngine(MemoryEngine(), FaultPlan({("commit", number): Fault.LOST}))
        acknowledged = work(engine)
        with engine.read() as view:
            assert [key for key, _ in view.scan(b"k", b"l")] == acknowledged
        assert len(acknowledged) == number


def test_a_view_has_what_its_engine_promises() -> None:
    """The clock and the sequence of an engine's views are reached through the faults."""

    class Clocked(MemoryEngine):
        traits = replace(MemoryEngine.traits, clocked=True, partitioned=True)

        def write(
            self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)
        ) -> None:
            super().write(durability, lambda view: body(_Promised(view)), partitions)

    class _Promised:
        def __init__(self, view: View) -> None:
            self._view = view

        def __getattr__(self, name: str) -> Any:
            return getattr(self._view, name)

        def now_ns(self) -> int:
            return 5

        def sequence(self) -> int:
            return 7

    seen: list[int] = []

    def body(view: Any) -> Batch:
        seen.extend([view.now_ns(), view.sequence()])
        return Batch()

    FaultyEngine(Clocked()).write(Durability.OS, body)
    assert seen == [5, 7]
