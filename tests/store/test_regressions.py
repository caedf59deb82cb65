"""What went wrong once, and must not again."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import (
    AsyncStateManager,
    HistoryPolicy,
    ScopePolicy,
    SetOperation,
    StateClass,
    StateManager,
    StateTransaction,
)
from holdfast.engines.base import Batch, Durability
from holdfast.errors import (
    ClosedError,
    ConfigurationError,
    ConflictError,
    HorizonError,
    InvalidArgumentError,
    ProtectionRequiredError,
    RejectedError,
)
from holdfast.store import layout, record, transfer
from holdfast.store.intent import LOW, Intent
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.testing import FakeClock
from tests.conftest import Stores

A = "agent:a"


def test_a_scopes_horizon_never_goes_back(state: StateManager) -> None:
    """A compaction that gives up less than one before leaves the horizon where it was."""
    state.set(A, "standard", 1)
    state.set(A, "standard", 2)
    for at in range(5):
        state.set(A, "trusted", at, state_class=StateClass.TRUSTED)
    state.compact([HistoryPolicy(state_class=StateClass.TRUSTED, max_versions=1)])
    state.compact([HistoryPolicy(max_versions=1)])
    with pytest.raises(HorizonError):
        state.get(A, "trusted", as_of=5)
    with pytest.raises(HorizonError):
        state.list_keys(A, as_of=5)
    assert state.get(A, "trusted") == 4


@pytest.mark.usefixtures("one_partition")
def test_the_journals_horizon_never_goes_back(state: StateManager) -> None:
    """A trim of the journal that another compaction has overtaken changes nothing."""
    for at in range(5):
        state.set(A, "k", at)
    horizon = state.compact([HistoryPolicy(max_age=timedelta(0))]).horizon
    assert horizon == 5
    intent = Intent([], Durability.OS, LOW)
    intent.trims = [(b"", 3)]
    state._kernel.commit(intent)
    assert state.info()["horizon"] == horizon


def test_a_dictionary_never_replaces_another(memory_store: Stores) -> None:
    """Who opened the store before another trained a dictionary trains the next, not the same."""
    first = memory_store()
    second = StateManager(Kernel(first._kernel.engine, StoreSettings()))
    texts = [
        {"name": f"item {at}", "text": f"some words {at * 7} and more words" * 3}
        for at in range(300)
    ]
    for manager, name in ((first, "first"), (second, "second")):
        for at, text in enumerate(texts):
            manager.set(A, f"{name}{at}", text | {"by": name})
        manager.compact(train=True)
        for at, text in enumerate(texts):
            manager.set(A, f"{name}{at}", text | {"by": name})
    assert (first.info()["dictionary"], second.info()["dictionary"]) == (1, 2)
    for name in ("first", "second"):
        for at, text in enumerate(texts):
            assert first.get(A, f"{name}{at}") == text | {"by": name}


def test_a_copy_has_what_was_put_back_behind_it(
    memory_store: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version row that a writer puts back while a copy goes on is in the copy; so is a blob."""
    state = memory_store()
    words = "some words {} and more words "
    state.set(A, "k", 1)
    state.set(A, "k", 2)
    for at in range(300):
        state.set("agent:b", f"k{at}", {"text": words.format(at * 7) * 3})
    state.compact([HistoryPolicy(max_age=timedelta(0))])
    moment = state.revision
    catch_up = transfer._catch_up

    def write_first(*args: Any) -> tuple[int, bool]:
        if state.get(A, "k") == 2:
            state.compact([], train=True)
            state.set(A, "k", 3)
            state.set("agent:b", "new", {"text": words.format(1) * 3})
        return catch_up(*args)

    monkeypatch.setattr(transfer, "_catch_up", write_first)
    state.copy_to(tmp_path / "copy.db")
    with holdfast.open(tmp_path / "copy.db") as copy:
        assert copy.verify() == []
        assert copy.get(A, "k", as_of=moment) == 2
        assert copy.get("agent:b", "new") == {"text": words.format(1) * 3}
        assert copy.get_with_metadata("agent:b", "new").metadata.compressed


def test_a_repeated_batch_says_again_what_was_refused(state: StateManager) -> None:
    """Under a commit_id that is known, an item is acknowledged only if that commit wrote it."""
    state.set(A, "taken", 0)
    items = [SetOperation(A, "x", 1), SetOperation(A, "taken", 2, if_absent=True)]
    first = state.set_batch(items, commit_id=bytes(16))
    again = state.set_batch(items, commit_id=bytes(16))
    assert (first[0], again[0]) == (2, 2)
    assert isinstance(first[1], ConflictError)
    assert isinstance(again[1], RejectedError)
    assert state.get(A, "taken") == 0
    assert not state.delete(A, "absent", commit_id=b"1" * 16)
    assert not state.delete(A, "absent", commit_id=b"1" * 16)
    assert state.delete(A, "x", commit_id=b"2" * 16)
    assert state.delete(A, "x", commit_id=b"2" * 16)


def test_a_commit_id_of_another_tenant_is_refused(memory_store: Stores) -> None:
    """A write is never taken for another tenant's that had the same commit_id."""
    one = StateManager(memory_store()._kernel, tenant="one")
    other = StateManager(one._kernel, tenant="other")
    one.set(A, "k", 1, commit_id=bytes(16))
    with pytest.raises(InvalidArgumentError):
        other.set(A, "k", 2, commit_id=bytes(16))
    assert other.get(A, "k") is None
    assert one.set(A, "k", 1, commit_id=bytes(16)) == 1


class Stubborn(int):
    """A number that fails when it is added."""

    def __radd__(self, other: object) -> int:
        """Fail as no code of the store would."""
        raise LookupError


@pytest.mark.usefixtures("one_partition")
def test_a_value_that_raises_fails_its_own_write_only(state: StateManager) -> None:
    """What a value raises when it is computed in the lane reaches its own caller, nobody else."""
    lane = state._kernel.lane
    told: dict[str, Any] = {}
    state.set(A, "number", 1)

    def increment() -> None:
        with pytest.raises(LookupError):
            state.increment(A, "number", Stubborn(1))
        told["increment"] = "raised"

    def store() -> None:
        told["set"] = state.set(A, "k", 1)

    assert lane._enter()  # so the two become one group
    threads = [threading.Thread(target=increment), threading.Thread(target=store)]
    for thread in threads:
        thread.start()
    while lane.depth() < 2:
        threads[0].join(0.001)
    lane._lead([])
    for thread in threads:
        thread.join()
    assert told == {"increment": "raised", "set": 2}
    assert lane.largest == 2


def test_as_of_its_updated_at_a_value_is_there(memory_store: Stores) -> None:
    """A time as metadata shows it, rounded to microseconds, is not before its own commit."""
    clock = FakeClock(1_700_000_000_000_000_789)
    state = memory_store(clock=clock)
    for at in range(3):
        state.set(A, "k", at)
        clock.advance(0.5)
    changes = list(state.history(A, "k", newest_first=False))
    assert [state.get(A, "k", as_of=change.at) for change in changes] == [0, 1, 2]
    assert [d.kind for d in state.diff(changes[0].at, changes[1].at)] == ["changed"]


def test_times_and_revisions_beyond_all_bounds(state: StateManager) -> None:
    """Moments before and after everything, and revisions of any size, are no crash."""
    state.set(A, "k", 1, expires_in=100)
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert state.list_keys(A, as_of=first) == []
    assert state.list_keys(A, as_of=last) == []
    assert list(state.diff(first, last)) == []
    with pytest.raises(InvalidArgumentError):
        list(state.changes(2**64))


def test_a_history_beside_a_writer_shows_each_version_once(state: StateManager) -> None:
    """A row that compaction had dropped, and a writer puts back meanwhile, is not shown twice."""
    state.set(A, "k", 1)
    state.set(A, "k", 2)
    state.set(A, "other", 1)
    state.compact([HistoryPolicy(max_age=timedelta(0))])
    newest = state.history(A, "k")
    assert next(newest).revision == 2
    state.set(A, "k", 3)
    assert list(newest) == []


def test_an_asynchronous_manager_that_is_closed() -> None:
    """Closing twice is no error; every verb then raises `ClosedError`."""

    async def main() -> None:
        state = await holdfast.open_async("memory:")
        await state.set(A, "k", 1)
        await asyncio.gather(state.close(), state.close())
        await state.close()
        for call in (state.get(A, "k"), state.set(A, "k", 2), state.list_keys(A), state.info()):
            with pytest.raises(ClosedError):
                await call
        with pytest.raises(ClosedError):
            await anext(aiter(state.scan(A)))

    asyncio.run(main())


def test_a_chain_key_that_is_not_the_stores_is_refused(tmp_path: Path) -> None:
    """Neither another key than the store's, nor a key for a store without, opens it for writing."""
    plain, keyed = tmp_path / "plain.db", tmp_path / "keyed.db"
    for path, key in ((plain, None), (keyed, b"k" * 32)):
        with holdfast.open(path, chain_key=key) as state:
            state.set(A, "k", 1)
        with pytest.raises(ConfigurationError):
            holdfast.open(path, chain_key=b"x" * 32)
        with holdfast.open(path, chain_key=key) as state:
            state.set(A, "k", 2)
            assert state.verify() == []
    with holdfast.open(keyed, read_only=True) as state:
        assert state.get(A, "k") == 2


def test_a_repair_beside_a_writer_is_of_one_moment(open_store: Stores, tmp_path: Path) -> None:
    """Writers wait while an open store is repaired: nothing is lost, and history is kept."""
    state = open_store()
    for at in range(20):
        state.set(A, f"k{at % 4}", ["text " * 100] * (60 + at))
    written: list[int] = []
    writer = threading.Thread(target=lambda: written.append(state.set(A, "k0", 1)))

    def begin_writing(_: int) -> None:
        if not writer.is_alive() and not written:
            writer.start()
            writer.join(0.05)

    for at in range(500):
        state.set("agent:b", f"k{at}", at)
    report = state.repair(tmp_path / "repaired.db", progress=begin_writing)
    writer.join()
    assert written == [521]
    assert (report.commits, report.lost) == (520, [])
    with holdfast.open(tmp_path / "repaired.db") as repaired:
        assert repaired.verify() == []
        assert repaired.revision == 520
        assert len(list(repaired.history(A, "k0"))) == 5


@pytest.mark.usefixtures("one_partition")
def test_what_is_appended_is_taken_at_the_call(open_store: Stores) -> None:
    """A caller may change its object while the write waits: what it was at the call is stored."""
    state = open_store()
    lane = state._kernel.lane

    async def main() -> None:
        manager = AsyncStateManager(state)
        assert lane._enter()
        message, patch = {"n": 1}, {"m": {"n": 1}}
        writes = [
            asyncio.ensure_future(manager.append(A, "list", message)),
            asyncio.ensure_future(manager.merge_patch(A, "dict", patch)),
        ]
        while lane.depth() < 2:
            await asyncio.sleep(0)
        message["n"], patch["m"]["n"] = 2, 2
        lane._lead([])
        assert await asyncio.gather(*writes) == [1, {"m": {"n": 1}}]

    asyncio.run(main())
    assert state.get(A, "list") == [{"n": 1}]


def test_policies_hold_for_copies_and_imports(memory_store: Stores) -> None:
    """Neither brings a value unprotected into a scope whose policy demands protection."""
    policy = ScopePolicy("user:*", state_class=StateClass.SENSITIVE)
    state = memory_store(policies=[policy])
    state.set(A, "k", 1)
    with pytest.raises(ProtectionRequiredError):
        state.copy_scope(A, "user:u")
    with pytest.raises(ProtectionRequiredError):
        state.move_scope(A, "user:u")
    with pytest.raises(ProtectionRequiredError):
        state.import_lines(['{"scope": "user:u", "key": "k", "value": 1}'])
    assert [str(scope) for scope in state.scopes()] == [A]


def test_a_key_that_is_there_is_found_once(state: StateManager) -> None:
    """`if_absent` in a transaction raises at the first attempt: trying again cannot help."""
    state.set(A, "k", 1)
    attempts: list[int] = []

    def make(tx: StateTransaction) -> None:
        attempts.append(1)
        tx.set(A, "k", 2, if_absent=True)

    with pytest.raises(ConflictError) as caught:
        state.transact(make)
    assert (caught.value.reason, len(attempts)) == ("exists", 1)


def test_verify_notices_rows_that_no_commit_made(open_store: Stores) -> None:
    """A version put into the past, and index rows that name another commit, are problems."""
    open_store.broken = True
    state = open_store()
    state.set(A, "k", 1, commit_id=b"a" * 16, correlation="mine")
    state.set(A, "j", 1)
    state.set(A, "k", 2)
    place = state._address.place(state._address.owner(A), "k")
    forged = record.build(place, record.VALUE, 1, 2, 0, 2, 1, 2, 1, 1, 1, b"\x63")
    rows = [
        (layout.version_key(place, 2), forged),
        (layout.commit_key(0, b"z" * 16), (2).to_bytes(8)),
        (layout.correlation_key(0, "forged", 2), b""),
    ]
    assert state.verify() == []
    state._kernel.engine.write(Durability.OS, lambda _: Batch(puts=rows))
    assert {(problem.code, problem.where) for problem in state.verify()} == {
        ("unknown-version", "agent:a/k@2"),
        ("stale-commit-id", (b"z" * 16).hex()),
        ("stale-correlation", "revision 2"),
    }


def test_preconditions_hold_for_deletes_of_ephemeral_values(memory_store: Stores) -> None:
    """A delete under a precondition that an ephemeral value does not meet leaves it there."""
    state = memory_store()
    state.set(A, "k", 1, state_class=StateClass.EPHEMERAL)
    with pytest.raises(InvalidArgumentError):
        state.delete(A, "k", if_revision=7)
    with pytest.raises(ConflictError):
        state.delete(A, "k", if_version=2)
    assert state.get(A, "k") == 1
    assert state.delete(A, "k", if_version=1)


def test_a_scope_with_a_damaged_value_is_listed(memory_store: Stores) -> None:
    """That a scope holds a key does not depend on whether its value is sound, or has expired."""
    clock = FakeClock()
    state = memory_store(clock=clock, sweep_every=0)
    for at in range(20):
        state.set("agent:gone", f"k{at}", at, expires_in=1)
        state.set("agent:late", f"k{at}", at, expires_in=1)
    state.set("agent:late", "stays", 1)
    state.set(A, "k", 1)
    place = state._address.place(state._address.owner(A), "k")
    raw = state._kernel.engine.get(layout.DATA + place)
    assert raw is not None
    damage = [(layout.DATA + place, raw[:-1] + bytes([raw[-1] ^ 1]))]
    clock.advance(2)
    state._kernel.engine.write(Durability.OS, lambda _: Batch(puts=damage))
    assert [str(scope) for scope in state.scopes()] == [A, "agent:late"]
    assert not state.scope_exists("agent:gone")
    state._kernel.engine.write(Durability.OS, lambda _: Batch(puts=[(damage[0][0], raw)]))
