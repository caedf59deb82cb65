"""What scans yield: values whose metadata is made when somebody looks."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from contextlib import closing
from datetime import UTC, datetime

import pytest

import holdfast
from holdfast import SetOperation, StateClass, StateScope, StateValue
from holdfast.errors import CorruptionError
from holdfast.store import layout

SCOPE = StateScope.agent("a")


def test_scan_and_get_tell_the_same_metadata() -> None:
    """A scanned value equals what `get_with_metadata` returns, whatever its record holds."""
    with closing(holdfast.open("memory:")) as state:
        state.set(SCOPE, "plain", {"n": 1})
        state.set(SCOPE, "plain", {"n": 2})
        state.set(SCOPE, "trusted", 1, state_class=StateClass.TRUSTED)
        state.set(SCOPE, "large", ["text"] * 5000)
        state.set(SCOPE, "actor", 1, actor="somebody", correlation="c")
        state.set(SCOPE, "expiring", 1, expires_at=datetime(2100, 1, 1, tzinfo=UTC))
        scanned = dict(state.scan(SCOPE))
        assert scanned == {key: state.get_with_metadata(SCOPE, key) for key in scanned}
        assert list(scanned) == ["actor", "expiring", "large", "plain", "trusted"]
        assert scanned["plain"].metadata.version == 2
        assert scanned["plain"].metadata.previous_revision == 1


def test_metadata_is_of_the_scan_and_not_of_the_look() -> None:
    """Metadata looked at after the key changed is that of the value which was scanned."""
    with closing(holdfast.open("memory:")) as state:
        state.set(SCOPE, "k", "old")
        ((_, found),) = state.scan(SCOPE)
        state.set(SCOPE, "k", "new")
        assert (found.value, found.metadata.revision, found.metadata.version) == ("old", 1, 1)
        assert found.metadata is found.metadata


def test_a_scanned_value_is_immutable_and_can_be_copied() -> None:
    """Nothing can be assigned; copies and pickles equal the original; the repr hides the value."""
    with closing(holdfast.open("memory:")) as state:
        state.set(SCOPE, "k", {"secret": "word"})
        ((_, found),) = state.scan(SCOPE)
        assert pickle.loads(pickle.dumps(found)) == found == copy.deepcopy(found)
        assert repr(found) == "StateValue(revision=1, version=1, size=13)"
        for name in ("value", "metadata"):
            with pytest.raises(AttributeError):
                setattr(found, name, None)
        other = StateValue(found.value, dataclasses.replace(found.metadata, version=7))
        assert other != found
        assert other != found.value


def test_a_damaged_record_is_noticed_by_the_scan_itself() -> None:
    """The checksum is checked when a record is read, not when its metadata is."""
    with closing(holdfast.open("memory:")) as state:
        state.set_batch([SetOperation(SCOPE, f"k{n}", n) for n in range(3)])
        pairs = state._kernel.engine._spaces[layout.DATA[0]].pairs  # type: ignore[attr-defined]
        key = sorted(pairs)[1]
        pairs[key] = pairs[key][:-20] + b"\x7f" + pairs[key][-19:]
        with pytest.raises(CorruptionError) as caught:
            list(state.scan(SCOPE))
        assert caught.value.where == "agent:a/k1"


def test_a_limited_scan_of_a_thousand_is_one_view() -> None:
    """Scans up to 1000 keys read one page; longer ones still yield every key in order."""
    with closing(holdfast.open("memory:")) as state:
        state.set_batch([SetOperation(SCOPE, f"{n:05d}", n) for n in range(2500)])
        for limit in (None, 1, 64, 500, 999, 1000, 1001, 1999, 2500, 3000):
            found = [value.value for _, value in state.scan(SCOPE, limit=limit)]
            assert found == list(range(2500))[:limit]
