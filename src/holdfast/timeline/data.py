"""A timeline as JSON, for programs. ``docs/reference/timeline.md`` describes it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from holdfast.correlation import CorrelationContext
from holdfast.store.lines import to_json
from holdfast.timeline.entry import TimelineEntry
from holdfast.timeline.graph import TimelineStep
from holdfast.timeline.shown import has_value, is_hidden, plain_value
from holdfast.timeline.timeline import Timeline

FORMAT = 1


def as_json(timeline: Timeline, *, sensitive: bool = False) -> str:
    """Return a timeline as JSON text; every character beyond ASCII is escaped."""
    return json.dumps(as_data(timeline, sensitive=sensitive), indent=2)


def as_data(timeline: Timeline, *, sensitive: bool = False) -> dict[str, Any]:
    """Return a timeline as JSON data."""
    graph = timeline.graph
    return {
        "format": FORMAT,
        "correlation": timeline.correlation,
        "scope": None if timeline.scope is None else str(timeline.scope),
        "key": timeline.key,
        "since": _moment(timeline.since),
        "until": _moment(timeline.until),
        "complete": timeline.complete,
        "horizon": timeline.horizon,
        "more": timeline.more,
        "began_at": _moment(timeline.began_at),
        "duration_us": _microseconds(timeline.duration),
        "entries": [entry_data(entry, sensitive=sensitive) for entry in timeline],
        "graph": {
            "steps": [_step(step) for step in graph.steps],
            "links": [link._asdict() for link in graph.links],
            "roots": list(graph.roots),
            "parts": [list(part) for part in graph.parts],
            "missing": [missing._asdict() for missing in graph.missing],
            "broken": [link._asdict() for link in graph.broken],
            "critical_path": list(graph.critical_path),
            "slowest": None if graph.slowest is None else graph.slowest.id,
            "depth": graph.depth,
            "duration_us": _microseconds(graph.duration),
        },
    }


def entry_data(entry: TimelineEntry, *, sensitive: bool = False) -> dict[str, Any]:
    """Return one entry as JSON data; what does not apply to it is left out."""
    fields: dict[str, Any] = {
        "index": entry.index,
        "kind": entry.kind,
        "revision": entry.revision,
        "at": _moment(entry.at),
        "offset_us": _microseconds(entry.offset),
        "scope": str(entry.scope),
        "key": entry.key,
        "operation": entry.operation,
        "name": entry.name,
        "id": entry.id,
        "causes": list(entry.causes) or None,
        "version": entry.version,
        "previous_revision": entry.previous_revision,
        "class": None if entry.state_class is None else entry.state_class.name.lower(),
        "error": entry.error,
        "duration_us": _microseconds(entry.duration),
        "elapsed_us": _microseconds(entry.elapsed),
        "actor": entry.actor,
        "correlation": entry.correlation_id,
        "cause": entry.cause,
        "commit_id": entry.commit_id,
        "context": _context(entry.context),
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    if has_value(entry):
        if is_hidden(entry, sensitive=sensitive):
            fields["redacted"] = True
        elif not entry.readable:
            fields["readable"] = False
        else:
            fields["value"] = plain_value(entry, sensitive=sensitive)
    return fields


def _context(context: CorrelationContext | None) -> dict[str, Any] | None:
    if context is None:
        return None
    return {
        "span": context.span,
        "parent": context.parent,
        "causes": list(context.causes),
        "component": context.component,
        "operation": context.operation,
        "attributes": to_json(dict(context.attributes)),
        "started_ns": context.started_ns,
    }


def _step(step: TimelineStep) -> dict[str, Any]:
    return {
        "id": step.id,
        "title": step.title,
        "component": step.component,
        "entries": [entry.index for entry in step.entries],
        "started_at": _moment(step.started_at),
        "ended_at": _moment(step.ended_at),
        "duration_us": _microseconds(step.duration),
        "depth": step.depth,
        "causes": list(step.causes),
        "children": list(step.children),
    }


def _moment(moment: int | datetime | None) -> int | str | None:
    if isinstance(moment, datetime):
        return moment.isoformat().replace("+00:00", "Z")
    return moment


def _microseconds(duration: timedelta | None) -> int | None:
    return None if duration is None else duration // timedelta(microseconds=1)
