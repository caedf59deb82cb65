"""repair() salvages what is sound, names what is lost, and makes a store that verifies."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import holdfast
from holdfast import HorizonError, StateManager, StateScope
from holdfast.errors import InvalidArgumentError, NotAStoreError
from holdfast.store import layout
from tests.conftest import Stores
from tests.maintenance.conftest import Damage, contents, fill


def place(scope: str, key: str) -> bytes:
    """Return the place of a key without a tenant."""
    return layout.place_of(b"\0", StateScope.parse(scope), key)


def row(state: StateManager, key: bytes) -> bytes:
    """Return a row that must be there."""
    found = state._kernel.engine.get(key)
    assert found is not None
    return found


@pytest.fixture
def full(open_store: Stores) -> StateManager:
    """Open a store with something of everything, which the test will damage."""
    state = open_store()
    open_store.broken = True
    return state


def test_sound_store(full: StateManager, tmp_path: Path) -> None:
    """Of a sound store everything is salvaged, history and chain included."""
    expected = fill(full)
    report = full.repair(tmp_path / "new.db")
    assert report.lost == []
    with holdfast.open(tmp_path / "new.db") as new:
        assert new.verify() == []
        assert contents(new) == expected
        assert new.revision == full.revision
        assert list(new.changes()) == list(full.changes())
        assert new.info()["lineage"] == full.info()["lineage"]


def test_damaged_record_is_restored_from_its_version(
    full: StateManager, damage: Damage, tmp_path: Path
) -> None:
    """A live record that is damaged, gone, or replaced by an older one comes back exactly."""
    expected = fill(full)
    damage(full, layout.DATA + place("agent:a1", "k1"), b"rubbish")
    damage(full, layout.DATA + place("agent:a1", "k6"), None)
    turns = layout.DATA + place("session:s", "turns")
    older = row(full, turns)
    full.append("session:s", "turns", "one more")
    expected["session:s", "turns"] = [*expected["session:s", "turns"], "one more"]
    damage(full, turns, older)
    report = full.repair(tmp_path / "new.db")
    assert {p.code for p in report.lost} == {"stale-record"}
    with holdfast.open(tmp_path / "new.db") as new:
        assert new.verify() == []
        assert contents(new) == expected


def test_lost_key_is_named_and_journaled(
    full: StateManager, damage: Damage, tmp_path: Path
) -> None:
    """A key of which no sound copy is left is absent, named, and lost in the new journal."""
    expected = fill(full)
    key = place("agent:a1", "k1")
    revision = next(full.history("agent:a1", "k1")).revision
    damage(full, layout.DATA + key, b"rubbish")
    damage(full, layout.version_key(key, revision), b"rubbish")
    report = full.repair(tmp_path / "new.db")
    assert ("lost", "agent:a1/k1") in {(p.code, p.where) for p in report.lost}
    del expected["agent:a1", "k1"]
    with holdfast.open(tmp_path / "new.db") as new:
        assert new.verify() == []
        assert contents(new) == expected
        last = list(new.changes(since=full.revision))
        assert [(c.operation.name, c.key, c.cause) for c in last] == [("LOST", "k1", "repair")]
        with pytest.raises(HorizonError):  # what it was is not known, so not "absent"
            new.get("agent:a1", "k1", as_of=revision)


def test_old_value_never_comes_back_silently(
    full: StateManager, damage: Damage, tmp_path: Path
) -> None:
    """If only older versions of a key are sound, none of them becomes its value."""
    fill(full)
    key = place("workflow:w", "step")
    revision = next(full.history("workflow:w", "step")).revision
    damage(full, layout.DATA + key, b"rubbish")
    damage(full, layout.version_key(key, revision), None)
    report = full.repair(tmp_path / "new.db")
    assert ("lost", "workflow:w/step") in {(p.code, p.where) for p in report.lost}
    with holdfast.open(tmp_path / "new.db") as new:
        assert new.get("workflow:w", "step") is None
        assert [c.value for c in new.history("workflow:w", "step")][1:] == [3, 2, 1, 0]


@pytest.mark.usefixtures("one_partition")
def test_broken_journal(full: StateManager, damage: Damage, tmp_path: Path) -> None:
    """With a damaged header, values stay, the intact end of the journal stays, and it is sound."""
    expected = fill(full)
    damage(full, layout.journal_key(0, 20), b"rubbish")
    report = full.repair(tmp_path / "new.db")
    assert "header-damaged" in {p.code for p in report.lost}
    with holdfast.open(tmp_path / "new.db") as new:
        assert new.verify() == []
        assert contents(new) == expected
        assert [c.revision for c in new.changes(since=20)][0] == 21
        with pytest.raises(HorizonError):
            list(new.changes(since=5))
        assert new.set("agent:n", "k", 1) == full.revision + 1


def test_journal_end_gone(full: StateManager, damage: Damage, tmp_path: Path) -> None:
    """Without the last header nothing of the journal is trusted, and no revision is used twice."""
    expected = fill(full)
    last = full.revision
    damage(full, layout.journal_key(0, last), None)
    damage(full, layout.head_key(0), None)
    damage(full, layout.STORE, b"rubbish")
    report = full.repair(tmp_path / "new.db")
    assert "identity" in {p.code for p in report.lost}
    with holdfast.open(tmp_path / "new.db") as new:
        assert new.verify() == []
        assert contents(new) == expected
        assert new.set("agent:n", "k", 1) == last + 1


def test_target_must_be_new(full: StateManager, tmp_path: Path) -> None:
    """An existing path is refused and stays as it was."""
    (tmp_path / "there").write_text("mine")
    with pytest.raises(InvalidArgumentError):
        full.repair(tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"
    with pytest.raises(NotAStoreError):
        holdfast.repair(tmp_path / "nothing.db", into=tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("seed", range(4))
def test_destroyed_pages(tmp_path: Path, seed: int) -> None:
    """With pages of an SQLite file destroyed, all else is salvaged and each loss is named."""
    path = tmp_path / "old.db"
    state = holdfast.open(path)
    expected = fill(state)
    items = {f"n{at:04}": "v" * 300 + str(at) for at in range(1500)}
    state.set_batch([holdfast.SetOperation("agent:many", k, v) for k, v in items.items()])
    expected |= {("agent:many", key): value for key, value in items.items()}
    state.close()
    raw = bytearray(path.read_bytes())
    pages = len(raw) // 4096
    chance = random.Random(seed)
    for page in chance.sample(range(8, pages), 2):
        raw[page * 4096 : (page + 1) * 4096] = chance.randbytes(4096)
    path.write_bytes(raw)
    report = holdfast.repair(path, into=tmp_path / "new.db")
    with holdfast.open(tmp_path / "new.db") as new:
        assert new.verify() == []
        found = contents(new)
    for where, value in found.items():
        assert expected[where] == value  # never a wrong or an older value
    missing = expected.keys() - found.keys()
    named = {p.where for p in report.lost}
    unreadable = any(p.code in ("unreadable", "journal-gap", "header-damaged") for p in report.lost)
    assert unreadable or all(f"{scope}/{key}" in named for scope, key in missing)
    assert len(found) >= len(expected) * 0.9
