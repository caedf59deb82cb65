"""The causality graph of a timeline: which step led to which. Pure.

Steps are spans; whoever names its causes, and whatever has no span, is a step of its own. Edges
come from ids only: a span's parent, and causes, which name events, commits or spans. Times order
what is shown and measure it, and never make an edge.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from holdfast.correlation import CorrelationContext
from holdfast.timeline.entry import TimelineEntry, started_at
from holdfast.timeline.graph import CausalityGraph, Link, Missing, TimelineStep, Why
from holdfast.timeline.order import broken_up, depths, heaviest, in_order, parts

_ID: Final = re.compile(r"(?:[0-9a-f]{32}|[0-9a-f]{16})(?= \(|$)")
_NONE: Final = timedelta(0)


def causality(entries: Iterable[TimelineEntry]) -> CausalityGraph:
    """Return the graph of entries, in whatever order they come."""
    draft = _Draft(sorted(entries, key=lambda entry: (entry.revision, entry.index)))
    draft.connect()
    draft.leave_out_empty()
    return draft.graph()


class _Draft:
    """A graph on its way: nodes by number, in the order of their first entries."""

    def __init__(self, entries: Sequence[TimelineEntry]) -> None:
        self._known = {e.id for e in entries if e.id} | {
            e.commit_id for e in entries if e.commit_id
        }
        self._known |= {e.context.span for e in entries if e.context is not None}
        self._numbers: dict[tuple[str, str], int] = {}
        self.entries: list[list[TimelineEntry]] = []
        self.contexts: list[CorrelationContext | None] = []
        self._names: list[tuple[str, str]] = []
        self._spans: dict[str, list[CorrelationContext]] = defaultdict(list)
        for entry in entries:
            context = entry.context
            if context is not None:
                if context not in self._spans[context.span]:
                    self._spans[context.span].append(context)
                self._node("span", context.span, context)
            self.entries[self._node(*self._home(entry), context)].append(entry)
        self.before: list[dict[int, Why]] = [{} for _ in self._names]  # causes of each node
        self.missing: list[set[tuple[str, Why]]] = [set() for _ in self._names]
        self.loops: list[tuple[int, int, Why]] = []

    def _node(self, kind: str, id_: str, context: CorrelationContext | None) -> int:
        number = self._numbers.setdefault((kind, id_), len(self._names))
        if number == len(self._names):
            self._names.append((kind, id_))
            self.entries.append([])
            self.contexts.append(context)
        return number

    def _home(self, entry: TimelineEntry) -> tuple[str, str]:
        """Return the node that an entry belongs to."""
        commit = entry.commit_id or f"revision {entry.revision}"
        if entry.causes or (entry.id and entry.context is None):
            return "event", entry.id or f"{commit}/{entry.index}"
        if entry.context is None or self._named(entry.cause) is not None:
            return "commit", commit
        return "span", entry.context.span

    def _named(self, cause: str | None) -> str | None:
        """Return the id that a commit's cause names, if it does: it may be any text.

        A failover's replay writes a remark behind it.
        """
        if cause is None or cause in self._known:
            return cause
        found = _ID.match(cause)
        return None if found is None else found[0]

    def connect(self) -> None:
        """Draw every edge that ids tell of."""
        names = self._resolver()
        for number, (kind, id_) in enumerate(self._names):
            for context in self._spans[id_] if kind == "span" else ():
                if context.parent is not None:
                    self._link(names, number, context.parent, "parent")
                for cause in context.causes:
                    self._link(names, number, cause, "cause")
            for entry in self.entries[number] if kind != "span" else ():
                if entry.context is not None:
                    self._draw(self._numbers["span", entry.context.span], number, "parent")
                named = self._named(entry.cause)
                if named is not None:
                    self._link(names, number, named, "cause")
                for cause in entry.causes:
                    self._link(names, number, cause, "cause")

    def _resolver(self) -> Mapping[str, int]:
        """Return the node that each id means: of an event, else of a commit, else of a span."""
        events: dict[str, int] = {}
        commits: dict[str, int] = {}
        ranks = {"commit": 0, "span": 1, "event": 2}
        for number, entries in enumerate(self.entries):
            for entry in entries:
                if entry.id:
                    events.setdefault(entry.id, number)
                if entry.commit_id:
                    known = commits.setdefault(entry.commit_id, number)
                    if ranks[self._names[number][0]] < ranks[self._names[known][0]]:
                        commits[entry.commit_id] = number
        spans = {id_: number for (kind, id_), number in self._numbers.items() if kind == "span"}
        return spans | commits | events

    def _link(self, names: Mapping[str, int], effect: int, name: str, why: Why) -> None:
        cause = names.get(name)
        if cause is None:
            self.missing[effect].add((name, why))
        else:
            self._draw(cause, effect, why)

    def _draw(self, cause: int, effect: int, why: Why) -> None:
        if cause == effect:
            self.loops.append((cause, effect, why))
        elif self.before[effect].get(cause) != "cause":
            self.before[effect][cause] = why

    def leave_out_empty(self) -> None:
        """Leave out spans all of whose entries are nodes of their own.

        What such a span led to follows from what led to the span.
        """
        behind: dict[int, set[int]] = defaultdict(set)
        for effect, causes in enumerate(self.before):
            for cause in causes:
                behind[cause].add(effect)
        for number, entries in enumerate(self.entries):
            if entries:
                continue
            causes, effects = self.before[number], behind.pop(number, set())
            for cause in causes:
                behind[cause].discard(number)
            for effect in sorted(effects):
                del self.before[effect][number]
                self.missing[effect] |= self.missing[number]
                for cause, why in causes.items():
                    self._draw(cause, effect, why)
                    if cause != effect:
                        behind[cause].add(effect)
            self.before[number] = {}
            self.missing[number] = set()

    def graph(self) -> CausalityGraph:
        """Break circles, measure, and return the graph."""
        kept = sorted(
            (n for n, entries in enumerate(self.entries) if entries),
            key=lambda n: (self.entries[n][0].revision, self.entries[n][0].index),
        )
        rank = {number: at for at, number in enumerate(kept)}
        every = _ids(self._names)
        ids = [every[number] for number in kept]
        before = [{rank[c]: why for c, why in self.before[n].items()} for n in kept]
        before, cut = broken_up(before)
        behind: list[list[int]] = [[] for _ in kept]
        for effect, causes in enumerate(before):
            for cause in sorted(causes):
                behind[cause].append(effect)
        order = in_order(before, behind)
        deep = depths(order, before)
        spans = _Measure(self, kept).times(order, before)
        critical = heaviest(order, before, [end - start for start, end in spans], _NONE)
        steps = [
            TimelineStep(
                id=ids[at],
                entries=tuple(self.entries[kept[at]]),
                context=self.contexts[kept[at]],
                started_at=spans[at][0],
                ended_at=spans[at][1],
                depth=deep[at],
                causes=tuple(ids[cause] for cause in sorted(before[at])),
                children=tuple(ids[effect] for effect in behind[at]),
            )
            for at in order
        ]
        loops = {Link(every[c], every[e], why) for c, e, why in self.loops}
        loops |= {Link(ids[c], ids[e], why) for c, e, why in cut}
        return CausalityGraph(
            steps=tuple(steps),
            links=tuple(
                Link(ids[cause], ids[effect], before[effect][cause])
                for effect in range(len(kept))
                for cause in sorted(before[effect])
            ),
            roots=tuple(ids[at] for at in order if not before[at]),
            parts=tuple(tuple(ids[at] for at in part) for part in parts(before)),
            missing=tuple(
                Missing(ids[rank[number]], name, why)
                for number in kept
                for name, why in sorted(self.missing[number])
            ),
            broken=tuple(sorted(loops)),
            critical_path=tuple(ids[at] for at in critical),
            _steps={step.id: step for step in steps},
            _homes={entry.index: ids[rank[n]] for n in kept for entry in self.entries[n]},
        )

    def is_span(self, number: int) -> bool:
        """Say whether a node is a span, and not one event or commit of its own."""
        return self._names[number][0] == "span"


class _Measure:
    """When steps began and ended."""

    def __init__(self, draft: _Draft, kept: Sequence[int]) -> None:
        self._draft = draft
        self._kept = kept

    def times(
        self, order: Sequence[int], before: Sequence[Mapping[int, Why]]
    ) -> list[tuple[datetime, datetime]]:
        """Return beginning and end of each step; causes are measured before effects."""
        found: dict[int, tuple[datetime, datetime]] = {}
        for at in order:
            number = self._kept[at]
            entries = self._draft.entries[number]
            first = min(entry.at for entry in entries)
            last = max(entry.at for entry in entries)
            begun = started_at(self._draft.contexts[number])
            own = [e.at - e.duration for e in entries if e.duration is not None]
            if not self._draft.is_span(number):
                if len(own) == len(entries):
                    begun = min(own)  # an operation tells how long it took
                elif begun is not None:
                    # What names its causes began, at the earliest, when the last of them was there.
                    ends = (found[cause][1] for cause in before[at])
                    begun = max([begun, *(end for end in ends if end <= last)])
            found[at] = (first if begun is None else min(begun, first), last)
        return [found[at] for at in range(len(self._kept))]


def _ids(names: Sequence[tuple[str, str]]) -> list[str]:
    """Return ids of nodes; only bad data has an event, commit or span with another's id."""
    taken: set[str] = set()
    ids = []
    for kind, id_ in names:
        name = id_
        while name in taken:
            name = f"{kind} {name}"
        taken.add(name)
        ids.append(name)
    return ids
