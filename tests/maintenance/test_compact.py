"""Compaction keeps what policies keep, says what it gave up, and returns space to the disk."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import HistoryPolicy, HorizonError, SetOperation, StateClass, StateManager
from holdfast.errors import ConfigurationError
from holdfast.store import layout
from holdfast.store.record import DELETED, DELTA, VALUE
from holdfast.store.retention import Retention, Version, cut
from holdfast.store.scope import StateScope
from holdfast.testing import FakeClock
from tests.conftest import Stores
from tests.maintenance.conftest import contents, fill

FOREVER = HistoryPolicy()


def rows(state: StateManager, space: bytes) -> int:
    """Return the number of rows of a space."""
    with state._kernel.engine.read() as view:
        return len(view.scan(space, layout.after(space), keys_only=True))


# --- the decision ---------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[Version]:
    """Draw the versions of a key: full copies, delta runs, deletes."""
    versions: list[Version] = []
    revision = at_ns = 0
    for _ in range(draw(st.integers(1, 40))):
        revision += draw(st.integers(1, 5))
        at_ns += draw(st.integers(0, 10))
        kinds = [VALUE, VALUE, DELETED]
        if versions and versions[-1].kind in (VALUE, DELTA):
            kinds += [DELTA] * 4
        elif versions and versions[-1].kind == DELETED:
            kinds = [VALUE]
        kind = draw(st.sampled_from(kinds))
        versions.append(Version(revision, at_ns, kind, 2, draw(st.integers(1, 100))))
    return versions


bounds = st.builds(
    lambda age, versions, size: HistoryPolicy(
        max_age=None if age is None else timedelta(microseconds=age),
        max_versions=versions,
        max_bytes=size,
    ),
    st.none() | st.integers(0, 50),
    st.none() | st.integers(1, 50),
    st.none() | st.integers(1, 2000),
)


@given(histories(), bounds, st.integers(0, 400), st.none() | st.integers(0, 200))
def test_cut_never_breaks_what_it_keeps(
    versions: list[Version], policy: HistoryPolicy, now: int, pinned: int | None
) -> None:
    """What stays begins with a full copy, holds all that is pinned or young, and the newest."""
    versions = [Version(v.revision, v.at_ns * 1000, v.kind, 2, v.size) for v in versions]
    now *= 1000
    count = cut(versions, policy, now, pinned)
    assert 0 <= count <= len(versions)
    kept = versions[count:]
    if not kept:
        assert versions[-1].kind == DELETED
        assert pinned is None or versions[-1].revision <= pinned
    else:
        assert kept[0].kind != DELTA
    if pinned is not None:
        current = [v for v in versions if v.revision <= pinned]
        if current and current[-1].kind != DELETED:
            assert current[-1] in kept
        assert all(v in kept for v in versions if v.revision > pinned)
    if policy.max_versions is None and policy.max_bytes is None and policy.max_age is not None:
        for version, following in zip(versions, versions[1:], strict=False):
            if following.at_ns > now - policy.max_age_ns:
                assert version in kept


@given(histories())
def test_no_policy_no_cut(versions: list[Version]) -> None:
    """Without bounds nothing goes."""
    assert cut(versions, FOREVER, 10**12, None) == 0


def test_max_versions_is_exact_for_full_copies() -> None:
    """Of ten full copies, three stay."""
    versions = [Version(r, r, VALUE, 2, 10) for r in range(1, 11)]
    assert cut(versions, HistoryPolicy(max_versions=3), 100, None) == 7
    assert cut(versions, HistoryPolicy(max_bytes=35), 100, None) == 7
    assert cut(versions, HistoryPolicy(max_bytes=1), 100, None) == 9


def test_most_specific_policy() -> None:
    """A pattern with more in it wins, then one that names the class."""
    everything = HistoryPolicy(max_versions=1)
    trusted = HistoryPolicy(state_class=StateClass.TRUSTED, max_versions=2)
    agents = HistoryPolicy("agent:*", max_versions=3)
    ada = HistoryPolicy("agent:ada", max_versions=4)
    retention = Retention([everything, trusted, agents, ada])
    assert retention.policy(StateScope.agent("ada"), 2) is ada
    assert retention.policy(StateScope.agent("bob"), 2) is agents
    assert retention.policy(StateScope.user("u"), 1) is trusted
    assert retention.policy(StateScope.user("u"), 2) is everything


@pytest.mark.parametrize(
    "bad",
    [
        {"max_versions": 0},
        {"max_bytes": -1},
        {"max_age": timedelta(seconds=-1)},
        {"scopes": "agents:x"},
    ],
)
def test_bad_policies(bad: dict[str, object]) -> None:
    """A policy that cannot be is refused when it is made."""
    with pytest.raises(ConfigurationError):
        HistoryPolicy(**bad)  # type: ignore[arg-type]


# --- the work -------------------------------------------------------------------------------


def test_without_policies_nothing_goes(state: StateManager) -> None:
    """compact() of a store without policies keeps every version and every value."""
    expected = fill(state)
    before = [c.value for c in state.history("session:s", "turns")]
    report = state.compact()
    assert (report.versions_trimmed, report.commits_trimmed, report.horizon) == (0, 0, 0)
    assert contents(state) == expected
    assert [c.value for c in state.history("session:s", "turns")] == before


def test_current_values_stay(state: StateManager) -> None:
    """The strictest policy keeps every current value, and writing goes on as before."""
    expected = fill(state)
    state.compact([HistoryPolicy(max_versions=1, max_age=timedelta(0))])
    assert contents(state) == expected
    state.append("session:s", "turns", "next")
    expected["session:s", "turns"] = [*expected["session:s", "turns"], "next"]
    state.set("agent:a1", "k1", "changed")
    expected["agent:a1", "k1"] = "changed"
    assert contents(state) == expected
    assert state.verify() == []


def test_behind_the_horizon_is_an_error(open_store: Stores, clock: FakeClock) -> None:
    """A trimmed value is an error that names the horizon, never "absent"; later ones are exact."""
    state = open_store(clock=clock)
    first = state.set("agent:a", "k", 1)
    state.set("agent:a", "gone", 1)
    clock.advance(100)
    state.delete("agent:a", "gone")
    second = state.set("agent:a", "k", 2)
    clock.advance(100)
    third = state.set("agent:a", "k", 3)
    state.compact([HistoryPolicy(max_age=timedelta(seconds=80))])
    assert state.get("agent:a", "k", as_of=second) == 2
    assert state.get("agent:a", "k", as_of=third) == 3
    assert state.list_keys("agent:a", as_of=second) == ["k"]
    with pytest.raises(HorizonError) as caught:
        state.get("agent:a", "gone", as_of=first)
    assert caught.value.requested == first
    assert caught.value.horizon is not None and first < caught.value.horizon <= second
    with pytest.raises(HorizonError):
        state.list_keys("agent:a", as_of=first)
    with pytest.raises(HorizonError):
        state.rewind("agent:a", to=first)


def test_scopes_have_their_own_horizons(open_store: Stores, clock: FakeClock) -> None:
    """Two scopes with different retention: one is trimmed, the other reads as ever."""
    state = open_store(clock=clock)
    for at in range(5):
        state.set("agent:short", "k", at)
        state.set("agent:long", "k", at)
        clock.advance(10)
    state.set_retention([HistoryPolicy("agent:short", max_versions=1)])
    assert state.compact().versions_trimmed >= 4
    assert [c.value for c in state.history("agent:short", "k")] == [4]
    assert [c.value for c in state.history("agent:long", "k")] == [4, 3, 2, 1, 0]
    assert state.get("agent:long", "k", as_of=2) == 0
    with pytest.raises(HorizonError):
        state.get("agent:short", "k", as_of=1)
    assert [(c.key, c.value, c.readable) for c in state.changes(limit=2)] == [
        ("k", None, False),
        ("k", 0, True),
    ]


def test_policies_are_stored(open_store: Stores) -> None:
    """Policies survive reopening, all of their bounds."""
    state = open_store()
    policies = [
        HistoryPolicy("agent:*", StateClass.TRUSTED, timedelta(days=2, seconds=0.5), 7, 4096),
        HistoryPolicy(max_versions=3),
    ]
    state.set_retention(policies)
    assert state.retention() == policies
    if open_store.persistent:
        state = open_store.reopen(state)
        assert state.retention() == policies


def test_journal_is_trimmed_by_age(open_store: Stores, clock: FakeClock) -> None:
    """With an age for every scope, old commits go, with their index rows; the chain holds."""
    state = open_store(clock=clock)
    for at in range(20):
        state.set("agent:a", f"k{at}", at, correlation="c", commit_id=at.to_bytes(16))
    clock.advance(1000)
    state.set("agent:a", "last", 1, correlation="c", commit_id=b"l" * 16)
    report = state.compact([HistoryPolicy(max_age=timedelta(seconds=500))])
    assert (report.commits_trimmed, report.horizon) == (20, 20)
    assert rows(state, layout.COMMITS) == 1
    assert rows(state, layout.CORRELATIONS) == 1
    assert [c.key for c in state.changes(since=20)] == ["last"]
    with pytest.raises(HorizonError):
        list(state.changes(since=3))
    with pytest.raises(HorizonError):
        list(state.diff(3))
    assert state.verify() == []


def test_stable_data_is_stored_once(open_store: Stores, clock: FakeClock) -> None:
    """Compaction drops the second copy of old live records; overwriting one brings it back."""
    state = open_store(clock=clock)
    for at in range(30):
        state.set("agent:a", f"k{at:02}", at)
    clock.advance(1000)
    state.set("agent:a", "young", 1)
    state.compact([HistoryPolicy(max_age=timedelta(seconds=500))])
    assert rows(state, layout.VERSIONS) == 1
    assert [c.value for c in state.history("agent:a", "k07")] == [7]
    before = state.revision
    state.set("agent:a", "k07", "new")
    state.delete("agent:a", "k08")
    assert state.get("agent:a", "k07", as_of=before) == 7
    assert state.get("agent:a", "k08", as_of=before) == 8
    assert [c.value for c in state.history("agent:a", "k07")] == ["new", 7]
    assert state.verify() == []


def test_readers_pin_what_they_read(open_store: Stores) -> None:
    """A snapshot, and a listing in the middle, show their moment although compaction runs."""
    state = open_store()
    for at in range(1300):
        state.set("agent:a", f"k{at:04}", at)
    with state.snapshot() as snapshot:
        pages = state.scan("agent:a")
        seen = [next(pages) for _ in range(70)]
        state.set_batch([SetOperation("agent:a", f"k{a:04}", -a) for a in range(1300)])
        state.compact([HistoryPolicy(max_versions=1, max_age=timedelta(0))])
        assert snapshot.get("agent:a", "k0007") == 7
        assert [v.value for _, v in snapshot.scan("agent:a")] == list(range(1300))
        seen += list(pages)
        assert [v.value for _, v in seen] == list(range(1300))
    state.compact([HistoryPolicy(max_versions=1, max_age=timedelta(0))])
    with pytest.raises(HorizonError):
        state.get("agent:a", "k0007", as_of=snapshot.revision)


def test_space_goes_back_to_the_disk(open_store: Stores) -> None:
    """After much is deleted and trimmed, the files are smaller."""
    if not open_store.persistent:
        pytest.skip("memory has no disk")
    state = open_store()
    chance = random.Random(1)
    for at in range(400):
        state.set("agent:a", f"k{at % 10}", chance.randbytes(8000))
    state.compact()
    before = int(state.info()["storage"]["disk_bytes"])
    state.delete_scope("agent:a")
    report = state.compact([HistoryPolicy(max_versions=1, max_age=timedelta(0))])
    after = int(state.info()["storage"]["disk_bytes"])
    assert report.versions_trimmed == 410
    assert after < before / 4


def test_trained_dictionary(open_store: Stores) -> None:
    """Small values are compressed with a dictionary trained on the store, and read back equal."""
    state = open_store()

    def value(at: int) -> dict[str, object]:
        return {
            "role": "assistant",
            "model": "m-1",
            "content": f"The answer to question {at}.",
            "tokens": at,
        }

    for at in range(600):
        state.set("agent:a", f"k{at:03}", value(at))
    state.compact(train=True)
    assert state.info()["dictionary"] == 1
    for at in range(300):
        state.set("agent:a", f"k{at:03}", value(at + 1))
    found = state.get_with_metadata("agent:a", "k007")
    assert found is not None and found.metadata.compressed and found.value == value(8)
    if open_store.persistent:
        state = open_store.reopen(state)
    assert [state.get("agent:a", f"k{at:03}") for at in (0, 299, 300, 599)] == [
        value(1),
        value(300),
        value(300),
        value(599),
    ]
    assert state.get("agent:a", "k000", as_of=1) == value(0)
