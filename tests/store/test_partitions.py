"""Partitions: scopes in several journals, one order over all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast import ConflictError, StateManager, StateScope
from holdfast.clock import from_ns
from holdfast.engines.base import Batch, Body, Durability
from holdfast.engines.memory import MemoryEngine
from holdfast.errors import ConfigurationError
from holdfast.keys import after, pack_text
from holdfast.store import layout
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.store.partitions import Partitions
from holdfast.store.retention import HistoryPolicy
from holdfast.testing import FakeClock

SCOPES = [f"agent:{n}" for n in range(24)]


@pytest.fixture(params=["memory", "sqlite"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateManager]:
    """Open a store of eight partitions; it is verified at the end."""
    url = "memory:" if request.param == "memory" else f"sqlite:{tmp_path / 's.db'}"
    with holdfast.open(url, partitions=8) as state:
        yield state
        assert state.verify() == []


def of(state: StateManager, scope: str) -> int:
    """Return the partition of a scope."""
    return state._kernel.partitions.of(b"\0" + StateScope.parse(scope).packed)


def apart(state: StateManager) -> tuple[str, str]:
    """Return two scopes of different partitions."""
    first = SCOPES[0]
    return first, next(s for s in SCOPES if of(state, s) != of(state, first))


# --- which partition --------------------------------------------------------------------------


def test_scopes_spread_and_stay() -> None:
    """Scopes spread over all partitions, always in the same way: it is part of the format."""
    eight = Partitions(8)
    found = [eight.of(b"\0" + StateScope.parse(scope).packed) for scope in SCOPES]
    assert found[:8] == [6, 1, 6, 6, 4, 3, 5, 1]
    assert set(found) == set(range(8))
    assert {Partitions(1).of(b"\0" + StateScope.parse(s).packed) for s in SCOPES} == {0}


def test_a_family_stays_together() -> None:
    """A workflow's steps are in their workflow's partition; tenants are spread apart."""
    parts = Partitions(64)
    workflow = parts.of(b"\0" + StateScope.parse("workflow:w").packed)
    for step in ("one", "two", "three"):
        assert parts.of(b"\0" + StateScope.parse(f"workflow:w:step:{step}").packed) == workflow
    tenants = {parts.of(pack_text(f"t{n}") + StateScope.GLOBAL.packed) for n in range(200)}
    assert len(tenants) > 40


@given(st.text(min_size=1, max_size=5), st.text(max_size=3), st.integers(2, 50))
def test_a_range_covers_its_places(name: str, prefix: str, count: int) -> None:
    """A range of one scope lies in its partition; one that leaves it reaches into all."""
    try:
        scope = StateScope.agent(name)
    except holdfast.StateError:
        return
    parts = Partitions(count)
    owner = b"\0" + scope.packed
    start = owner + prefix.encode()
    assert parts.covering(start, after(owner)) == (parts.of(owner),)
    assert parts.covering(b"\0", after(b"\0")) == parts.all
    assert parts.covering(b"\0\x02", b"\0\x03") == parts.all
    assert parts.covering(owner, after(owner) + b"a") == parts.all


# --- one order --------------------------------------------------------------------------------


def test_revisions_are_unique_and_ordered(state: StateManager) -> None:
    """Every commit has a revision of its own, above all that were acknowledged before it."""
    revisions = [state.set(scope, "k", at) for at in range(5) for scope in SCOPES]
    assert revisions == sorted(set(revisions))
    assert state.revision == revisions[-1]
    told = [(c.revision, str(c.scope), c.value) for c in state.changes()]
    expected = [(scope, at) for at in range(5) for scope in SCOPES]
    assert told == [(r, s, at) for r, (s, at) in zip(revisions, expected, strict=True)]


def test_changes_resume_anywhere(state: StateManager) -> None:
    """From any revision, in pages of any size, nothing is missed and nothing comes twice."""
    for at in range(120):
        state.set(SCOPES[at % 24], f"k{at}", at)
    with state.transaction() as tx:
        for scope in SCOPES:
            tx.set(scope, "both", 1)
    whole = [(c.revision, str(c.scope), c.key) for c in state.changes()]
    assert len(whole) == 144
    assert len({revision for revision, _, _ in whole}) == 121
    for since in (0, whole[10][0], whole[119][0], whole[-1][0]):
        rest = [(c.revision, str(c.scope), c.key) for c in state.changes(since)]
        assert rest == [each for each in whole if each[0] > since]
    assert [c.key for c in state.changes(limit=3)] == ["k0", "k1", "k2"]
    one = [c.key for c in state.changes(scope=SCOPES[3])]
    assert one == ["k3", "k27", "k51", "k75", "k99", "both"]


def test_reading_the_past(state: StateManager) -> None:
    """As of any revision, every scope shows what it held then."""
    model: dict[tuple[str, str], int] = {}
    moments = []
    for at in range(60):
        scope, key = SCOPES[at * 7 % 24], f"k{at % 3}"
        revision = state.set(scope, key, at)
        model[scope, key] = at
        moments.append((revision, dict(model)))
    for revision, then in moments[::7]:
        with state.snapshot(as_of=revision) as shown:
            found = {
                (str(scope), key): item.value
                for scope in shown.scopes()
                for key, item in shown.scan(scope)
            }
        assert found == then
    before, after_ = moments[10], moments[50]
    told = {(str(d.scope), d.key) for d in state.diff(before[0], after_[0])}
    assert told == {p for p, v in after_[1].items() if before[1].get(p) != v}


def test_reading_as_of_a_time() -> None:
    """As of any time, every scope shows what it held then, though revisions have gaps."""
    clock = FakeClock()
    with holdfast.open("memory:", partitions=8, clock=clock) as state:
        model: dict[tuple[str, str], int] = {}
        moments = []
        for at in range(120):
            scope = SCOPES[at * at % 24]
            state.set(scope, "k", at)
            model[scope, "k"] = at
            moments.append((from_ns(clock.now_ns()), dict(model)))
            clock.advance(1)
        for time, then in moments[::5]:
            with state.snapshot(as_of=time) as shown:
                found = {
                    (str(scope), key): item.value
                    for scope in shown.scopes()
                    for key, item in shown.scan(scope)
                }
            assert found == then


def test_a_snapshot_stays(state: StateManager) -> None:
    """A snapshot shows one moment of all partitions, whatever is written meanwhile."""
    for scope in SCOPES:
        state.set(scope, "k", 1)
    with state.snapshot() as shown:
        for scope in SCOPES:
            state.set(scope, "k", 2)
            state.set(scope, "new", 2)
        assert [shown.get(scope, "k") for scope in SCOPES] == [1] * 24
        assert all(shown.list_keys(scope) == ["k"] for scope in SCOPES)
    assert state.get(SCOPES[5], "k") == 2


# --- transactions -----------------------------------------------------------------------------


def test_a_transaction_across_partitions_is_one_commit(state: StateManager) -> None:
    """It has one revision in every journal, under one commit id, found by it."""
    one, other = apart(state)
    with state.transaction(commit_id=b"c" * 16, correlation="c-1") as tx:
        tx.set(one, "k", 1)
        tx.set(other, "k", 2)
    assert {c.revision for c in state.changes()} == {tx.revision}
    assert {c.commit_id for c in state.changes()} == {(b"c" * 16).hex()}
    assert state.find_commit(b"c" * 16) == tx.revision
    with state.transaction(commit_id=b"c" * 16) as again:
        again.set(one, "k", 1)
        again.set(other, "k", 2)
    assert again.revision == tx.revision


def test_write_skew_is_refused(state: StateManager) -> None:
    """Two transactions that each read what the other writes, in two partitions: one fails."""
    one, other = apart(state)
    state.set(one, "on", True)
    state.set(other, "on", True)
    with pytest.raises(ConflictError), state.transaction() as first:
        assert first.get(one, "on")
        assert first.get(other, "on")
        with state.transaction() as second:
            assert second.get(one, "on")
            assert second.get(other, "on")
            second.set(other, "on", False)
        first.set(one, "on", False)
    assert [state.get(one, "on"), state.get(other, "on")] == [True, False]


def test_a_phantom_in_another_partition_is_refused(state: StateManager) -> None:
    """What was listed in one partition is checked when another one is written."""
    one, other = apart(state)
    with pytest.raises(ConflictError) as caught, state.transaction() as tx:
        assert tx.list_keys(one) == []
        state.set(one, "new", 1)
        tx.set(other, "count", 0)
    assert caught.value.reason == "range"


def test_transfers_between_partitions_keep_the_sum(state: StateManager) -> None:
    """Threads move amounts between accounts of all partitions; no moment shows another sum."""
    for scope in SCOPES:
        state.set(scope, "balance", 100)
    sums: list[int] = []

    def move(number: int) -> None:
        for at in range(15):
            source, target = SCOPES[(number * 7 + at) % 24], SCOPES[(number * 5 + at * 3 + 1) % 24]
            if source != target:

                def step(tx: holdfast.StateTransaction, a: str = source, b: str = target) -> None:
                    tx.increment(a, "balance", -1)
                    tx.increment(b, "balance", 1)

                state.transact(step)

    def watch() -> None:
        for _ in range(15):
            with state.snapshot() as shown:
                sums.append(sum(shown.get(scope, "balance") for scope in SCOPES))

    threads = [threading.Thread(target=move, args=(n,)) for n in range(4)]
    threads.append(threading.Thread(target=watch))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [2400] * 15
    assert sum(state.get(scope, "balance") for scope in SCOPES) == 2400


# --- who waits --------------------------------------------------------------------------------


class Slots(MemoryEngine):
    """A memory engine that notes which partitions each write holds."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[int, ...]] = []

    def write(self, durability: Durability, body: Body, partitions: object = (0,)) -> None:
        """Note and write."""
        self.held.append(tuple(partitions))  # type: ignore[call-overload]
        super().write(durability, body)


def test_a_write_holds_its_own_partition_only() -> None:
    """A write of one scope holds one partition, a transaction those it touches."""
    engine = Slots()
    state = StateManager(Kernel(engine, StoreSettings(partitions=8)))
    one, other = apart(state)
    engine.held.clear()
    state.set(one, "k", 1)
    state.increment(other, "n")
    with state.transaction() as tx:
        tx.get(one, "k")
        tx.set(other, "k", 1)
    assert engine.held == [
        (of(state, one),),
        (of(state, other),),
        tuple(sorted({of(state, one), of(state, other)})),
    ]
    state.close()


def test_asking_for_a_past_revision_waits_once() -> None:
    """A revision is settled by waiting for every partition, and need not be settled again."""
    engine = Slots()
    state = StateManager(Kernel(engine, StoreSettings(partitions=4)))
    revision = state.set(SCOPES[0], "k", 1)
    engine.held.clear()
    assert state.get(SCOPES[0], "k", as_of=revision) == 1
    assert engine.held == [(0, 1, 2, 3)]
    assert state.get(SCOPES[0], "k", as_of=revision) == 1
    assert len(engine.held) == 1
    state.close()


# --- the whole store --------------------------------------------------------------------------


def test_maintenance(state: StateManager, tmp_path: Path) -> None:
    """Compaction, copies and repair work on all partitions, and what they make is sound."""
    for at in range(8):
        for scope in SCOPES:
            state.set(scope, "k", at)
            state.set(scope, f"k{at}", at, correlation=f"c{at}")
    for scope in SCOPES[:5]:
        state.delete(scope, "k")
    expected = {(s, k): state.get(s, k) for s in SCOPES for k in state.list_keys(s)}

    def contents(store: StateManager) -> dict[tuple[str, str], object]:
        return {(s, k): store.get(s, k) for s in SCOPES for k in store.list_keys(s)}

    report = state.copy_to(tmp_path / "copy.db")
    assert report.revision == state.revision
    state.repair(tmp_path / "repaired.db")
    for name in ("copy.db", "repaired.db"):
        with holdfast.open(tmp_path / name) as copy:
            assert copy.verify() == []
            assert contents(copy) == expected
            assert copy.info()["partitions"] == 8
            assert [c.revision for c in copy.changes()] == [c.revision for c in state.changes()]
            assert copy.set(SCOPES[3], "k", "later") > report.revision
            assert copy.verify() == []
    trimmed = state.compact([HistoryPolicy("*", max_versions=1, max_age=timedelta(0))])
    assert trimmed.versions_trimmed > 100
    assert state.verify() == []
    assert contents(state) == expected


def test_expiry_in_every_partition(tmp_path: Path) -> None:
    """The sweep finds what has expired wherever it is."""
    clock = FakeClock()
    with holdfast.open("memory:", partitions=8, clock=clock) as state:
        for scope in SCOPES:
            state.set(scope, "k", 1, expires_in=10)
            state.set(scope, "stays", 1)
        clock.advance(11)
        assert all(state.list_keys(scope) == ["stays"] for scope in SCOPES)
        assert state.sweep() == 24
        assert state.verify() == []


def test_the_number_is_fixed(tmp_path: Path) -> None:
    """Another number than the stored one is refused, and nothing is changed."""
    path = tmp_path / "s.db"
    with holdfast.open(path, partitions=4) as state:
        state.set("agent:a", "k", 1)
    with pytest.raises(ConfigurationError, match="4 partitions, not 8"):
        holdfast.open(path, partitions=8)
    with holdfast.open(path) as state:
        assert state.info()["partitions"] == 4
    for wrong in (0, -1, 5000):
        with pytest.raises(ConfigurationError, match="partitions"):
            holdfast.open(tmp_path / "other.db", partitions=wrong)
    assert not (tmp_path / "other.db").exists()


def test_a_moved_header_is_found(state: StateManager) -> None:
    """A header that is put into another partition's journal is damage."""
    one, other = apart(state)
    state.set(one, "k", 1)
    kernel = state._kernel
    revision = state.revision
    row = kernel.engine.get(layout.journal_key(of(state, one), revision))
    assert row is not None
    key = layout.journal_key(of(state, other), revision)
    kernel.engine.write(Durability.OS, lambda _: Batch(puts=[(key, row)]))
    assert "header-damaged" in {problem.code for problem in state.verify()}
    kernel.engine.write(Durability.OS, lambda _: Batch(deletes=[key]))
