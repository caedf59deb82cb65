"""What a causality graph is made of: steps, the links between them, and the graph. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from holdfast.correlation import CorrelationContext
from holdfast.timeline.entry import TimelineEntry

Why = Literal["parent", "cause"]


class Link(NamedTuple):
    """One edge.

    Attributes:
        cause, effect: Ids of steps.
        why: ``"cause"`` where the effect names it, ``"parent"`` where it is part of it.
    """

    cause: str
    effect: str
    why: Why


class Missing(NamedTuple):
    """What a step names and the timeline does not have.

    Attributes:
        step: The id of the step that names it.
        name: The id that it names.
        why: As what: see `Link`.
    """

    step: str
    name: str
    why: Why


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """One step of a piece of work.

    Attributes:
        id: Its span; of a step that is one event or commit, that one's id.
        entries: Its entries in the journal's order.
        context: As its first entry has it; None outside of spans.
        started_at, ended_at: From its beginning to its last entry.
        depth: The number of steps on the longest way to it.
        causes, children: Ids of the steps right before and right behind it.
    """

    id: str
    entries: tuple[TimelineEntry, ...]
    context: CorrelationContext | None
    started_at: datetime
    ended_at: datetime
    depth: int
    causes: tuple[str, ...]
    children: tuple[str, ...]

    @property
    def duration(self) -> timedelta:
        """How long it took."""
        return self.ended_at - self.started_at

    @property
    def component(self) -> str | None:
        """What did the work."""
        return self.context.component if self.context is not None else None

    @property
    def title(self) -> str:
        """What it did, in a few words."""
        first = self.entries[0]
        context = self.context
        if context is not None and self.id == context.span:
            words = [word for word in (context.component, context.operation) if word]
            if words:
                return " · ".join(words)
        if first.kind == "event":
            return first.name or first.operation
        return f"{first.operation} {first.scope}/{first.key}" if first.key else first.operation

    def __repr__(self) -> str:
        return f"TimelineStep({self.id}, depth={self.depth}, entries={len(self.entries)})"


@dataclass(frozen=True, slots=True)
class CausalityGraph:
    """Steps and what led from one to the other; no cycles.

    Attributes:
        steps: Causes before effects, else in the journal's order.
        links: The edges.
        roots: Ids of the steps that nothing led to.
        parts: Ids of the steps of each connected part.
        missing: What steps name and the timeline does not have.
        broken: Links left out because they would lead in a circle: the data is bad.
        critical_path: Ids of the steps of the way that took longest, by the sum of durations.
    """

    steps: tuple[TimelineStep, ...]
    links: tuple[Link, ...]
    roots: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]
    missing: tuple[Missing, ...]
    broken: tuple[Link, ...]
    critical_path: tuple[str, ...]
    _steps: Mapping[str, TimelineStep] = field(repr=False, compare=False)
    _homes: Mapping[int, str] = field(repr=False, compare=False)

    def __getitem__(self, id: str) -> TimelineStep:
        return self._steps[id]

    def step_of(self, entry: TimelineEntry | int) -> TimelineStep:
        """Return the step that an entry (or its index) belongs to."""
        index = entry if isinstance(entry, int) else entry.index
        return self._steps[self._homes[index]]

    @property
    def depth(self) -> int:
        """The depth of the deepest step; 0 where there is none."""
        return max((step.depth for step in self.steps), default=0)

    @property
    def slowest(self) -> TimelineStep | None:
        """The step that took longest; the first of several."""
        return max(self.steps, key=lambda step: step.duration, default=None)

    @property
    def duration(self) -> timedelta:
        """From the beginning of the first step to the end of the last."""
        if not self.steps:
            return timedelta(0)
        ends = max(step.ended_at for step in self.steps)
        return ends - min(step.started_at for step in self.steps)
