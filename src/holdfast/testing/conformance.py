"""The engine contract as tests: subclass, say how to open, run pytest.

    class TestMine(EngineConformance):
        def open(self, path, **options):
            return MyEngine(path, **options)

Every test states one sentence of `holdfast.engines.base`. The kit knows no engine; what an
engine does beside the contract (locks between processes, crashes, damage) is for its own tests.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.errors import ClosedError, MissingExtraError

try:
    import pytest
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test
except ImportError as error:  # pragma: no cover - the extra is installed where tests run
    raise MissingExtraError(
        "holdfast.testing.EngineConformance needs pytest and hypothesis",
        hint="pip install 'holdfast[test]'",
    ) from error

from holdfast.testing.model import EngineMachine

LAST = b"\xff" * 8  # above every key that the kit writes


def put(
    engine: Engine,
    *pairs: tuple[bytes, bytes],
    deletes: tuple[bytes, ...] = (),
    delete_ranges: tuple[tuple[bytes, bytes], ...] = (),
    durability: Durability = Durability.OS,
) -> None:
    """Commit one batch that does not depend on the state."""
    batch = Batch(list(pairs), list(deletes), list(delete_ranges))
    engine.write(durability, lambda view: batch)


def everything(engine: Engine) -> dict[bytes, bytes]:
    """Return all pairs."""
    with engine.read() as view:
        return dict(view.scan(b"\x00", LAST))


def run_together(*actions: Callable[[], object], timeout: float = 120.0) -> None:
    """Run each action in a thread of its own; raise the first error that any raised."""
    errors: list[BaseException] = []
    together = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        try:
            together.wait(timeout)
            action()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(a,), daemon=True) for a in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
        assert not thread.is_alive(), "a thread did not end: the engine hangs"
    if errors:
        raise errors[0]


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Let threads interleave as finely as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class BodyError(Exception):
    """What the kit's failing bodies raise."""


class EngineConformance:
    """The contract of `holdfast.engines.base`, for an engine that a subclass opens.

    Attributes:
        durable: Data survives closing; must be what the engine's traits say.
        examples: How many Hypothesis sequences to try.
        shrink: Whether to look for the shortest failing sequence (slow, but readable).
        large_value: Bytes of the large value.
        many: Puts of the large batch.
        rounds: Writes in the tests with several threads.
    """

    durable: ClassVar[bool] = True
    examples: ClassVar[int] = 25
    shrink: ClassVar[bool] = True
    large_value: ClassVar[int] = 8 * 1024 * 1024
    many: ClassVar[int] = 20_000
    rounds: ClassVar[int] = 100

    def open(self, path: Path, **options: Any) -> Engine:
        """Open the store at `path` (nothing is there the first time). MUST be overridden."""
        raise NotImplementedError

    def reopen(self, engine: Engine, path: Path) -> Engine:
        """Close `engine` and open its store again."""
        engine.close()
        return self.open(path)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A place where nothing is yet."""
        return tmp_path / "store"

    @pytest.fixture
    def engine(self, path: Path) -> Iterator[Engine]:
        """An engine over a new store."""
        engine = self.open(path)
        yield engine
        engine.close()

    # --- reading --------------------------------------------------------------------------

    def test_traits(self, engine: Engine) -> None:
        """The traits say what the engine does."""
        assert engine.traits.persistent is self.durable
        assert engine.traits.name
        assert engine.traits.max_key_bytes >= 1
        assert engine.traits.max_batch_bytes >= self.large_value

    def test_get(self, engine: Engine) -> None:
        """`get` returns the committed value as bytes, and None where there is none."""
        put(engine, (b"a1", b"one"), (b"a2", b""))
        assert engine.get(b"a1") == b"one"
        assert type(engine.get(b"a1")) is bytes
        assert engine.get(b"a2") == b"", "an empty value is a value"
        assert engine.get(b"a3") is None
        assert engine.get(b"z") is None
        with engine.read() as view:
            assert [view.get(k) for k in (b"a1", b"a2", b"a3", b"z")] == [b"one", b"", None, None]

    def test_get_many(self, engine: Engine) -> None:
        """`get_many` answers in the order of its keys, with repeats, None where absent."""
        put(engine, (b"a1", b"one"), (b"b1", b""), (b"c1", b"three"))
        keys = [b"c1", b"a1", b"zz", b"b1", b"c1", b"zz"]
        expected = [b"three", b"one", None, b"", b"three", None]
        assert list(engine.get_many(keys)) == expected
        assert list(engine.get_many(tuple(keys))) == expected
        assert list(engine.get_many([])) == []
        with engine.read() as view:
            assert list(view.get_many(keys)) == expected
            assert list(view.get_many([])) == []

    def test_keys_are_any_bytes(self, engine: Engine) -> None:
        """Keys are any bytes, of any first byte, and are told apart and ordered as such."""
        keys = [bytes([first]) + rest for first in (0, 1, 9, 127, 128, 254, 255) for rest in (
            b"", b"\x00", b"\x00\x00", b"\x00\xff", b"'", b"\x80", b"\xc3\xa9", b"\xff", b"\xff\xff"
        )]  # fmt: skip
        put(engine, *((key, b"v" + key) for key in reversed(keys)))
        assert engine.get_many(keys) == [b"v" + key for key in keys]
        with engine.read() as view:
            found = view.scan(b"\x00", LAST)
        assert found == [(key, b"v" + key) for key in sorted(keys)]
        assert all(type(key) is bytes and type(value) is bytes for key, value in found)

    def test_longest_key(self, engine: Engine) -> None:
        """A key of `max_key_bytes` works everywhere, whatever its bytes."""
        longest = engine.traits.max_key_bytes
        keys = [b"\x00" * longest, b"a" * longest, b"\xff" * longest]
        put(engine, *((key, key[:5]) for key in keys))
        assert engine.get_many(keys) == [key[:5] for key in keys]
        with engine.read() as view:
            for key in keys:
                assert view.scan(key, key + b"\x00") == [(key, key[:5])]
            assert view.scan(b"a", b"b") == [(keys[1], b"aaaaa")]
        put(engine, deletes=(keys[0], keys[2]), delete_ranges=((keys[1], keys[1] + b"\x00"),))
        assert engine.get_many(keys) == [None] * 3

    def test_scan_is_half_open(self, engine: Engine) -> None:
        """A scan has its start, not its stop, and only what lies between."""
        put(engine, *((b"k%d" % n, b"%d" % n) for n in range(6)), (b"k", b"p"), (b"l", b"q"))
        with engine.read() as view:
            assert [k for k, _ in view.scan(b"k1", b"k4")] == [b"k1", b"k2", b"k3"]
            assert [k for k, _ in view.scan(b"k1\x00", b"k4\x00")] == [b"k2", b"k3", b"k4"]
            assert [k for k, _ in view.scan(b"k4", b"l")] == [b"k4", b"k5"]
            assert view.scan(b"k4", b"k4") == []
            assert view.scan(b"k4", b"k1") == []
            assert view.scan(b"k40", b"k49") == []
            assert view.scan(b"m", LAST) == []
            assert view.scan(b"k3", b"k4") == [(b"k3", b"3")]

    def test_scan_reverse(self, engine: Engine) -> None:
        """A reverse scan is the same range, descending."""
        put(engine, *((b"k%d" % n, b"%d" % n) for n in range(6)), (b"a", b""), (b"\xff", b""))
        with engine.read() as view:
            for bounds in ((b"k1", b"k4"), (b"k1x", b"k4x"), (b"\x00", LAST), (b"l", b"m")):
                assert view.scan(*bounds, reverse=True) == view.scan(*bounds)[::-1]

    def test_scan_limit(self, engine: Engine) -> None:
        """A limit takes the first pairs in the direction of the scan."""
        put(engine, *((b"k%d" % n, b"%d" % n) for n in range(6)))
        with engine.read() as view:
            whole = view.scan(b"k", b"l")
            for limit in (0, 1, 3, 6, 7):
                assert view.scan(b"k", b"l", limit=limit) == whole[:limit]
                backwards = view.scan(b"k", b"l", reverse=True, limit=limit)
                assert backwards == whole[::-1][:limit]

    def test_scan_keys_only(self, engine: Engine) -> None:
        """With `keys_only` the values come as empty bytes."""
        put(engine, (b"k1", b"one"), (b"k2", b""), (b"k3", b"three"))
        with engine.read() as view:
            keys = [(b"k1", b""), (b"k2", b""), (b"k3", b"")]
            assert view.scan(b"k", b"l", keys_only=True) == keys
            assert view.scan(b"k", b"l", keys_only=True, reverse=True, limit=2) == keys[:0:-1]

    def test_scan_across_spaces(self, engine: Engine) -> None:
        """A scan may cross first bytes, in both directions, with a limit."""
        keys = [bytes([space, n]) for space in (0, 1, 7, 8, 200, 255) for n in range(3)]
        put(engine, *((key, key) for key in keys))
        with engine.read() as view:
            assert view.scan(b"\x00", LAST) == [(key, key) for key in keys]
            assert view.scan(b"\x01\x01", b"\x08\x01") == [(key, key) for key in keys[4:10]]
            assert view.scan(b"\x01\x01", b"\x08\x01", limit=4) == [(k, k) for k in keys[4:8]]
            reverse = view.scan(b"\x01\x01", b"\x08\x01", reverse=True, limit=5)
            assert reverse == [(key, key) for key in keys[9:4:-1]]
            assert view.scan(b"\x02", b"\x07") == []

    def test_scan_of_many(self, engine: Engine) -> None:
        """A long scan is whole and in order, after overwrites and deletes."""
        total = min(self.many, 5000)
        put(engine, *((b"k%06d" % n, b"%d" % n) for n in range(total)))
        put(engine, *((b"k%06d" % n, b"new") for n in range(0, total, 7)))
        put(engine, deletes=tuple(b"k%06d" % n for n in range(0, total, 5)))
        expected = [
            (b"k%06d" % n, b"new" if n % 7 == 0 else b"%d" % n) for n in range(total) if n % 5
        ]
        with engine.read() as view:
            assert view.scan(b"k", b"l") == expected
            assert view.scan(b"k", b"l", reverse=True) == expected[::-1]
            assert view.get_many([key for key, _ in expected]) == [v for _, v in expected]

    # --- batches --------------------------------------------------------------------------

    def test_batch_order(self, engine: Engine) -> None:
        """A batch applies its range deletes, then its deletes, then its puts."""
        put(engine, *((b"k%d" % n, b"old") for n in range(6)))
        put(
            engine,
            (b"k1", b"new"),
            (b"k4", b"new"),
            (b"k7", b"new"),
            deletes=(b"k4", b"k5", b"absent"),
            delete_ranges=((b"k0", b"k3"), (b"k6", b"k9")),
        )
        assert everything(engine) == {b"k1": b"new", b"k3": b"old", b"k4": b"new", b"k7": b"new"}

    def test_delete_ranges(self, engine: Engine) -> None:
        """A range delete is half open, may cross spaces, be empty, or lie upside down."""
        keys = [bytes([space, n]) for space in (3, 4, 5) for n in range(4)]
        put(engine, *((key, b"v") for key in keys))
        put(engine, delete_ranges=((b"\x04\x01", b"\x04\x01"), (b"\x05", b"\x03"), (b"x", b"y")))
        assert sorted(everything(engine)) == keys
        put(engine, delete_ranges=((b"\x03\x02", b"\x05\x01"), (b"\x05\x03", b"\x05\x04")))
        assert sorted(everything(engine)) == [*keys[:2], *keys[9:11]]
        put(engine, (keys[3], b"back"), durability=Durability.SYNC)
        assert engine.get(keys[3]) == b"back"

    def test_empty_batch(self, engine: Engine) -> None:
        """An empty batch is no error and writes nothing, whatever the durability."""
        put(engine, (b"a", b"1"))
        for durability in Durability:
            put(engine, durability=durability)
        assert everything(engine) == {b"a": b"1"}

    def test_visible_at_once(self, engine: Engine) -> None:
        """What `write` has acknowledged is what every reader sees, of any durability."""
        for number, durability in enumerate((*Durability, *reversed(Durability))):
            value = b"%d" % number
            put(engine, (b"a", value), (b"b", value), durability=durability)
            assert engine.get(b"a") == value
            assert engine.get_many([b"a", b"b"]) == [value, value]
            with engine.read() as view:
                assert view.scan(b"a", b"c") == [(b"a", value), (b"b", value)]
            seen: list[bytes | None] = []
            run_together(lambda seen=seen: seen.append(engine.get(b"a")))  # type: ignore[misc]
            assert seen == [value]

    def test_large_value(self, engine: Engine) -> None:
        """A large value reads back equal, and beside it small ones."""
        value = bytes(range(256)) * (self.large_value // 256)
        put(engine, (b"k1", b"small"), (b"k2", value), (b"k3", b"small"))
        assert engine.get(b"k2") == value
        with engine.read() as view:
            assert view.scan(b"k", b"l")[1] == (b"k2", value)
            assert view.scan(b"k", b"l", keys_only=True)[1] == (b"k2", b"")
        put(engine, (b"k2", value[1:]))
        assert engine.get_many([b"k2", b"k3"]) == [value[1:], b"small"]

    def test_large_batch(self, engine: Engine) -> None:
        """Very many puts in one batch are one commit."""
        pairs = [(b"k%08d" % n, b"value %d" % n) for n in range(self.many)]
        put(engine, *pairs)
        assert everything(engine) == dict(pairs)
        put(engine, deletes=tuple(key for key, _ in pairs[1:]))
        assert everything(engine) == dict(pairs[:1])

    # --- bodies ---------------------------------------------------------------------------

    def test_body_sees_the_state_before(self, engine: Engine) -> None:
        """The body's view is the committed state, for points and ranges."""
        put(engine, (b"a", b"1"), (b"b", b"2"))
        seen: list[Any] = []

        def body(view: View) -> Batch:
            seen[:] = [view.get(b"a"), view.get_many([b"b", b"c"]), view.scan(b"a", b"z", limit=5)]
            return Batch(puts=[(b"a", b"9")], deletes=[b"b"])

        engine.write(Durability.OS, body)
        assert seen == [b"1", [b"2", None], [(b"a", b"1"), (b"b", b"2")]]
        assert everything(engine) == {b"a": b"9"}

    def test_body_that_raises(self, engine: Engine) -> None:
        """An exception of the body comes out as it is, with nothing written."""
        put(engine, (b"a", b"1"))
        for error in (BodyError("x"), KeyError("y"), KeyboardInterrupt()):

            def body(view: View, error: BaseException = error) -> Batch:
                view.get(b"a")
                raise error

            with pytest.raises(type(error)) as caught:
                engine.write(Durability.SYNC, body)
            assert caught.value is error
            assert everything(engine) == {b"a": b"1"}
            put(engine, (b"b", b"2"))
            put(engine, deletes=(b"b",))
        assert everything(engine) == {b"a": b"1"}

    # --- several threads --------------------------------------------------------------------

    def test_view_is_consistent(self, engine: Engine) -> None:
        """A view never shows a commit later than itself, however often it is asked."""
        before = [(b"k%d" % n, b"old") for n in range(5)]
        put(engine, *before)
        done = threading.Event()

        def write() -> None:
            put(engine, (b"k0", b"new"), (b"k9", b"new"), deletes=(b"k1",))
            put(engine, delete_ranges=((b"k2", b"k4"),), durability=Durability.SYNC)
            done.set()

        writer = threading.Thread(target=write, daemon=True)
        with engine.read() as view:
            assert view.get(b"k0") == b"old"
            writer.start()
            # An engine may let the writer through or hold it back until the view is closed.
            for pause in (0.0, 0.05, 0.05):
                done.wait(pause)
                assert view.get(b"k0") == b"old"
                assert view.get(b"k1") == b"old"
                assert view.get_many([b"k9", b"k2", b"k0"]) == [None, b"old", b"old"]
                assert view.scan(b"k", b"l") == before
                assert view.scan(b"k", b"l", reverse=True) == before[::-1]
        writer.join(60)
        assert done.is_set(), "the writer did not get through"
        assert everything(engine) == {b"k0": b"new", b"k4": b"old", b"k9": b"new"}

    def test_commits_are_atomic_for_readers(self, engine: Engine) -> None:
        """No reader ever sees half a batch, nor a key absent that a batch deletes and puts."""
        put(engine, (b"a", b"0"), (b"z", b"0"))
        finished = threading.Event()

        def write() -> None:
            try:
                for number in range(1, self.rounds + 1):
                    value = b"%d" % number
                    put(
                        engine,
                        (b"a", value),
                        *((b"k%d" % n, value) for n in range(20)),
                        (b"z", value),
                        deletes=(b"z",),
                        delete_ranges=((b"a", b"z"),),
                    )
            finally:
                finished.set()

        def read() -> None:
            while not finished.is_set():
                first, last = engine.get_many([b"a", b"z"])
                assert first == last, "get_many saw half a batch"
                with engine.read() as view:
                    z, a, pairs = view.get(b"z"), view.get(b"a"), view.scan(b"a", b"z\x00")
                assert a == z, "a view saw half a batch"
                assert {value for _, value in pairs} == {a}, "a scan saw half a batch"

        def get() -> None:
            while not finished.is_set():
                a = engine.get(b"a")
                z = engine.get(b"z")
                assert a is not None and z is not None, "a key vanished that was put again"
                assert int(a) <= int(z), "get saw half a batch"
                z = engine.get(b"z")
                a = engine.get(b"a")
                assert a is not None and z is not None and int(z) <= int(a), "half a batch"

        with frequent_switches():
            run_together(write, read, get, get)
        assert engine.get(b"z") == b"%d" % self.rounds

    def test_writers_are_serialised(self, engine: Engine) -> None:
        """Threads that each add one, many times, lose none."""
        threads, each = 4, max(1, self.rounds // 2)

        def add() -> None:
            def body(view: View) -> Batch:
                return Batch(puts=[(b"n", b"%d" % (int(view.get(b"n") or b"0") + 1))])

            for _ in range(each):
                engine.write(Durability.OS, body)

        with frequent_switches():
            run_together(*[add] * threads)
        assert engine.get(b"n") == b"%d" % (threads * each)

    def test_close_beside_readers_and_writers(self, path: Path) -> None:
        """Closing while others work gives them `ClosedError`, and nothing worse."""
        engine = self.open(path)
        put(engine, *((b"k%03d" % n, b"v") for n in range(200)))
        ready = threading.Barrier(4)

        def until_closed(act: Callable[[], object]) -> Callable[[], None]:
            def run() -> None:
                ready.wait(30)
                with pytest.raises(ClosedError):
                    for _ in count():
                        act()

            return run

        def scan() -> None:
            with engine.read() as view:
                assert len(view.scan(b"k", b"l")) == 200

        def close() -> None:
            ready.wait(30)
            for _ in range(20):
                engine.get(b"k001")
            engine.close()

        run_together(
            until_closed(scan),
            until_closed(lambda: engine.get(b"k007")),
            until_closed(lambda: put(engine, (b"a", b"1"))),
            close,
        )

    # --- life -------------------------------------------------------------------------------

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
