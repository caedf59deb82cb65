"""inspect shows a record as it is stored, and where the journal has it."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from holdfast import HistoryPolicy, StateClass, StateManager
from holdfast.errors import InvalidArgumentError
from holdfast.testing import FakeClock
from tests.conftest import Stores

A = "agent:a"


def test_a_record_and_its_place(state: StateManager) -> None:
    """Header fields, and group, commit, position, digest and hashes of the journal."""
    state.set(A, "other", 0)
    with state.transaction() as tx:
        tx.set(A, "first", 1)
        tx.set(A, "k", {"n": 1})
    state.set(A, "k", {"n": 2}, actor="ada", correlation="run-1", expires_in=1000)
    meta = state.get_with_metadata(A, "k")
    assert meta is not None
    found = state.inspect(A, "k")
    assert found is not None
    assert (found.format, found.kind, found.encoding, found.compression) == (
        1, "value", "msgpack", "none",
    )  # fmt: skip
    assert found.flags == ("expires", "correlation", "actor")
    assert (found.revision, found.version) == (meta.metadata.revision, 2)
    assert found.checksum == meta.metadata.checksum
    assert found.expires_at == meta.metadata.expires_at
    assert (found.actor, found.correlation_id) == ("ada", "run-1")
    assert found.state_class is StateClass.STANDARD
    assert found.stored > found.payload == found.size > 0
    assert found.live
    assert found.version_row
    place = found.journal
    assert place is not None
    assert place.first <= found.revision <= place.last
    assert place.position == found.revision - place.first
    assert (place.change, place.changes, place.operation, place.matches) == (0, 1, "set", True)
    assert state.find_commit(place.commit_id) == found.revision

    before = state.inspect(A, "k", revision=found.previous)
    assert before is not None
    assert (before.version, before.live, before.previous) == (1, False, 0)
    assert before.journal is not None
    assert (before.journal.change, before.journal.changes) == (1, 2)
    if state._kernel.partitions.count == 1:
        assert place.previous_hash == before.journal.chain_hash


def test_deltas_and_tombstones(state: StateManager) -> None:
    """Versions of the past show what they are."""
    text = random.Random(7).randbytes(3000).hex()  # nothing that compresses well
    revisions = [state.set(A, "k", text + str(n)) for n in range(3)]
    kinds = [state.inspect(A, "k", revision=revision) for revision in revisions]
    assert [k and (k.kind, k.run) for k in kinds[:2]] == [("value", 0), ("delta", 1)]
    assert kinds[1] is not None
    assert kinds[1].full_checksum is not None
    state.delete(A, "k")
    gone = state.inspect(A, "k", revision=state.revision)
    assert gone is not None
    assert (gone.kind, gone.live) == ("deleted", False)
    assert state.inspect(A, "k") is None


def test_what_is_not_there(state: StateManager) -> None:
    """No record, no such version, or no revision at all."""
    state.set(A, "k", 1)
    assert state.inspect(A, "missing") is None
    assert state.inspect(A, "k", revision=state.revision + 5) is None
    bad: list[Any] = [0, -1, True, 1.0, "1"]
    for revision in bad:
        with pytest.raises(InvalidArgumentError):
            state.inspect(A, "k", revision=revision)


def test_behind_the_horizon(memory_store: Stores) -> None:
    """A record whose header has been trimmed has no place, and the horizon says why."""
    clock = FakeClock()
    state = memory_store(clock=clock)
    state.set(A, "k", 1)
    clock.advance(1000)
    state.set(A, "other", 1)
    state.compact([HistoryPolicy(max_age=timedelta(seconds=10))])
    found = state.inspect(A, "k")
    assert found is not None
    assert (found.journal, found.horizon, found.version_row) == (None, 1, False)
