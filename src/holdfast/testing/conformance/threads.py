"""The contract's sentences about several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.errors import ClosedError
from holdfast.testing.conformance.kit import Kit, everything, frequent_switches, put, run_together


class ThreadRules(Kit):
    """Views are consistent, commits atomic, writers serialised."""

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
