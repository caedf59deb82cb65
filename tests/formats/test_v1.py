"""Stores, exports and records written in format 1 read back as they were, for ever."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import holdfast
from holdfast import Durability, StateManager
from holdfast.engines.base import Batch
from holdfast.engines.memory import MemoryEngine
from holdfast.errors import FormatVersionError, NotAStoreError
from holdfast.store import journal, layout, record
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.store.lines import to_json
from holdfast.store.scope import StateScope
from tests.formats.make_v1 import EVERYTHING, line
from tests.maintenance.conftest import contents

HERE = Path(__file__).parent


@pytest.fixture(params=["sqlite", "rocksdb"])
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateManager]:
    """Open a copy of each golden store."""
    if request.param == "sqlite":
        target = tmp_path / "v1.db"
        shutil.copy(HERE / "v1.db", target)
    else:
        with tarfile.open(HERE / "v1.rocksdb.tar.gz") as tar:
            tar.extractall(tmp_path, filter="data")
        target = tmp_path / "v1.rocksdb"
    with holdfast.open(f"{request.param}:{target}") as state:
        yield state


def test_golden_store_is_sound(golden: StateManager) -> None:
    """A golden store verifies without a problem."""
    assert golden.verify() == []


def test_golden_values(golden: StateManager) -> None:
    """Every type reads back as it was written, whatever stores it."""
    for key, value in EVERYTHING.items():
        assert to_json(golden.get("global", key)) == to_json(value)
    assert golden.get("agent:a%3Ab", "특수 문자 🎉") == "key and id"
    assert golden.get("user:u", "deleted") is None
    assert golden.find_commit(b"golden-commit-id") == 47
    acme = holdfast.StateManager(golden._kernel, tenant="acme")
    assert contents(acme) == {("agent:ada", "k"): "of acme"}


def test_golden_history(golden: StateManager) -> None:
    """Every change that the journal holds reads as it did, values of the past included."""
    expected = (HERE / "v1.expected.jsonl").read_text().splitlines()
    assert [line(change) for change in golden.changes()] == expected


def test_golden_store_can_be_written(golden: StateManager) -> None:
    """A golden store goes on: new commits continue its revisions and its chain."""
    before = golden.revision
    assert golden.append("session:s1", "turns", "one more") == 41
    assert golden.revision == before + 1
    assert golden.verify() == []


def test_golden_export(tmp_path: Path) -> None:
    """A golden export imports to the values that the golden store has."""
    with holdfast.open("memory:") as state, holdfast.open(tmp_path / "new.db") as other:
        state.import_lines((HERE / "v1.jsonl").read_text().splitlines())
        for key, value in EVERYTHING.items():
            assert to_json(state.get("global", key)) == to_json(value)
        other.import_lines(state.export_lines())
        assert contents(other) == contents(state)


def test_record_bytes() -> None:
    """A record has exactly the bytes that docs/format.md says."""
    place = layout.place_of(b"\0", StateScope.agent("a"), "k")
    assert place.hex() == "000261006b00"
    raw = record.build(
        place, record.VALUE, record.MSGPACK, 2, 0, 7, 6, 3, 1000, 2000, 2, b"\xa1x", 3000, "c", "me"
    )
    assert raw.hex() == (
        "010101070200" + "0000"
        "0000000000000007" + "0000000000000006" + "0000000000000003"
        "00000000000003e8" + "00000000000007d0" + "00000002"
        "0000000000000bb8" + "0163" + "026d65" + "a178"
        "a2cc46c289817176946ed5c377d5bef8"
    )
    parsed = record.parse(place, raw)
    assert (parsed.revision, parsed.previous, parsed.version) == (7, 6, 3)
    assert (parsed.expires_ns, parsed.correlation, parsed.actor) == (3000, "c", "me")
    assert parsed.payload == b"\xa1x"


def test_head_bytes() -> None:
    """The head row has exactly the bytes that docs/format.md says."""
    head = journal.Head(5, 1000, b"h" * 32, 255, 3, 2)
    raw = journal.pack_head(head)
    assert raw.hex() == (
        "0000000000000005" + "00000000000003e8" + "68" * 32 + "00" * 15 + "ff"
        "0000000000000003" + "0000000000000002"
    )
    assert journal.parse_head(raw) == head


def test_row_keys() -> None:
    """Row keys have exactly the bytes that docs/format.md says."""
    place = layout.place_of(b"acme\0", StateScope.step("w", "s"), "k")
    assert place.hex() == b"acme\0\x04w\0s\0k\0".hex()
    assert layout.owner_of(place) == b"acme\0\x04w\0s\0"
    assert layout.head_key(0) == b"\x01\0\0head\0"
    assert layout.journal_key(0, 258) == b"\x04\0\0\0\0\0\0\0\0\x01\x02"
    assert layout.version_key(place, 1) == b"\x05" + place + b"\0\0\0\0\0\0\0\x01"
    assert layout.expiry_key(0, 1, place) == b"\x07\0\0\0\0\0\0\0\0\0\x01" + place
    assert layout.commit_key(0, b"i" * 16) == b"\x08\0\0" + b"i" * 16
    assert layout.correlation_key(0, "c", 1) == b"\x06\0\0c\0" + b"\0\0\0\0\0\0\0\x01"


# --- what is not this format ----------------------------------------------------------------


def rows_of(engine: MemoryEngine) -> list[tuple[bytes, bytes]]:
    """Return every row."""
    with engine.read() as view:
        return view.scan(b"\x00", b"\xff")


def test_newer_store_is_refused_untouched() -> None:
    """A store of a newer format is refused, and not one byte of it changes."""
    engine = MemoryEngine()
    Kernel(engine, StoreSettings()).lane.close()
    info = msgspec.msgpack.decode(engine.get(layout.STORE) or b"")
    newer = msgspec.msgpack.encode(info | {"format": 2, "future": "field"})
    engine.write(Durability.SYNC, lambda _: Batch(puts=[(layout.STORE, newer)]))
    before = rows_of(engine)
    with pytest.raises(FormatVersionError) as caught:
        Kernel(engine, StoreSettings())
    assert "format 2" in str(caught.value)
    assert rows_of(engine) == before


@pytest.mark.parametrize("row", [b"", b"\xc1", b"\x93\x01\x02\x03", b"text"])
def test_damaged_identity_is_refused_untouched(row: bytes) -> None:
    """A store whose identity row is damaged is refused, and not one byte of it changes."""
    engine = MemoryEngine()
    engine.write(Durability.SYNC, lambda _: Batch(puts=[(layout.STORE, row)]))
    with pytest.raises(NotAStoreError):
        Kernel(engine, StoreSettings())
    assert rows_of(engine) == [(layout.STORE, row)]


def test_foreign_rows_are_refused_untouched() -> None:
    """An engine that holds something else is refused."""
    engine = MemoryEngine()
    engine.write(Durability.SYNC, lambda _: Batch(puts=[(b"\x70foreign", b"1")]))
    with pytest.raises(NotAStoreError):
        Kernel(engine, StoreSettings())
    assert rows_of(engine) == [(b"\x70foreign", b"1")]


def test_newer_record_is_an_error_by_name() -> None:
    """A sound record of a newer format says so instead of being misread."""
    place = layout.place_of(b"\0", StateScope.agent("a"), "k")
    raw = bytearray(
        record.build(place, record.VALUE, record.MSGPACK, 2, 0, 1, 0, 1, 1, 1, 1, b"\x01")
    )
    raw[0] = 2
    from xxhash import xxh3_128_digest

    raw[-16:] = xxh3_128_digest(place + bytes(raw[:-16]))
    with pytest.raises(FormatVersionError):
        record.parse(place, bytes(raw))
