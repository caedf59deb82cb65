"""Failed operations and recorded reads as events, logs with their fields, and no value anywhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import holdfast
from holdfast import (
    ConflictError,
    CorrelationContext,
    HorizonError,
    ScopePolicy,
    SetOperation,
    StateClass,
    StateError,
    StateEvent,
    StateManager,
    StateScope,
    correlate,
)
from holdfast.engines.memory import MemoryEngine
from holdfast.errors import ClosedError, InvalidArgumentError, ReadOnlyError
from holdfast.observe.logs import CorrelationFilter, add_correlation
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.testing import FakeClock, Fault, FaultPlan, FaultyEngine
from tests.conftest import Stores

A = StateScope.agent("a")
CANARY = "canary-5f1c"


def events(state: StateManager, name: str = "state.*") -> list[StateEvent]:
    """Return the recorded events; a commit comes after what was recorded before it."""
    state.events.emit("mark")
    for scope in state.scopes():  # one write in each partition that there may be
        state.touch(scope, "no such key")
    return list(state.events.read(name=name))


def settled(state: StateManager, count: int) -> None:
    """Wait until so many events are recorded or lost; every one of them is on its way."""
    recorder = state._observation.recorder
    while sum(recorder.recorded.values()) + recorder.lost < count:
        state.get(A, "anything")


@pytest.fixture(params=[False, True], ids=["quiet", "metrics"])
def watched(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Open with and without metrics: both record the same."""
    return {"metrics": request.param}


# --- failures ---------------------------------------------------------------------------------


def test_a_failure_inside_a_correlation_is_an_event(
    open_store: Stores, watched: dict[str, Any]
) -> None:
    """What, where, which key, which error, how long; correlated as the operation was."""
    state = open_store(**watched)
    state.set(A, "k", CANARY)
    with correlate("job", component="planner") as step, pytest.raises(ConflictError):
        state.set(A, "k", CANARY, if_absent=True)
    settled(state, 1)
    (event,) = events(state)
    assert event.name == "state.failed"
    assert event.scope == A
    assert event.correlation_id == "job"
    assert event.context is not None
    assert event.context.span == step.span
    took = event.data.pop("duration_ms")
    assert took >= 0
    assert event.data == {"operation": "set", "scope": "agent:a", "key": "k", "code": "conflict"}


def test_failures_outside_of_correlations_are_none_of_the_journals(
    memory_store: Stores, watched: dict[str, Any]
) -> None:
    """Without a correlation, or where it is switched off, nothing is recorded."""
    state = memory_store(**watched)
    with pytest.raises(StateError):
        state.get(A, "")
    assert events(state) == []
    off = memory_store("off", record_failures=False, **watched)
    with correlate("job"), pytest.raises(StateError):
        off.get(A, "")
    assert events(off) == []


FAILING: dict[str, Callable[[StateManager], object]] = {
    "get": lambda s: s.get(A, "", correlation="job"),
    "get_with_metadata": lambda s: s.get_with_metadata("agent", "k", correlation="job"),
    "exists": lambda s: s.exists(A, "\0", correlation="job"),
    "get_batch": lambda s: s.get_batch([A], correlation="job"),  # type: ignore[list-item]
    "list_keys": lambda s: s.list_keys(A, limit=-1, correlation="job"),
    "count": lambda s: s.count("nothing", correlation="job"),
    "scopes": lambda s: s.scopes(within=A, correlation="job"),
    "scope_exists": lambda s: s.scope_exists("x", correlation="job"),
    "scan": lambda s: list(s.scan(A, limit=-1, correlation="job")),
    "history": lambda s: list(s.history(A, "", correlation="job")),
    "changes": lambda s: list(s.changes(-1, correlation="job")),
    "diff": lambda s: list(s.diff(5, 1, correlation="job")),
    "find_commit": lambda s: s.find_commit("xx", correlation="job"),
    "set": lambda s: s.set(A, "k", object(), correlation="job"),
    "delete": lambda s: s.delete(A, "k", if_revision=99, correlation="job"),
    "touch": lambda s: s.touch(A, "k", expires_in=-1, correlation="job"),
    "increment": lambda s: s.increment(A, "text", correlation="job"),
    "append": lambda s: s.append(A, "text", 1, correlation="job"),
    "update": lambda s: s.update(A, "k", lambda _: None, correlation="job"),
    "set_batch": lambda s: s.set_batch([SetOperation(A, "", 1)], atomic=True, correlation="job"),
    "copy_scope": lambda s: s.copy_scope(A, A, correlation="job"),
    "import_lines": lambda s: s.import_lines(["nonsense"], correlation="job"),
    "rewind": lambda s: s.rewind(A, "", to=1, correlation="job"),
    "emit": lambda s: s.events.emit("", correlation="job"),
}


@pytest.mark.parametrize("verb", FAILING)
def test_every_verb_tells_of_its_failure(
    memory_store: Stores, watched: dict[str, Any], verb: str
) -> None:
    """One call that fails is one event, with the name of the verb that was called."""
    state = memory_store(**watched)
    state.set(A, "text", "words")
    with pytest.raises(StateError) as failure:
        FAILING[verb](state)
    (event,) = events(state)
    assert event.data["operation"] == verb
    assert event.data["code"] == failure.value.code
    assert event.correlation_id == "job"
    assert (event.data["duration_ms"] is None) == (verb == "get" and not watched["metrics"])


def test_a_transaction_fails_once(memory_store: Stores, watched: dict[str, Any]) -> None:
    """Attempts that are made again are no failures; the last one is, under one name."""
    state = memory_store(**watched)
    state.set(A, "n", 0)
    tries = []

    def interfere(tx: holdfast.StateTransaction) -> None:
        tx.increment(A, "n")
        tries.append(1)
        if len(tries) < 4:
            state.set(A, "n", len(tries))

    with correlate("job"):
        state.transact(interfere)
        assert events(state) == []
        with pytest.raises(ConflictError), state.transaction() as tx:
            tx.increment(A, "n")
            state.set(A, "n", 0)
    assert [event.data["operation"] for event in events(state)] == ["transaction"]


def test_the_awaited_verbs_tell_of_failures(watched: dict[str, Any]) -> None:
    """Both kinds of awaited verbs do: those of the face itself, and those handed on."""

    async def use() -> list[Any]:
        async with await holdfast.open_async("memory:", **watched) as state:
            await state.set(A, "k", 1)
            with correlate("job"):
                with pytest.raises(ConflictError):
                    await state.set(A, "k", 1, if_absent=True)
                with pytest.raises(StateError):
                    await state.get(A, "")
                with pytest.raises(StateError):
                    [key async for key in state.scan(A, limit=-1)]
                with pytest.raises(ConflictError):
                    async with state.transaction() as tx:
                        tx.get(A, "k")
                        tx.set(A, "x", 1)
                        await state.set(A, "k", 2)
                with pytest.raises(StateError):
                    await state.events.emit("")
            return [e.data["operation"] async for e in state.events.read(name="state.failed")]

    assert asyncio.run(use()) == ["set", "get", "scan", "transaction", "emit"]


def test_an_explicit_correlation_wins(memory_store: Stores, watched: dict[str, Any]) -> None:
    """A read's `correlation=` says what its failure belongs to, as an id or as a context."""
    state = memory_store(**watched)
    context = CorrelationContext.new("theirs")
    with correlate("ours"):
        for given in ("id", context):
            with pytest.raises(StateError):
                state.list_keys("nonsense", correlation=given)
    first, second = events(state)
    assert (first.correlation_id, first.context) == ("id", None)
    assert second.context is not None
    assert second.context.span == context.span


@pytest.mark.parametrize("bad", ["", "x" * 256, 7, b"id", object()])
def test_a_bad_correlation_is_refused(
    memory_store: Stores, watched: dict[str, Any], bad: Any
) -> None:
    """Reads refuse what writes refuse."""
    state = memory_store(**watched)
    for verb in (state.get, state.exists, state.history):
        with pytest.raises(InvalidArgumentError):
            verb(A, "k", correlation=bad)  # type: ignore[operator]
    with pytest.raises(InvalidArgumentError):
        state.count(A, correlation=bad)
    with pytest.raises(InvalidArgumentError), state.snapshot(correlation=bad):
        pass


def test_closed_and_read_only_stores_record_nothing(open_store: Stores) -> None:
    """What can write nothing says what it says, and no more."""
    state = open_store()
    state.set(A, "k", 1)
    if open_store.persistent:
        with holdfast.open(open_store.url(), read_only=True) as reader, correlate("job"):
            with pytest.raises(ReadOnlyError):
                reader.set(A, "k", 2)
            with pytest.raises(StateError):
                reader.get(A, "")
            assert reader._observation.recorder.lost == 0
    state.close()
    with correlate("job"), pytest.raises(ClosedError):
        state.set(A, "k", 1)
    assert state._observation.recorder.lost == 0


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.LOST], ids=lambda f: f.name)
def test_an_engine_that_fails_fails_as_ever(fault: Fault) -> None:
    """The caller gets the engine's error, and what could not be recorded is counted."""
    plan = FaultPlan()
    engine = FaultyEngine(MemoryEngine(), plan)
    state = StateManager(Kernel(engine, StoreSettings(sweep_every=0)))
    state.set(A, "k", 1)
    for number in range(50):
        plan.at("commit", number, fault)
    with correlate("job"), pytest.raises(StateError):
        state.set(A, "k", 2)
    assert state._observation.recorder.lost == 1


def test_failing_inside_the_lane_does_not_block(memory_store: Stores) -> None:
    """A function that reads while the lane runs it may fail, and is recorded afterwards."""
    state = memory_store()
    state.set(A, "n", 1)

    def change(old: int) -> int:
        with pytest.raises(StateError):
            state.get(A, "", correlation="job")
        return old + 1

    state.update(A, "n", change)
    assert len(events(state)) >= 1


def test_recording_leaves_the_queue_to_writes(
    memory_store: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where very many writes wait, failures are counted and not queued on top of them."""
    state = memory_store()
    with monkeypatch.context() as patched, correlate("job"):
        patched.setattr(state._kernel.lane, "depth", lambda: 10_000)
        with pytest.raises(ConflictError):
            state.set(A, "k", 1, if_revision=9)
    recorder = state._observation.recorder
    assert (recorder.recorded["state.failed"], recorder.lost) == (0, 1)
    assert events(state) == []


# --- recorded reads ---------------------------------------------------------------------------


def test_reads_are_recorded_where_policy_says(open_store: Stores, watched: dict[str, Any]) -> None:
    """Key, revision, and whether it was there; only inside a correlation, and no value."""
    policies = [
        ScopePolicy("agent:*", record_reads=True),
        ScopePolicy("agent:quiet", record_reads=False),
    ]
    state = open_store(policies=policies, **watched)
    revision = state.set(A, "k", CANARY)
    state.set("agent:quiet", "k", 1)
    assert state.get(A, "k") == CANARY
    with correlate("job"):
        assert state.get(A, "k") == CANARY
        assert state.get(A, "absent", 7) == 7
        assert state.get(A, "k", type=str) == CANARY
        assert state.get("agent:quiet", "k") == 1
        assert state.get("user:u", "k") is None
        assert state.exists(A, "k")
        found = state.get_with_metadata(A, "k")
        assert found is not None
        assert state.get_batch([(A, "k"), ("user:u", "k"), (A, "absent")]) == [CANARY, None, None]
        assert state.list_keys(A) == ["k"]
        assert [key for key, _ in state.scan(A)] == ["k"]
        assert [c.value for c in state.history(A, "k")] == [CANARY]
    settled(state, 10)
    told = [event.data for event in events(state, "state.read")]
    hit = {"key": "k", "revision": revision, "hit": True}
    miss = {"key": "absent", "revision": None, "hit": False}
    some = {"key": None, "revision": None, "hit": True, "count": 1}
    assert told == [
        {"operation": "get", **hit},
        {"operation": "get", **miss},
        {"operation": "get", **hit},
        {"operation": "exists", **hit},
        {"operation": "get_with_metadata", **hit},
        {"operation": "get_batch", **hit},
        {"operation": "get_batch", **miss},
        {"operation": "list_keys", **some},
        {"operation": "scan", **some},
        {"operation": "history", **some, "key": "k"},
    ]
    assert CANARY not in repr(told)


def test_reads_of_whatever_shape_are_recorded(open_store: Stores, watched: dict[str, Any]) -> None:
    """What a verb returns, a report or a yes, does not keep it from being recorded."""
    state = open_store(policies=[ScopePolicy("agent:*", record_reads=True)], **watched)
    state.set(A, "k", CANARY)
    with correlate("job"):
        assert state.inspect(A, "k") is not None
        assert state.inspect(A, "absent") is None
        assert state.analyze(A).total.keys == 1
        assert state.scope_exists(A)
        assert state.count(A) == 1
    settled(state, 5)
    told = [event.data for event in events(state, "state.read")]
    assert [(each["operation"], each["key"], each["count"]) for each in told] == [
        ("inspect", "k", 1),
        ("inspect", "absent", 0),
        ("analyze", None, 1),
        ("scope_exists", None, 1),
        ("count", None, 1),
    ]


# --- logs -------------------------------------------------------------------------------------


def test_logs_carry_fields(memory_store: Stores, caplog: pytest.LogCaptureFixture) -> None:
    """A failure's record has its fields; the key only at DEBUG, and never of sensitive state."""
    state = memory_store(log_operations=True)
    caplog.set_level(logging.DEBUG, "holdfast")
    with correlate("job") as step:
        state.set(A, "k", CANARY)
        with pytest.raises(ConflictError):
            state.set(A, "k", CANARY, if_absent=True)
        with pytest.raises(StateError):
            state.set(A, "secret-name", CANARY, state_class=StateClass.SENSITIVE)
    done, failed, secret = (r for r in caplog.records if r.name == "holdfast.operations")
    fields = {"operation": "set", "scope_kind": "agent", "engine": "memory", "correlation": "job"}
    for record in (done, failed, secret):
        assert {name: getattr(record, name) for name in fields} == fields
        assert record.span == step.span
        assert record.duration_ms >= 0
    assert (done.levelname, done.code, done.key) == ("DEBUG", "ok", "k")
    assert (failed.levelname, failed.code) == ("INFO", "conflict")
    assert secret.code == "protection_required"
    assert not hasattr(secret, "key")
    caplog.clear()
    caplog.set_level(logging.INFO, "holdfast")
    with pytest.raises(ConflictError):
        state.set(A, "k", CANARY, if_absent=True)
    assert not hasattr(caplog.records[0], "key")


def test_a_handler_that_fails_is_not_the_callers_failure(memory_store: Stores) -> None:
    """Recording never raises, whatever logging is made of."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError

    logger, handler = logging.getLogger("holdfast.operations"), Broken()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with pytest.raises(ConflictError):
            state = memory_store()
            state.set(A, "k", 1)
            state.set(A, "k", 1, if_absent=True)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def test_the_filter_gives_every_record_the_correlation() -> None:
    """Records of any logger get the fields, and keep those that they have."""
    record = logging.makeLogRecord({"msg": "hello", "span": "own"})
    with correlate("job", component="planner") as step, correlate("job") as inner:
        assert CorrelationFilter().filter(record)
        shown = add_correlation(None, "info", {"event": "hello", "component": "own"})
    assert (record.correlation, record.span) == ("job", "own")
    assert (record.parent, record.component) == (step.span, "planner")
    assert shown == {
        "event": "hello",
        "correlation": "job",
        "span": inner.span,
        "parent": step.span,
        "component": "own",
    }
    outside = logging.makeLogRecord({})
    assert CorrelationFilter().filter(outside)
    assert outside.correlation is None
    assert add_correlation(None, "info", {"event": "x"}) == {"event": "x"}


def test_an_id_cannot_split_a_line(memory_store: Stores, caplog: pytest.LogCaptureFixture) -> None:
    """What could begin a line of its own, or steer a terminal, is escaped in the fields of logs."""
    bad = "job\nERROR all is lost\x1b[2J\u202e"
    plain = "job\\u000aERROR all is lost\\u001b[2J\\u202e"
    state = memory_store()
    record = logging.makeLogRecord({})
    with caplog.at_level(logging.DEBUG, "holdfast.operations"):
        with correlate(bad, component=bad), pytest.raises(ConflictError):
            assert CorrelationFilter().filter(record)
            shown = add_correlation(None, "info", {})
            state.set(A, "k", 1, if_revision=9)
        with pytest.raises(ConflictError):
            state.set(A, "k", 1, if_revision=9, correlation=bad)
    assert (record.correlation, record.component) == (plain, plain)
    assert (shown["correlation"], shown["component"]) == (plain, plain)
    assert [each.correlation for each in caplog.records] == [plain, plain]  # type: ignore[attr-defined]


# --- no value anywhere ------------------------------------------------------------------------


def everything(state: StateManager) -> Iterator[Callable[[], object]]:
    """Yield calls, good and bad, that a value goes into or comes out of."""
    yield lambda: state.set(A, "k", CANARY)
    yield lambda: state.get(A, "k")
    yield lambda: state.get(A, "k", CANARY, type=int)
    yield lambda: state.increment(A, "k")
    yield lambda: state.append(A, "k", CANARY)
    yield lambda: state.update(A, "k", lambda old: old + CANARY)
    yield lambda: state.set(A, "k", {"x": CANARY, "y": object()})
    yield lambda: state.set(A, "k", CANARY, if_absent=True)
    yield lambda: state.set_batch([SetOperation(A, "k", CANARY, if_version=99)])
    yield lambda: state.merge_patch(A, "k", {"x": CANARY})
    yield lambda: state.get_batch([(A, "k")])
    yield lambda: list(state.scan(A))
    yield lambda: list(state.history(A, "k"))


def test_no_value_is_in_anything_observed(
    memory_store: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    """No log, metric, event, statistic or repr holds what was stored or given."""
    caplog.set_level(logging.DEBUG)
    state = memory_store(
        metrics=True, log_operations=True, policies=[ScopePolicy("*", record_reads=True)]
    )
    with correlate("job"):
        for call in everything(state):
            try:
                call()
            except StateError as error:
                assert CANARY not in str(error)
    assert state.metrics.snapshot()["recorded"]["state.failed"] > 3
    recorded = [(event, event.data) for event in events(state)]
    shown = [
        repr(recorded),
        repr([vars(record) for record in caplog.records]),
        caplog.text,
        state.metrics.prometheus(),
        repr(state.metrics.snapshot()),
        repr(state.metrics),
        repr(state.stats()),
        repr(state.analyze()),
        repr(state),
    ]
    assert [text for text in shown if CANARY in text] == []
    assert "agent:a" not in state.metrics.prometheus()


def test_the_horizon_is_told(memory_store: Stores, clock: FakeClock) -> None:
    """Reading what was trimmed is a failure as any other, also of an iterator half-way."""
    state = memory_store(clock=clock)
    for number in range(5):
        state.set(A, "k", number)
    state.compact([holdfast.HistoryPolicy("*", max_versions=1)])
    with correlate("job"), pytest.raises(HorizonError):
        state.get(A, "k", as_of=1)
    assert [event.data["code"] for event in events(state)] == ["before_horizon"]
