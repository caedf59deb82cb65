"""Directed graphs of numbered nodes: circles broken, order, depths, the heaviest way. Pure.

A graph is given by the causes of each node. Nothing here recurses: a chain may be as long as a
timeline.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Protocol, Self, TypeVar

Why = TypeVar("Why")
Before = Sequence[Mapping[int, Why]]


class Weight(Protocol):
    """What can be summed and compared."""

    def __add__(self, other: Self, /) -> Self: ...

    def __lt__(self, other: Self, /) -> bool: ...


W = TypeVar("W", bound=Weight)


def broken_up(before: Before[Why]) -> tuple[list[dict[int, Why]], list[tuple[int, int, Why]]]:
    """Return the graph without circles, and the edges (cause, effect) that were left out.

    Walks from the first node on, lower numbers first, and leaves out each edge that leads back to
    a node on the way: so the same graph is always broken at the same places, and adding any edge
    again would close a circle.
    """
    kept = [dict(causes) for causes in before]
    behind: list[list[int]] = [[] for _ in kept]
    for effect, causes in enumerate(kept):
        for cause in sorted(causes):
            behind[cause].append(effect)
    cut: list[tuple[int, int, Why]] = []
    done, on_way = [False] * len(kept), [False] * len(kept)
    for start in sorted(range(len(kept)), key=lambda node: (bool(kept[node]), node)):
        if done[start]:
            continue
        done[start] = on_way[start] = True
        way = [(start, iter(behind[start]))]
        while way:
            node, effects = way[-1]
            effect = next(effects, -1)
            if effect < 0:
                on_way[node] = False
                way.pop()
            elif on_way[effect]:
                cut.append((node, effect, kept[effect].pop(node)))
            elif not done[effect]:
                done[effect] = on_way[effect] = True
                way.append((effect, iter(behind[effect])))
    return kept, cut


def in_order(before: Before[Why], behind: Sequence[Sequence[int]]) -> list[int]:
    """Return the nodes, causes before effects, else by number."""
    left = [len(causes) for causes in before]
    ready = [node for node, count in enumerate(left) if not count]
    order: list[int] = []
    while ready:
        node = heapq.heappop(ready)
        order.append(node)
        for effect in behind[node]:
            left[effect] -= 1
            if not left[effect]:
                heapq.heappush(ready, effect)
    return order


def depths(order: Sequence[int], before: Before[Why]) -> list[int]:
    """Return the number of edges on the longest way to each node."""
    deep = [0] * len(order)
    for node in order:
        deep[node] = max((deep[cause] + 1 for cause in before[node]), default=0)
    return deep


def heaviest(order: Sequence[int], before: Before[Why], weights: Sequence[W], zero: W) -> list[int]:
    """Return the way whose nodes weigh most in sum; of equals the longest, then the first."""
    best: dict[int, tuple[W, int]] = {}
    back: dict[int, int] = {}
    for node in order:
        weight, length = zero, 0
        for cause in sorted(before[node]):
            if (weight, length) < best[cause] or not length:
                (weight, length), back[node] = best[cause], cause
        best[node] = (weight + weights[node], length + 1)
    if not best:
        return []
    end = order[0]
    for node in order:
        if best[end] < best[node]:
            end = node
    way = [end]
    while way[-1] in back:
        way.append(back[way[-1]])
    return way[::-1]


def parts(before: Before[Why]) -> list[list[int]]:
    """Return the nodes of each connected part, in order, the part of the first node first."""
    part = list(range(len(before)))

    def root(node: int) -> int:
        while part[node] != node:
            part[node] = part[part[node]]
            node = part[node]
        return node

    for effect, causes in enumerate(before):
        for cause in causes:
            one, other = sorted((root(cause), root(effect)))
            part[other] = one
    found: dict[int, list[int]] = {}
    for node in range(len(before)):
        found.setdefault(root(node), []).append(node)
    return list(found.values())
