"""The contract's sentences about partitions: of all engines, and of those that run them at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from holdfast.engines.base import Batch, Durability, Engine, SequencedView, View
from holdfast.testing.conformance.kit import (
    BodyError,
    Kit,
    everything,
    frequent_switches,
    run_together,
)


def add(engine: Engine, partitions: Sequence[int]) -> None:
    """Add one to a number of each of these partitions."""

    def body(view: View) -> Batch:
        keys = [b"n%d" % partition for partition in partitions]
        found = view.get_many(keys)
        return Batch(
            puts=[(k, b"%d" % (int(n or 0) + 1)) for k, n in zip(keys, found, strict=True)]
        )

    engine.write(Durability.OS, body, partitions)


def number(engine: Engine, partitions: Sequence[int], taken: list[int] | None = None) -> int:
    """Commit a sequence number; note it in `taken` while the partitions are held."""
    numbers: list[int] = []

    def body(view: View) -> Batch:
        numbers[:] = [cast(SequencedView, view).sequence()]
        if taken is not None:
            taken.append(numbers[0])
        return Batch(puts=[(b"s%d" % partition, b"x") for partition in partitions])

    engine.write(Durability.OS, body, partitions)
    return numbers[0]


def needs_partitions(engine: Engine) -> None:
    """Skip the test of an engine that runs one write at a time."""
    if not engine.traits.partitioned:
        pytest.skip("the engine does not run partitions at once (traits.partitioned)")


class PartitionRules(Kit):
    """Writers of one partition are serialised; those of different ones may run at once."""

    def test_partitions_are_serialised(self, engine: Engine) -> None:
        """Writers of one partition, and of several in any order, lose no update and no way out."""
        each = max(4, self.rounds // 4)
        choices: list[Sequence[int]] = [(0,), (1,), (0, 1), (1, 0), (1, 2, 0), [2]]

        def writer(partitions: Sequence[int]) -> None:
            for _ in range(each):
                add(engine, partitions)

        with frequent_switches():
            run_together(*[lambda p=p: writer(p) for p in choices])
        expected = {b"n%d" % n: sum(n in p for p in choices) * each for n in range(3)}
        assert everything(engine) == {key: b"%d" % total for key, total in expected.items()}

    def test_partitions_run_at_once(self, engine: Engine) -> None:
        """A writer commits while the body of another partition's writer still runs."""
        needs_partitions(engine)
        inside, committed = threading.Event(), threading.Event()

        def slow(view: View) -> Batch:
            inside.set()
            assert committed.wait(self.patience), "the other partition's writer was blocked"
            return Batch(puts=[(b"slow", b"1")])

        def fast() -> None:
            assert inside.wait(self.patience)
            engine.write(Durability.SYNC, lambda view: Batch(puts=[(b"fast", b"1")]), (1,))
            assert engine.get(b"fast") == b"1"
            committed.set()

        run_together(lambda: engine.write(Durability.OS, slow, (0,)), fast)
        assert everything(engine) == {b"slow": b"1", b"fast": b"1"}

    def test_a_write_of_several_partitions_excludes_each(self, engine: Engine) -> None:
        """While a write of two partitions is under way, no body of either runs."""
        needs_partitions(engine)
        inside, asked = threading.Event(), (threading.Event(), threading.Event())
        intruders: list[bytes] = []
        holding = False

        def both(view: View) -> Batch:
            nonlocal holding
            holding = True
            inside.set()
            assert all(each.wait(self.patience) for each in asked)
            threading.Event().wait(0.1)  # time for a wrong engine to let somebody in
            holding = False
            return Batch(puts=[(b"both", b"1")])

        def single(name: bytes, partition: int) -> None:
            def body(view: View) -> Batch:
                if holding:
                    intruders.append(name)
                return Batch(puts=[(name, view.get(b"both") or b"")])

            assert inside.wait(self.patience)
            asked[partition].set()
            engine.write(Durability.OS, body, (partition,))

        run_together(
            lambda: engine.write(Durability.OS, both, (0, 1)),
            lambda: single(b"zero", 0),
            lambda: single(b"one", 1),
        )
        assert intruders == []
        assert everything(engine) == {b"both": b"1", b"zero": b"1", b"one": b"1"}

    def test_sequence_increases(self, engine: Engine) -> None:
        """Numbers are positive and below 2^53, and greater than those of writes that ended."""
        needs_partitions(engine)
        last = 0
        for partitions in ((0,), (1,), (0, 1), (2,), (1, 0), (0,)):
            taken = number(engine, partitions)
            assert last < taken < 1 << 53
            last = taken

        def failing(view: View) -> Batch:
            nonlocal last
            last = cast(SequencedView, view).sequence()
            raise BodyError

        with pytest.raises(BodyError):
            engine.write(Durability.OS, failing, (3,))
        assert number(engine, (0,)) > last, "a write that failed has ended too"

    def test_sequence_orders_each_partition(self, engine: Engine) -> None:
        """No two writes get one number, and within a partition the numbers follow its order."""
        needs_partitions(engine)
        each = max(4, self.rounds // 4)
        order: list[list[int]] = [[], []]
        numbers: list[int] = []
        ended = [0]

        def writer(partitions: Sequence[int]) -> None:
            for _ in range(each):
                before = max(ended)
                taken = number(engine, partitions)
                assert taken > before, "not greater than the number of a write that had ended"
                numbers.append(taken)
                ended.append(taken)

        def watched(partition: int) -> None:
            for _ in range(each):
                numbers.append(number(engine, (partition,), order[partition]))
                ended.append(numbers[-1])

        with frequent_switches():
            run_together(
                *(lambda p=p: watched(p) for p in (0, 0, 1, 1)),
                lambda: writer((0, 1)),
                lambda: writer((1, 0)),
            )
        assert len(set(numbers)) == len(numbers) == 6 * each
        assert order == [sorted(part) for part in order]

    def test_sequence_outlives_the_handle(self, path: Path) -> None:
        """Numbers go on where they were after closing and opening again."""
        engine = self.open(path)
        try:
            needs_partitions(engine)
            if not self.durable:
                pytest.skip("the engine keeps nothing")
            last = max(number(engine, (partition,)) for partition in (0, 1, 2))
            engine = self.reopen(engine, path)
            assert number(engine, (1,)) > last
        finally:
            engine.close()
