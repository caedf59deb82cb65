"""Spans of verbs: attributes, parents, links, errors by code, and correlations taken from them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import holdfast
from holdfast import ConflictError, CorrelationContext, StateScope, correlate
from holdfast.observe.otel import step_of
from tests.conftest import Stores

A = StateScope.agent("a")
CANARY = "canary-77"


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    """Install an SDK, once: the API takes no second one."""
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[InMemorySpanExporter]:
    """Keep the spans of a test in memory."""
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    provider.add_span_processor(processor)
    yield exporter
    exporter.shutdown()
    processor.shutdown()


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """Return the finished spans; every name at most once."""
    finished = spans.get_finished_spans()
    found = {span.name: span for span in finished}
    assert len(found) == len(finished)
    return found


def test_a_verb_is_a_span(open_store: Stores, spans: InMemorySpanExporter) -> None:
    """Name, kind and attributes follow the conventions, and hold no key, id or value."""
    state = open_store(tracing=True)
    state.set(A, "key-name", CANARY)
    assert state.get(A, "key-name") == CANARY
    assert [key for key, _ in state.scan(A)] == ["key-name"]
    found = by_name(spans)
    assert list(found) == ["holdfast set", "holdfast get", "holdfast scan"]
    for name, span in found.items():
        assert span.kind is SpanKind.CLIENT
        assert dict(span.attributes or {}) == {
            "db.system.name": "holdfast",
            "db.operation.name": name.split()[1],
            "holdfast.engine": open_store.engine,
            "holdfast.scope.kind": "agent",
        }
        assert span.status.status_code is StatusCode.UNSET
        shown = span.to_json()
        assert CANARY not in shown
        assert "key-name" not in shown


def test_errors_are_told_by_code(memory_store: Stores, spans: InMemorySpanExporter) -> None:
    """A span of a failure has the error's code, and no message, which might say more."""
    state = memory_store(tracing=True)
    state.set(A, "k", CANARY)
    spans.clear()
    with pytest.raises(ConflictError):
        state.set(A, "k", CANARY, if_absent=True)
    span = by_name(spans)["holdfast set"]
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "conflict")
    assert (span.attributes or {})["error.type"] == "conflict"
    assert span.events == ()


def test_the_current_span_is_the_parent(memory_store: Stores, spans: InMemorySpanExporter) -> None:
    """Verbs are children of the span around, and what a verb calls is theirs."""
    state = memory_store(tracing=True)
    tracer = trace.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer:
        state.set(A, "n", 1)

        def change(old: int) -> int:
            state.exists(A, "n")
            return old + 1

        state.transact(lambda tx: tx.set(A, "n", change(1)))
    found = by_name(spans)
    around = outer.get_span_context()
    for name in ("holdfast set", "holdfast transact"):
        parent = found[name].parent
        assert parent is not None
        assert (parent.trace_id, parent.span_id) == (around.trace_id, around.span_id)
    inner = found["holdfast exists"].parent
    assert inner is not None
    assert inner.span_id == found["holdfast transact"].context.span_id


def test_the_step_is_the_parent_where_no_span_is(
    memory_store: Stores, spans: InMemorySpanExporter
) -> None:
    """A correlation context gives trace and parent; its causes that are spans are links."""
    state = memory_store(tracing=True)
    cause = "00000000000000aa"
    with correlate(causes=[cause, "no span"]) as step:
        state.set(A, "k", 1)
    span = by_name(spans)["holdfast set"]
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == step.id
    assert f"{span.parent.span_id:016x}" == step.span
    assert [f"{link.context.span_id:016x}" for link in span.links] == [cause]
    assert (span.attributes or {})["holdfast.correlation"] == step.id
    (change,) = state.changes()
    assert change.context is not None
    assert change.context.span == step.span


def test_a_step_of_another_trace_is_linked(
    memory_store: Stores, spans: InMemorySpanExporter
) -> None:
    """Where both are there, the span is the parent and the step a link."""
    state = memory_store(tracing=True)
    step = CorrelationContext.new("an id that is no trace id")
    with trace.get_tracer("test").start_as_current_span("outer"):
        state.set(A, "k", 1, correlation=step)
    span = by_name(spans)["holdfast set"]
    assert [link.context.span_id for link in span.links] == [step_of(step).span_id]
    assert next(state.changes()).correlation_id == step.id


def test_writes_take_their_correlation_from_the_span(
    open_store: Stores, spans: InMemorySpanExporter
) -> None:
    """Outside of a correlation the trace is one; an explicit one wins; no span, none."""
    state = open_store(tracing=True)
    with trace.get_tracer("test").start_as_current_span("outer") as outer:
        state.set(A, "taken", 1)
        with state.transaction() as tx:
            tx.set(A, "also", 1)
        state.set(A, "own", 1, correlation="own")
    state.set(A, "none", 1)
    around = outer.get_span_context()
    changes = {change.key: change for change in state.changes()}
    for key in ("taken", "also"):
        context = changes[key].context
        assert context is not None
        assert context.id == f"{around.trace_id:032x}"
        assert context.parent == f"{around.span_id:016x}"
    made = by_name(spans) if False else {s.name: s for s in spans.get_finished_spans()}
    taken = changes["also"].context
    assert taken is not None
    assert taken.span == f"{made['holdfast transaction'].context.span_id:016x}"
    assert changes["own"].correlation_id == "own"
    assert changes["none"].correlation_id is None


def test_the_awaited_verbs_are_spans(spans: InMemorySpanExporter) -> None:
    """They are, with their parents, also where the work is done in the pool."""

    async def use() -> None:
        async with await holdfast.open_async("memory:", tracing=True) as state:
            with trace.get_tracer("test").start_as_current_span("outer"):
                await state.set(A, "k", 1)
                await state.count(A)
                assert [key async for key, _ in state.scan(A)] == ["k"]
                async with state.transaction() as tx:
                    tx.set(A, "x", 1)
            assert [c.correlation_id is None async for c in state.changes()] == [False, False]

    asyncio.run(use())
    found = by_name(spans)
    outer = found["outer"].context
    for verb in ("set", "count", "scan", "transaction"):
        parent = found[f"holdfast {verb}"].parent
        assert parent is not None, verb
        assert parent.span_id == outer.span_id, verb


def test_an_iterator_left_early_ends_its_span(
    memory_store: Stores, spans: InMemorySpanExporter
) -> None:
    """Who takes the first item only has read; it is no error, and the span is over."""
    state = memory_store(tracing=True)
    for number in range(5):
        state.set(A, f"k{number}", number)
    spans.clear()
    items = state.scan(A)
    assert next(items)[0] == "k0"
    assert spans.get_finished_spans() == ()
    items.close()  # type: ignore[attr-defined]
    assert by_name(spans)["holdfast scan"].status.status_code is StatusCode.UNSET


def test_a_trace_that_is_not_sampled_is_not_begun(
    memory_store: Stores, spans: InMemorySpanExporter
) -> None:
    """A caller's decision not to record its trace holds for what it asks for."""
    state = memory_store(tracing=True)
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
    with correlate(traceparent=header + "00"):
        state.set(A, "k", 1)
    assert by_name(spans) == {}
    with correlate(traceparent=header + "01"):
        state.set(A, "k", 2)
    assert list(by_name(spans)) == ["holdfast set"]
