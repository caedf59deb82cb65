"""A Hypothesis state machine: any engine beside a plain dict, step by step.

It knows the engine contract only. `conformance` runs it; it can also be run alone.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.errors import MissingExtraError

try:
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
except ImportError as error:  # pragma: no cover - the extra is installed where tests run
    raise MissingExtraError(
        "holdfast.testing.model needs hypothesis", hint="pip install 'holdfast[test]'"
    ) from error

# Few keys, so that they meet; two spaces and the neighbours of a zero byte and of 0xff.
_KEYS = [
    space + rest
    for space in (b"\x00", b"a", b"\xff")
    for rest in (b"", b"\x00", b"a", b"a\x00", b"\xff")
]
_keys = st.sampled_from(_KEYS)
_bounds = st.sampled_from([*_KEYS, b"\x01", b"b", b"\xff" * 4])
_values = st.one_of(st.binary(max_size=6), st.sampled_from([b"", b"\x00", b"x" * 5000]))
_durabilities = st.sampled_from([Durability.RELAXED, Durability.OS, Durability.SYNC])


class _BodyError(Exception):
    pass


class EngineMachine(RuleBasedStateMachine):
    """Steps of reads and writes; every answer is compared with a dict's.

    Attributes:
        opener: Opens a new, empty store, given nothing.
        reopener: Closes an engine and opens the same store again; None where data would be gone.
    """

    opener: Callable[[], Engine]
    reopener: Callable[[Engine], Engine] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[bytes, bytes] = {}
        self.engine: Engine | None = None

    @property
    def store(self) -> Engine:
        """The open engine."""
        assert self.engine is not None
        return self.engine

    @initialize()
    def open(self) -> None:
        """Begin with an empty store."""
        self.engine = type(self).opener()

    @rule(
        durability=_durabilities,
        puts=st.dictionaries(_keys, _values, max_size=8),
        deletes=st.lists(_keys, max_size=4),
        ranges=st.lists(st.tuples(_bounds, _bounds), max_size=2),
    )
    def write(
        self,
        durability: Durability,
        puts: dict[bytes, bytes],
        deletes: list[bytes],
        ranges: list[tuple[bytes, bytes]],
    ) -> None:
        """Commit a batch; the body sees the state before."""
        seen: list[list[tuple[bytes, bytes]]] = []

        def body(view: View) -> Batch:
            seen[:] = [view.scan(b"\x00", b"\xff" * 8)]
            return Batch(puts=list(puts.items()), deletes=deletes, delete_ranges=ranges)

        self.store.write(durability, body)
        assert seen == [sorted(self.model.items())], "the body did not see the state before"
        for start, stop in ranges:
            for key in [key for key in self.model if start <= key < stop]:
                del self.model[key]
        for key in deletes:
            self.model.pop(key, None)
        self.model.update(puts)

    @rule(key=_keys, value=_values)
    def fail(self, key: bytes, value: bytes) -> None:
        """Raise out of a body: nothing changes."""

        def body(view: View) -> Batch:
            raise _BodyError

        try:
            self.store.write(Durability.OS, body)
        except _BodyError:
            return
        raise AssertionError("the body's exception did not come out of write")

    @rule(keys=st.lists(_keys, max_size=6))
    def get(self, keys: list[bytes]) -> None:
        """Read points, three ways."""
        expected = [self.model.get(key) for key in keys]
        assert self.store.get_many(keys) == expected
        assert [self.store.get(key) for key in keys] == expected
        with self.store.read() as view:
            assert view.get_many(keys) == expected
            assert [view.get(key) for key in keys] == expected

    @rule(
        start=_bounds,
        stop=_bounds,
        reverse=st.booleans(),
        limit=st.none() | st.integers(0, 5),
        keys_only=st.booleans(),
    )
    def scan(
        self, start: bytes, stop: bytes, reverse: bool, limit: int | None, keys_only: bool
    ) -> None:
        """Read a range."""
        pairs = [p for p in sorted(self.model.items(), reverse=reverse) if start <= p[0] < stop]
        if keys_only:
            pairs = [(key, b"") for key, _ in pairs]
        with self.store.read() as view:
            found = view.scan(start, stop, reverse=reverse, limit=limit, keys_only=keys_only)
        assert found == pairs[:limit]

    @rule()
    def flush(self) -> None:
        """Bring everything to disk."""
        self.store.flush()

    @rule()
    def reclaim(self) -> None:
        """Give space back."""
        assert self.store.reclaim() >= 0

    @rule()
    def reopen(self) -> None:
        """Close and open again, where data stays."""
        reopener = type(self).reopener
        if reopener is not None:
            self.engine = reopener(self.store)

    def teardown(self) -> None:
        """Compare everything at the end, and close."""
        if self.engine is None:
            return
        try:
            with self.engine.read() as view:
                assert view.scan(b"\x00", b"\xff" * 8) == sorted(self.model.items())
        finally:
            self.engine.close()
