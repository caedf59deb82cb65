"""The contract's sentences about batches, and about the bodies that return them."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.testing.conformance.kit import BodyError, Kit, everything, put, run_together


class BatchRules(Kit):
    """A batch is applied in its order, whole or not at all."""

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
