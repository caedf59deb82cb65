"""Metrics: exact counts under threads, the text format, sources, figures by scope."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import threading
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import holdfast
from holdfast import (
    ConflictError,
    GetRequest,
    ScopePolicy,
    SetOperation,
    StateClass,
    StateError,
    StateManager,
    StateScope,
)
from holdfast.errors import ConfigurationError, InvalidArgumentError, LimitExceededError
from holdfast.observe.histogram import Histogram, bounds_of, bucket_of
from holdfast.observe.settings import ObserveSettings
from holdfast.observe.verbs import VERBS, Kind
from tests.conftest import Stores

A, B = StateScope.agent("a"), StateScope.user("b")


def samples(state: StateManager) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples of the exposition, as the reference parser reads them."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(state.metrics.prometheus()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def operations(state: StateManager) -> dict[tuple[str, str, str], float]:
    """Return the counts of verbs by operation, kind of scope and outcome."""
    counts = {}
    for (name, labels), value in samples(state).items():
        if name == "holdfast_operations_total":
            by = dict(labels)
            counts[by["operation"], by["scope_kind"], by["outcome"]] = value
    return counts


# --- histograms -------------------------------------------------------------------------------


@given(st.integers(0, 1 << 60))
def test_a_bucket_holds_what_lies_between_its_bounds(value: int) -> None:
    """The bounds of a bucket enclose its numbers, and are at most a quarter apart."""
    low, high = bounds_of(bucket_of(value))
    assert low < max(value, 1) <= high
    assert high - low <= max(1, low / 4)


@given(st.lists(st.integers(0, 1 << 40), min_size=1))
def test_a_histogram_is_as_exact_as_it_says(values: list[int]) -> None:
    """Count, sum, mean and maximum are exact; powers of two, too; quantiles within a quarter."""
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    told = histogram.distribution()
    assert (told.count, told.highest) == (len(values), max(values))
    assert told.mean == sum(values) / len(values)
    powers = [1 << bits for bits in range(42)]
    assert histogram.cumulative(powers) == [sum(v <= p for v in values) for p in powers]
    for share, shown in ((0.5, told.p50), (0.95, told.p95), (0.99, told.p99)):
        exact = sorted(values)[math.ceil(share * len(values)) - 1]
        assert exact / 1.26 - 1 <= shown <= exact * 1.26 + 1


@given(st.lists(st.integers(0, 1 << 40)), st.lists(st.integers(0, 1 << 40)))
def test_merging_is_counting_both(first: list[int], second: list[int]) -> None:
    """A histogram that took another one in says what one of all numbers says."""
    one, two, both = Histogram(), Histogram(), Histogram()
    for value in first:
        one.add(value)
        both.add(value)
    for value in second:
        two.add(value)
        both.add(value)
    one.merge(two)
    assert one.distribution() == both.distribution()


# --- verbs ------------------------------------------------------------------------------------


def test_every_verb_is_counted_once(open_store: Stores) -> None:
    """A call of a verb counts once, under its name, whatever it calls itself."""
    state = open_store(metrics=True)
    state.set(A, "n", 1)
    state.increment(A, "n")
    state.append(A, "list", 1)
    state.merge_patch(A, "doc", {"a": 1})
    state.update(A, "n", lambda old: old + 1)
    state.touch(A, "n", expires_in=1000)
    state.exists(A, "n")
    state.get(A, "n")
    state.get_with_metadata(A, "n")
    state.get_batch([(A, "n"), GetRequest(B, "n")])
    state.list_keys(A)
    list(state.scan(A))
    state.count(A)
    state.scopes()
    state.scope_exists(A)
    with state.snapshot() as snapshot:
        snapshot.get(A, "n")
    list(state.history(A, "n"))
    list(state.changes())
    list(state.diff(0))
    list(state.export_lines())
    state.inspect(A, "n")
    state.set_batch([SetOperation(B, "n", 1)])
    with state.transaction() as tx:
        tx.set(B, "m", 1)
    state.transact(lambda tx: tx.set(B, "o", 1))
    state.copy_scope(B, "user:c")
    state.rewind(A, "n", to=1)
    state.delete(A, "n")
    state.delete_scope("user:c")
    state.events.emit("done")
    snapshot = state.metrics.snapshot()
    counted = {verb: each["count"] for verb, each in snapshot["operations"].items()}
    uncounted = {"find_commit", "analyze", "move_scope", "import_lines"}
    verbs = {verb.name for verb in VERBS.values() if verb.kind is not Kind.UPKEEP}
    assert counted == dict.fromkeys(verbs - uncounted, 1)
    assert snapshot["events"] == 1
    assert json.loads(json.dumps(snapshot)) == snapshot


def test_outcomes_are_error_codes(state: StateManager, memory_store: Stores) -> None:
    """A verb that fails counts under the code of its error; other exceptions have a word."""
    state = memory_store("counted", metrics=True)
    state.set(A, "k", 1)
    with pytest.raises(ConflictError):
        state.set(A, "k", 1, if_absent=True)
    with pytest.raises(ZeroDivisionError):
        state.update(A, "k", lambda _: 1 // 0)
    with pytest.raises(StateError):
        list(state.scan("nonsense"))
    with pytest.raises(InvalidArgumentError):
        state.exists(A, "k", correlation="")
    assert operations(state) == {
        ("set", "agent", "ok"): 1,
        ("set", "agent", "conflict"): 1,
        ("update", "agent", "exception"): 1,
        ("scan", "none", "invalid_scope"): 1,
        ("exists", "agent", "invalid_argument"): 1,
    }


def test_defaults_are_misses_and_values_are_hits(memory_store: Stores) -> None:
    """A default that equals the value is no hit, None as a value is one."""
    state = memory_store(metrics=True)
    state.set(A, "none", None)
    assert state.get(A, "none", 7) is None
    assert state.get(A, "absent", None) is None
    assert state.get(A, "absent", default=7) == 7
    assert state.get(A, key="absent", default=7) == 7
    assert state.get(scope=A, key="absent") is None
    assert state.get(A, "absent", 3, type=int) == 3
    assert not state.exists(A, "absent")
    assert state.get_batch([(A, "none"), (A, "absent")]) == [None, None]
    stats = state.stats(A)
    assert (stats.reads, stats.hits, stats.misses) == (9, 1, 8)


def test_counts_are_exact_under_threads(memory_store: Stores) -> None:
    """Eight threads count every call, while somebody asks all the time."""
    state = memory_store(metrics=True)
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            state.metrics.snapshot()

    def work(number: int) -> None:
        for at in range(500):
            state.get(A, "n")
            if not at % 10:
                state.increment(f"agent:{number}", "n")

    asking = threading.Thread(target=ask)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in (asking, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    asking.join()
    assert operations(state) == {("get", "agent", "ok"): 4000, ("increment", "agent", "ok"): 400}
    snapshot = state.metrics.snapshot()
    assert snapshot["changes"] == [{"operation": "set", "class": "standard", "count": 400}]
    lane = snapshot["lane"]
    assert lane["group_size"]["count"] == lane["groups"] == lane["commit_seconds"]["count"]
    assert state.stats().writes == 400
    assert state.stats("agent:3").writes == 50


def test_counting_changes_no_outcome(memory_store: Stores) -> None:
    """What is no request, and an argument too many, end as they do where nobody counts."""
    quiet, state = memory_store(), memory_store(metrics=True)
    for each in (quiet, state):
        wrong: Any = [SetOperation(A, "k", 1), 7, ()]
        first, *refused = each.set_batch(wrong)
        assert (first, each.get(A, "k")) == (1, 1)
        assert [type(error) for error in refused] == [InvalidArgumentError] * 2
        with pytest.raises(TypeError):
            each.get(A, "k", None, int)  # type: ignore[call-overload]
    assert state.metrics.snapshot()["operations"]["set_batch"]["outcomes"] == {"ok": 1}


def test_both_faces_count_the_same() -> None:
    """The asynchronous verbs count once each, also those that hand on to the synchronous ones."""

    async def use() -> dict[str, int]:
        async with await holdfast.open_async("memory:", metrics=True) as state:
            await state.set(A, "n", 1)
            await asyncio.gather(*(state.increment(A, "n") for _ in range(50)))
            assert await state.get(A, "n") == 51
            assert [key async for key, _ in state.scan(A)] == ["n"]

            async def add(old: int) -> int:
                return old + 1

            assert await state.update(A, "n", add) == 52
            async with state.transaction() as tx:
                tx.set(B, "m", 1)
            await state.transact(lambda tx: tx.set(B, "o", 1))
            await state.set_batch([SetOperation(A, "x", 1)])
            await state.copy_scope(A, B)
            with pytest.raises(ConflictError):
                await state.set(A, "n", 1, if_absent=True)
            await state.events.emit("done")
            assert (await state.stats(A)).conflicts == 1
            counted = state.metrics.snapshot()["operations"]
            return {verb: each["count"] for verb, each in counted.items()}

    assert asyncio.run(use()) == {
        "set": 2,
        "increment": 50,
        "get": 1,
        "scan": 1,
        "update": 1,
        "transaction": 1,
        "transact": 1,
        "set_batch": 1,
        "copy_scope": 1,
        "emit": 1,
    }


def test_a_cancelled_verb_says_so() -> None:
    """A cancelled call counts as cancelled."""

    async def use() -> None:
        async with await holdfast.open_async("memory:", metrics=True) as state:

            async def slow(_: Any) -> int:
                await asyncio.Event().wait()
                return 1

            task = asyncio.ensure_future(state.update(A, "n", slow))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert operations(state.sync) == {("update", "agent", "cancelled"): 1}

    asyncio.run(use())


# --- figures by scope -------------------------------------------------------------------------


def test_idle_scopes_join_the_others(memory_store: Stores) -> None:
    """The table of scopes is bounded, and nothing that was counted is lost."""
    state = memory_store(metrics=True, max_scopes=3)
    for number in range(10):
        state.set(f"agent:{number}", "k", 1)
        state.get(f"agent:{number}", "k")
    stats = state.stats()
    assert sorted(stats.scopes) == ["agent:7", "agent:8", "agent:9"]
    assert stats.other is not None
    assert (stats.other.reads, stats.other.writes) == (7, 7)
    assert (stats.reads, stats.writes, stats.hits) == (10, 10, 10)
    assert state.stats("agent:1").reads == 0
    assert stats.scopes["agent:9"].read_seconds.count == 1


def test_what_is_large_is_worked_in_at_once(memory_store: Stores) -> None:
    """A commit of many changes is not held in memory until somebody asks for the figures."""
    state = memory_store(metrics=True)
    tally = state._observation.tally
    assert tally is not None
    state.set_batch([SetOperation(A, f"k{n}", n) for n in range(300)], atomic=True)
    assert tally._pending == deque()
    assert state.stats(A).writes == 300


def test_scopes_that_cannot_be_are_not_kept(memory_store: Stores) -> None:
    """A scope too long for any key is counted among the others, and holds no memory."""
    state = memory_store(metrics=True)
    for scope in ("agent:" + "x" * 5000, StateScope.agent("x" * 5000)):
        with pytest.raises(LimitExceededError):
            state.get(scope, "k")
    stats = state.stats()
    assert (stats.failures, dict(stats.scopes)) == (2, {})


def test_writes_of_transactions_count_in_their_scopes(memory_store: Stores) -> None:
    """Changes count where they happen, whatever verb made them, and ephemeral values do."""
    policies = [ScopePolicy("session:*", state_class=StateClass.EPHEMERAL)]
    state = memory_store(metrics=True, policies=policies)
    with state.transaction() as tx:
        tx.set(A, "x", 1)
        tx.set(B, "y", 1)
        tx.set(B, "z", 1)
    state.copy_scope(B, A)
    state.set("session:s", "e", 1)
    state.increment("session:s", "e")
    assert [state.stats(scope).writes for scope in (A, B, "session:s")] == [3, 2, 2]


def test_another_tenants_scopes_are_not_told(memory_store: Stores) -> None:
    """Figures by scope are of the tenant that the store was opened for."""
    state = memory_store(metrics=True, tenant="t")
    state.set(A, "k", 1)
    assert list(state.stats().scopes) == [str(A)]


def test_without_metrics_there_are_no_stats(memory_store: Stores) -> None:
    """Nothing counted is an error that says how to count, not a row of zeros."""
    state = memory_store()
    assert not state.metrics.enabled
    with pytest.raises(ConfigurationError, match="metrics are off"):
        state.stats()
    assert "set" not in vars(state)
    assert state.metrics.snapshot()["store"]["revision"] == 0


# --- the text format --------------------------------------------------------------------------


def test_the_exposition_is_sound(open_store: Stores) -> None:
    """The reference parser reads it; each metric has help and type, histograms add up."""
    state = open_store(metrics=True)
    state.set(A, "k", 1)
    state.get(A, "k")
    text = state.metrics.prometheus()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.type != "unknown" for family in families)
    engine = open_store.engine
    found = samples(state)
    assert found["holdfast_up", frozenset({("engine", engine)})] == 1
    assert found["holdfast_revision", frozenset({("engine", engine)})] >= 1
    assert found["holdfast_records", frozenset({("engine", engine)})] == 1
    for family in families:
        if family.type != "histogram":
            continue
        series: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = {}
        for sample in family.samples:
            labels = dict(sample.labels)
            if sample.name.endswith("_bucket"):
                bound = float(labels.pop("le"))
                series.setdefault(frozenset(labels.items()), []).append((bound, sample.value))
        for labels, buckets in series.items():
            counts = [count for _, count in sorted(buckets)]
            assert counts == sorted(counts)
            assert sorted(buckets)[-1][0] == math.inf
            assert counts[-1] == found[f"{family.name}_count", labels]
            assert found[f"{family.name}_sum", labels] >= 0


def test_a_closed_store_is_down(memory_store: Stores) -> None:
    """Metrics of a closed store still tell what was counted, and that it is not there."""
    state = memory_store(metrics=True)
    state.set(A, "k", 1)
    state.close()
    assert samples(state)["holdfast_up", frozenset({("engine", "memory")})] == 0
    assert operations(state) == {("set", "agent", "ok"): 1}


# --- sources ----------------------------------------------------------------------------------


def test_sources_plug_in(memory_store: Stores) -> None:
    """A source's figures are metrics; labels are escaped; one that fails spoils nothing."""
    state = memory_store()
    name = 'a"b\\c\nd'
    end = state.metrics.source(
        "parts", lambda: [("calls_total", {"hook": name}, 3), ("open", {"hook": name}, 0.5)]
    )
    state.metrics.source("broken", lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    labels = frozenset({("hook", name), ("engine", "memory")})
    found = samples(state)
    assert found["holdfast_parts_calls_total", labels] == 3
    assert found["holdfast_parts_open", labels] == 0.5
    assert state.metrics.snapshot()["sources"]["parts"][0] == {
        "name": "calls_total",
        "labels": {"hook": name},
        "value": 3,
    }
    failed = frozenset({("source", "broken"), ("engine", "memory")})
    assert samples(state)["holdfast_source_failures_total", failed] == 3
    end()
    assert list(state.metrics.snapshot()["sources"]) == ["consumers", "hooks"]


def test_sources_are_bounded(memory_store: Stores) -> None:
    """A source with a series per id does not grow without end."""
    state = memory_store()
    state.metrics.source("many", lambda: [("n", {"id": str(n)}, n) for n in range(5000)])
    assert len(state.metrics.snapshot()["sources"]["many"]) == 1000


@pytest.mark.parametrize("name", ["", "Hooks", "a-b", "1", "a b", None])
def test_bad_names_of_sources_are_refused(memory_store: Stores, name: Any) -> None:
    """A name that is none for Prometheus, or is taken, is a typed error."""
    state = memory_store()
    for bad in (name, "hooks", "lane", "storage"):
        with pytest.raises(InvalidArgumentError):
            state.metrics.source(bad, list)


@pytest.mark.parametrize("figure", [("A", {}, 1), ("a", {"B": ""}, 1), ("a", {}, "x"), (1,)])
def test_bad_figures_are_counted(memory_store: Stores, figure: Any) -> None:
    """A source that returns nonsense has failed."""
    state = memory_store()
    state.metrics.source("bad", lambda: [figure])
    snapshot = state.metrics.snapshot()
    assert "bad" not in snapshot["sources"]
    assert snapshot["sources_failed"] == {"bad": 1}


# --- switching it on --------------------------------------------------------------------------


def test_urls_and_environment_switch_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOLDFAST_METRICS=1, a URL's option and a keyword mean the same."""
    with holdfast.open("memory:?metrics=on&max_scopes=5") as state:
        assert state.metrics.enabled
    monkeypatch.setenv("HOLDFAST_METRICS", "1")
    monkeypatch.setenv("HOLDFAST_URL", "memory:")
    with holdfast.open() as state:
        assert state.metrics.enabled
    with holdfast.open("memory:", metrics=False) as state:
        assert not state.metrics.enabled


def test_bad_settings_are_refused() -> None:
    """A number of scopes that cannot be, and a text that is no boolean, are typed errors."""
    with pytest.raises(ConfigurationError):
        holdfast.open("memory:", max_scopes=0)
    with pytest.raises(ConfigurationError):
        holdfast.open("memory:", metrics="perhaps")
    with pytest.raises(ConfigurationError):
        ObserveSettings(max_scopes=-1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_counts_from_zero(memory_store: Stores) -> None:
    """After a fork the child's figures are its own."""
    state = memory_store(metrics=True)
    state.set(A, "k", 1)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            state.set(A, "k", 2)
            snapshot = state.metrics.snapshot()
            counts = [snapshot["operations"]["set"]["count"], snapshot["changes"][0]["count"]]
            os.write(write, json.dumps(counts).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert json.loads(os.read(read, 100)) == [1, 1]
    os.close(read)
    os.close(write)
    assert operations(state) == {("set", "agent", "ok"): 1}


def test_a_child_waits_for_no_thread_of_its_parent(memory_store: Stores) -> None:
    """What other threads held when a process was forked keeps nobody waiting in the child."""
    state = memory_store(metrics=True, cache_bytes=1 << 20)
    state.set(A, "k", 1)
    cache, sources = state._kernel.cache, state.metrics._sources
    assert cache is not None
    with cache._lock, sources._mutex:
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            try:
                sound = state.get(A, "k") == 1 and state.metrics.prometheus()
                os._exit(0 if sound else 1)
            except BaseException:  # noqa: BLE001 - the parent fails
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_hooks_and_consumers_are_in_the_figures(memory_store: Stores) -> None:
    """What hooks did and how far consumers are is exposed, by their names."""
    state = memory_store()
    state.hooks.before(lambda _: None, name="check")
    state.hooks.after(lambda _: 1 // 0, name="mirror", mode="inline")
    state.consumer("indexer", start="earliest").close()
    state.set(A, "k", 1)
    samples = {
        (sample.name, sample.labels.get("hook") or sample.labels.get("consumer")): sample.value
        for family in text_string_to_metric_families(state.metrics.prometheus())
        for sample in family.samples
    }
    assert samples["holdfast_hooks_calls_total", "check"] == 1
    assert samples["holdfast_hooks_failures_total", "check"] == 0
    assert samples["holdfast_hooks_failures_total", "mirror"] == 1
    assert samples["holdfast_hooks_breaker_open", "mirror"] == 0
    assert samples["holdfast_consumers_lag", "indexer"] == 1
    assert samples["holdfast_consumers_dead_letters", "indexer"] == 0
    assert state.metrics.snapshot()["sources_failed"] == {}
