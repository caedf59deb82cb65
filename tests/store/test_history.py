"""History: every version reads back, the past is exact, and where it is trimmed that is said."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import HistoryPolicy, HorizonError, Operation, StateManager
from holdfast.clock import from_ns
from holdfast.errors import ConflictError, InvalidArgumentError

A, B = "agent:a", "agent:b"


def turns(count: int, size: int) -> list[dict[str, str]]:
    """Return turns of a conversation that do not compress to nothing."""
    rng = random.Random(count)
    words = ["".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(900)]
    return [
        {"role": "user", "text": " ".join(rng.choices(words, k=size // 7))} for _ in range(count)
    ]


def test_every_turn_reads_back(open_store: Any) -> None:
    """400 turns of 2 KB rewriting one list: each version reads back, also after compaction."""
    count = 400 if open_store.engine == "memory" else 120
    state = open_store()
    told = turns(count, 2048)
    for n in range(len(told)):
        state.set(A, "turns", told[: n + 1])
    text = sum(len(turn["text"]) for turn in told)
    stored = sum(
        len(row)
        for _, row in _rows(state, b"\x05")  # versions
    )
    assert stored < 3 * text
    checked = 0
    for change in state.history(A, "turns", newest_first=False):
        checked += 1
        assert (change.version, len(change.value)) == (checked, checked)
        assert change.value[-1] == told[checked - 1]
    assert checked == count
    for revision in (1, 31, 32, 33, 100, count - 1, count):
        assert state.get(A, "turns", as_of=revision) == told[:revision]
    state.compact([HistoryPolicy(max_versions=50)])
    assert state.get(A, "turns") == told
    kept = [change.version for change in state.history(A, "turns", newest_first=False)]
    assert kept == list(range(kept[0], count + 1))
    assert 50 <= len(kept) <= 50 + 31
    for version in (kept[0], count - 1, count):
        assert state.get(A, "turns", as_of=version) == told[:version]
    with pytest.raises(HorizonError) as caught:
        state.get(A, "turns", as_of=kept[0] - 1)
    assert caught.value.horizon == kept[0]
    assert str(kept[0]) in str(caught.value)


def _rows(state: StateManager, space: bytes) -> list[tuple[bytes, bytes]]:
    with state._kernel.engine.read() as view:
        return view.scan(space, bytes((space[0] + 1,)))


def test_an_as_of_scan_finds_what_was_deleted_since(state: StateManager) -> None:
    """A scan of the past shows keys deleted since, and not those created since."""
    for n in range(200):
        state.set(A, f"k{n:03}", n)
    then = state.revision
    for n in range(0, 200, 2):
        state.delete(A, f"k{n:03}")
        state.set(A, f"n{n:03}", n)
    state.set(A, "k001", "new")
    expected = [f"k{n:03}" for n in range(200)]
    assert state.list_keys(A, as_of=then) == expected
    assert state.list_keys(A, as_of=then, reverse=True) == expected[::-1]
    assert [v.value for _, v in state.scan(A, as_of=then)] == list(range(200))
    assert state.list_keys(A, as_of=then, prefix="k0", after="k050", limit=3) == [
        "k051", "k052", "k053",
    ]  # fmt: skip
    assert state.count(A, as_of=then) == 200
    assert state.list_keys(A, as_of=0) == []
    assert state.get(A, "k000", as_of=then) == 0
    assert state.get(A, "k000") is None
    with state.snapshot(as_of=then) as snapshot:
        assert snapshot.list_keys(A) == expected
        assert snapshot.get(A, "k001") == 1


def test_times_never_run_against_revisions(open_store: Any, clock: Any) -> None:
    """When the clock steps back, commit times stand still, and reads by time stay exact."""
    state = open_store(clock=clock)
    start = clock.now_ns()
    state.set(A, "k", 1)
    clock.advance(10)
    state.set(A, "k", 2)
    clock.set(start - 3600 * 10**9)
    state.set(A, "k", 3)
    clock.set(start + 20 * 10**9)
    state.set(A, "k", 4)
    at = [change.at for change in state.history(A, "k", newest_first=False)]
    seconds = [(moment - from_ns(start)).total_seconds() for moment in at]
    assert seconds == [0, 10, 10, 20]
    for second, value in ((-1, None), (0, 1), (9.999999, 1), (10, 3), (19, 3), (20, 4), (99, 4)):
        assert state.get(A, "k", as_of=from_ns(start) + timedelta(seconds=second)) == value
    assert state.get(A, "k", as_of=datetime.max.replace(tzinfo=UTC)) == 4
    assert state.get(A, "k", as_of=datetime.min.replace(tzinfo=UTC)) is None


def test_a_clock_put_back_brings_nothing_back(open_store: Any, clock: Any) -> None:
    """A key that has expired stays so, for every verb, when the clock steps back."""
    state = open_store(clock=clock, sweep_every=0)
    state.set(A, "k", 1, expires_in=10)
    clock.advance(20)
    state.set(A, "other", 1)
    clock.set(clock.now_ns() - 15 * 10**9)
    assert state.get(A, "k") is None
    assert not state.exists(A, "k")
    assert state.list_keys(A) == ["other"]
    assert state.get_batch([(A, "k")]) == [None]
    with state.transaction() as tx:
        assert tx.get(A, "k") is None
    assert state.update(A, "k", lambda old: [old]) == [None]
    assert state.get_with_metadata(A, "k").metadata.version == 1  # type: ignore[union-attr]


def test_two_scopes_with_different_retention(open_store: Any) -> None:
    """Retention is by scope: one keeps everything, one three versions, one class its own."""
    state = open_store()
    for n in range(40):
        state.set(A, "k", n)
        state.set(B, "k", n)
    state.set_retention([HistoryPolicy("agent:a", max_versions=3)])
    assert state.retention() == [HistoryPolicy("agent:a", max_versions=3)]
    if open_store.persistent:
        state = open_store.reopen(state)
    report = state.compact()
    assert report.versions_trimmed == 37
    assert [c.value for c in state.history(A, "k")] == [39, 38, 37]
    assert [c.value for c in state.history(B, "k")] == list(range(39, -1, -1))
    assert state.get(B, "k", as_of=2) == 0
    with pytest.raises(HorizonError):
        state.get(A, "k", as_of=2)
    with pytest.raises(HorizonError):
        list(state.scan(A, as_of=2))
    with pytest.raises(HorizonError):
        state.list_keys(A, as_of=2)
    with pytest.raises(HorizonError):
        state.rewind(A, to=2)
    assert state.get(A, "k") == 39


def test_a_trimmed_delete_is_not_absence_before_the_horizon(state: StateManager) -> None:
    """A key whose whole history is gone cannot be read in the past: an error, not None."""
    state.set(A, "k", 1)
    state.delete(A, "k")
    state.set(A, "other", 1)
    state.compact([HistoryPolicy(max_age=timedelta(0))])
    assert state.get(A, "k") is None
    assert list(state.history(A, "k")) == []
    with pytest.raises(HorizonError):
        state.get(A, "k", as_of=1)


def test_a_transaction_never_misses_a_delete_that_was_trimmed(state: StateManager) -> None:
    """What a transaction may no longer know is a conflict: it never sees half of another."""
    state.set(A, "x", 1)
    state.set(A, "y", 1)
    with pytest.raises(ConflictError), state.transaction() as tx:
        assert tx.get(A, "x") == 1
        with state.transaction() as other:
            other.set(A, "x", 0)
            other.delete(A, "y")
        state.compact([HistoryPolicy(max_age=timedelta(0))])
        tx.get(A, "y")  # 1 at the start, absent now: neither may be shown


def test_expiry_in_a_past_without_headers(open_store: Any, clock: Any) -> None:
    """Where the journal is trimmed and versions are not, an expired value is not shown as alive."""
    state = open_store(clock=clock, sweep_every=0)
    state.set(A, "k", "secret", expires_in=10)
    clock.advance(20)
    state.set(B, "other", 1)
    assert state.get(A, "k", as_of=2) is None
    clock.advance(7200)
    state.set(B, "other", 2)
    clock.advance(7200)
    state.set(B, "other", 3)
    state.compact([HistoryPolicy(max_age=timedelta(hours=1))])
    for revision in (2, 3):
        try:
            assert state.get(A, "k", as_of=revision) is None
            assert "k" not in state.list_keys(A, as_of=revision)
        except HorizonError:
            pass


def test_history_of_deletes_and_recreations(open_store: Any, clock: Any) -> None:
    """Deletes, expiries and touches are versions too; a key made again starts at version 1."""
    state = open_store(clock=clock, sweep_every=0)
    state.set(A, "k", "a")
    state.set(A, "k", "b")
    state.delete(A, "k")
    state.set(A, "k", "c", expires_in=5)
    state.touch(A, "k", expires_in=10)
    clock.advance(11)
    assert state.sweep() == 1
    state.set(A, "k", "d")
    found = [
        (c.revision, c.operation, c.version, c.previous_revision, c.value)
        for c in state.changes(scope=A)
    ]
    assert found == [
        (1, Operation.SET, 1, 0, "a"),
        (2, Operation.SET, 2, 1, "b"),
        (3, Operation.DELETE, 2, 2, None),
        (4, Operation.SET, 1, 0, "c"),
        (5, Operation.TOUCH, 2, 4, "c"),
        (6, Operation.EXPIRE, 2, 5, None),
        (7, Operation.SET, 1, 0, "d"),
    ]
    values = [c.value for c in state.history(A, "k")]
    assert values == ["d", None, "c", "c", None, "b", "a"]
    assert [c.value for c in state.history(A, "k", limit=2, newest_first=False)] == ["a", "b"]
    assert [state.get(A, "k", as_of=r) for r in range(8)] == [
        None, "a", "b", None, "c", "c", None, "d",
    ]  # fmt: skip


def test_changes_carry_what_the_caller_said(state: StateManager) -> None:
    """Actor, correlation, cause and commit id come back in order."""
    id_ = bytes(range(16))
    state.set(A, "k", 1, actor="ada", correlation="c1", cause="test", commit_id=id_)
    with state.transaction(actor="bob") as tx:
        tx.set(A, "x", 1)
        tx.set(B, "y", 2)
    first, second, third = state.changes()
    assert (first.actor, first.correlation_id, first.cause) == ("ada", "c1", "test")
    assert first.commit_id == id_.hex()
    assert (second.actor, second.revision, third.revision) == ("bob", 2, 2)
    assert second.commit_id == third.commit_id
    assert state.find_commit(id_) == state.find_commit(id_.hex()) == 1
    assert state.find_commit(second.commit_id or "") == 2
    assert state.find_commit(bytes(16)) is None
    assert [c.value for c in state.changes(1, values=False)] == [None, None]


def test_a_commit_id_makes_a_write_idempotent(state: StateManager) -> None:
    """The second write under an id does nothing, and tells what the first one did."""
    for n, (verb, args, told, stored) in enumerate(
        [
            ("set", (5,), None, 5),
            ("increment", (5,), 5, 5),
            ("append", (1, 2), 2, [1, 2]),
            ("merge_patch", ({"a": 1},), {"a": 1}, {"a": 1}),
            ("update", (lambda old: [old],), [None], [None]),
        ]
    ):
        key, id_ = f"k{n}", bytes((n,)) * 16
        first = getattr(state, verb)(A, key, *args, commit_id=id_)
        again = getattr(state, verb)(A, key, *args, commit_id=id_)
        assert first == again
        assert told is None or first == told
        assert state.get(A, key) == stored
        assert state.revision == n + 1


def test_rewind_is_a_new_commit(state: StateManager) -> None:
    """A key or a scope comes back as it was; nothing in between is forgotten."""
    for n in range(5):
        state.set(A, f"k{n}", [n] * 2000)
    then = state.revision
    state.set(A, "k0", "changed")
    state.delete(A, "k1")
    state.set(A, "new", 1)
    assert state.rewind(A, "k1", to=then) == 1
    assert state.get(A, "k1") == [1] * 2000
    assert state.rewind(A, to=then) == 2
    assert {k: v.value for k, v in state.scan(A)} == {f"k{n}": [n] * 2000 for n in range(5)}
    assert state.rewind(A, to=then) == 0
    assert state.revision == then + 5
    assert state.get(A, "k0", as_of=then + 1) == "changed"
    assert state.rewind(A, to=0) == 5
    assert not state.scope_exists(A)
    assert state.rewind(A, to=then) == 5


def test_diff(state: StateManager) -> None:
    """What differs between two moments, with both values; a change and its undoing differ not."""
    state.set(A, "same", 1)
    state.set(A, "gone", 1)
    state.set(A, "new value", 1)
    before = state.revision
    state.delete(A, "gone")
    state.set(A, "new value", 2)
    state.set(B, "added", 3)
    state.set(A, "brief", 1)
    state.delete(A, "brief")
    found = [(str(d.scope), d.key, d.kind) for d in state.diff(before)]
    assert found == [
        (A, "gone", "removed"),
        (A, "new value", "changed"),
        (B, "added", "added"),
    ]
    assert [d.key for d in state.diff(before, scope=B)] == ["added"]
    assert [d.key for d in state.diff(before, before + 1)] == ["gone"]
    assert list(state.diff(before, before)) == []
    with pytest.raises(InvalidArgumentError):
        list(state.diff(before + 1, before))


def test_diff_sees_what_expired_without_a_commit(open_store: Any, clock: Any) -> None:
    """A key that ran out between two moments differs, swept or not."""
    state = open_store(clock=clock, sweep_every=0)
    state.set(A, "k", 1, expires_in=10)
    clock.advance(20)
    state.set(B, "other", 1)
    assert [(d.key, d.kind) for d in state.diff(1, scope=A)] == [("k", "removed")]
    assert [(d.key, d.kind) for d in state.diff(1, 2, scope=A)] == [("k", "removed")]
    state.sweep()
    assert [(d.key, d.kind) for d in state.diff(1, 2, scope=A)] == [("k", "removed")]


@pytest.mark.parametrize(
    "as_of",
    [-1, 99, True, 1.5, "1", datetime(2024, 1, 1), object()],
    ids=["negative", "future", "bool", "float", "text", "naive", "object"],
)
def test_moments_that_are_none(as_of: Any, memory_store: Any) -> None:
    """A moment is a revision that exists, or an aware datetime."""
    state = memory_store()
    state.set(A, "k", 1)
    for call in (
        lambda: state.get(A, "k", as_of=as_of),
        lambda: state.get_with_metadata(A, "k", as_of=as_of),
        lambda: state.list_keys(A, as_of=as_of),
        lambda: list(state.scan(A, as_of=as_of)),
        lambda: state.count(A, as_of=as_of),
        lambda: state.rewind(A, to=as_of),
        lambda: list(state.diff(as_of)),
        lambda: state.snapshot(as_of=as_of).__enter__(),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert state.revision == 1


@pytest.mark.parametrize("wrong", [-1, "1", 1.5, True], ids=["negative", "text", "float", "bool"])
def test_numbers_that_are_none(wrong: Any, memory_store: Any) -> None:
    """Limits and positions are integers of 0 or more."""
    state = memory_store()
    state.set(A, "k", 1)
    for call in (
        lambda: list(state.history(A, "k", limit=wrong)),
        lambda: list(state.changes(wrong)),
        lambda: list(state.changes(until=wrong)),
        lambda: list(state.changes(limit=wrong)),
        lambda: state.list_keys(A, limit=wrong),
        lambda: list(state.scan(A, limit=wrong)),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    for wrong_id in ("zz", b"short", 5, None):
        with pytest.raises(InvalidArgumentError):
            state.find_commit(wrong_id)  # type: ignore[arg-type]
