"""The causality graph: from ids only, whatever the order, measured, and sound on bad data."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import CausalityGraph, CorrelationContext, TimelineEntry, correlate
from holdfast.timeline.causality import causality
from holdfast.timeline.graph import Link, Missing
from holdfast.timeline.order import broken_up, depths, heaviest, in_order
from tests.timeline.conftest import change, context, event


def depth(graph: CausalityGraph) -> dict[str, int]:
    """Return each step's depth."""
    return {step.id: step.depth for step in graph.steps}


def edges(graph: CausalityGraph) -> set[tuple[str, str]]:
    """Return the links without their kinds."""
    return {(link.cause, link.effect) for link in graph.links}


def ms(duration: timedelta) -> float:
    """Return a duration in milliseconds."""
    return duration / timedelta(milliseconds=1)


# --- shapes -----------------------------------------------------------------------------------


def test_a_chain_of_spans() -> None:
    """A led to B, B to C: depths 0, 1, 2 and one root, however much time lies between."""
    a, b, c = context("a"), context("b", "a"), context("c", causes=["b"])
    graph = causality([change(0, a, at=0), change(1, b, at=150), change(2, c, at=9000)])
    assert depth(graph) == {"a": 0, "b": 1, "c": 2}
    assert graph.roots == ("a",)
    assert graph.links == (Link("a", "b", "parent"), Link("b", "c", "cause"))
    assert graph.missing == graph.broken == ()
    assert graph.depth == 2
    assert [step.id for step in graph.steps] == ["a", "b", "c"]
    assert graph["b"].causes == ("a",)
    assert graph["b"].children == ("c",)


def test_a_chain_of_events_in_one_span() -> None:
    """Events that name each other are steps of their own, inside the one that they happened in."""
    step = context("s")
    entries = [
        event(0, step, id="a"),
        event(1, step, id="b", causes=["a"]),
        event(2, step, id="c", causes=["b"]),
    ]
    graph = causality(entries)
    assert depth(graph) == {"s": 0, "b": 1, "c": 2}
    assert graph.step_of(entries[0]).id == "s"
    assert graph.step_of(2).id == "c"


@pytest.mark.parametrize("nested", [False, True])
def test_events_that_name_each_other_across_spans(nested: bool) -> None:
    """A span that only holds events with causes of their own adds no depth."""
    a, b, c = context("a"), context("b", "a"), context("c", "b" if nested else "a")
    entries = [
        event(0, a, id="ea"),
        event(1, b, id="eb", causes=["ea"]),
        event(2, c, id="ec", causes=["eb"]),
    ]
    graph = causality(entries)
    assert depth(graph) == {"a": 0, "eb": 1, "ec": 2}
    assert graph.roots == ("a",)
    assert graph.missing == ()


def test_events_without_spans() -> None:
    """Without any span, each event is a step, found by its own id or that of its commit."""
    entries = [
        event(0, id="a", commit="ca"),
        event(1, id="b", causes=["ca"]),
        event(2, id="c", causes=["a", "b"]),
    ]
    graph = causality(entries)
    assert depth(graph) == {"a": 0, "b": 1, "c": 2}
    assert edges(graph) == {("a", "b"), ("a", "c"), ("b", "c")}


def test_commits_without_spans() -> None:
    """Changes of one commit are one step; a write's cause names what led to it."""
    entries = [
        change(0, commit="one", key="x"),
        change(1, commit="one", key="y"),
        change(2, commit="two", cause="one"),
        change(3, commit="three", cause="some text of the user"),
    ]
    graph = causality(entries)
    assert [(step.id, len(step.entries)) for step in graph.steps] == [
        ("one", 2),
        ("two", 1),
        ("three", 1),
    ]
    assert edges(graph) == {("one", "two")}
    assert graph.missing == ()
    assert graph.roots == ("one", "three")


def test_a_write_that_names_its_cause_leaves_its_span() -> None:
    """It is a step of its own, behind its span and behind what it names."""
    step = context("s")
    other = context("t")
    entries = [change(0, step), event(1, other, id="e"), change(2, step, commit="c", cause="e")]
    graph = causality(entries)
    assert edges(graph) == {("s", "c"), ("t", "c")}
    assert depth(graph) == {"s": 0, "t": 0, "c": 1}


def test_a_cause_with_a_remark() -> None:
    """What a failover's replay writes behind a cause does not hide it."""
    known, unknown = "0" * 31 + "1", "f" * 32
    entries = [
        event(0, id=known),
        change(1, cause=f"{known} (failover: made at 2026-01-01T00:00:00+00:00)"),
        change(2, cause=f"{unknown} (failover: made at 2026-01-01T00:00:00+00:00)"),
        change(3, cause="failover: made at 2026-01-01T00:00:00+00:00"),
    ]
    graph = causality(entries)
    assert edges(graph) == {(known, "c1")}
    assert graph.missing == (Missing("c2", unknown, "cause"),)


def test_several_parents() -> None:
    """Depth is one more than the deepest parent's."""
    a, b = context("a"), context("b", "a")
    c, d = context("c", "b"), context("d", "a", causes=["c"])
    graph = causality([change(0, a), change(1, b), change(2, c), change(3, d)])
    assert depth(graph) == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert set(graph["d"].causes) == {"a", "c"}


def test_a_cause_says_more_than_a_parent() -> None:
    """What is both part of a step and names it as its cause has one link, as its effect."""
    both = causality([change(0, context("a")), change(1, context("b", "a", ["a"]))])
    assert both.links == (Link("a", "b", "cause"),)
    named = [event(0, context("a"), id="x"), event(1, context("s", "a"), id="e", causes=["x"])]
    assert causality(named).links == (Link("a", "e", "cause"),)


def test_disconnected_parts() -> None:
    """What has nothing to do with each other stays apart."""
    graph = causality(
        [change(0, context("a")), change(1, context("x")), change(2, context("b", "a"))]
    )
    assert graph.parts == (("a", "b"), ("x",))
    assert graph.roots == ("a", "x")


def test_unknown_causes_are_reported() -> None:
    """A parent or cause that the timeline lacks makes no edge, and is named."""
    entries = [
        change(0, context("a", "gone", ["lost"])),
        event(1, context("a", "gone", ["lost"]), id="e", causes=["nowhere"]),
    ]
    graph = causality(entries)
    assert graph.missing == (
        Missing("a", "gone", "parent"),
        Missing("a", "lost", "cause"),
        Missing("e", "nowhere", "cause"),
    )
    assert edges(graph) == {("a", "e")}


def test_an_empty_span_hands_on_what_it_misses() -> None:
    """A span without entries of its own is no step; what it names is missed by what it held."""
    step = context("s", "gone")
    graph = causality([event(0, step, id="e", causes=["x"])])
    assert [s.id for s in graph.steps] == ["e"]
    assert graph.missing == (Missing("e", "gone", "parent"), Missing("e", "x", "cause"))


def test_a_parent_that_ends_after_its_child() -> None:
    """A step that tells last what its own child led to is no circle."""
    a, b = context("a"), context("b", "a")
    graph = causality([event(0, b, id="found"), event(1, a, id="done", causes=["found"])])
    assert graph.broken == ()
    assert depth(graph) == {"b": 0, "done": 1}


def test_nothing() -> None:
    """A timeline without entries has a graph without steps."""
    graph = causality([])
    assert graph.steps == graph.roots == graph.parts == graph.critical_path == ()
    assert (graph.depth, graph.duration, graph.slowest) == (0, timedelta(0), None)


# --- bad data ---------------------------------------------------------------------------------


def test_self_loops() -> None:
    """What names itself is reported, and has no edge."""
    graph = causality([change(0, context("a", "a", ["a"])), event(1, id="e", causes=["e"])])
    assert graph.links == ()
    assert graph.broken == (
        Link("a", "a", "cause"),
        Link("a", "a", "parent"),
        Link("e", "e", "cause"),
    )
    assert depth(graph) == {"a": 0, "e": 0}


def test_a_circle_is_broken_at_the_same_place() -> None:
    """Of a circle, the edge back to its first step is left out, in whatever order it comes."""
    entries = [
        change(0, context("a", causes=["c"])),
        change(1, context("b", causes=["a"])),
        change(2, context("c", causes=["b"])),
    ]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]):
        graph = causality([entries[at] for at in order])
        assert graph.broken == (Link("c", "a", "cause"),)
        assert depth(graph) == {"a": 0, "b": 1, "c": 2}


def test_a_circle_through_a_span_without_entries() -> None:
    """Also where the circle leads through spans that are no steps, it is reported."""
    entries = [
        event(0, context("a", "b"), id="x", causes=["y"]),
        event(1, context("b", "a"), id="y", causes=["x"]),
    ]
    graph = causality(entries)
    assert graph.broken
    assert depth(graph) == {"x": 0, "y": 1}


def test_ids_that_collide() -> None:
    """An event, a commit and a span of one id are three steps, and all of them are there."""
    entries = [event(0, id="same"), change(1, context("same")), change(2, commit="same")]
    graph = causality(entries)
    assert len(graph.steps) == 3
    assert len({step.id for step in graph.steps}) == 3


def test_nonsense_times() -> None:
    """A step that began after its entries, or never, or at the end of all time, takes none."""
    for started in (5_000_000, -10_000_000_000_000, 16_000_000_000_000):
        graph = causality([change(0, context("a", started=started), at=5)])
        assert graph["a"].duration == timedelta(0)


# --- measures ---------------------------------------------------------------------------------


def test_durations() -> None:
    """A step lasts from its beginning to its last entry; what failed says itself how long."""
    a = context("a", started=10)
    entries = [
        change(0, a, at=20),
        change(1, a, at=50),
        event(2, at=200, kind="failed", duration=timedelta(milliseconds=30)),
        event(3, context("b", started=100), at=130, kind="failed", duration=timedelta(0)),
    ]
    graph = causality(entries)
    assert ms(graph["a"].duration) == 40
    assert ms(graph["e2"].duration) == 30
    assert ms(graph["b"].duration) == 30
    assert ms(graph.duration) == 190
    assert graph.slowest is graph["a"]


def test_an_event_begins_when_its_causes_were_there() -> None:
    """Inside one span, chained events share its time and do not count it twice."""
    step = context("s", started=0)
    entries = [
        event(0, step, id="a", at=100),
        event(1, step, id="b", at=130, causes=["a"]),
        event(2, step, id="c", at=150, causes=["b"]),
    ]
    graph = causality(entries)
    assert [ms(graph[id_].duration) for id_ in ("s", "b", "c")] == [100, 30, 20]
    assert graph.critical_path == ("s", "b", "c")


def test_critical_path() -> None:
    """It is the way that takes longest in sum, not the one with most steps."""
    entries = [
        change(0, context("a", started=0), at=10),
        change(1, context("slow", "a", started=10), at=500),
        change(2, context("b", "a", started=10), at=20),
        change(3, context("c", "b", started=20), at=30),
        change(4, context("d", "c", started=30), at=40),
    ]
    assert causality(entries).critical_path == ("a", "slow")


def test_critical_path_of_instants() -> None:
    """Where nothing takes time, it is the longest chain, the first of several."""
    entries = [event(n, id=f"x{n}", causes=[f"x{n - 1}"] if n else []) for n in range(4)]
    assert causality(entries).critical_path == ("x0", "x1", "x2", "x3")
    assert causality([event(0, id="x"), event(1, id="y")]).critical_path == ("x",)


def test_a_long_chain() -> None:
    """Thousands of steps one behind the other are no matter of Python's stack."""
    entries = [change(n, context(f"{n}", f"{n - 1}" if n else None)) for n in range(5000)]
    graph = causality(entries)
    assert graph.depth == 4999
    assert len(graph.critical_path) == 5000


# --- against a model --------------------------------------------------------------------------

NAMES = [f"s{n}" for n in range(5)] + [f"e{n}" for n in range(8)] + [f"c{n}" for n in range(8)]


@st.composite
def histories(draw: st.DrawFn) -> list[TimelineEntry]:
    """Draw entries of spans that name each other anyhow: forward, in circles, nowhere."""
    some = st.lists(st.sampled_from([*NAMES, "unknown"]), max_size=2)
    spans = {
        f"s{n}": context(
            f"s{n}",
            draw(st.none() | st.sampled_from([*NAMES[:5], "unknown"])),
            draw(some),
            started=draw(st.integers(0, 100)),
        )
        for n in range(5)
    }
    entries: list[TimelineEntry] = []
    for index in range(draw(st.integers(0, 8))):
        step = draw(st.none() | st.sampled_from(list(spans.values())))
        at = draw(st.integers(0, 200))
        cause = draw(st.none() | st.sampled_from([*NAMES, "text"]))
        if draw(st.booleans()):
            entries.append(event(index, step, at=at, causes=draw(some), cause=cause))
        else:
            entries.append(change(index, step, at=at, cause=cause))
    return entries


def homes(entries: Sequence[TimelineEntry]) -> dict[int, str]:
    """Return the step of each entry, by the rules as they are written down."""
    known = {e.id for e in entries} | {e.commit_id for e in entries}
    known |= {e.context.span for e in entries if e.context}
    found = {}
    for entry in entries:
        assert entry.commit_id is not None
        if entry.id and (entry.causes or entry.context is None):
            found[entry.index] = entry.id
        elif entry.context is None or entry.cause in known - {None}:
            found[entry.index] = entry.commit_id
        else:
            found[entry.index] = entry.context.span
    return found


def model(entries: Sequence[TimelineEntry]) -> set[tuple[str, str]]:
    """Return every pair of which the first led to the second, by brute force."""
    home = homes(entries)
    contexts: dict[str, CorrelationContext] = {
        e.context.span: e.context for e in entries if e.context
    }
    nodes = set(home.values()) | contexts.keys()
    meaning = {span: span for span in contexts}
    for entry in entries:
        assert entry.commit_id is not None
        meaning[entry.commit_id] = home[entry.index]
        if entry.id:
            meaning[entry.id] = home[entry.index]
    raw: set[tuple[str, str]] = set()
    for span, step in contexts.items():
        for name in [step.parent, *step.causes]:
            if name in meaning:
                raw.add((meaning[name], span))
    for entry in entries:
        mine = home[entry.index]
        if entry.context is None or mine != entry.context.span:
            names = [*entry.causes, entry.cause]
            raw |= {(meaning[name], mine) for name in names if name in meaning}
            if entry.context is not None:
                raw.add((entry.context.span, mine))
    full = set(home.values())
    found = set()
    for start in full:  # walk on through nodes without entries
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            node = waiting.pop()
            for cause, effect in raw:
                if cause == node and effect not in seen:
                    seen.add(effect)
                    if effect in full:
                        found.add((start, effect))
                    else:
                        waiting.append(effect)
    assert nodes >= full
    return {(cause, effect) for cause, effect in found if cause != effect}


@settings(max_examples=400, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_it_is_what_the_ids_say(entries: list[TimelineEntry], chance: random.Random) -> None:
    """Steps, edges, depths and roots are those of a model that knows nothing of the code.

    Whatever order entries come in, the graph is the same; it has no circle, and each link that was
    left out would close one.
    """
    graph = causality(entries)
    shuffled = entries[:]
    chance.shuffle(shuffled)
    assert causality(shuffled) == graph
    home = homes(entries)
    assert {step.id for step in graph.steps} == set(home.values())
    assert {e.index: graph.step_of(e).id for e in entries} == home
    assert sorted(e.index for step in graph.steps for e in step.entries) == sorted(home)

    left_out = {(link.cause, link.effect) for link in graph.broken if link.cause != link.effect}
    assert edges(graph) | left_out == model(entries)
    assert not edges(graph) & left_out
    place = {step.id: at for at, step in enumerate(graph.steps)}
    assert all(place[cause] < place[effect] for cause, effect in edges(graph))
    reach = reachable(edges(graph))
    assert all((effect, cause) in reach for cause, effect in left_out)

    for step in graph.steps:
        causes = {cause for cause, effect in edges(graph) if effect == step.id}
        assert set(step.causes) == causes
        assert set(step.children) == {e for c, e in edges(graph) if c == step.id}
        assert step.depth == max((graph[c].depth + 1 for c in causes), default=0)
        assert (step.id in graph.roots) == (not causes)
        assert step.duration >= timedelta(0)
    assert sorted(id_ for part in graph.parts for id_ in part) == sorted(place)
    for part in graph.parts:
        ends = {c for pair in edges(graph) for c in pair if set(pair) & set(part)}
        assert ends <= set(part)
    ways = all_ways(graph)
    best = max((sum((graph[s].duration for s in way), timedelta(0)) for way in ways), default=None)
    if best is not None:
        assert graph.critical_path in ways
        path = graph.critical_path
        assert sum((graph[s].duration for s in path), timedelta(0)) == best


def reachable(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the transitive closure."""
    found = set(pairs)
    while True:
        more = {(a, d) for a, b in found for c, d in pairs if b == c} - found
        if not more:
            return found
        found |= more


def all_ways(graph: CausalityGraph) -> set[tuple[str, ...]]:
    """Return every way from a root on."""
    ways: set[tuple[str, ...]] = set()

    def walk(way: tuple[str, ...]) -> None:
        ways.add(way)
        for child in graph[way[-1]].children:
            walk((*way, child))

    for root in graph.roots:
        walk((root,))
    return ways


@given(st.lists(st.dictionaries(st.integers(0, 9), st.just("x"), max_size=4), max_size=10))
def test_circles_of_numbers(given_: list[dict[int, str]]) -> None:
    """Any graph is broken up into one that can be put in order; sound ones stay whole."""
    before = [
        {cause: why for cause, why in causes.items() if cause < len(given_) and cause != effect}
        for effect, causes in enumerate(given_)
    ]
    kept, cut = broken_up(before)
    behind = [[e for e, causes in enumerate(kept) if n in causes] for n in range(len(kept))]
    order = in_order(kept, behind)
    assert sorted(order) == list(range(len(before)))
    rank = {node: at for at, node in enumerate(order)}
    assert all(rank[c] < rank[e] for e, causes in enumerate(kept) for c in causes)
    assert broken_up(kept) == (kept, [])
    total = sum(map(len, before))
    assert sum(map(len, kept)) + len(cut) == total
    deep = depths(order, kept)
    assert len(heaviest(order, kept, [0] * len(kept), 0)) == max(deep, default=-1) + 1


def test_through_a_store() -> None:
    """What a program correlates is what the graph of its timeline says."""
    with holdfast.open("memory:") as state:
        with correlate("run-1", component="planner") as plan:
            made = state.events.emit("plan.made")
            with correlate(component="writer") as write:
                state.set("agent:a", "draft", 1)
            with correlate(component="critic", causes=[write.span, made]) as critic:
                state.set("agent:a", "verdict", "good")
        graph = state.timeline("run-1").graph
        assert depth(graph) == {plan.span: 0, write.span: 1, critic.span: 2}
        assert [step.component for step in graph.steps] == ["planner", "writer", "critic"]
