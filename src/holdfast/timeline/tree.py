"""A timeline as a tree of its steps in plain text, each with its entries. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from holdfast.timeline.entry import TimelineEntry
from holdfast.timeline.graph import CausalityGraph, TimelineStep
from holdfast.timeline.shown import (
    cut,
    duration_text,
    harmless,
    has_value,
    headline,
    time_text,
    value_text,
)
from holdfast.timeline.timeline import Timeline

Tone = Literal["", "title", "step", "critical", "event", "change", "failed", "read", "dim", "warn"]

WIDTH = 100  # characters of a value
_DEEPEST = 3 * 32  # characters of stem: what is deeper stands no further right, and says below what


class Piece(NamedTuple):
    """Some words of a line and what they are."""

    words: str
    tone: Tone = ""


Line = list[Piece]


def as_tree(timeline: Timeline, *, sensitive: bool = False) -> str:
    """Return a timeline as plain text."""
    lines = tree_lines(timeline, sensitive=sensitive)
    return "\n".join("".join(piece.words for piece in line).rstrip() for line in lines) + "\n"


def tree_lines(timeline: Timeline, *, sensitive: bool = False) -> Iterator[Line]:
    """Yield the lines of a tree: a step stands below the step that it waited for longest."""
    yield _heading(timeline)
    for words in warnings(timeline):
        yield [Piece(f"! {words}", "warn")]
    graph = timeline.graph
    if not graph.steps:
        yield [Piece("nothing happened", "dim")]
        return
    below: dict[str, list[TimelineStep]] = {}
    for step in graph.steps:
        if step.causes:
            below.setdefault(_above(graph, step).id, []).append(step)
    numbers = {step.id: number for number, step in enumerate(graph.steps, 1)}
    critical = set(graph.critical_path)
    roots = [graph[id_] for id_ in graph.roots]
    # A step and its stem; a loop, because a chain may be as long as the timeline.
    waiting = [(step, "", step is roots[-1], False) for step in reversed(roots)]
    while waiting:
        step, stem, last, flat = waiting.pop()
        head = stem + ("└─ " if last else "├─ ")
        yield _step(graph, step, head, numbers, critical, flat=flat)
        inner = stem + ("   " if last else "│  ")
        children = below.get(step.id, [])
        bar = "│ " if children else "  "
        for entry in step.entries:
            yield _entry(entry, inner + bar, sensitive=sensitive)
        flat = len(inner) > _DEEPEST
        if not flat:
            stem = inner
        waiting += [(child, stem, child is children[-1], flat) for child in reversed(children)]


def warnings(timeline: Timeline) -> list[str]:
    """Return what a reader has to know before trusting the picture."""
    found = []
    if timeline.horizon:
        found.append(
            f"incomplete: the journal has been trimmed up to revision {timeline.horizon}; "
            "what was there before is not shown"
        )
    if timeline.more:
        found.append("cut: there are later entries than the limit lets through")
    graph = timeline.graph
    if graph.missing:
        names = sorted({harmless(missing.name) for missing in graph.missing})
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        found.append(f"not here, but named as a cause or parent: {shown}")
    for link in graph.broken[:3]:
        found.append(
            f"bad data: {harmless(link.cause)} and {harmless(link.effect)} cause each other"
        )
    return found


def facts(timeline: Timeline) -> list[tuple[str, str]]:
    """Return the timeline's measures as names and texts."""
    graph = timeline.graph
    found = [
        ("entries", str(len(timeline))),
        ("steps", str(len(graph.steps))),
        ("depth", str(graph.depth)),
        ("duration", duration_text(timeline.duration)),
    ]
    if timeline.entries:
        first, last = timeline[0].revision, timeline[-1].revision
        found.append(("revisions", f"{first} to {last}" if first != last else str(first)))
    if graph.slowest is not None and graph.slowest.duration:
        slow = graph.slowest
        found.append(("slowest", f"{harmless(slow.title)} ({duration_text(slow.duration)})"))
    return found


def _heading(timeline: Timeline) -> Line:
    line = [Piece(harmless(timeline.title), "title")]
    line += [Piece(f"  {name} {words}", "dim") for name, words in facts(timeline)]
    if timeline.began_at is not None:
        line.append(Piece(f"  from {time_text(timeline.began_at)}", "dim"))
    return line


def _above(graph: CausalityGraph, step: TimelineStep) -> TimelineStep:
    """Return the cause below which a step is shown: the deepest, of several the last."""
    causes = [graph[id_] for id_ in step.causes]
    return max(causes, key=lambda cause: (cause.depth, cause.ended_at, cause.id))


def _step(
    graph: CausalityGraph,
    step: TimelineStep,
    stem: str,
    numbers: dict[str, int],
    on_path: set[str],
    *,
    flat: bool,
) -> Line:
    critical = step.id in on_path and len(on_path) > 1
    mark = " ◆" if critical else ""
    line = [
        Piece(stem, "dim"),
        Piece(f"{numbers[step.id]} {harmless(step.title)}", "critical" if critical else "step"),
        Piece(f"  {duration_text(step.duration)}{mark}" if step.duration else mark, "dim"),
    ]
    above = _above(graph, step).id if step.causes else None
    if flat and above is not None:
        line.append(Piece(f"  after {numbers[above]}", "dim"))
    others = [id_ for id_ in step.causes if id_ != above]
    if others:
        also = ", ".join(str(numbers[id_]) for id_ in others)
        line.append(Piece(f"  also after {also}", "dim"))
    return line


def _entry(entry: TimelineEntry, stem: str, *, sensitive: bool) -> Line:
    line = [
        Piece(stem, "dim"),
        Piece(f"+{duration_text(entry.offset):<8} r{entry.revision:<4} ", "dim"),
        Piece(headline(entry), entry.kind),
    ]
    if entry.duration is not None:
        line.append(Piece(f"  took {duration_text(entry.duration)}", "dim"))
    if has_value(entry) and entry.kind in ("change", "event"):
        joint = " = " if entry.kind == "change" else "  "
        line.append(Piece(joint + value_text(entry, sensitive=sensitive, width=WIDTH)))
    if entry.actor is not None:
        line.append(Piece(f"  by {cut(harmless(entry.actor), 40)}", "dim"))
    return line
