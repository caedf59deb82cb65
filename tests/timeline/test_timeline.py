"""Timelines: what happened, in order, as it was at that moment, and never silently less."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import (
    CorrelationContext,
    HistoryPolicy,
    HorizonError,
    ScopePolicy,
    StateClass,
    StateManager,
    StateScope,
    Timeline,
    correlate,
)
from holdfast.clock import from_ns
from holdfast.errors import InvalidArgumentError, InvalidKeyError, InvalidScopeError
from holdfast.store import layout
from holdfast.testing import FakeClock
from holdfast.timeline.timeline import FORMATS
from tests.conftest import QUICK, Stores

A, B = "agent:a", "agent:b"


def told(timeline: Timeline) -> list[tuple[Any, ...]]:
    """Return the gist of each entry."""
    return [(e.kind, e.operation, e.key or e.name, e.value) for e in timeline]


def rows(state: StateManager, space: bytes) -> int:
    """Return the number of rows of a space."""
    with state._kernel.engine.read() as view:
        return len(view.scan(space, layout.after(space), keys_only=True))


# --- values of that moment --------------------------------------------------------------------


def test_values_are_those_of_the_moment(state: StateManager) -> None:
    """Overwritten and deleted since, each entry still has what was written then."""
    with correlate("run-1"):
        state.set(A, "k", {"n": 1}, actor="ada")
        state.events.emit("seen", [1], scope=A)
        state.set(A, "k", {"n": 2})
        state.touch(A, "k", expires_in=1000)
        state.delete(A, "k")
        state.set(A, "k", {"n": 3})
    state.set(A, "k", "elsewhere")
    state.delete(A, "k")
    found = state.timeline("run-1")
    assert told(found) == [
        ("change", "set", "k", {"n": 1}),
        ("event", "emit", "seen", [1]),
        ("change", "set", "k", {"n": 2}),
        ("change", "touch", "k", {"n": 2}),
        ("change", "delete", "k", None),
        ("change", "set", "k", {"n": 3}),
    ]
    assert found.complete
    assert (found.horizon, found.more) == (0, False)
    assert [e.index for e in found] == list(range(6))
    assert [e.version for e in found] == [1, None, 2, 3, 3, 1]
    assert found[0].actor == "ada"
    assert all(e.readable for e in found)
    assert [e.revision for e in found] == sorted(e.revision for e in found)
    for entry in found:
        if entry.wrote:
            assert state.get(A, "k", as_of=entry.revision) == entry.value


def test_values_stored_as_deltas(state: StateManager) -> None:
    """Values that are stored as deltas come back whole."""
    text = random.Random(7).randbytes(3000).hex()  # nothing that compresses well
    with correlate("run-1"):
        for number in range(40):
            state.set(A, "log", text + str(number))
    found = state.timeline("run-1")
    assert [e.value for e in found] == [text + str(n) for n in range(40)]
    second = state.inspect(A, "log", revision=found[1].revision)
    assert second is not None
    assert second.kind == "delta"


def test_expiry_and_repair_are_entries(memory_store: Stores) -> None:
    """What the sweep took away is there too, without a correlation of its own."""
    clock = FakeClock()
    state = memory_store(clock=clock)
    with correlate("run-1"):
        state.set(A, "k", 1, expires_in=10)
    clock.advance(20)
    state._kernel.sweep()
    assert told(state.timeline(scope=A)) == [
        ("change", "set", "k", 1),
        ("change", "expire", "k", None),
    ]
    assert len(state.timeline("run-1")) == 1
    assert state.timeline(scope=A).final_state == {}


# --- selecting --------------------------------------------------------------------------------


def test_by_correlation_across_partitions(state: StateManager) -> None:
    """Entries of many scopes stand in the one order of their commits, others' are not there."""
    expected = []
    for number in range(60):
        run = f"run-{number % 3}"
        with correlate(run):
            if number % 2:
                state.set(f"agent:{number % 7}", "k", number)
            else:
                state.events.emit("e", number, scope=f"agent:{number % 7}")
        if run == "run-1":
            expected.append(number)
    found = state.timeline("run-1")
    assert [e.value for e in found] == expected
    assert {e.correlation_id for e in found} == {"run-1"}


def test_a_commit_across_scopes_is_whole(state: StateManager) -> None:
    """A transaction over several scopes, and perhaps partitions, is there once, with all of it."""
    with correlate("run-1"), state.transaction() as tx:
        for number in range(8):
            tx.set(f"agent:{number}", "k", number)
            tx.emit("e", number, scope=f"user:{number}")
    found = state.timeline("run-1")
    assert {e.revision for e in found} == {state.revision}
    assert sorted(e.value for e in found if e.kind == "change") == list(range(8))
    assert sorted(e.value for e in found if e.kind == "event") == list(range(8))
    assert [e.scope for e in state.timeline("run-1", scope="user:3")] == [StateScope.user("3")]


def test_ids_that_begin_alike(state: StateManager) -> None:
    """run-1 is not run-10, and a NUL in an id is a letter as any other."""
    for run in ("run-1", "run-10", "run-1\0", "run", "\xff", "run-1\0\xff"):
        state.set(A, "k", run, correlation=run)
    for run in ("run-1", "run-10", "run-1\0", "run", "\xff", "run-1\0\xff"):
        assert [e.value for e in state.timeline(run)] == [run]
    assert state.timeline("nobody").entries == ()


def test_by_scope_and_key(state: StateManager) -> None:
    """A scope's timeline has its changes and events; a key's its changes alone, and what failed."""
    state.set(A, "k", 1)
    state.set(A, "other", 2)
    state.set(B, "k", 3)
    state.events.emit("e", 4, scope=A)
    state.events.emit("e", 5, scope=B)
    state.events.emit("state.failed", {"operation": "set", "key": "k", "code": "conflict"}, scope=A)
    state.events.emit("state.read", {"operation": "get", "key": "other"}, scope=A)
    state.set(A, "k", 6)
    assert [e.key or e.name for e in state.timeline(scope=A)] == [
        "k", "other", "e", "k", "other", "k",
    ]  # fmt: skip
    found = state.timeline(scope=StateScope.agent("a"), key="k")
    assert [(e.kind, e.operation) for e in found] == [
        ("change", "set"),
        ("failed", "set"),
        ("change", "set"),
    ]
    assert (str(found.scope), found.key, found.title) == (A, "k", "agent:a/k")
    assert [e.value for e in state.timeline(scope=A, key="other", limit=1)] == [2]


def test_by_revision(state: StateManager) -> None:
    """since is what has been read already, until the last to read."""
    revisions = [state.set(A, "k", number) for number in range(6)]
    found = state.timeline(since=revisions[1], until=revisions[3])
    assert [e.value for e in found] == [2, 3]
    assert state.timeline(since=0, until=0).entries == ()
    assert state.timeline(since=state.revision + 100).entries == ()
    assert len(state.timeline(scope=A, until=1 << 60)) == 6
    assert len(state.timeline(scope=A, since=revisions[-1])) == 0


def test_by_time(open_store: Stores) -> None:
    """Times select as revisions do, and compose with everything else."""
    if open_store.engine == "postgres":
        pytest.skip("the server tells the time there")
    clock = FakeClock()
    state = open_store(clock=clock)
    times: list[datetime] = []
    for number in range(8):
        with correlate(f"run-{number % 2}"):
            state.set(f"agent:{number % 4}", "k", number)
        times.append(next(iter(state.history(f"agent:{number % 4}", "k"))).at)
        clock.advance(60)
    assert [e.value for e in state.timeline(since=times[2], until=times[5])] == [3, 4, 5]
    assert [e.value for e in state.timeline("run-1", since=times[2])] == [3, 5, 7]
    assert [e.value for e in state.timeline(scope="agent:0", until=times[3])] == [0]
    early = times[0] - timedelta(days=1)
    assert len(state.timeline(since=early)) == 8
    assert state.timeline(since=early).complete
    assert state.timeline(until=early).entries == ()
    assert state.timeline(since=times[7] + timedelta(days=9)).entries == ()


def test_limit(state: StateManager) -> None:
    """At most so many, the first ones; and the timeline says whether there are more."""
    with correlate("run-1"):
        for number in range(10):
            state.set(A, f"k{number}", number)
    for limit in range(12):
        found = state.timeline("run-1", limit=limit)
        assert [e.value for e in found] == list(range(min(limit, 10)))
        assert found.more == (limit < 10)
        assert found.complete == (limit >= 10)


def test_more_than_a_page(memory_store: Stores) -> None:
    """However many entries, by index or by range, none is missing and none is there twice."""
    state = memory_store(partitions=3)
    for number in range(1700):
        state.events.emit("e", number, scope=f"agent:{number % 5}", correlation=f"r{number % 2}")
    assert [e.value for e in state.timeline("r1")] == list(range(1, 1700, 2))
    assert [e.value for e in state.timeline(since=0)] == list(range(1700))
    assert [e.value for e in state.timeline("r0", limit=600)] == list(range(0, 1200, 2))
    with correlate("batch"), state.transaction() as tx:
        for number in range(1500):
            tx.set(f"agent:{number % 5}", f"k{number}", number)
    assert sorted(e.value for e in state.timeline("batch")) == list(range(1500))


def test_groups_of_commits(tmp_path: Path) -> None:
    """Commits that share a header with others' are found in the middle of it."""

    async def main() -> None:
        async with await holdfast.open_async(tmp_path / "s.db", policies=QUICK) as state:
            emits = [
                state.events.emit("e", number, correlation=f"run-{number % 7}")
                for number in range(700)
            ]
            await asyncio.gather(*emits)
            for run in range(7):
                found = await state.timeline(f"run-{run}")
                assert sorted(e.value for e in found) == list(range(run, 700, 7))
            assert rows(state.sync, layout.JOURNAL) < 700

    asyncio.run(main())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=25),
    st.integers(0, 26),
    st.integers(0, 26),
    st.none() | st.integers(0, 5),
    st.sampled_from([1, 3]),
)
def test_against_a_list(
    work: list[tuple[int, int, int]], since: int, until: int, limit: int | None, partitions: int
) -> None:
    """Any selection is what filtering a plain list of everything gives."""
    with holdfast.open("memory:", partitions=partitions) as state:
        log: list[tuple[int, str | None, str, int]] = []
        for number, (run, scope, kind) in enumerate(work):
            correlation = f"run-{run}" if run else None
            if kind:
                revision = state.set(f"agent:{scope}", f"k{kind}", number, correlation=correlation)
            else:
                state.events.emit("e", number, scope=f"agent:{scope}", correlation=correlation)
                revision = state.revision
            log.append((revision, correlation, f"agent:{scope}", number))
        marks = [0, *(entry[0] for entry in log)]
        low, high = marks[min(since, len(log))], marks[min(until, len(log))]
        for correlation in (None, "run-1", "run-2"):
            for scope_ in (None, "agent:0", "agent:1"):
                expected = [
                    value
                    for revision, carried, where, value in log
                    if low < revision <= high
                    and correlation in (None, carried)
                    and scope_ in (None, where)
                ]
                found = state.timeline(
                    correlation, scope=scope_, since=low, until=high, limit=limit
                )
                assert [e.value for e in found] == expected[:limit]
                assert found.more == (limit is not None and len(expected) > limit)


def test_the_asynchronous_face(engine: str, tmp_path: Path) -> None:
    """It is the same timeline, awaited."""

    async def main() -> None:
        stores = Stores(engine, tmp_path)
        async with await holdfast.open_async(stores.url(), policies=QUICK) as state:
            with correlate("run-1"):
                await state.set(A, "k", 1)
                await state.events.emit("e", 2)
            assert await state.timeline("run-1") == state.sync.timeline("run-1")
            assert [e.value for e in await state.timeline(scope=A, key="k")] == [1]
            assert await state.inspect(A, "k") == state.sync.inspect(A, "k")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, InvalidArgumentError),
        ({"correlation": ""}, InvalidArgumentError),
        ({"correlation": "x" * 256}, InvalidArgumentError),
        ({"correlation": 7}, InvalidArgumentError),
        ({"correlation": b"run"}, InvalidArgumentError),
        ({"key": "k"}, InvalidArgumentError),
        ({"scope": A, "key": ""}, InvalidKeyError),
        ({"scope": "nothing"}, InvalidScopeError),
        ({"since": -1}, InvalidArgumentError),
        ({"since": True}, InvalidArgumentError),
        ({"since": 1.5}, InvalidArgumentError),
        ({"since": 1 << 64}, InvalidArgumentError),
        ({"until": "now"}, InvalidArgumentError),
        ({"since": datetime(2026, 1, 1)}, InvalidArgumentError),
        ({"until": datetime(2026, 1, 1)}, InvalidArgumentError),
        ({"limit": -1}, InvalidArgumentError),
        ({"limit": True}, InvalidArgumentError),
        ({"limit": "5"}, InvalidArgumentError),
    ],
)
def test_bad_input(memory_store: Stores, options: dict[str, Any], error: type) -> None:
    """What selects nothing that can be meant is a typed error."""
    state = memory_store()
    with pytest.raises(error):
        state.timeline(**options)


# --- what is no longer there ------------------------------------------------------------------


def test_trimmed_values(memory_store: Stores) -> None:
    """A value that retention gave up is said to be unreadable; what was done stays."""
    state = memory_store()
    with correlate("run-1"):
        for number in range(5):
            state.set(A, "k", number)
        state.delete(A, "k")
    state.compact([HistoryPolicy(max_versions=1)])
    found = state.timeline("run-1")
    assert len(found) == 6
    assert found.complete
    gone = [e for e in found if not e.readable]
    assert gone
    assert all(e.value is None and e.wrote for e in gone)
    assert found[5].readable
    with pytest.raises(HorizonError) as caught:
        found.state_at(gone[0])
    assert caught.value.requested == gone[0].revision
    assert found.state_at(gone[0], trimmed="?") == {(StateScope.agent("a"), "k"): "?"}
    assert found.final_state == {}


@pytest.mark.parametrize("partitions", [1, 3])
def test_the_horizon_is_said(memory_store: Stores, partitions: int) -> None:
    """What reaches back before the journal's horizon says so, and how far; nothing else does."""
    clock = FakeClock()
    state = memory_store(clock=clock, partitions=partitions)
    with correlate("run-1"):
        for number in range(6):
            state.events.emit("old", number, scope=f"agent:{number}")
        begin = clock.now_ns()
        clock.advance(1000)
        kept = [state.set(f"agent:{number}", "k", number) for number in range(6)]
    index = rows(state, layout.CORRELATIONS)
    state.compact([HistoryPolicy(max_age=timedelta(seconds=10))])
    assert rows(state, layout.CORRELATIONS) == index - 6
    horizon = state.info()["horizon"]
    assert 0 < horizon < kept[0]
    for found in (
        state.timeline("run-1"),
        state.timeline("run-1", since=1),
        state.timeline(since=0),
        state.timeline("run-1", since=from_ns(begin - 10**9)),
    ):
        assert [e.value for e in found] == list(range(6))
        assert not found.complete
        assert found.horizon == horizon
        assert "incomplete" in found.render("tree")
        assert "incomplete" in repr(found)
    assert state.timeline("run-1", since=horizon).complete
    assert state.timeline(since=kept[2]).complete
    late = from_ns(clock.now_ns())
    assert state.timeline("run-1", since=late).complete
    assert state.verify() == []


def test_the_index_goes_with_its_headers(open_store: Stores, tmp_path: Path) -> None:
    """After compaction, a copy and a repair, the index has a row for each commit there is."""
    clock = FakeClock()
    state = open_store(clock=clock)
    for number in range(40):
        state.set(f"agent:{number % 3}", "k", number, correlation=f"run-{number % 4}")
        clock.advance(100)
    state.compact([HistoryPolicy(max_age=timedelta(seconds=2000))])
    assert state.verify() == []
    horizon = state.info()["horizon"]
    expected = [list(state.timeline(f"run-{n}", since=horizon)) for n in range(4)]
    state.copy_to(tmp_path / "copy.db")
    assert state.repair(tmp_path / "repaired.db").lost == []
    for path in (tmp_path / "copy.db", tmp_path / "repaired.db"):
        with holdfast.open(path) as other:
            assert other.verify() == []
            assert rows(other, layout.CORRELATIONS) == rows(state, layout.CORRELATIONS)
            found = [list(other.timeline(f"run-{n}", since=horizon)) for n in range(4)]
            assert found == expected


def test_leftover_rows_are_no_entries(memory_store: Stores) -> None:
    """An index row whose header is gone, or names another, tells nothing and hides nothing."""
    from holdfast.engines.base import Batch, Durability

    state = memory_store()
    memory_store.broken = True
    state.set(A, "k", 1, correlation="run-1")
    kernel = state._kernel
    stray = [layout.correlation_key(0, "run-1", revision) for revision in (7, 9)]
    kernel.engine.write(Durability.OS, lambda _: Batch(puts=[(key, b"") for key in stray]))
    assert [e.value for e in state.timeline("run-1")] == [1]
    assert {p.code for p in state.verify()} == {"stale-correlation"}

    state = memory_store(partitions=4)
    kernel = state._kernel
    for number in range(40):
        state.set(f"agent:{number}", "k", number, correlation="run-1")
    with kernel.engine.read() as view:
        held = {
            partition: [
                layout.journal_parts(key)[1] for key, _ in view.scan(*reach, keys_only=True)
            ]
            for partition in kernel.partitions.all
            for reach in [layout.journal_range(partition)]
        }
    assert sum(map(len, held.values())) == 40
    stray = [  # rows of revisions that lie between two headers of a partition
        layout.correlation_key(partition, "run-1", revision)
        for partition, revisions in held.items()
        for revision in range(1, max(revisions))
        if revision not in revisions
    ]
    assert stray
    kernel.engine.write(Durability.OS, lambda _: Batch(puts=[(key, b"") for key in stray]))
    assert [e.value for e in state.timeline("run-1")] == list(range(40))


# --- what it costs ----------------------------------------------------------------------------


@contextmanager
def counted(state: StateManager) -> Iterator[dict[str, int]]:
    """Count the rows that are read from the engine."""
    kernel = state._kernel
    engine = kernel.engine
    counts = {"rows": 0, "calls": 0}
    read = engine.read

    class Counting:
        def __init__(self, view: Any) -> None:
            self._view = view

        def get(self, key: bytes) -> Any:
            counts["calls"] += 1
            counts["rows"] += 1
            return self._view.get(key)

        def get_many(self, keys: Any) -> Any:
            counts["calls"] += 1
            counts["rows"] += len(keys)
            return self._view.get_many(keys)

        def scan(self, *args: Any, **options: Any) -> Any:
            counts["calls"] += 1
            found = self._view.scan(*args, **options)
            counts["rows"] += len(found)
            return found

    @contextmanager
    def counting() -> Iterator[Any]:
        with read() as view:
            yield Counting(view)

    engine.read = counting  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        engine.read = read  # type: ignore[method-assign]


def test_it_does_not_grow_with_the_store(memory_store: Stores) -> None:
    """A correlation's timeline reads the same rows among a hundred others as among thousands."""
    costs = []
    for others in (100, 3000):
        state = memory_store()
        for number in range(others):
            state.events.emit("other", number, correlation=f"other-{number}")
            if number % (others // 100) == 0:
                state.events.emit("mine", number, correlation="mine")
        with counted(state) as counts:
            assert len(state.timeline("mine")) == 100
        costs.append(dict(counts))
    assert costs[0] == costs[1]
    assert costs[0]["calls"] < 20


def test_a_header_is_read_once(tmp_path: Path) -> None:
    """Many commits of one group cost one look at their header."""

    async def main() -> None:
        async with await holdfast.open_async(tmp_path / "s.db", policies=QUICK) as state:
            # The first leads a group of its own; the rest is committed behind it, together.
            await asyncio.gather(
                *(state.events.emit("e", n, correlation="run-1") for n in range(60))
            )
            headers = rows(state.sync, layout.JOURNAL)
            assert headers < 30
            with counted(state.sync) as counts:
                assert len(state.sync.timeline("run-1")) == 60
            assert counts["rows"] <= 60 + 60 + headers + 10  # index rows, keys asked, headers

    asyncio.run(main())


# --- state at a point -------------------------------------------------------------------------


def test_state_at(state: StateManager) -> None:
    """At each entry stands what the timeline's own entries have left, and nothing of others."""
    state.set(A, "there", "before")
    with correlate("run-1"):
        state.set(A, "x", 1)
        state.set(B, "x", 2)
        state.set(A, "x", 3)
        state.events.emit("e")
        state.delete(B, "x")
    found = state.timeline("run-1")
    a, b = (StateScope.agent("a"), "x"), (StateScope.agent("b"), "x")
    states = [{a: 1}, {a: 1, b: 2}, {a: 3, b: 2}, {a: 3, b: 2}, {a: 3}]
    assert [found.state_at(n) for n in range(5)] == states
    assert [found.state_at(entry) for entry in found] == states
    assert found.state_at(-1) == found.final_state == {a: 3}
    assert found.state_at(-5) == {a: 1}
    assert found.writes_at(2)[a] is found[2]
    assert state.get(A, "there", as_of=found[0].revision) == "before"
    for bad in (5, -6, "1", True, None, 1.0, state.timeline(scope=B)[0]):
        with pytest.raises(InvalidArgumentError):
            found.state_at(bad)  # type: ignore[arg-type]
    assert state.timeline("nobody").final_state == {}


# --- kinds of events --------------------------------------------------------------------------


def test_failures_and_reads(state: StateManager) -> None:
    """They show operation, scope, key, error and duration, and leave no state behind."""
    facts = {"operation": "set", "key": "k", "code": "conflict", "duration_ns": 1_500_000}
    with correlate("run-1"):
        state.events.emit("state.failed", facts, scope=A)
        state.events.emit("state.read", {"operation": "get", "key": "k"}, scope=A)
        state.events.emit("state.failed", "nonsense", scope=A)
        state.events.emit("state.failed", {"key": 7, "duration_ms": "long"}, scope=A)
        state.events.emit("state.read", {"duration_ms": 2.5, "operation": "scan"}, scope=A)
        state.events.emit("state.read", {"duration": float("nan")}, scope=A)
        state.events.emit("state.read", {"duration_s": 1e300}, scope=A)
        state.events.emit("state.read", {"duration_s": 1e12}, scope=A)
        state.events.emit("state.read", {"duration": timedelta.max}, scope=A)
    found = state.timeline("run-1")
    first, second, third, fourth, fifth, *absurd = found
    assert (first.kind, first.operation, first.key, first.error) == (
        "failed",
        "set",
        "k",
        "conflict",
    )
    assert first.duration == timedelta(milliseconds=1.5)
    assert (second.kind, second.operation, second.duration) == ("read", "get", None)
    assert (third.kind, third.operation, third.key, third.error) == ("failed", "failed", None, None)
    assert (fourth.key, fourth.duration) == (None, None)
    assert fifth.duration == timedelta(milliseconds=2.5)
    assert [e.duration for e in absurd] == [None] * 4
    assert found.final_state == {}
    for form in FORMATS:
        assert found.render(form)


def test_offsets_and_elapsed(memory_store: Stores) -> None:
    """Offsets count from the first step's beginning, elapsed from the entry's own step's."""
    clock = FakeClock()
    state = memory_store(clock=clock)
    step = CorrelationContext(id="run", span="s", started_ns=clock.now_ns())
    clock.advance(0.2)
    state.set(A, "k", 1, correlation=step)
    clock.advance(0.3)
    later = CorrelationContext(id="run", span="t", parent="s", started_ns=clock.now_ns())
    clock.advance(1)
    state.set(A, "k", 2, correlation=later)
    state.set(A, "k", 3, correlation="run")
    found = state.timeline("run")
    assert [e.offset.total_seconds() for e in found] == [0.2, 1.5, 1.5]
    assert [e.elapsed and e.elapsed.total_seconds() for e in found] == [0.2, 1.0, None]
    assert found.duration == timedelta(seconds=1.5)
    assert found.began_at == from_ns(step.started_ns)


def test_the_class_of_an_event(memory_store: Stores) -> None:
    """An event is of the class that policy gives to its scope."""
    policies = [ScopePolicy("user:*", state_class=StateClass.SENSITIVE)]
    before = memory_store()
    before.events.emit("e", "secret", scope="user:ada", correlation="run")
    state = StateManager(before._kernel, policies=policies)
    state.events.emit("e", "open", scope=A, correlation="run")
    first, second = state.timeline("run")
    assert (first.state_class, second.state_class) == (StateClass.SENSITIVE, None)
    assert first.value == "secret"
    assert "secret" not in repr(first)
