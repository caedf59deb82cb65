"""What a store should hold: a list of versions per key and a log of commits. Pure."""

from __future__ import annotations

import bisect
import functools
import random
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast import Operation, StateClass, StateScope

SECOND = 10**9

Place = tuple[StateScope, str]

SCOPES = [
    StateScope.GLOBAL,
    StateScope.agent("a"),
    StateScope.agent("a:b"),
    StateScope.workflow("w"),
    StateScope.step("w", "s"),
    StateScope.workflow("v"),
    StateScope.custom("w:step"),
]
KEYS = ["a", "a.b", "a:b", "ab", "b", "é", "特수", "🎉"]
PREFIXES = ["", "a", "a.", "b", "z"]


@functools.cache
def text(seed: int, length: int) -> str:
    """Return text that compresses by about half, always the same for one seed."""
    return "".join(random.Random(seed).choices("abcdefgh ijkl", k=length))


def large(seed: int, n: int) -> dict[str, Any]:
    """Return a value over 4 KiB; two of one seed differ little, so that deltas are used."""
    return {"n": n, "text": text(seed, 5000 + 10 * n), "list": list(range(n))}


CONSTANTS = ("", "x", None, [], {}, [1, 2], {"a": 1, "b": {"c": None}})


def value_of(spec: tuple[Any, ...]) -> Any:
    """Return a fresh value of its description, which operations carry instead."""
    kind, *rest = spec
    if kind == "number":
        return rest[0]
    if kind == "text":
        return text(rest[0], 300)
    if kind == "large":
        return large(*rest)
    constant = CONSTANTS[rest[0]]
    return constant.copy() if isinstance(constant, list | dict) else constant


@dataclass(frozen=True)
class Version:
    """One version of a key, as the model knows it."""

    revision: int
    operation: Operation
    value: Any
    version: int
    previous: int
    created: int
    updated: int
    expires: int
    state_class: StateClass

    @property
    def is_value(self) -> bool:
        """Say whether this is a value and no tombstone."""
        return self.operation in (Operation.SET, Operation.TOUCH)

    def shown(self, now: int) -> bool:
        """Say whether readers see it at a time."""
        return self.is_value and (not self.expires or self.expires > now)


@dataclass
class Model:
    """What the store should hold.

    Attributes:
        time: Of the last commit.
        versions: Of each place, ascending.
        revisions: Every commit's, ascending, behind a 0 for the beginning.
        times: Of each of `revisions`.
        log: What each of them changed.
    """

    time: int = 0
    versions: dict[Place, list[Version]] = field(default_factory=dict)
    revisions: list[int] = field(default_factory=lambda: [0])
    times: list[int] = field(default_factory=lambda: [0])
    log: list[list[Place]] = field(default_factory=lambda: [[]])

    @property
    def head(self) -> int:
        """The revision of the last commit."""
        return self.revisions[-1]

    def index(self, revision: int) -> int:
        """Return which commit was the last one at a revision, which may lie in a gap."""
        return bisect.bisect_right(self.revisions, revision) - 1

    def time_of(self, revision: int) -> int:
        """Return the time of the last commit at a revision."""
        return self.times[self.index(revision)]

    def back(self, count: int) -> int:
        """Return the revision so many commits ago; 0 where there were fewer."""
        return self.revisions[max(0, len(self.revisions) - 1 - count)]

    def ahead(self, revision: int, count: int) -> int:
        """Return the revision so many commits later; beyond the head where there are fewer."""
        at, last = self.index(revision) + count, len(self.revisions) - 1
        return self.revisions[at] if at <= last else self.head + at - last

    def end(self, revision: int) -> int:
        """Return the last revision, of a commit or in the gap behind it, that shows the same."""
        at = self.index(revision) + 1
        return self.revisions[at] - 1 if at < len(self.revisions) else revision

    def last(self, place: Place) -> Version | None:
        """Return the newest version of a place, tombstone or not."""
        return self.versions[place][-1] if place in self.versions else None

    def stored(self, place: Place) -> Version | None:
        """Return the live record, also if it has expired."""
        last = self.last(place)
        return last if last is not None and last.is_value else None

    def seen(self, place: Place, now: int) -> Version | None:
        """Return what readers see now."""
        last = self.stored(place)
        return last if last is not None and last.shown(now) else None

    def at(self, place: Place, revision: int, time: int) -> Version | None:
        """Return what readers of a moment see."""
        versions = self.versions.get(place, [])
        count = bisect.bisect_right(versions, revision, key=lambda version: version.revision)
        return versions[count - 1] if count and versions[count - 1].shown(time) else None

    def all_at(self, revision: int, time: int, scope: StateScope | None = None) -> dict[Place, Any]:
        """Return everything that readers of a moment see."""
        found = {p: self.at(p, revision, time) for p in self.versions}
        return {
            p: v for p, v in found.items() if v is not None and (scope is None or p[0] == scope)
        }

    def in_order(self, revision: int, time: int, scope: StateScope | None) -> dict[Place, Any]:
        """Return the same, in the order of the store."""
        return dict(sorted(self.all_at(revision, time, scope).items(), key=lambda i: order(i[0])))

    def commit(self, now: int, revision: int | None = None) -> int:
        """Begin the next commit and return its revision: the next one, or the one given."""
        self.revisions.append(self.head + 1 if revision is None else revision)
        self.time = now
        self.times.append(now)
        self.log.append([])
        return self.head

    def write(self, place: Place, now: int, **changes: Any) -> Version:
        """Add a version to the commit that is being made."""
        stored, seen = self.stored(place), self.seen(place, now)
        fresh = Version(
            revision=self.head,
            operation=Operation.SET,
            value=None,
            version=1 if seen is None else seen.version + 1,
            previous=0 if stored is None else stored.revision,
            created=now if seen is None else seen.created,
            updated=now,
            expires=0,
            state_class=StateClass.STANDARD if seen is None else seen.state_class,
        )
        version = replace(fresh, **changes)
        self.versions.setdefault(place, []).append(version)
        self.log[-1].append(place)
        return version

    def remove(self, place: Place, now: int, operation: Operation = Operation.DELETE) -> None:
        """Add a tombstone to the commit that is being made."""
        stored = self.stored(place)
        assert stored is not None
        self.write(
            place,
            now,
            operation=operation,
            version=stored.version,
            created=stored.created,
            state_class=stored.state_class,
        )


def order(place: Place) -> tuple[bytes, bytes]:
    """Return what places are sorted by."""
    return place[0].packed, place[1].encode()
