"""Positions: how far somebody has read the journal, and in which history.

A revision alone is not enough: after a restore, or after a power cut that took commits which were
not yet on disk, the same number can mean another commit. So a position also names the hash of the
header row that holds it, which the whole history before it has gone into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.engines.base import View
from holdfast.errors import DivergedError, InvalidArgumentError
from holdfast.store import layout
from holdfast.store.journal import (
    MAX_REVISION,
    NO_HASH,
    header_at,
    journal_horizon,
    parse_header,
    read_head,
    read_heads,
)


@dataclass(frozen=True, slots=True)
class Position:
    """A point in the journal; ``str()`` and `parse` turn it into text and back.

    Attributes:
        revision: Everything up to this commit lies before it; 0 is the beginning.
        hash: Of the header that holds the commit; empty where it is not known, and not checked.
    """

    revision: int
    hash: bytes = b""

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read the text of a position, or a bare revision.

        Raises:
            InvalidArgumentError: It is neither.
        """
        number, _, digits = text.partition(":")
        try:
            hash_ = bytes.fromhex(digits)
        except ValueError:
            hash_ = b"?"
        if not (number.isascii() and number.isdigit()) or len(hash_) not in (0, 32):
            raise InvalidArgumentError(
                "a position is a revision, or a revision, a colon and 64 hex digits"
            )
        return checked(cls(int(number), hash_))

    def __str__(self) -> str:
        return f"{self.revision}:{self.hash.hex()}" if self.hash else str(self.revision)


START = Position(0)


def checked(position: Position | int, what: str = "the revision") -> Position:
    """Return what a caller gave as a position.

    Raises:
        InvalidArgumentError: It is neither a position nor a revision.
    """
    found = position if isinstance(position, Position) else Position(position)
    if type(found.revision) is not int or not 0 <= found.revision < MAX_REVISION:
        raise InvalidArgumentError(f"{what} must be a position, or a revision of 0 or more")
    return found


def head_position(view: View, partitions: Sequence[int]) -> Position:
    """Return where the journal ends."""
    head = max(read_heads(view, partitions), key=lambda each: each.revision)
    return Position(head.revision, head.hash if head.revision else b"")


def hash_behind(view: View, partition: int, last: int) -> bytes:
    """Return the hash of the header that ends at `last`, as what follows it says.

    So it needs no key where the journal is chained with one.
    """
    rows = view.scan(*layout.journal_range(partition, last), limit=1)
    return parse_header(*rows[0]).previous_hash if rows else read_head(view, partition).hash


def position_at(view: View, partitions: Sequence[int], revision: int) -> Position:
    """Return the position of a revision; without a hash where no commit has it, or it is gone."""
    for partition in partitions if revision else ():
        hash_ = _hash_at(view, partition, revision)
        if hash_:
            return Position(revision, hash_)
    return Position(revision)


def refuse_diverged(view: View, partitions: Sequence[int], position: Position) -> None:
    """Raise if a position lies in another history than this store's.

    Where the journal has been trimmed that far, nothing can be said, and nothing is: whoever
    reads on meets the horizon.

    Raises:
        DivergedError: It does.
    """
    head = max(head.revision for head in read_heads(view, partitions))
    if position.revision > head:
        raise diverged(position.revision, f"the store ends at {head}")
    if not position.hash or not position.revision:
        return
    trimmed = False
    for partition in partitions:
        if _hash_at(view, partition, position.revision) == position.hash:
            return
        trimmed |= journal_horizon(view, partition)[0] > position.revision
    if not trimmed:
        raise diverged(position.revision, "the commit there is another one")


def diverged(revision: int, why: str) -> DivergedError:
    """Return the error of a position that is not of this history."""
    return DivergedError(
        f"revision {revision} belongs to another history: {why}",
        hint="start again from the present state, and from the revision that it shows",
    )


def _hash_at(view: View, partition: int, revision: int) -> bytes:
    horizon, hash_ = journal_horizon(view, partition)
    if revision == horizon:
        return b"" if hash_ == NO_HASH else hash_
    header = header_at(view, partition, revision) if revision > horizon else None
    return b"" if header is None else hash_behind(view, partition, header.last)
