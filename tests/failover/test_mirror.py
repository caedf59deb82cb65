"""The mirror never says what it does not know: a key is as last seen, or unknown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.engines.base import Batch
from holdfast.engines.memory import MemoryEngine
from holdfast.failover.mirror import Mirror, mirrored
from holdfast.store import layout, record
from holdfast.testing import Fault, FaultPlan, FaultyEngine
from tests.failover.conftest import World

A = "agent:a"


def raw(place: bytes, revision: int) -> bytes:
    """Return a record of that revision."""
    return record.build(place, record.VALUE, 1, 2, 0, revision, 0, 1, 0, 0, 1, b"\x01")


class Desk:
    """A mirror on an engine whose writes can fail."""

    def __init__(self, limit: int = 100, queue: int = 100) -> None:
        self.engine = FaultyEngine(MemoryEngine())
        self.mirror = Mirror(self.engine, limit, queue)

    def wrote(self, revision: int, *places: bytes) -> None:
        """Tell of a commit of this process."""
        puts = [(layout.DATA + place, raw(place, revision)) for place in places]
        self.mirror.wrote(Batch(puts=puts))

    def known(self, place: bytes) -> int | None:
        """Return the mirrored revision; 0 for known absent, None for unknown."""
        if not self.mirror.knows(place):
            return None
        with self.engine.read() as view:
            row = mirrored(view, place)
        assert row is not None
        return record.peek(row).revision if row else 0

    def reopen(self) -> Desk:
        """Return a mirror as the next process finds it."""
        other = Desk()
        other.engine = self.engine
        other.mirror = Mirror(self.engine, 100, 100)
        other.mirror.load()
        return other


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Make one."""
    return Desk()


def test_own_writes_are_there_before_they_are_acknowledged(desk: Desk) -> None:
    """A write of this process is in the file, for the next process too, when `wrote` returns."""
    desk.wrote(1, b"a", b"b")
    desk.wrote(2, b"a")
    desk.mirror.wrote(Batch(deletes=[layout.DATA + b"b"]))
    after = desk.reopen()
    assert (after.known(b"a"), after.known(b"b")) == (2, 0)


def test_an_older_read_changes_nothing(desk: Desk) -> None:
    """A slow read of an earlier version does not put it back."""
    stamp = desk.mirror.stamp()
    desk.wrote(5, b"a")
    desk.mirror.saw(b"a", raw(b"a", 4), stamp)
    assert desk.known(b"a") == 5


def test_a_newer_read_replaces_at_once(desk: Desk) -> None:
    """What others wrote, once read, is what the next process finds."""
    desk.wrote(5, b"a")
    desk.mirror.saw(b"a", raw(b"a", 7), desk.mirror.stamp())
    assert desk.reopen().known(b"a") == 7


def test_a_read_of_nothing_that_may_be_old_makes_the_key_unknown(desk: Desk) -> None:
    """Absence has no revision: if anything was written since, nobody can tell which came first."""
    desk.wrote(5, b"a")
    stamp = desk.mirror.stamp()
    desk.wrote(6, b"b")
    desk.mirror.saw(b"a", None, stamp)
    assert desk.known(b"a") is None
    assert desk.reopen().known(b"a") is None


def test_a_value_over_a_delete_that_may_be_older(desk: Desk) -> None:
    """A value read before a delete of ours, and told after it, makes the key unknown."""
    desk.wrote(5, b"a")
    stamp = desk.mirror.stamp()
    desk.mirror.wrote(Batch(deletes=[layout.DATA + b"a"]))
    desk.mirror.saw(b"a", raw(b"a", 5), stamp)
    assert desk.known(b"a") is None


def test_a_read_of_nothing_that_is_fresh(desk: Desk) -> None:
    """With nothing in between, absence is known."""
    desk.wrote(5, b"a")
    desk.mirror.saw(b"a", None, desk.mirror.stamp())
    assert desk.known(b"a") == 0


def test_first_reads_wait_for_the_background(desk: Desk) -> None:
    """A key read for the first time is unknown until it is written down."""
    desk.mirror.saw(b"a", raw(b"a", 3), desk.mirror.stamp())
    assert desk.known(b"a") is None
    desk.mirror.flush()
    assert desk.reopen().known(b"a") == 3


def test_reads_beyond_the_queue_stay_unknown() -> None:
    """A background that falls behind leaves keys out."""
    desk = Desk(queue=2)
    for place in (b"a", b"b", b"c"):
        desk.mirror.saw(place, raw(place, 3), desk.mirror.stamp())
    desk.mirror.flush()
    assert [desk.known(place) for place in (b"a", b"b", b"c")] == [3, 3, None]


def test_a_write_overtakes_a_waiting_read(desk: Desk) -> None:
    """What waits to be added does not come over what was written meanwhile."""
    desk.mirror.saw(b"a", raw(b"a", 3), desk.mirror.stamp())
    desk.wrote(4, b"a")
    desk.mirror.flush()
    assert desk.reopen().known(b"a") == 4


def test_the_oldest_keys_go() -> None:
    """Beyond its bound the mirror forgets what was not written for longest, also in the file."""
    desk = Desk(limit=2)
    for revision, place in enumerate((b"a", b"b", b"a", b"c"), 1):
        desk.wrote(revision, place)
    assert [desk.known(place) for place in (b"a", b"b", b"c")] == [3, None, 4]
    assert desk.reopen().known(b"b") is None


def test_a_commit_larger_than_the_mirror() -> None:
    """One commit of more keys than the bound is kept while it is the newest."""
    desk = Desk(limit=2)
    desk.wrote(1, b"a", b"b", b"c")
    desk.wrote(2, b"d")
    assert desk.known(b"d") == 2
    assert len(desk.mirror) == 2


def test_a_mirror_that_cannot_be_written_forgets(desk: Desk) -> None:
    """A full disk of the spill fails nobody's write, and leaves nothing stale behind."""
    desk.wrote(1, b"a")
    desk.engine.plan = FaultPlan({("commit", 1): Fault.DISK_FULL})
    desk.wrote(2, b"a")
    assert desk.known(b"a") is None
    assert desk.mirror.lost == "disk_full"
    desk.wrote(3, b"a")
    assert (desk.known(b"a"), desk.mirror.lost) == (3, None)


def test_after_the_machine_went_down_the_mirror_is_not_believed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were not flushed may be missing then: every key is unknown again."""
    state = world.open()
    state.set(A, "k", 1)
    world.crash(state)
    state = world.open()
    world.cut.set()
    assert state.get(A, "k") == 1  # the process died, the machine did not
    world.cut.clear()
    assert state.failover.probe()
    world.crash(state)
    monkeypatch.setattr("holdfast.failover.spill._boot", lambda: "another boot")
    world.cut.set()
    state = world.open()
    with pytest.raises(Exception, match="not known here"):
        state.get(A, "k")


def test_an_outage_outlives_the_machine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was known when the primary went away was flushed then, and stays known."""
    state = world.open()
    state.set(A, "k", 1)
    world.cut.set()
    state.set(A, "l", 2)
    world.crash(state)
    monkeypatch.setattr("holdfast.failover.spill._boot", lambda: "another boot")
    state = world.open()
    assert (state.get(A, "k"), state.get(A, "l")) == (1, 2)


def test_reads_of_others_changes_are_mirrored(world: World, tmp_path: Path) -> None:
    """A transaction's reads, a batch's and a scan's make keys known, as a get does."""
    others = world.others()
    for key in ("tx", "batch", "scan"):
        others.set(A, key, key)
    state = world.open()
    with state.transaction() as tx:
        tx.get(A, "tx")
    state.get_batch([(A, "batch")])
    assert len(list(state.scan(A, prefix="sc"))) == 1
    world.cut.set()
    assert state.get_batch([(A, "tx"), (A, "batch"), (A, "scan")]) == ["tx", "batch", "scan"]
