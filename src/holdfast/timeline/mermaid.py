"""A timeline for Mermaid: its steps as a flowchart, or along the time as a gantt chart. Pure.

Labels hold nothing that Mermaid or a page around it would read as anything but text.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from holdfast.timeline.graph import TimelineStep
from holdfast.timeline.shown import cut, duration_text, harmless
from holdfast.timeline.timeline import Timeline

_WIDTH: Final = 60
_SPECIAL: Final = re.compile(r"[^\w .,/·…()+=\-µ]")
_GANTT: Final = re.compile(r"[^\w ./·…()+=\-µ]")
# What begins so is a statement of a gantt chart, and no task.
_STATEMENT: Final = re.compile(
    "gantt|title|section|click|dateformat|axisformat|tickinterval|topaxis|inclusiveenddates"
    "|includes|excludes|todaymarker|weekday|weekend|acctitle|accdescr",
    re.IGNORECASE,
)
_ALONE: Final = "(no component)"


def as_mermaid(timeline: Timeline) -> str:
    """Return a flowchart of the steps; the critical path is marked."""
    graph = timeline.graph
    names = {step.id: f"s{number}" for number, step in enumerate(graph.steps, 1)}
    lines = ["flowchart TD"]
    for step in graph.steps:
        label = _escape(cut(step.title, _WIDTH))
        count = f"{len(step.entries)} {'entry' if len(step.entries) == 1 else 'entries'}"
        facts = f"{count} · {duration_text(step.duration)}"
        left, right = ("([", "])") if step.context is None else ("[", "]")
        lines.append(f'  {names[step.id]}{left}"{label}<br/>{_escape(facts)}"{right}')
    path = list(zip(graph.critical_path, graph.critical_path[1:], strict=False))
    marked = []
    for number, link in enumerate(graph.links):
        arrow = "-->" if link.why == "cause" else "-.->"
        lines.append(f"  {names[link.cause]} {arrow} {names[link.effect]}")
        if (link.cause, link.effect) in path:
            marked.append(str(number))
    lines.append("  classDef critical stroke:#d97706,stroke-width:3px")
    lines += [f"  class {names[id_]} critical" for id_ in graph.critical_path]
    if marked:
        lines.append(f"  linkStyle {','.join(marked)} stroke:#d97706,stroke-width:3px")
    return "\n".join(lines) + "\n"


def as_gantt(timeline: Timeline) -> str:
    """Return a gantt chart of the steps, one section for each component."""
    graph = timeline.graph
    lines = [
        "gantt",
        f"  title {_task(timeline.title)}",
        "  dateFormat x",
        "  axisFormat %H:%M:%S.%L",
    ]
    sections: dict[str, list[TimelineStep]] = {}
    for step in graph.steps:
        sections.setdefault(step.component or _ALONE, []).append(step)
    critical = set(graph.critical_path)
    for component, steps in sections.items():
        lines.append(f"  section {_task(component)}")
        for step in sorted(steps, key=lambda each: each.started_at):
            start = int(step.started_at.timestamp() * 1000)
            length = max(1, round(step.duration / timedelta(milliseconds=1)))
            mark = "crit, " if step.id in critical else ""
            name = _task(step.title)
            name = f"· {name}" if _STATEMENT.match(name) else name
            lines.append(f"  {name} :{mark}{start}, {start + length}")
    return "\n".join(lines) + "\n"


def _escape(words: str) -> str:
    """Return words for a quoted label: Mermaid's own entity codes for all that is special."""
    return _SPECIAL.sub(lambda found: f"#{ord(found.group())};", harmless(words))


def _task(words: str) -> str:
    """Return words for a gantt chart, which knows no escapes: what is special is left out."""
    return cut(_GANTT.sub(" ", harmless(words)).strip() or "?", _WIDTH)
