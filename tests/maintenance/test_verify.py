"""verify() finds each kind of damage and calls it by name; on a sound store it finds nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import CorruptionError, DivergedError, StateManager, StateScope, correlate
from holdfast.errors import EngineError
from holdfast.store import layout
from holdfast.store.journal import pack_head, parse_head
from tests.conftest import Stores
from tests.maintenance.conftest import Damage, fill


def place(scope: str, key: str) -> bytes:
    """Return the place of a key without a tenant."""
    return layout.place_of(b"\0", StateScope.parse(scope), key)


def codes(state: StateManager) -> set[str]:
    """Return the codes of the problems found."""
    return {problem.code for problem in state.verify()}


@pytest.fixture
def full(open_store: Stores) -> StateManager:
    """Open a store with something of everything, which the test will damage."""
    state = open_store()
    fill(state)
    assert state.verify() == []
    open_store.broken = True
    return state


def flip(raw: bytes | None, at: int) -> bytes:
    """Return `raw` with one bit changed."""
    assert raw is not None
    data = bytearray(raw)
    data[at] ^= 1
    return bytes(data)


def test_flipped_record(full: StateManager, damage: Damage) -> None:
    """A changed byte of a live record is found, named, and never read as a value."""
    key = layout.DATA + place("agent:a1", "k1")
    for at in (0, 1, 5, 20, 52, -1):
        good = full._kernel.engine.get(key)
        damage(full, key, flip(good, at))
        problems = full.verify()
        assert "record-checksum" in {p.code for p in problems}
        assert "agent:a1/k1" in {p.where for p in problems}
        with pytest.raises(CorruptionError) as caught:
            full.get("agent:a1", "k1")
        assert caught.value.where == "agent:a1/k1"
        damage(full, key, good)


def test_vanished_record(full: StateManager, damage: Damage) -> None:
    """A live record that silently vanished shows in the count and the running digest."""
    damage(full, layout.DATA + place("agent:a1", "k1"), None)
    assert {"count", "digest"} <= codes(full)


def test_record_copied_to_another_key(full: StateManager, damage: Damage) -> None:
    """A record copied to another key fails its checksum there."""
    raw = full._kernel.engine.get(layout.DATA + place("agent:a1", "k1"))
    damage(full, layout.DATA + place("agent:a1", "k6"), raw)
    assert {"record-checksum", "digest"} <= codes(full)
    with pytest.raises(CorruptionError):
        full.get("agent:a1", "k6")


def test_older_record_put_back(full: StateManager, damage: Damage) -> None:
    """An older record put back in place reads as it was, and verify notices and names it."""
    full.set("agent:a1", "k1", "old")
    key = layout.DATA + place("agent:a1", "k1")
    old = full._kernel.engine.get(key)
    full.set("agent:a1", "k1", "new")
    damage(full, key, old)
    assert full.get("agent:a1", "k1") == "old"  # a get alone cannot know
    problems = full.verify()
    assert ("stale-record", "agent:a1/k1") in {(p.code, p.where) for p in problems}
    assert "digest" in {p.code for p in problems}


def test_deleted_record_put_back(full: StateManager, damage: Damage) -> None:
    """A record that was deleted and is put back is noticed and named."""
    key = layout.DATA + place("agent:a1", "k1")
    old = full._kernel.engine.get(key)
    full.delete("agent:a1", "k1")
    damage(full, key, old)
    problems = full.verify()
    assert ("stale-record", "agent:a1/k1") in {(p.code, p.where) for p in problems}
    assert "count" in {p.code for p in problems}


def test_version_row(full: StateManager, damage: Damage) -> None:
    """A version that is damaged, missing, or replaced by another sound one is noticed."""
    first = next(full.history("workflow:w", "step", newest_first=False))
    key = layout.version_key(place("workflow:w", "step"), first.revision)
    good = full._kernel.engine.get(key)
    damage(full, key, flip(good, 20))
    assert {"version-damaged", "version-edited"} <= codes(full)
    damage(full, key, None)
    assert codes(full) == {"missing-version"}
    other = full._kernel.engine.get(
        layout.version_key(place("workflow:w", "step"), full.revision - 5)
    )
    damage(full, key, other or flip(good, 30))
    assert "version-edited" in codes(full)


def test_delta_run(full: StateManager, damage: Damage) -> None:
    """A damaged full copy is noticed by itself and by every delta that needs it."""
    versions = list(full.history("session:s", "turns", newest_first=False))
    key = layout.version_key(place("session:s", "turns"), versions[0].revision)
    damage(full, key, flip(full._kernel.engine.get(key), 100))
    problems = [p for p in full.verify() if p.code == "version-damaged"]
    assert len(problems) == 32  # the whole run, up to the next full copy
    with pytest.raises(CorruptionError):
        full.get("session:s", "turns", as_of=versions[3].revision)
    assert full.get("session:s", "turns") == versions[-1].value


@pytest.mark.usefixtures("one_partition")
def test_edited_header(full: StateManager, damage: Damage) -> None:
    """An edit of the past breaks the chain where it was made."""
    key = layout.journal_key(0, 10)
    row = full._kernel.engine.get(key)
    assert row is not None
    damage(full, key, row.replace(b"tester", b"hacker"))
    problems = full.verify()
    assert ("chain-broken", "journal/11") in {(p.code, p.where) for p in problems}


@pytest.mark.parametrize("bit", [1, 128])
def test_every_bit_of_a_header(
    memory_store: Stores, damage: Damage, tmp_path: Path, bit: int
) -> None:
    """Whatever is flipped in it: verify names it, readers say so, and repair goes on."""
    state = memory_store()
    memory_store.broken = True
    with correlate("run", component="c", attributes={"a": 1}), state.transaction() as tx:
        tx.set("agent:a1", "k", {"n": 1})
        tx.emit("seen", {"n": 1}, scope="workflow:w:step:s")
    state.set("agent:a1", "k", 2)
    key = layout.journal_key(0, 1)
    good = state._kernel.engine.get(key)
    assert good is not None
    reads: list[Callable[[], object]] = [
        lambda: list(state.changes()),
        lambda: list(state.events.read()),
        lambda: state.timeline("run"),
        lambda: list(state.diff(0)),
        state.analyze,
    ]
    for at in range(len(good)):
        damage(state, key, good[:at] + bytes((good[at] ^ bit,)) + good[at + 1 :])
        assert state.verify() != [], at
        for read in reads:
            with suppress(EngineError, DivergedError):
                read()
        if at % 16 == bit % 16:
            report = state.repair(tmp_path / f"{at}.db")
            assert report.lost != []
            with holdfast.open(tmp_path / f"{at}.db") as new:
                assert new.verify() == []
                assert new.get("agent:a1", "k") == 2


@pytest.mark.usefixtures("one_partition")
def test_missing_header(full: StateManager, damage: Damage) -> None:
    """A header that is gone is a gap; the last one gone shows against the head."""
    damage(full, layout.journal_key(0, 10), None)
    assert "journal-gap" in codes(full)
    damage(full, layout.journal_key(0, full.revision), None)
    assert "head-differs" in codes(full)


@pytest.mark.usefixtures("one_partition")
def test_last_header_replaced(full: StateManager, damage: Damage) -> None:
    """An edit of the last header shows against the hash in the head."""
    full.set("agent:x", "k", 1, actor="tester")
    key = layout.journal_key(0, full.revision)
    row = full._kernel.engine.get(key)
    assert row is not None
    damage(full, key, row.replace(b"tester", b"hacker"))
    assert ("chain-broken", "meta/head") in {(p.code, p.where) for p in full.verify()}


@pytest.mark.parametrize(
    ("space", "code"),
    [
        (layout.SCOPES, "missing-scope"),
        (layout.EXPIRY, "missing-expiry"),
        (layout.COMMITS, "missing-commit-id"),
        (layout.CORRELATIONS, "missing-correlation"),
    ],
)
def test_missing_index_row(full: StateManager, damage: Damage, space: bytes, code: str) -> None:
    """Each index row that is gone is noticed."""
    with full._kernel.engine.read() as view:
        key, _ = view.scan(space, layout.after(space), limit=1)[0]
    damage(full, key, None)
    assert codes(full) == {code}


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (layout.SCOPES + b"\0\x02ghost\0", "empty-scope"),
        (layout.expiry_key(0, 5, b"\0\x02a1\0k1\0"), "stale-expiry"),
        (layout.commit_key(0, b"x" * 16), "stale-commit-id"),
        (layout.correlation_key(0, "ghost", 1 << 40), "stale-correlation"),
    ],
)
def test_stray_index_row(full: StateManager, damage: Damage, key: bytes, code: str) -> None:
    """Each index row that names nothing is noticed."""
    damage(full, key, (1 << 40).to_bytes(8))
    assert codes(full) == {code}


def test_head(full: StateManager, damage: Damage) -> None:
    """A head that says something else than the journal and the records is noticed."""
    head = parse_head(full._kernel.engine.get(layout.head_key(0)))
    damage(full, layout.head_key(0), pack_head(head._replace(records=head.records + 1)))
    assert codes(full) == {"count"}
    damage(full, layout.head_key(0), pack_head(head._replace(digest=head.digest ^ 1)))
    assert codes(full) == {"digest"}
    damage(full, layout.head_key(0), pack_head(head._replace(revision=head.revision + 1)))
    assert "head-differs" in codes(full)


def test_keyed_chain(open_store: Stores, damage: Damage) -> None:
    """With a chain key, an edit whose hashes were all computed anew without it is noticed."""
    if not open_store.persistent:
        pytest.skip("needs to be opened again")
    open_store.broken = True
    state = open_store("keyed", chain_key=b"k" * 32)
    for at in range(3):
        state.set("agent:a", "k", at, actor="tester")
    assert state.verify() == []
    key = layout.journal_key(0, 3)
    row = state._kernel.engine.get(key)
    assert row is not None
    forged = row.replace(b"tester", b"hacker")
    damage(state, key, forged)
    head = parse_head(state._kernel.engine.get(layout.head_key(0)))
    from holdfast.store.journal import chain_hash

    damage(state, layout.head_key(0), pack_head(head._replace(hash=chain_hash(forged))))
    assert "chain-broken" in codes(state)


def test_progress(full: StateManager) -> None:
    """The caller is told how far it is, and counts never go back."""
    seen: list[int] = []
    assert full.verify(progress=seen.append) == []
    assert seen == sorted(seen)
    assert seen[-1] > 100


def test_beside_writers(open_store: Stores) -> None:
    """A sound store verifies as sound while others write, delete and compact."""
    import threading

    from holdfast import HistoryPolicy

    state = open_store()
    fill(state)
    stop = threading.Event()
    errors: list[Any] = []

    def work(name: str) -> None:
        at = 0
        try:
            while not stop.is_set():
                at += 1
                state.set(f"agent:{name}", f"k{at % 50}", {"n": at})
                if at % 3 == 0:
                    state.delete(f"agent:{name}", f"k{(at * 7) % 50}")
                if at % 40 == 0:
                    state.compact([HistoryPolicy(max_versions=2)])
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(6):
            assert state.verify() == []
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
