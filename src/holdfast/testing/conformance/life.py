"""The contract's sentences about opening, closing and upkeep; and any sequence of it all."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from holdfast.engines.base import Durability, Engine
from holdfast.errors import ClosedError
from holdfast.testing.conformance.kit import Kit, everything, put
from holdfast.testing.model import EngineMachine


class LifeRules(Kit):
    """What was acknowledged stays; what was closed is closed."""

    def test_close(self, path: Path) -> None:
        """Closing twice is no error; any other call then raises `ClosedError`."""
        engine = self.open(path)
        put(engine, (b"a", b"1"))
        engine.close()
        engine.close()

        def read() -> None:
            with engine.read() as view:
                view.get(b"a")

        for call in (
            lambda: engine.get(b"a"),
            lambda: engine.get_many([b"a"]),
            read,
            lambda: put(engine, (b"a", b"2")),
            lambda: put(engine),
            engine.flush,
            engine.reclaim,
            engine.stats,
        ):
            with pytest.raises(ClosedError):
                call()
        engine.close()

    def test_persistence(self, path: Path) -> None:
        """What was written with any durability from RELAXED up is there after closing."""
        if not self.durable:
            pytest.skip("the engine keeps nothing")
        expected: dict[bytes, bytes] = {}
        engine = self.open(path)
        for durability in (Durability.RELAXED, Durability.OS, Durability.SYNC) * 2:
            key = b"k%d" % len(expected)
            put(engine, (key, b"v" + key), (b"same", key), durability=durability)
            put(engine, (b"gone", b"1"), durability=durability)
            put(engine, deletes=(b"gone",), durability=durability)
            expected |= {key: b"v" + key, b"same": key}
            engine = self.reopen(engine, path)
            assert everything(engine) == expected
        engine.close()

    def test_range_deletes_persist(self, path: Path) -> None:
        """What a range delete removed stays removed after closing."""
        if not self.durable:
            pytest.skip("the engine keeps nothing")
        engine = self.open(path)
        put(engine, *((b"k%d" % n, b"v") for n in range(9)))
        put(engine, (b"k4", b"new"), delete_ranges=((b"k2", b"k8"),))
        engine = self.reopen(engine, path)
        assert sorted(everything(engine)) == [b"k0", b"k1", b"k4", b"k8"]
        engine.close()

    def test_flush(self, engine: Engine) -> None:
        """`flush` changes nothing that can be read, and can be called at any time."""
        engine.flush()
        put(engine, (b"a", b"1"), durability=Durability.RELAXED)
        engine.flush()
        engine.flush()
        assert everything(engine) == {b"a": b"1"}

    def test_reclaim(self, engine: Engine) -> None:
        """`reclaim` returns a number of bytes and never changes what can be read."""
        assert engine.reclaim() >= 0
        put(engine, *((b"k%04d" % n, b"x" * 500) for n in range(2000)))
        put(engine, delete_ranges=((b"k0010", b"k9999"),))
        kept = everything(engine)
        assert len(kept) == 10
        for budget in (1, 100_000, None):
            given_back = engine.reclaim(budget)
            assert isinstance(given_back, int)
            assert given_back >= 0
            assert everything(engine) == kept
        put(engine, (b"after", b"1"))
        assert engine.get(b"after") == b"1"

    def test_stats(self, engine: Engine) -> None:
        """`stats` is a mapping of names to numbers and texts, also of a new store."""
        for _ in range(2):
            stats = engine.stats()
            assert all(type(name) is str for name in stats)
            assert all(type(value) in (int, float, str) for value in stats.values())
            for name in ("disk_bytes", "wal_bytes", "free_bytes"):
                assert int(stats.get(name, 0)) >= 0
            put(engine, (b"a", b"1"))

    def test_against_a_model(self) -> None:
        """Any sequence of batches, reads and reopenings answers as a sorted dict does."""
        with tempfile.TemporaryDirectory() as directory:
            numbers = count()
            current: list[Path] = []

            def opener() -> Engine:
                current[:] = [Path(directory) / f"store{next(numbers)}"]
                return self.open(current[0])

            class Machine(EngineMachine):
                pass

            Machine.opener = staticmethod(opener)
            if self.durable:
                Machine.reopener = staticmethod(lambda engine: self.reopen(engine, current[0]))
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=self.examples,
                    stateful_step_count=25,
                    deadline=None,
                    database=None,
                    phases=[phase for phase in Phase if self.shrink or phase is not Phase.shrink],
                    suppress_health_check=list(HealthCheck),
                ),
            )
