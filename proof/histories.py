"""What transactions did, as data, and what is wrong with it. Pure; after Elle and Adya.

Transactions append elements that nobody else appends and read whole lists, so a list tells the
order of the writes before it; they insert keys that nobody else inserts and list them, so a
listing tells which inserts came before it (and a missing key which did not). From that follow the
dependencies: *ww* (wrote over), *wr* (read what was written), *rw* (read what was then written
over) and *rt* (one was acknowledged before the other began). A cycle of them means that no serial
order explains the history: it is not strictly serialisable.

Source: Kingsbury and Alvaro, Elle: Inferring Isolation Anomalies from Experimental Observations,
VLDB 2020; Adya, Weak Consistency, MIT 1999.
"""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: One operation: kind, key, and what was written or seen. ``append`` and ``insert`` have an
#: element, ``read`` a list of elements, ``list`` (of a prefix) a list of keys.
Op = tuple[str, str, Any]
Edges = dict[Any, dict[Any, str]]


@dataclass(slots=True)
class Txn:
    """One transaction as its client saw it.

    Attributes:
        name: Unique.
        began, ended: Nanoseconds of a clock that all clients share.
        committed: Acknowledged (True), refused or rolled back (False), or unknown (None).
        ops: In order.
        start: The revision that its reads were as of.
        revision: Of the commit; None if nothing was written.
    """

    name: str
    began: int
    ended: int = 0
    committed: bool | None = None
    ops: list[Op] = field(default_factory=list)
    start: int = 0
    revision: int | None = None


def anomalies(history: Sequence[Txn], final: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return everything that is wrong with a history; `final` is what each list ended as."""
    writers: dict[tuple[str, Any], Txn] = {
        (key, value): txn
        for txn in history
        for kind, key, value in txn.ops
        if kind in ("append", "insert")
    }
    found = [
        *_final_lists(writers, final),
        *_reads(history, writers, final),
        *_listings(history, writers),
    ]
    return found or [" ".join(cycle) for cycle in cycles(history, final)]


def _final_lists(
    writers: Mapping[tuple[str, Any], Txn], final: Mapping[str, Sequence[Any]]
) -> Iterator[str]:
    for key, elements in final.items():
        if len(set(elements)) != len(elements):
            yield f"duplicate elements in {key}"
        for element in elements:
            txn = writers.get((key, element))
            if txn is None or txn.committed is False:
                yield f"{key} holds {element}, which nobody committed"
    kept = {(key, element) for key, elements in final.items() for element in elements}
    for (key, element), txn in writers.items():
        if txn.committed and key in final and (key, element) not in kept:
            yield f"lost: {element} of {key}, acknowledged to {txn.name}"


def _reads(
    history: Iterable[Txn],
    writers: Mapping[tuple[str, Any], Txn],
    final: Mapping[str, Sequence[Any]],
) -> Iterator[str]:
    last = {}  # the last element that a transaction appended to a key
    for txn in history:
        for kind, key, value in txn.ops:
            if kind == "append":
                last[txn.name, key] = value
    for txn in history:
        own: defaultdict[str, list[Any]] = defaultdict(list)
        for kind, key, value in txn.ops:
            if kind == "append":
                own[key].append(value)
            if kind != "read":
                continue
            mine = own[key]
            others = list(value[: len(value) - len(mine)])
            if list(value[len(others) :]) != mine:
                yield f"{txn.name} does not see its own appends to {key}"
            elif others != list(final.get(key, ()))[: len(others)]:
                yield f"{txn.name} read {key} as no prefix of what it became"
            for element in others:
                writer = writers.get((key, element))
                if writer is None or writer.committed is False:
                    yield f"aborted read: {txn.name} saw {element} of {key}"
            if others and (writer := writers.get((key, others[-1]))) is not None:
                if last[writer.name, key] != others[-1]:
                    yield f"intermediate read: {txn.name} saw {key} in the middle of {writer.name}"


def _listings(history: Iterable[Txn], writers: Mapping[tuple[str, Any], Txn]) -> Iterator[str]:
    inserted = {key: txn for (key, _), txn in writers.items()}
    for txn in history:
        own = set()
        for kind, key, value in txn.ops:
            if kind == "insert":
                own.add(key)
            if kind == "list":
                for seen in value:
                    strange = seen not in inserted or inserted[seen].committed is False
                    if strange and seen not in own:
                        yield f"aborted read: {txn.name} lists {seen}"
                if missing := [k for k in own if k.startswith(key) and k not in value]:
                    yield f"{txn.name} does not list its own {missing}"


def cycles(
    history: Sequence[Txn], final: Mapping[str, Sequence[Any]], *, real_time: bool = True
) -> list[list[str]]:
    """Return one cycle of dependencies for each knot of them, as names with the kinds between."""
    edges = dependencies(history, final)
    if real_time:
        add_real_time(edges, history)
    return [_walk(edges, knot) for knot in _knots(edges)]


def dependencies(history: Sequence[Txn], final: Mapping[str, Sequence[Any]]) -> Edges:
    """Return ww, wr and rw between transactions, by what they wrote and saw."""
    edges: Edges = {txn.name: {} for txn in history if txn.committed is not False}
    by_element, by_key = {}, {}
    for txn in history:
        for kind, key, value in txn.ops:
            if kind == "append":
                by_element[key, value] = txn.name
            if kind == "insert":
                by_key[key] = txn

    def add(one: str | None, kind: str, other: str | None) -> None:
        if one != other and one in edges and other in edges:
            edges[one].setdefault(other, kind)

    for key, elements in final.items():
        names = [by_element.get((key, element)) for element in elements]
        for before, behind in itertools.pairwise(names):
            add(before, "ww", behind)
    for txn in history:
        for kind, key, value in txn.ops:
            if kind == "read":
                order = [by_element.get((key, e)) for e in final.get(key, ())]
                others = [e for e in value if by_element.get((key, e)) != txn.name]
                if others:
                    add(by_element.get((key, others[-1])), "wr", txn.name)
                add(txn.name, "rw", next((n for n in order[len(others) :] if n != txn.name), None))
            elif kind == "list":
                shown = set(value)
                for name, writer in by_key.items():
                    if name in shown:
                        add(writer.name, "wr", txn.name)
                    elif name.startswith(key) and writer.committed:
                        add(txn.name, "rw", writer.name)
    return edges


def add_real_time(edges: Edges, history: Sequence[Txn]) -> None:
    """Add that who began after another's acknowledgement comes behind it.

    Through a chain of moments, one per beginning, instead of an edge for each pair.
    """
    known = [txn for txn in history if txn.name in edges]
    moments = sorted({txn.began for txn in known})
    for before, behind in itertools.pairwise(moments):
        edges[before] = {behind: "rt"}
    edges.setdefault(moments[-1] if moments else 0, {})
    for txn in known:
        edges[txn.began][txn.name] = "rt"
        following = bisect.bisect_right(moments, txn.ended)
        if txn.committed and following < len(moments):
            edges[txn.name][moments[following]] = "rt"


def _knots(edges: Edges) -> list[set[Any]]:
    """Return the strongly connected components of more than one node (Tarjan, by a stack)."""
    index: dict[Any, int] = {}
    low: dict[Any, int] = {}
    stack: list[Any] = []
    on_stack: set[Any] = set()
    knots: list[set[Any]] = []
    for root in edges:
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    knot = set()
                    while node not in knot:
                        knot.add(stack.pop())
                    on_stack -= knot
                    if len(knot) > 1:
                        knots.append(knot)
    return knots


def _walk(edges: Edges, knot: set[Any]) -> list[str]:
    """Return a shortest cycle through some node of a knot."""
    start = min((n for n in knot if isinstance(n, str)), default=min(knot, key=str))
    came: dict[Any, Any] = {}
    level = [start]
    while start not in came:
        following = []
        for node in level:
            for target in edges[node]:
                if target in knot and target not in came:
                    came[target] = node
                    following.append(target)
        level = following
    path = [start]
    while len(path) == 1 or path[-1] != start:
        path.append(came[path[-1]])
    path.reverse()
    out = [str(start)]
    for node, target in itertools.pairwise(path):
        out.append(f"-{edges[node][target]}->")
        out.append(target if isinstance(target, str) else f"t{target}")
    return out
