"""Events: in the journal's own order, with the changes, on every engine, once."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import (
    ConflictError,
    HorizonError,
    ScopePolicy,
    StateClass,
    StateEvent,
    StateManager,
    correlate,
)
from holdfast.engines.memory import MemoryEngine
from holdfast.errors import (
    InvalidArgumentError,
    InvalidValueError,
    LimitExceededError,
    ProtectionRequiredError,
    RejectedError,
)
from holdfast.store import history
from holdfast.store.happening import MAX_EVENT_BYTES
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.store.value import Change
from tests.conftest import Stores

A, B = "agent:a", "agent:b"


def everything(state: StateManager, since: int = 0) -> list[Change | StateEvent]:
    """Return changes and events as the journal has them."""
    start, stop = state._listing.reach(None, "")
    found = history.changes(
        state._kernel,
        since=since,
        until=None,
        start=start,
        stop=stop,
        limit=None,
        values=True,
        events=True,
    )
    return list(found)


def names(state: StateManager, **options: Any) -> list[str]:
    """Return the names of events."""
    return [event.name for event in state.events.read(**options)]


def test_order_with_changes(state: StateManager) -> None:
    """Events and changes stand in one order, that of their commits, whatever their scopes."""
    expected = []
    for number in range(20):
        scope = f"agent:{number % 5}"
        if number % 2:
            state.set(scope, "k", number)
        else:
            state.events.emit(f"e{number}", number, scope=scope)
        expected.append(number)
    found = [x.value if isinstance(x, Change) else x.data for x in everything(state)]
    assert found == expected
    revisions = [x.revision for x in everything(state)]
    assert revisions == sorted(revisions)
    assert len(list(state.changes())) == 10
    assert [e.data for e in state.events.read()] == expected[::2]


def test_what_an_event_carries(state: StateManager) -> None:
    """Scope, name, data, causes, actor, cause and step read back as they were given."""
    with correlate("run-1", component="till", operation="pay") as step:
        id_ = state.events.emit(
            "order.paid",
            {"amount": 12, "tags": {"a", "b"}},
            scope=A,
            causes=["c1", "c2"],
            actor="ada",
            cause="because",
        )
    (event,) = state.events.read()
    assert event.id == id_
    assert (str(event.scope), event.name) == (A, "order.paid")
    assert event.data == {"amount": 12, "tags": {"a", "b"}}
    assert event.causes == ("c1", "c2")
    assert (event.actor, event.cause, event.correlation_id) == ("ada", "because", "run-1")
    assert event.context == step
    assert event.revision == state.revision
    assert state.find_commit(event.commit_id or "") == event.revision
    assert "amount" not in repr(event)


def test_a_transaction_emits_with_its_commit(state: StateManager) -> None:
    """Events of a transaction have its revision, behind its changes, and come whole or not."""
    with state.transaction() as tx:
        tx.set(A, "k", 1)
        first = tx.emit("one", scope=A)
        tx.set(B, "k", 2)
        second = tx.emit("two", 2, scope=B)
    found = everything(state)
    assert {x.revision for x in found} == {state.revision}
    assert sorted(x.key for x in found if isinstance(x, Change)) == ["k", "k"]
    assert sorted(x.id for x in found if isinstance(x, StateEvent)) == sorted([first, second])
    with pytest.raises(RejectedError):
        tx.emit("late")


def test_only_events(state: StateManager) -> None:
    """A transaction that only emits commits, and one that emits nothing does not."""
    with state.transaction() as tx:
        tx.emit("alone")
    revision = state.revision
    with state.transaction():
        pass
    assert names(state) == ["alone"]
    assert state.revision == revision


def test_nothing_is_told_of_what_conflicts(state: StateManager) -> None:
    """A transaction that conflicts or is left by an error leaves no event."""
    state.set(A, "k", 1)
    with pytest.raises(ConflictError), state.transaction() as tx:
        tx.get(A, "k")
        tx.emit("lost")
        tx.set(A, "other", 1)
        state.set(A, "k", 2)
    with pytest.raises(ZeroDivisionError), state.transaction() as tx:
        tx.emit("lost")
        raise ZeroDivisionError
    assert names(state) == []


def test_transact_emits_once(state: StateManager) -> None:
    """However often a transaction is tried, its event is there once."""
    state.set(A, "k", 0)
    tries = 0

    def work(tx: holdfast.StateTransaction) -> None:
        nonlocal tries
        tries += 1
        value = tx.get(A, "k")
        if tries == 1:
            state.set(A, "k", 10)
        tx.set(A, "k", value + 1)
        tx.emit("raised", value + 1)

    state.transact(work)
    assert [(e.name, e.data) for e in state.events.read()] == [("raised", 11)]


def test_emitting_again_under_a_commit_id(state: StateManager) -> None:
    """A retry under the same id does nothing again, and names the event that is there."""
    first = state.events.emit("once", 1, commit_id=b"x" * 16)
    revision = state.revision
    assert state.events.emit("once", 1, commit_id=b"x" * 16) == first
    assert state.revision == revision
    assert [(e.id, e.data) for e in state.events.read()] == [(first, 1)]
    assert state.find_commit(b"x" * 16) == revision


def test_a_transaction_again_under_a_commit_id(state: StateManager) -> None:
    """Its events have the ids that they have in the commit that happened."""
    told = []
    for _ in range(2):
        with state.transaction(commit_id=b"t" * 16) as tx:
            tx.set(A, "k", 1)
            told.append([tx.emit("one", scope=A), tx.emit("two", scope=B)])
    assert told[0] == told[1]
    assert [e.id for e in state.events.read()] == told[0]


def test_a_commit_id_of_something_else_is_refused(open_store: Stores) -> None:
    """An event is not taken for emitted where its id names another commit, or a tenant's."""
    state = open_store()
    acme = StateManager(state._kernel, tenant="acme", policies=[])
    state.set(A, "k", 1, commit_id=b"s" * 16)
    acme.events.emit("theirs", scope=A, commit_id=b"e" * 16)
    for commit_id in (b"s" * 16, b"e" * 16):
        with pytest.raises(InvalidArgumentError):
            state.events.emit("ours", scope=A, commit_id=commit_id)
    with pytest.raises(InvalidArgumentError):
        state.set(A, "k", 2, commit_id=b"e" * 16)
    assert (names(state), names(acme), state.get(A, "k")) == ([], ["theirs"], 1)


def test_reads_select(state: StateManager) -> None:
    """By scope, by name with wildcards, by correlation, by revision, so many."""
    with correlate("run-1"):
        state.events.emit("order.made", scope=A)
        state.events.emit("order.paid", scope=B)
    middle = state.revision
    state.events.emit("order.paid", scope=A, correlation="run-2")
    state.events.emit("[order]", scope="workflow:w:step:s")
    assert names(state, scope=A) == ["order.made", "order.paid"]
    assert names(state, scope="workflow:w") == []
    assert names(state, scope="workflow:w:step:s") == ["[order]"]
    assert names(state, name="order.*") == ["order.made", "order.paid", "order.paid"]
    assert names(state, name="*.paid") == ["order.paid", "order.paid"]
    assert names(state, name="Order.*") == []
    assert names(state, name="[order]") == ["[order]"]
    assert names(state, name="order.mad?") == []
    assert names(state, name="*") == names(state)
    assert names(state, correlation="run-1") == ["order.made", "order.paid"]
    assert names(state, correlation="run-1", scope=B) == ["order.paid"]
    assert names(state, since=middle) == ["order.paid", "[order]"]
    assert names(state, until=middle) == ["order.made", "order.paid"]
    assert names(state, limit=3) == ["order.made", "order.paid", "order.paid"]
    assert names(state, name="*.paid", limit=1) == ["order.paid"]
    assert names(state, limit=0) == []


def test_data_in_a_sensitive_scope_is_refused(memory_store: Stores) -> None:
    """What policy wants encrypted is no event's data; that something happened may be said."""
    state = memory_store(policies=[ScopePolicy("user:*", state_class=StateClass.SENSITIVE)])
    with pytest.raises(ProtectionRequiredError):
        state.events.emit("seen", "secret", scope="user:ada")
    with pytest.raises(ProtectionRequiredError), state.transaction() as tx:
        tx.emit("seen", "secret", scope="user:ada")
    state.events.emit("seen", scope="user:ada")
    state.events.emit("seen", "open", scope=A)
    assert [e.data for e in state.events.read()] == [None, "open"]


@pytest.mark.parametrize(
    "wrong", [{"name": 5}, {"name": ""}, {"name": "a\nb"}, {"correlation": 5}, {"correlation": ""}]
)
def test_a_selection_that_is_none_is_refused(memory_store: Stores, wrong: dict[str, Any]) -> None:
    """A bad name or correlation id is an error, and not a search without a find."""
    with pytest.raises(InvalidArgumentError):
        list(memory_store().events.read(**wrong))


def test_names_are_found_in_any_form(memory_store: Stores) -> None:
    """A name is kept in form NFC, and found by its other forms."""
    state = memory_store()
    state.events.emit("cafe\u0301.open")
    assert names(state, name="cafe\u0301.*") == names(state, name="caf\u00e9.open") == ["café.open"]


def test_a_scope_is_not_its_neighbour(state: StateManager) -> None:
    """Events of agent:1 are not those of agent:10, nor of other kinds."""
    for scope in ("agent:1", "agent:10", "user:1", "session:1", "global"):
        state.events.emit("e", scope, scope=scope)
    for scope in ("agent:1", "agent:10", "user:1", "session:1", "global"):
        assert [e.data for e in state.events.read(scope=scope)] == [scope]


def test_tenants_do_not_see_each_other(open_store: Stores) -> None:
    """Neither events nor timelines cross from one tenant to another, by whatever selection."""
    state = open_store()
    acme = StateManager(state._kernel, tenant="acme", policies=[])
    with correlate("run-1"):
        state.events.emit("ours", scope=A)
        acme.events.emit("theirs", scope=A)
        acme.set(A, "k", "theirs")
    assert names(state) == ["ours"]
    assert names(acme) == ["theirs"]
    assert names(state, scope=A) == ["ours"]
    assert names(state, correlation="run-1") == ["ours"]
    assert [e.name for e in state.timeline("run-1")] == ["ours"]
    assert [e.name for e in acme.timeline("run-1")] == ["theirs", None]
    assert state.timeline(scope=A, key="k").entries == ()


def test_many_writers(state: StateManager) -> None:
    """Events of many threads are all there, each thread's in its order."""

    def work(number: int) -> None:
        for count in range(25):
            state.events.emit(f"t{number}", count, scope=f"agent:{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = list(state.events.read())
    assert len({event.id for event in found}) == 200
    for number in range(8):
        assert [e.data for e in found if e.name == f"t{number}"] == list(range(25))


# --- limits -----------------------------------------------------------------------------------


def test_size_limit(state: StateManager) -> None:
    """Data of 64 KiB goes, a byte more is refused with both numbers, and nothing is written."""
    room = MAX_EVENT_BYTES - 3  # MessagePack's head of such bytes
    state.events.emit("large", b"x" * room)
    with pytest.raises(LimitExceededError) as caught:
        state.events.emit("larger", b"x" * (room + 1))
    assert (caught.value.limit, caught.value.actual) == (MAX_EVENT_BYTES, MAX_EVENT_BYTES + 1)
    with state.transaction() as tx, pytest.raises(LimitExceededError):
        tx.emit("larger", b"x" * (room + 1))
    (event,) = state.events.read()
    assert event.data == b"x" * room


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256, "é" * 128, "\ud800", None, 7])
def test_bad_names(memory_store: Stores, name: Any) -> None:
    """Empty, too long, with control characters, or no text: refused, and nothing is written."""
    state = memory_store()
    with pytest.raises(InvalidArgumentError):
        state.events.emit(name)
    assert state.revision == 0


def test_bad_data_and_causes(memory_store: Stores) -> None:
    """What would not read back equal is refused, as are causes that are no ids."""
    state = memory_store()
    with pytest.raises(InvalidValueError):
        state.events.emit("e", {"a": object()})
    with pytest.raises(InvalidArgumentError):
        state.events.emit("e", causes=[""])
    with pytest.raises(InvalidArgumentError):
        state.events.emit("e", causes=["c"] * 65)
    with pytest.raises(InvalidArgumentError):
        list(state.events.read(limit=-1))
    with pytest.raises(InvalidArgumentError):
        list(state.events.read(since=-1))
    assert state.revision == 0


# --- keeping them -----------------------------------------------------------------------------


def test_they_are_durable(open_store: Stores) -> None:
    """Events are there after reopening, as they were."""
    state = open_store()
    with correlate("run-1", component="c"):
        state.events.emit("kept", [1, 2], scope=A)
        state.set(A, "k", 1)
    before = everything(state)
    if not open_store.persistent:
        return
    state = open_store.reopen(state)
    assert everything(state) == before
    assert [e.name for e in state.timeline("run-1")] == ["kept", None]


def test_copies_and_repairs_keep_them(open_store: Stores, tmp_path: Path) -> None:
    """A copy and a repaired store have every event, with its index, in its place."""
    state = open_store()
    for number in range(30):
        with correlate(f"run-{number % 3}", component="c"):
            state.set(f"agent:{number % 4}", "k", number)
            state.events.emit("e", number, scope=f"agent:{number % 4}")
    expected = everything(state)
    runs = [list(state.timeline(f"run-{n}")) for n in range(3)]
    assert [len(run) for run in runs] == [20, 20, 20]
    state.copy_to(tmp_path / "copy.db")
    assert state.repair(tmp_path / "repaired.db").lost == []
    for path in (tmp_path / "copy.db", tmp_path / "repaired.db"):
        with holdfast.open(path) as other:
            assert other.verify() == []
            assert everything(other) == expected
            assert [list(other.timeline(f"run-{n}")) for n in range(3)] == runs


def test_an_event_whose_header_is_edited_is_noticed(open_store: Stores) -> None:
    """Events are under the journal's chain: what somebody changes there does not verify."""
    from holdfast.engines.base import Batch, Durability
    from holdfast.store import layout

    state = open_store()
    open_store.broken = True
    state.events.emit("paid", "twelve")
    state.events.emit("sent")
    assert state.verify() == []
    kernel = state._kernel
    with kernel.engine.read() as view:
        rows = view.scan(layout.JOURNAL, layout.after(layout.JOURNAL))
    key, row = rows[0]
    edited = row.replace(b"twelve", b"eleven")
    kernel.engine.write(Durability.OS, lambda _: Batch(puts=[(key, edited)]), kernel.partitions.all)
    assert "chain-broken" in {problem.code for problem in state.verify()}


def test_behind_the_horizon(memory_store: Stores) -> None:
    """Events that compaction has trimmed are an error to ask for, never just absent."""
    from datetime import timedelta

    from holdfast import HistoryPolicy
    from holdfast.testing import FakeClock

    clock = FakeClock()
    state = memory_store(clock=clock)
    state.events.emit("old")
    clock.advance(1000)
    state.events.emit("new")
    state.compact([HistoryPolicy(max_age=timedelta(seconds=10))])
    horizon = state.info()["horizon"]
    assert horizon == 1
    with pytest.raises(HorizonError):
        names(state)
    assert names(state, since=horizon) == ["new"]


@pytest.mark.parametrize("golden", ["sqlite", "rocksdb"])
def test_stores_from_before_events(golden: str, tmp_path: Path) -> None:
    """A store of format 1 from before there were events opens, has none, and takes new ones."""
    import shutil
    import tarfile

    formats = Path(__file__).parents[1] / "formats"
    target = tmp_path / "v1.db"
    if golden == "sqlite":
        shutil.copy(formats / "v1.db", target)
    else:
        with tarfile.open(formats / "v1.rocksdb.tar.gz") as tar:
            tar.extractall(tmp_path, filter="data")
        target = tmp_path / "v1.rocksdb"
    with holdfast.open(f"{golden}:{target}") as state:
        changes = len(list(state.changes()))
        assert names(state) == []
        assert all(change.context is None for change in state.changes())
        assert len(state.timeline(limit=1000)) == changes
        old = {c.correlation_id for c in state.changes() if c.correlation_id is not None}
        for correlation in old:
            assert len(state.timeline(correlation)) == sum(
                c.correlation_id == correlation for c in state.changes()
            )
        with correlate("run-1"):
            state.events.emit("first")
        assert names(state) == ["first"]
        assert [e.name for e in state.timeline("run-1")] == ["first"]
        assert state.verify() == []


def test_a_commit_of_too_many_events_is_refused() -> None:
    """Events count in the size of a commit, also with few or no changes, on both faces."""
    engine = MemoryEngine()
    engine.traits = replace(engine.traits, max_batch_bytes=100_000)  # type: ignore[misc]
    state = StateManager(Kernel(engine, StoreSettings(sweep_every=0)))
    for changes in (0, 1, 2):
        with pytest.raises(LimitExceededError), state.transaction() as tx:
            for number in range(changes):
                tx.set(A, f"k{number}", 1)
            for _ in range(3):
                tx.emit("large", os.urandom(50_000))
    state.events.emit("fits", os.urandom(50_000))
    assert names(state) == ["fits"]
    state.close()


def test_a_scope_too_long_for_keys_is_too_long_for_events(state: StateManager) -> None:
    """What stands in a header is bounded, its scope as well."""
    scope = "agent:" + "x" * 5000
    with pytest.raises(LimitExceededError):
        state.events.emit("e", scope=scope)
    with pytest.raises(LimitExceededError), state.transaction() as tx:
        tx.emit("e", scope=scope)
    assert names(state) == []
