"""Batches: what a consumer was given to work on, and what it says became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from holdfast.errors import InvalidArgumentError, StateError
from holdfast.store.paging import Item
from holdfast.store.position import Position
from holdfast.streams.leases import Spot

_MAX_ERROR = 100


class Stretch:
    """A part of the journal as a consumer wants it, and the spots between its changes.

    Args:
        items: The wanted changes, of whole commits.
        hashes: Of the headers that hold them.
        start: Where a consumer stands before the first of them.
        end: Where it stands behind the last one: nothing that it wants lies in between.
    """

    def __init__(
        self, items: Sequence[Item], hashes: dict[int, bytes], start: Spot, end: Position
    ) -> None:
        skip = 0
        if start.part and items and items[0].revision == start.part:
            while skip < start.done and skip < len(items) and items[skip].revision == start.part:
                skip += 1
        self.items = items[skip:]
        self._skipped = skip
        self._hashes = hashes
        self.start = start
        self._end = end

    def before(self, at: int) -> Spot:
        """Return the spot in front of a change."""
        return self.start if at == 0 else self.after(at - 1)

    def after(self, at: int) -> Spot:
        """Return the spot behind a change."""
        items = self.items
        if at + 1 == len(items):
            return Spot(self._end)
        revision = items[at].revision
        if items[at + 1].revision != revision:
            return Spot(Position(revision, self._hashes[revision]))
        first = self._first(at)
        if first == 0:
            return Spot(self.start.position, revision, at + 1 + self._skipped)
        whole = items[first - 1].revision
        return Spot(Position(whole, self._hashes[whole]), revision, at + 1 - first)

    def name(self, at: int) -> tuple[int, int]:
        """Return a change's revision, and its number among what is wanted of that commit."""
        first = self._first(at)
        return self.items[at].revision, at - first + (self._skipped if first == 0 else 0)

    def _first(self, at: int) -> int:
        """Return where the commit of a change begins."""
        revision = self.items[at].revision
        while at and self.items[at - 1].revision == revision:
            at -= 1
        return at


class Desk(Protocol):
    """Where a batch came from, and takes back what became of it."""

    def ack(self, batch: Batch, count: int) -> None:
        """Note that the first `count` changes of a batch are done."""
        ...

    def nack(self, batch: Batch, at: int, blamed: bool, error: str) -> None:
        """Note that those before `at` are done, and that one, or some one behind it, failed."""
        ...


class Batch:
    """Changes, and events if wanted, in the order of commits.

    Iterate over it, then `ack`. What of a batch is neither acked nor nacked when the next one is
    asked for is delivered again.

    Attributes:
        changes: The changes.
        attempt: How often the first of them is tried now; 1 for the first time.
        replayed: It is a dead letter that is tried again.
    """

    def __init__(
        self,
        desk: Desk,
        changes: Sequence[Item],
        at: int,
        attempt: int = 1,
        letter: tuple[int, int] | None = None,
    ) -> None:
        self._desk = desk
        self.changes = changes
        self.attempt = attempt
        self.replayed = letter is not None
        self.letter = letter
        self.at = at  # of the first, in the desk's stretch
        self.acked = 0

    def ack(self, upto: Item | None = None) -> None:
        """Say that all of it is done, or all up to and with one of its changes; it is on disk.

        Raises:
            LeaseLostError: Another worker has taken over; it gets what was not acked before.
        """
        count = len(self.changes) if upto is None else self._index(upto) + 1
        if count > self.acked:
            self._desk.ack(self, count)
            self.acked = count

    def nack(self, failed: Item | None = None, error: BaseException | str = "") -> None:
        """Say that one of its changes failed, and that those before it are done.

        It is tried again after a while, with those behind it, and becomes a dead letter at the
        last attempt. Without `failed`, and where more than one is left, nobody knows which it
        was: they come again one by one, and none is blamed yet.

        Args:
            failed: The change.
            error: What went wrong; its class (or code) is kept with a dead letter, never its text.

        Raises:
            InvalidArgumentError: It was acknowledged before, or is not of this batch.
            LeaseLostError: Another worker has taken over.
        """
        at = self.acked if failed is None else self._index(failed)
        if failed is not None and at < self.acked < len(self.changes):
            raise InvalidArgumentError("the change has been acknowledged")
        if at >= len(self.changes):
            return
        blamed = failed is not None or at + 1 == len(self.changes)
        self._desk.nack(self, at, blamed, kind_of(error))
        self.acked = len(self.changes)  # what is left comes again in another batch

    def _index(self, change: Item) -> int:
        for at, each in enumerate(self.changes):
            if each is change:
                return at
        raise InvalidArgumentError("the change is not of this batch")

    def __iter__(self) -> Iterator[Item]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def __repr__(self) -> str:
        return f"<Batch of {len(self)}, attempt {self.attempt}>"


def kind_of(error: BaseException | str) -> str:
    """Return what is told of an error: no text of it, which may hold what was stored."""
    if isinstance(error, str):
        return error[:_MAX_ERROR]
    return error.code if isinstance(error, StateError) else type(error).__name__[:_MAX_ERROR]
