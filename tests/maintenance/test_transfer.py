"""Copies between engines are exact; exports are lossless; nothing is half done."""

from __future__ import annotations

import json
import random
import threading
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast import ConflictError, CorruptionError, StateClass
from holdfast.errors import FormatVersionError, InvalidArgumentError, NotAStoreError
from holdfast.store import layout
from holdfast.store.lines import from_json, to_json
from tests.conftest import Stores
from tests.maintenance.conftest import Damage, contents, fill

ODD: dict[str, Any] = {
    "datetime": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    "offset": datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "naive": datetime(2026, 1, 2, 3),
    "date": date(2026, 1, 2),
    "time": time(1, 2, 3, 4),
    "timedelta": timedelta(days=-1, microseconds=5),
    "uuid": UUID(int=7),
    "decimal": Decimal("1.10"),
    "bytes": b"\x00\xff",
    "set": {1, "a", (2, (3,))},
    "frozenset": frozenset({1}),
    "big": 2**200,
    "edge": [2**53, -(2**53), 2**53 - 1, 2**63, -(2**63)],
    "inf": [float("inf"), float("-inf")],
    "float": [1.0, 1e300, -0.0, 1e16],
    "marker": {"$holdfast": "int", "value": "1"},
    "nested": {"$holdfast": {"$holdfast": b"x"}},
    "text": "a\0b\n\u2028 특수 🎉",
    "empty": [{}, [], "", None, False],
}


@pytest.mark.parametrize("target", ["sqlite", "rocksdb"])
def test_copy_is_exact(open_store: Stores, tmp_path: Path, target: str) -> None:
    """A copy has the records, the history, the chain and the identity of its source."""
    state = open_store()
    expected = fill(state)
    tenant = holdfast.StateManager(state._kernel, tenant="acme")
    tenant.set("agent:a1", "k1", "of acme")
    seen: list[tuple[int, int]] = []
    report = state.copy_to(
        f"{target}:{tmp_path / 'copy'}", progress=lambda a, b: seen.append((a, b))
    )
    assert seen[-1] == (report.records, report.records)
    with holdfast.open(f"{target}:{tmp_path / 'copy'}") as copy:
        assert copy.verify() == []
        assert contents(copy) == expected
        assert copy.revision == state.revision == report.revision
        assert list(copy.changes()) == list(state.changes())
        assert copy.info()["lineage"] == state.info()["lineage"]
        assert copy.get("session:s", "turns", as_of=11) == state.get("session:s", "turns", as_of=11)
        assert copy.find_commit(b"0123456789abcdef") == state.find_commit(b"0123456789abcdef")
        assert holdfast.StateManager(copy._kernel, tenant="acme").get("agent:a1", "k1") == "of acme"
        assert copy.set("agent:a1", "k1", 1) == report.revision + 1
        assert copy.verify() == []


def test_copy_beside_writers(open_store: Stores, tmp_path: Path) -> None:
    """A copy made while others write is of one revision, and verifies."""
    state = open_store()
    fill(state)
    stop = threading.Event()

    def work(name: int) -> None:
        chance = random.Random(name)
        at = 0
        while not stop.is_set():
            at += 1
            key = f"k{chance.randrange(30)}"
            match chance.randrange(4):
                case 0:
                    state.delete("agent:w", key)
                case 1:
                    state.set("agent:w", key, "x" * 6000 + str(at), expires_in=3600)
                case _:
                    with state.transaction() as tx:  # pairs, never half a pair
                        tx.set(f"agent:p{name}", "one", at)
                        tx.set(f"agent:p{name}", "two", at)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    try:
        for at in range(4):
            state.copy_to(f"sqlite:{tmp_path / f'copy{at}'}")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for at in range(4):
        with holdfast.open(f"sqlite:{tmp_path / f'copy{at}'}") as copy:
            assert copy.verify() == []
            for name in range(3):
                assert copy.get(f"agent:p{name}", "one") == copy.get(f"agent:p{name}", "two")
            # What the copy shows is what the source was at that revision.
            for key, item in copy.scan("agent:w"):
                assert state.get("agent:w", key, as_of=copy.revision) == item.value


def test_damaged_source_is_refused(open_store: Stores, tmp_path: Path, damage: Damage) -> None:
    """A damaged record stops the copy with an error, and what was begun is no store."""
    state = open_store()
    fill(state)
    open_store.broken = True
    with state._kernel.engine.read() as view:
        key, _ = view.scan(layout.DATA, layout.after(layout.DATA), limit=1)[0]
    damage(state, key, b"rubbish")
    with pytest.raises(CorruptionError):
        state.copy_to(tmp_path / "copy.db")
    with pytest.raises(NotAStoreError):
        holdfast.open(tmp_path / "copy.db")


def test_existing_target_is_refused(open_store: Stores, tmp_path: Path) -> None:
    """A path that exists is refused and stays as it was."""
    (tmp_path / "there").write_bytes(b"mine")
    with pytest.raises(InvalidArgumentError):
        open_store().copy_to(tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"mine"


# --- export and import ----------------------------------------------------------------------


def exactly(value: object) -> str:
    """Show a value so that `1` and `1.0` differ, and `0.0` and `-0.0`, but no orders of a set."""
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__} {sorted(map(exactly, value))}"
    return repr(value)


def test_export_import_round_trip(open_store: Stores, memory_store: Stores) -> None:
    """Every type, class and expiry comes back equal, through real JSON text."""
    state = open_store()
    expected = fill(state)
    for key, value in ODD.items():
        state.set("custom:odd", key, value)
        expected["custom:odd", key] = value
    state.set("custom:odd", "trusted", 1, state_class=StateClass.TRUSTED)
    expected["custom:odd", "trusted"] = 1
    lines = list(state.export_lines())
    assert all(json.loads(line) is not None and "\n" not in line for line in lines)
    other = memory_store("other")
    assert other.import_lines(lines) == len(expected)
    assert contents(other) == expected
    for key in ODD:
        assert exactly(other.get("custom:odd", key)) == exactly(state.get("custom:odd", key))
    token, copied = (s.get_with_metadata("user:u", "token") for s in (state, other))
    assert token is not None and copied is not None
    assert copied.metadata.expires_at == token.metadata.expires_at
    trusted = other.get_with_metadata("custom:odd", "trusted")
    assert trusted is not None and trusted.metadata.state_class is StateClass.TRUSTED


def test_import_is_all_or_nothing(memory_store: Stores) -> None:
    """A key that exists, or a bad line anywhere, and nothing is written."""
    state = memory_store()
    state.set("agent:a", "k1", "mine")
    lines = ['{"scope":"agent:a","key":"k0","value":0}', '{"scope":"agent:a","key":"k1","value":1}']
    with pytest.raises(ConflictError):
        state.import_lines(lines)
    assert state.list_keys("agent:a") == ["k1"]
    assert state.import_lines(lines, overwrite=True) == 2
    assert state.get("agent:a", "k1") == 1


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "line 1 is not JSON"),
        ("[]", "line 1 is no object"),
        ('{"scope":"agent:a","value":1}', "line 1 lacks"),
        ('{"scope":"agent:a","key":"k","value":NaN}', "line 1 is not JSON"),
        ('{"scope":"agent:a","key":"k","value":1,"class":"no"}', "line 1 lacks or misnames"),
        ('{"scope":"agent:a","key":"k","value":{"$holdfast":"lambda","value":1}}', "unknown"),
        ('{"scope":"agent:a","key":"k","value":{"$holdfast":"date","value":"x"}}', "malformed"),
        ('{"scope":"agent:a","key":"k","value":1,"expires_at":"soon"}', "expires_at"),
    ],
)
def test_bad_lines(memory_store: Stores, line: str, what: str) -> None:
    """A bad line is named, and nothing is written."""
    state = memory_store()
    with pytest.raises(InvalidArgumentError, match=what.replace("$", r"\$")):
        state.import_lines([line])
    assert state.revision == 0


def test_newer_export_is_refused(memory_store: Stores) -> None:
    """An export of a newer format is refused."""
    with pytest.raises(FormatVersionError):
        memory_store().import_lines(['{"$holdfast": "export", "format": 2}'])


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.just(UTC))
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$holdfast"), inner),
    max_leaves=20,
)


@given(values)
def test_json_form_round_trips(value: Any) -> None:
    """Any value comes back equal, with its types, through JSON text."""
    back = from_json(json.loads(json.dumps(to_json(value))))
    assert back == value
    assert repr(back) == repr(value)


def test_export_is_of_one_moment(open_store: Stores) -> None:
    """What is deleted, created or changed while an export runs does not show in it."""
    state = open_store()
    state.set("agent:a", "k", 1)
    state.set("agent:b", "k", 2)
    lines = state.export_lines()
    first = json.loads(next(lines))
    state.delete_scope("agent:b")
    state.set("agent:a", "k", "changed")
    state.set("agent:c", "k", 3)
    found = [json.loads(line) for line in lines]
    assert first["revision"] == 2
    assert [(line["scope"], line["value"]) for line in found] == [("agent:a", 1), ("agent:b", 2)]
