"""What the tests of timelines share: entries made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast import CorrelationContext, StateClass, StateScope, TimelineEntry

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN_NS = 1_767_225_600_000_000_000
SCOPE = StateScope.agent("a")


def context(
    span: str,
    parent: str | None = None,
    causes: Sequence[str] = (),
    *,
    component: str | None = None,
    operation: str | None = None,
    started: int = 0,
) -> CorrelationContext:
    """Return a step; `started` is in milliseconds since the beginning."""
    return CorrelationContext(
        id="run",
        span=span,
        parent=parent,
        causes=tuple(causes),
        component=component,
        operation=operation,
        started_ns=BEGIN_NS + started * 1_000_000,
    )


def change(
    index: int,
    step: CorrelationContext | None = None,
    *,
    at: int = 0,
    commit: str | None = None,
    cause: str | None = None,
    key: str = "k",
    value: Any = None,
    state_class: StateClass = StateClass.STANDARD,
    **fields: Any,
) -> TimelineEntry:
    """Return a set; `at` is in milliseconds since the beginning."""
    return TimelineEntry(
        index=index,
        kind="change",
        revision=index + 1,
        at=BEGIN + timedelta(milliseconds=at),
        offset=timedelta(milliseconds=at),
        scope=SCOPE,
        key=key,
        operation="set",
        version=1,
        value=value,
        state_class=state_class,
        commit_id=commit or f"c{index}",
        cause=cause,
        context=step,
        **fields,
    )


def event(
    index: int,
    step: CorrelationContext | None = None,
    *,
    id: str | None = None,
    at: int = 0,
    causes: Sequence[str] = (),
    commit: str | None = None,
    cause: str | None = None,
    name: str = "e",
    **fields: Any,
) -> TimelineEntry:
    """Return an event; `at` is in milliseconds since the beginning."""
    return TimelineEntry(
        index=index,
        kind=fields.pop("kind", "event"),
        revision=index + 1,
        at=BEGIN + timedelta(milliseconds=at),
        offset=timedelta(milliseconds=at),
        scope=SCOPE,
        operation=fields.pop("operation", "emit"),
        name=name,
        id=id or f"e{index}",
        causes=tuple(causes),
        commit_id=commit or f"c{index}",
        cause=cause,
        context=step,
        **fields,
    )
