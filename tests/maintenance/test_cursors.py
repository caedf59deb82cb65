"""Consumers' rows under verify, copy and repair."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast import Retry, StateManager
from holdfast.engines.base import Batch, Durability
from holdfast.errors import CorruptionError
from holdfast.keys import pack_text
from holdfast.store import cursors, layout
from holdfast.store.cursors import Cursor
from tests.conftest import Stores


def _fail(_: object) -> None:
    raise ValueError


def fill(state: StateManager) -> None:
    """Make a consumer with a dead letter and one change to go."""
    state.set("agent:a", "k", 1)
    state.set("agent:a", "k", 2)
    consumer = state.consumer("c", start="earliest", retry=Retry(first=0), max_attempts=1)
    consumer.run(_fail, timeout=0)
    consumer.replay("2-0")
    consumer.close()
    state.set("agent:a", "k", 3)


def put(state: StateManager, key: bytes, row: bytes | None) -> None:
    """Write a row past everything."""
    batch = Batch(puts=[(key, row)]) if row is not None else Batch(deletes=[key])
    state._kernel.engine.write(Durability.OS, lambda _: batch)


def only(state: StateManager) -> tuple[bytes, bytes]:
    """Return the row of the only cursor."""
    with state._kernel.engine.read() as view:
        return view.scan(layout.CURSORS, b"\x0d", limit=1)[0]


def codes(state: StateManager) -> list[str]:
    """Return what verify finds."""
    return sorted({problem.code for problem in state.verify()})


def test_bytes_of_the_rows() -> None:
    """A cursor's key and value are what docs/format.md says, to the byte."""
    key = cursors.cursor_key(0, b"\0", "c")
    assert key == b"\x0c\0\0\x01\0c\0"
    row = cursors.pack(key, Cursor(revision=1, hash=b"h" * 32, stop=b"\x01"))
    assert row[:-16].hex() == (
        "dc00110101c420" + "68" * 32 + "00" * 5 + "c400" + "00" * 5 + "c400c40101c2"
    )
    assert cursors.letter_key(1, b"\0", "c", 2, 3) == (
        b"\x0c\0\x01\x02\0c\0" + (2).to_bytes(8) + (3).to_bytes(4)
    )
    assert cursors.key_parts(cursors.letter_key(1, pack_text("t"), "c", 2, 3)) == (
        1, b"\x02", "t", "c", 2, 3,
    )  # fmt: skip
    with pytest.raises(CorruptionError):
        cursors.parse_cursor(key, row[:-1])


def test_verify_names_what_is_wrong(memory_store: Stores) -> None:
    """Damage, another history, letters without a cursor and wrong counts have each a code."""
    state = memory_store()
    fill(state)
    assert codes(state) == []
    memory_store.broken = True
    key, row = only(state)
    cursor = cursors.parse_cursor(key, row)
    from msgspec.structs import replace

    put(state, key, row[:5] + b"x" + row[6:])
    assert codes(state) == ["cursor-damaged"]
    put(state, key, cursors.pack(key, replace(cursor, dead=7)))
    assert codes(state) == ["letter-count"]
    put(state, key, cursors.pack(key, replace(cursor, hash=b"x" * 32)))
    assert codes(state) == ["cursor-diverged"]
    put(state, key, cursors.pack(key, replace(cursor, revision=99)))
    assert codes(state) == ["cursor-diverged"]
    put(state, key, None)
    assert codes(state) == ["stray-letter"]
    put(state, b"\x0c\0\0\x07", b"")
    assert codes(state) == ["bad-key", "stray-letter"]


def test_a_copy_takes_them_along(open_store: Stores, tmp_path: Path) -> None:
    """In a copy a consumer goes on where it was, dead letters and all."""
    state = open_store()
    fill(state)
    revisions = [each.revision for each in state.changes()]
    state.copy_to(tmp_path / "copy.db")
    with holdfast.open(tmp_path / "copy.db") as copy:
        assert copy.verify() == []
        consumer = copy.consumer("c")
        assert [each.replaying for each in consumer.dead_letters()] == [False, True]
        got: list[int] = []
        consumer.run(lambda change: got.append(change.revision), timeout=0)
        assert got == [revisions[1], revisions[2]]
        consumer.close()


def test_repair_keeps_what_is_sound(memory_store: Stores, tmp_path: Path) -> None:
    """A sound cursor stays; one that is further than the journal goes to its end, named as such."""
    state = memory_store()
    fill(state)
    state.repair(tmp_path / "sound.db")
    with holdfast.open(tmp_path / "sound.db") as repaired:
        assert repaired.verify() == []
        status = repaired.consumers.status("c")
        assert (status.position, status.dead_letters) == (state.consumers.status("c").position, 2)
    memory_store.broken = True
    key, row = only(state)
    from msgspec.structs import replace

    put(state, key, cursors.pack(key, replace(cursors.parse_cursor(key, row), revision=99)))
    report = state.repair(tmp_path / "ahead.db")
    assert [problem.code for problem in report.lost] == ["cursor-diverged"]
    with holdfast.open(tmp_path / "ahead.db") as repaired:
        assert repaired.verify() == []
        assert repaired.consumers.status("c").position.revision == 3
    put(state, key, row[:-1])
    report = state.repair(tmp_path / "lost.db")
    assert [problem.code for problem in report.lost] == ["cursor-damaged", "stray-letter"]
    with holdfast.open(tmp_path / "lost.db") as repaired:
        assert repaired.verify() == []
        assert repaired.consumers.list() == []
