"""Hot, cold and growing scopes and keys, beside a model of what was written."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import HistoryPolicy, StateScope
from holdfast.clock import from_ns
from holdfast.errors import InvalidArgumentError
from holdfast.observe.findings import Ranking
from holdfast.testing import FakeClock
from tests.conftest import Stores

A, B, C = StateScope.agent("a"), StateScope.user("b"), StateScope.session("c")
DAY = 86_400.0


def test_hot_cold_and_growing(open_store: Stores, clock: FakeClock) -> None:
    """The lists name what was written most, longest ago, and largest."""
    state = open_store(clock=clock)
    state.set(B, "old", "x" * 1000)
    clock.advance(20 * DAY)
    begun = clock.now_ns()
    for _ in range(5):
        state.increment(A, "hot")
        clock.advance(1)
    state.set(A, "large", "0123456789" * 300)
    state.set(C, "gone", 1)
    state.delete(C, "gone")
    found = state.analyze(window=timedelta(days=2))
    assert [(f.key, f.writes) for f in found.hot_keys] == [("hot", 5), ("gone", 2), ("large", 1)]
    assert [(f.scope, f.writes, f.keys) for f in found.hot_scopes] == [(A, 6, 2), (C, 2, 0)]
    assert [f.key for f in found.cold_keys] == ["old", "hot", "large"]
    assert [f.scope for f in found.cold_scopes] == [B, A]
    assert [f.scope for f in found.growing_scopes][0] == A
    assert [f.key for f in found.largest_keys][0] in ("large", "old")
    assert [(f.key, f.versions) for f in found.longest_keys][0] == ("hot", 5)
    hot = found.hot_keys[0]
    assert hot.present
    assert hot.last_write == from_ns(begun + 4 * 10**9)
    gone = found.hot_keys[1]
    assert (gone.present, gone.bytes) == (False, 0)
    assert found.complete
    total = found.total
    assert (total.keys, total.writes, total.versions) == (3, 8, 9)
    assert total.growth_per_day == pytest.approx(total.written_bytes / 2, rel=1e-3)
    only = state.analyze(A, window=timedelta(days=2), top=1)
    assert [f.key for f in only.hot_keys] == ["hot"]
    assert only.total.writes == 6


def test_trimmed_journals_are_told(memory_store: Stores, clock: FakeClock) -> None:
    """Where the journal does not reach back over the window, the report says so."""
    state = memory_store(clock=clock)
    for _ in range(3):
        state.increment(A, "n")
        clock.advance(DAY)
    state.compact([HistoryPolicy("*", max_age=timedelta(days=1))])
    found = state.analyze(window=timedelta(days=30))
    assert not found.complete
    assert found.total.writes < 3
    assert [f.key for f in found.largest_keys] == ["n"]


KEYS = st.tuples(st.sampled_from([A, B, C]), st.sampled_from(["k", "l", "m\x7f", "ü"]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(KEYS, st.sampled_from(["set", "delete", "wait"])), max_size=30))
def test_it_counts_what_a_model_counts(writes: list[tuple[tuple[StateScope, str], str]]) -> None:
    """Writes of the window, values, versions and last writes are those of a dict."""
    clock = FakeClock()
    state = holdfast.open("memory:", clock=clock)
    log: list[tuple[Any, str, int]] = []
    for (scope, key), act in writes:
        key = key.replace("\x7f", "+")
        if act == "wait":
            clock.advance(DAY)
        elif act == "set":
            state.set(scope, key, 1)
            log.append(((scope, key), act, clock.now_ns()))
        elif state.delete(scope, key):
            log.append(((scope, key), act, clock.now_ns()))
    since = clock.now_ns() - int(2.5 * DAY * 1e9)
    counts: dict[Any, int] = {}
    live: dict[Any, int] = {}
    for place, act, at in log:
        if at > since:
            counts[place] = counts.get(place, 0) + 1
        live.pop(place, None)
        if act == "set":
            live[place] = at
    found = state.analyze(window=timedelta(days=2.5), top=100)
    assert {(f.scope, f.key): f.writes for f in found.hot_keys} == counts
    assert {(f.scope, f.key) for f in found.largest_keys} == set(live)
    assert [f.last_write for f in found.cold_keys] == [from_ns(at) for at in sorted(live.values())]
    assert found.total.versions == len(log)
    assert found.total.keys == len(live)
    state.close()


@given(st.lists(st.integers(0, 5)), st.integers(1, 4))
def test_a_ranking_is_a_sorted_list_cut_off(scores: list[int], most: int) -> None:
    """Bounded or not, the first few are the first few; of equals, those offered first."""
    ranking: Ranking[tuple[int, int]] = Ranking(most, lambda item: item[0] or None)
    items = [(score, at) for at, score in enumerate(scores)]
    for item in items:
        ranking.offer(item)
    assert ranking.items() == sorted((i for i in items if i[0]), key=lambda i: -i[0])[:most]


@pytest.mark.parametrize(
    "bad", [{"window": timedelta(0)}, {"window": 7}, {"top": 0}, {"top": True}]
)
def test_bad_arguments_are_refused(memory_store: Stores, bad: dict[str, Any]) -> None:
    """A window that is none, and a count that is none, are typed errors."""
    with pytest.raises(InvalidArgumentError):
        memory_store().analyze(**bad)


def test_both_faces_report_the_same(clock: FakeClock) -> None:
    """The awaited verb gives the same report."""

    async def use() -> None:
        async with await holdfast.open_async("memory:", clock=clock) as state:
            await state.set(A, "k", 1)
            assert await state.analyze(A, top=3) == state.sync.analyze(A, top=3)

    asyncio.run(use())
