"""The contract's sentences about keys, points and ranges."""

from __future__ import annotations

from holdfast.engines.base import Engine
from holdfast.testing.conformance.kit import LAST, Kit, put


class ReadingRules(Kit):
    """Reads answer exactly, in order, whatever the bytes."""

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
                assert view.scan(key, key + b"\x00", reverse=True) == [(key, key[:5])]
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

    def test_closed_views_hold_nothing(self, engine: Engine) -> None:
        """A view that was closed takes up no place, even where its caller still holds it."""
        put(engine, (b"a", b"1"))
        views = []
        for _ in range(2000):
            with engine.read() as view:
                assert view.get(b"a") == b"1"
            views.append(view)
        put(engine, (b"a", b"2"))
        assert engine.get(b"a") == b"2"
        assert len(views) == 2000
