"""Hermitage's shapes as data, and what any run of them may end in.

A shape is two or three scripts over the keys ``1`` and ``2``, which hold 10 and 20, after
https://github.com/ept/hermitage. The oracle knows nothing of locks or revisions: the outcome of a
run must be that of some serial order of the transactions that committed, where one that had ended
before another began comes first, and what an aborted one read must fit into that order too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

START = {"1": 10, "2": 20}


class Verbs(Protocol):
    """What a step can do."""

    def get(self, key: str) -> Any:
        """Return a value, or None."""
        ...

    def set(self, key: str, value: Any) -> None:
        """Set a value."""
        ...

    def delete(self, key: str) -> None:
        """Delete a key."""
        ...

    def scan(self) -> dict[str, Any]:
        """Return everything."""
        ...


class Values(dict[str, Any]):
    """The verbs on a plain dict: what a serial run would do."""

    def set(self, key: str, value: Any) -> None:
        """Set a value."""
        self[key] = value

    def delete(self, key: str) -> None:
        """Delete a key."""
        self.pop(key, None)

    def scan(self) -> dict[str, Any]:
        """Return everything."""
        return dict(self)


Step = Callable[[Verbs], Any]


def get(key: str) -> Step:
    """Read a key."""
    return lambda verbs: verbs.get(key)


def put(key: str, value: int) -> Step:
    """Write a key."""
    return lambda verbs: verbs.set(key, value)


def delete(key: str) -> Step:
    """Delete a key."""
    return lambda verbs: verbs.delete(key)


def scan(verbs: Verbs) -> Any:
    """Read everything."""
    return verbs.scan()


def add(key: str, by: int) -> Step:
    """Write a key by what it was: read, then write."""

    def step(verbs: Verbs) -> Any:
        old = verbs.get(key)
        verbs.set(key, (old or 0) + by)
        return old

    return step


@dataclass(frozen=True, slots=True)
class Shape:
    """One anomaly: the scripts that meet it where nothing prevents it.

    Attributes:
        name: Hermitage's.
        scripts: The steps of each transaction; None stands for a roll-back at the end.
        order: Hermitage's interleaving: whose turn it is; each begins and ends with turns of its
            own, so a script of n steps has n + 2 turns.
        commits: Who commits in that interleaving.
        final: What is there after it.
    """

    name: str
    scripts: tuple[tuple[Step | None, ...], ...]
    order: str
    commits: tuple[bool, ...]
    final: Mapping[str, int]


def _shape(
    name: str, order: str, commits: str, final: Mapping[str, int], *scripts: Sequence[Step | None]
) -> Shape:
    return Shape(name, tuple(map(tuple, scripts)), order, tuple(c == "+" for c in commits), final)


_BOTH = (get("1"), get("2"))

SHAPES = (
    _shape(
        "G0 write cycles", "01010011", "++", {"1": 12, "2": 22},
        (put("1", 11), put("2", 21)), (put("1", 12), put("2", 22)),
    ),
    _shape(
        "G1a aborted reads", "01010111", "-+", START,
        (put("1", 101), None), (get("1"), get("1"), get("2")),
    ),
    _shape(
        "G1b intermediate reads", "01010011", "+-", {"1": 11, "2": 20},
        (put("1", 101), put("1", 11)), (get("1"), get("1")),
    ),
    _shape(
        "G1c circular information flow", "01010101", "+-", {"1": 11, "2": 20},
        (put("1", 11), get("2")), (put("2", 22), get("1")),
    ),
    _shape(
        "OTV observed transaction vanishes", "012001021212", "++-", {"1": 12, "2": 18},
        (put("1", 11), put("2", 19)), (put("1", 12), put("2", 18)), _BOTH,
    ),
    _shape(
        "PMP predicate-many-preceders, read", "0101101010", "-+", {"1": 10, "2": 20, "3": 30},
        (scan, scan), (put("3", 30),),
    ),
    _shape(
        "PMP predicate-many-preceders, write", "010101001", "+-", {"1": 20, "2": 30},
        (scan, put("1", 20), put("2", 30)), (scan, delete("2")),
    ),
    _shape(
        "P4 lost update", "01010101", "+-", {"1": 11, "2": 20},
        (get("1"), add("1", 1)), (get("1"), add("1", 1)),
    ),
    _shape(
        "G-single read skew", "0101111100", "-+", {"1": 12, "2": 18},
        _BOTH, (*_BOTH, put("1", 12), put("2", 18)),
    ),
    _shape(
        "G-single with a predicate", "01011100", "-+", {"1": 12, "2": 20, "3": 30},
        (get("1"), scan), (put("3", 30), put("1", 12)),
    ),
    _shape(
        "G-single with a delete", "01011100", "-+", {"1": 12},
        _BOTH, (put("1", 12), delete("2")),
    ),
    _shape(
        "G-single with a write", "0101111100", "-+", {"1": 12, "2": 18},
        (get("1"), delete("2")), (scan, put("1", 12), put("2", 18)),
    ),
    _shape(
        "G2-item write skew", "0101010101", "+-", {"1": 11, "2": 20},
        (*_BOTH, put("1", 11)), (*_BOTH, put("2", 21)),
    ),
    _shape(
        "G2-item write skew on absent keys", "01010101", "+-", {"1": 10, "2": 20, "y": 1},
        (get("x"), put("y", 1)), (get("y"), put("x", 1)),
    ),
    _shape(
        "G2 anti-dependency cycle of predicates", "01010101", "+-", {"1": 10, "2": 20, "3": 30},
        (scan, put("3", 30)), (scan, put("4", 42)),
    ),
    _shape(
        "G2 two edges", "0011122200", "-++", {"1": 10, "2": 25},
        (scan, put("1", 0)), (add("2", 5),), (scan,),
    ),
)  # fmt: skip


@dataclass(slots=True)
class Ran:
    """What one transaction of a run did.

    Attributes:
        steps: Steps done, with what they returned.
        began, ended: Turns of the run at which it began and ended.
        committed: Whether it did.
    """

    steps: list[tuple[Step, Any]] = field(default_factory=list)
    began: int = 0
    ended: int = 0
    committed: bool = False


def turns(shape: Shape) -> list[int]:
    """Return how many turns each script has: begin, its steps, end."""
    return [len([s for s in script if s is not None]) + 2 for script in shape.scripts]


def overlapping(runs: Sequence[Ran]) -> bool:
    """Say whether any two transactions were open at once."""
    return any(a.began < b.ended and b.began < a.ended for a, b in itertools.combinations(runs, 2))


def explained(runs: Sequence[Ran], final: Mapping[str, Any]) -> bool:
    """Say whether some serial order explains what was read and what is there at the end."""
    return any(_fits(order, final) for order in _orders(runs))


def _orders(runs: Sequence[Ran]) -> Iterator[tuple[Ran, ...]]:
    for order in itertools.permutations(runs):
        if all(a.began < b.ended for a, b in itertools.combinations(order, 2)):
            yield order


def _fits(order: Sequence[Ran], final: Mapping[str, Any]) -> bool:
    values = Values(START)
    for run in order:
        mine = Values(values)
        if any(step(mine) != seen for step, seen in run.steps):
            return False
        if run.committed:
            values = mine
    return values == final
