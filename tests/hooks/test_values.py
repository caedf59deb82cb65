"""The pure parts: the breaker, the comparison, percentiles."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.hooks import breaker as breaking
from holdfast.hooks.breaker import BreakerState, HookBreaker
from holdfast.hooks.comparing import Compare, differences
from holdfast.hooks.metrics import BUCKETS, percentile

CLOSED, OPEN, HALF = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def test_the_breaker_step_by_step() -> None:
    """Closed until the threshold, open until the wait is over, then one trial."""
    at = breaking.CLOSED
    at = breaking.failed(at, 1, 3)
    at = breaking.failed(at, 2, 3)
    assert at == HookBreaker(CLOSED, 2, 0)
    assert breaking.succeeded(at, 3) == breaking.CLOSED
    at = breaking.failed(at, 4, 3)
    assert at == HookBreaker(OPEN, 3, 4)
    assert breaking.asked(at, 13, 10) == (at, False)
    at, may = breaking.asked(at, 14, 10)
    assert (at, may) == (HookBreaker(HALF, 3, 14), True)
    assert breaking.asked(at, 15, 10)[1] is False  # one trial at a time
    assert breaking.asked(at, 24, 10)[1] is True  # which did not come back
    assert breaking.failed(at, 16, 3) == HookBreaker(OPEN, 4, 16)
    assert breaking.succeeded(at, 16) == HookBreaker(CLOSED, 0, 16)


def test_a_clock_put_back_does_not_shut_a_hook_off_for_good() -> None:
    """An open breaker from the future lets a trial through."""
    assert breaking.asked(HookBreaker(OPEN, 3, 1000), 5, 10)[1] is True


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=12,
)


@given(VALUES)
def test_a_value_is_identical_to_itself(value: Any) -> None:
    """NaN included."""
    assert differences(value, value, Compare()) == []
    assert differences(value, value, Compare(ignore_order=True)) == []


@given(st.lists(VALUES, max_size=6), st.randoms())
def test_order_does_not_count_where_it_is_left_out(
    items: list[Any], shuffle: random.Random
) -> None:
    """A shuffled list is identical, one with an element more is not."""
    other = list(items)
    shuffle.shuffle(other)
    assert differences(items, other, Compare(ignore_order=True)) == []
    assert len(differences(items, [*other, object], Compare(ignore_order=True))) == 1


def test_numbers_of_different_types_differ() -> None:
    """1, 1.0 and True are three values; a field that is missing is not None."""
    compare = Compare()
    assert [d.path for d in differences({"a": 1, "b": 1}, {"a": 1.0, "b": True}, compare)] == [
        "a",
        "b",
    ]
    assert len(differences({"a": None}, {}, compare)) == 1
    assert differences({"a": [{"t": 1}]}, {"a": [{"t": 2}]}, Compare(("a[0].t",))) == []
    assert differences({"a": [{"t": 1}]}, {"a": [{"t": 2}]}, Compare(("a[*].t",))) == []
    assert len(differences({"a": [{"t": 1}]}, {"a": [{"t": 2}]}, Compare(("a[1].t",)))) == 1


@given(st.lists(st.integers(0, 10**9), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_at_most_twice_the_exact_one(times: list[int], share: float) -> None:
    """And never below it."""
    buckets = [0] * BUCKETS
    for ns in times:
        buckets[ns.bit_length()] += 1
    ordered = sorted(times)
    rank = next(n for n in range(1, len(times) + 1) if n >= share * len(times))
    exact = ordered[rank - 1] / 1e9
    assert exact <= percentile(buckets, share) <= max(2 * exact, 1e-9)
    assert percentile([0] * BUCKETS, share) == 0.0
