"""Spans of OpenTelemetry for verbs. The only module that imports its API.

Without an SDK the API does nothing. Attributes follow the semantic conventions of databases
(https://opentelemetry.io/docs/specs/semconv/database/); none holds a key
or a value, and of ids only the correlation's.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Final

try:
    from opentelemetry import trace
    from opentelemetry.trace import (
        Link,
        NonRecordingSpan,
        Span,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
    )
except ImportError:
    from holdfast.errors import MissingExtraError

    raise MissingExtraError(
        "tracing needs the package opentelemetry-api", hint='pip install "holdfast[otel]"'
    ) from None

from holdfast.correlation import CorrelationContext, correlate

SYSTEM: Final = "holdfast"
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")


class Tracing:
    """Makes spans of one store's verbs.

    Args:
        engine: The engine's name.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._tracer = trace.get_tracer("holdfast")

    def start(self, operation: str, scope_kind: str, correlation: Any) -> Span:
        """Start the span of one call.

        Its parent is the current span; where there is none, the step that the call belongs to.
        That step is linked otherwise, and so are its causes.
        """
        context = correlation if isinstance(correlation, CorrelationContext) else None
        around = trace.get_current_span().get_span_context()
        step = None if context is None else step_of(context)
        parent = None
        if not around.is_valid and step is not None:
            parent = trace.set_span_in_context(NonRecordingSpan(step))
        links = [] if context is None else [Link(cause) for cause in causes_of(context)]
        if around.is_valid and step is not None and step.trace_id != around.trace_id:
            links.append(Link(step))
        attributes = {
            "db.system.name": SYSTEM,
            "db.operation.name": operation,
            "holdfast.engine": self._engine,
            "holdfast.scope.kind": scope_kind,
        }
        if correlation is not None:
            attributes["holdfast.correlation"] = correlation if context is None else context.id
        return self._tracer.start_span(
            f"{SYSTEM} {operation}",
            context=parent,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        )

    def end(self, span: Span, code: str | None) -> None:
        """End a span; an error's code is all that it tells of it."""
        if code is not None:
            span.set_attribute("error.type", code)
            span.set_status(Status(StatusCode.ERROR, code))
        span.end()

    def active(self, span: Span) -> AbstractContextManager[Any]:
        """Make a span the current one for a block."""
        return trace.use_span(
            span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )

    def correlated(self, span: Span, operation: str) -> AbstractContextManager[Any]:
        """Run a block as a step of the trace around it, which is the correlation then."""
        around = trace.get_current_span().get_span_context()
        if not around.is_valid:
            return nullcontext()
        made = span.get_span_context()
        step = CorrelationContext.new(
            f"{around.trace_id:032x}", parent=f"{around.span_id:016x}", operation=operation
        )
        step = replace(step, sampled=bool(around.trace_flags & TraceFlags.SAMPLED))
        if made.is_valid and made.span_id != around.span_id:
            step = replace(step, span=f"{made.span_id:016x}")
        return correlate(step)


def step_of(context: CorrelationContext) -> SpanContext:
    """Return a step as OpenTelemetry names it."""
    _, trace_id, span_id, flags = context.traceparent().split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def causes_of(context: CorrelationContext) -> list[SpanContext]:
    """Return those causes of a step that are spans."""
    step = step_of(context)
    return [
        SpanContext(step.trace_id, int(cause, 16), is_remote=True, trace_flags=step.trace_flags)
        for cause in context.causes
        if _SPAN_ID.fullmatch(cause) and int(cause, 16)
    ]
