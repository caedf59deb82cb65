"""Partitions: the revision sequences and journals of one store, and what belongs to which.

A scope belongs to one partition, and a workflow's steps to their workflow's, so that what is
written together usually waits for nobody else. Most stores have one partition.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from holdfast.keys import after
from holdfast.store import layout

if TYPE_CHECKING:
    from holdfast.store.intent import Intent

MAX_PARTITIONS = 1024
_ONLY = (0,)


class Partitions:
    """The partitions of one store.

    Attributes:
        count: How many there are.
        all: Their numbers.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.all = tuple(range(count))

    def of(self, place: bytes) -> int:
        """Return the partition of a place, of an owner, or of a range within one scope's family."""
        if self.count == 1:
            return 0
        tenant, root = layout.root_of(place)
        return xxh3_64_intdigest(place[:tenant] + place[tenant + 1 : root]) % self.count

    def covering(self, start: bytes, stop: bytes) -> tuple[int, ...]:
        """Return the partitions that a half-open range of places may reach into."""
        if self.count == 1:
            return _ONLY
        try:
            _, root = layout.root_of(start)
        except (ValueError, IndexError):  # it begins above a scope: at a kind, or a tenant
            return self.all
        return (self.of(start),) if stop <= after(start[:root]) else self.all

    def of_intent(self, intent: Intent) -> tuple[int, ...]:
        """Return the partitions that an intent reads or writes, ascending."""
        if self.count == 1:
            return _ONLY
        found = {self.of(op.owner) for op in intent.ops}
        for place in intent.reads or ():
            found.add(self.of(place))
        for start, stop in intent.ranges or ():
            found.update(self.covering(start, stop))
        for event in intent.events:
            found.add(self.of(event.owner))
        for owner, _ in intent.trims or ():
            found.add(self.of(owner) if owner else intent.partition)
        return tuple(sorted(found)) or _ONLY

    def of_group(self, intents: Iterable[Intent]) -> tuple[int, ...]:
        """Return the partitions that any of `intents` reads or writes, ascending."""
        if self.count == 1:
            return _ONLY
        return tuple(sorted({part for intent in intents for part in self.of_intent(intent)}))
