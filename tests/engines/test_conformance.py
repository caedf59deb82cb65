"""Every engine keeps the contract; and the kit notices engines that do not."""

from __future__ import annotations

import inspect
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import EngineURL
from holdfast.engines import rocksdb, sqlite
from holdfast.engines.base import Batch, Body, Durability, Engine, View
from holdfast.engines.memory import MemoryEngine
from holdfast.testing import EngineConformance, FaultyEngine


class TestMemory(EngineConformance):
    durable = False

    def open(self, path: Path, **options: Any) -> Engine:
        """Open the engine under test."""
        return MemoryEngine()


class TestFaultyWithoutFaults(EngineConformance):
    durable = False

    def open(self, path: Path, **options: Any) -> Engine:
        """Open the engine under test."""
        return FaultyEngine(MemoryEngine())


class _Numbered:
    def __init__(self, view: View, sequence: Callable[[], int]) -> None:
        self.get, self.get_many, self.scan = view.get, view.get_many, view.scan
        self.sequence = sequence


class PartitionedMemory(MemoryEngine):
    """Runs bodies of different partitions at once: what the kit says of partitions, in memory."""

    traits = replace(MemoryEngine.traits, partitioned=True)

    def __init__(self) -> None:
        super().__init__()
        self._held = [threading.Lock() for _ in range(4)]
        self._numbers = count(1)

    def _order(self, partitions: Sequence[int]) -> Sequence[int]:
        return sorted(partitions)

    def _next(self, partitions: Sequence[int]) -> int:
        return next(self._numbers)

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Hold the partitions while the body runs, and the memory only while the batch lands."""
        with ExitStack() as stack:
            for partition in self._order(partitions):
                stack.enter_context(self._held[partition])
            self._check()
            batch = body(_Numbered(self, lambda: self._next(partitions)))  # type: ignore[arg-type]
            time.sleep(0)  # let others in, where they may come in
            super().write(durability, lambda view: batch)

    def scan(self, *args: Any, **options: Any) -> list[tuple[bytes, bytes]]:
        """Scan what is there now."""
        with self.read() as view:
            return view.scan(*args, **options)


class TestPartitionedMemory(EngineConformance):
    durable = False

    def open(self, path: Path, **options: Any) -> Engine:
        """Open the engine under test."""
        return PartitionedMemory()


class TestSQLite(EngineConformance):
    def open(self, path: Path, **options: Any) -> Engine:
        """Open the engine under test."""
        return sqlite.open_engine(EngineURL("sqlite", str(path), options))


class TestRocksDB(EngineConformance):
    def open(self, path: Path, **options: Any) -> Engine:
        """Open the engine under test."""
        return rocksdb.open_engine(EngineURL("rocksdb", str(path), options))


# --- engines that are wrong, each in one way --------------------------------------------------


class NotAtomic(MemoryEngine):
    """Applies one change at a time, in front of readers."""

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Write, wrongly."""
        with self.read() as view:
            batch = body(view)
        parts = [Batch(delete_ranges=[each]) for each in batch.delete_ranges]
        parts += [Batch(deletes=[each]) for each in batch.deletes]
        parts += [Batch(puts=[each]) for each in batch.puts]
        for part in parts:
            time.sleep(0)  # let a reader see it
            super().write(durability, lambda view, part=part: part)  # type: ignore[misc]


class KeepsHalf(MemoryEngine):
    """Keeps what an earlier attempt of a body that raises had reached."""

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Write, wrongly."""
        try:
            super().write(durability, body, partitions)
        except BaseException:
            super().write(durability, lambda view: Batch(deletes=[b"a"]))
            raise


class PutsFirst(MemoryEngine):
    """Applies a batch in the wrong order."""

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Write, wrongly."""

        def wrong(view: View) -> Batch:
            batch = body(view)
            for start, stop in batch.delete_ranges:
                batch.puts = [pair for pair in batch.puts if not start <= pair[0] < stop]
            batch.puts = [pair for pair in batch.puts if pair[0] not in batch.deletes]
            return batch

        super().write(durability, wrong, partitions)


class LiveView(MemoryEngine):
    """Its views show later commits."""

    @contextmanager
    def read(self) -> Iterator[View]:
        """Open a view, wrongly."""
        with super().read() as view:
            pass
        yield view


class _Inclusive:
    def __init__(self, view: View) -> None:
        self.get, self.get_many, self._view = view.get, view.get_many, view

    def scan(self, start: bytes, stop: bytes, **options: Any) -> list[tuple[bytes, bytes]]:
        """Scan past the stop."""
        return self._view.scan(start, stop + b"\x00" if start < stop else stop, **options)


class InclusiveScan(MemoryEngine):
    """Its scans have their stop."""

    @contextmanager
    def read(self) -> Iterator[View]:
        """Open a view, wrongly."""
        with super().read() as view:
            yield _Inclusive(view)


class Unserialised(MemoryEngine):
    """Runs bodies side by side."""

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Write, wrongly."""
        with super().read() as view:
            batch = body(view)
        time.sleep(0)  # let another writer in
        super().write(durability, lambda view: batch)


class ShowsItself(MemoryEngine):
    """Wraps errors of bodies in its own."""

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Write, wrongly."""
        try:
            super().write(durability, body, partitions)
        except Exception as error:
            raise RuntimeError("write failed") from error


class Forgetful(MemoryEngine):
    """Loses what it had acknowledged only relaxedly when it is opened again."""

    traits = type(MemoryEngine.traits)(name="forgetful", persistent=True, shared=False)
    disk: dict[Path, list[tuple[bytes, bytes]]] = {}  # noqa: RUF012 - a stand-in for a disk

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._synced = self.disk.setdefault(path, [])
        super().write(Durability.OS, lambda view: Batch(puts=list(self._synced)))

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Write, wrongly."""
        super().write(durability, body, partitions)
        if durability >= Durability.OS:
            with self.read() as view:
                self._synced[:] = view.scan(b"\x00", b"\xff" * 9)


class OpenForEver(MemoryEngine):
    """Answers after it was closed."""

    def close(self) -> None:
        """Go on."""


class OneAtATime(PartitionedMemory):
    """Claims partitions and runs one write at a time."""

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Write, wrongly."""
        super().write(durability, body, (0, 1, 2, 3))


class HoldsTheFirst(PartitionedMemory):
    """Holds only the first of several partitions."""

    def _order(self, partitions: Sequence[int]) -> Sequence[int]:
        return sorted(partitions)[:1]


class NumbersByPartition(PartitionedMemory):
    """Counts each partition for itself."""

    def __init__(self) -> None:
        super().__init__()
        self._counts = [count(1) for _ in range(4)]

    def _next(self, partitions: Sequence[int]) -> int:
        return next(self._counts[min(partitions)])


class NumbersDown(PartitionedMemory):
    """Hands out ever smaller numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count(1 << 40, -1)


class KeepsViews(MemoryEngine):
    """Has places for a hundred views, and frees them with the object only."""

    def __init__(self) -> None:
        super().__init__()
        self._places = threading.Semaphore(100)

    @contextmanager
    def read(self) -> Iterator[View]:
        """Open a view, wrongly."""
        assert self._places.acquire(blocking=False), "no place for another view"
        with super().read() as view:
            kept = _Inclusive(view)
            weakref.finalize(kept, self._places.release)
            yield kept


def failures(kit: EngineConformance, directory: Path) -> set[str]:
    """Run each test of the kit without pytest's runner; return the names of those that fail."""
    failed = set()
    for number, (name, test) in enumerate(inspect.getmembers(kit, inspect.ismethod)):
        if not name.startswith("test_"):
            continue
        path = directory / str(number)
        wants = inspect.signature(test).parameters
        arguments: dict[str, Any] = {}
        if "path" in wants:
            arguments["path"] = path
        if "engine" in wants:
            arguments["engine"] = kit.open(path)
        try:
            test(**arguments)
        except pytest.skip.Exception:
            pass
        except BaseException:  # noqa: BLE001 - any failure is one
            failed.add(name)
    return failed


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (NotAtomic, "test_commits_are_atomic_for_readers"),
        (KeepsHalf, "test_body_that_raises"),
        (PutsFirst, "test_batch_order"),
        (LiveView, "test_view_is_consistent"),
        (InclusiveScan, "test_scan_is_half_open"),
        (InclusiveScan, "test_against_a_model"),
        (PutsFirst, "test_against_a_model"),
        (Unserialised, "test_writers_are_serialised"),
        (ShowsItself, "test_body_that_raises"),
        (OpenForEver, "test_close"),
        (KeepsViews, "test_closed_views_hold_nothing"),
        (Unserialised, "test_partitions_are_serialised"),
        (HoldsTheFirst, "test_partitions_are_serialised"),
        (HoldsTheFirst, "test_a_write_of_several_partitions_excludes_each"),
        (OneAtATime, "test_partitions_run_at_once"),
        (NumbersByPartition, "test_sequence_increases"),
        (NumbersByPartition, "test_sequence_orders_each_partition"),
        (NumbersDown, "test_sequence_increases"),
        (NumbersDown, "test_sequence_orders_each_partition"),
    ],
)
def test_the_kit_catches(broken: type[MemoryEngine], caught_by: str, tmp_path: Path) -> None:
    """An engine that breaks one rule fails the test that states the rule."""

    class Kit(EngineConformance):
        durable = False
        many = 500
        large_value = 4096
        examples = 200
        shrink = False
        patience = 1.0

        def open(self, path: Path, **options: Any) -> Engine:
            """Open the engine under test."""
            return broken()

        def test_close_beside_readers_and_writers(self, path: Path) -> None:
            """Never ends with an engine that does not close."""

    kit = Kit()
    test = getattr(kit, caught_by)
    wants = inspect.signature(test).parameters
    with pytest.raises((AssertionError, RuntimeError, ExceptionGroup, pytest.fail.Exception)):
        test(**{name: kit.open(tmp_path) if name == "engine" else tmp_path for name in wants})


def test_the_kit_catches_lost_writes(tmp_path: Path) -> None:
    """An engine that forgets relaxed writes at closing fails the persistence test only."""

    class Kit(EngineConformance):
        many = 500
        large_value = 4096
        rounds = 20

        def open(self, path: Path, **options: Any) -> Engine:
            """Open the engine under test."""
            return Forgetful(path)

        def test_against_a_model(self) -> None:
            """Covered by the test's own assertion."""

    assert failures(Kit(), tmp_path) == {"test_persistence"}


def test_a_sound_engine_fails_nothing(tmp_path: Path) -> None:
    """The runner used here reports no failure of the memory engine."""

    class Kit(TestMemory):
        many = 500
        large_value = 4096
        rounds = 20
        examples = 3

    assert failures(Kit(), tmp_path) == set()
    assert threading.active_count() < 50
