"""What the memory engine counts as it goes is what is there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.engines.base import Batch, Durability
from holdfast.engines.memory import MemoryEngine

KEYS = st.sampled_from([bytes((space,)) + name for space in (1, 2) for name in (b"a", b"b", b"cc")])
PUT = st.tuples(KEYS, st.binary(max_size=5))
BATCHES = st.lists(
    st.tuples(
        st.lists(PUT, max_size=3, unique_by=lambda put: put[0]),
        st.lists(KEYS, max_size=2),
        st.booleans(),
    ),
    max_size=8,
)


@given(BATCHES)
def test_rows_and_bytes_are_counted_exactly(
    batches: list[tuple[list[tuple[bytes, bytes]], list[bytes], bool]],
) -> None:
    """Of puts, overwrites, deletes and ranges, in any order."""
    engine = MemoryEngine()
    for puts, deletes, ranged in batches:
        batch = Batch(puts=puts, deletes=deletes, delete_ranges=[(b"\1", b"\1b")] * ranged)
        engine.write(Durability.SYNC, lambda _view, batch=batch: batch)
    with engine.read() as view:
        rows = view.scan(b"\0", b"\xff")
    expected = {"rows": len(rows), "memory_bytes": sum(len(k) + len(v) for k, v in rows)}
    assert engine.stats() == expected
