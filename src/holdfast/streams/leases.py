"""What becomes of a cursor: taken, moved, failed, given back. Pure decisions over its row."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from holdfast.store.cursors import Cursor
from holdfast.store.paging import Wanted
from holdfast.store.position import Position


class Spot(NamedTuple):
    """How far a consumer is, to the single change.

    Attributes:
        position: Everything up to here is done.
        part: A later commit of which a part is done; 0 for none.
        done: How many of its wanted changes and events are.
    """

    position: Position
    part: int = 0
    done: int = 0

    @property
    def order(self) -> tuple[int, int]:
        """What tells which of two spots of one history is further."""
        return (self.part, self.done) if self.part else (self.position.revision + 1, 0)


class Claim(NamedTuple):
    """Who works for a consumer: 16 random bytes, and the epoch that it was given."""

    holder: bytes
    epoch: int


def spot_of(cursor: Cursor) -> Spot:
    """Return where a cursor stands."""
    return Spot(Position(cursor.revision, cursor.hash), cursor.part, cursor.done)


def is_held(cursor: Cursor | None, claim: Claim) -> bool:
    """Say whether a claim still counts: nobody else has been given the lease since."""
    return cursor is not None and claim == (cursor.holder, cursor.epoch)


def left_of(cursor: Cursor, holder: bytes, now_ns: int) -> float:
    """Return for how many seconds somebody else has the lease; 0 where it is free."""
    if not cursor.lease_ns or cursor.holder == holder:
        return 0.0
    return max(0.0, (cursor.lease_ns - now_ns) / 1e9)


def taken(cursor: Cursor, holder: bytes, wanted: Wanted, now_ns: int, lease_ns: int) -> Cursor:
    """Return the cursor with the lease given to `holder`, under a new epoch.

    Where the new holder wants other things, what "a part of a commit" meant is void.
    """
    same = (cursor.start, cursor.stop, cursor.events) == wanted[:3]
    return replace(
        cursor,
        holder=holder,
        epoch=cursor.epoch + 1,
        lease_ns=now_ns + lease_ns,
        start=wanted.start,
        stop=wanted.stop,
        events=wanted.events,
        part=cursor.part if same else 0,
        done=cursor.done if same else 0,
        attempts=cursor.attempts if same else 0,
        retry_ns=cursor.retry_ns if same else 0,
    )


def moved(cursor: Cursor, spot: Spot, now_ns: int) -> Cursor:
    """Return the cursor moved up to `spot`; never back."""
    if spot.order <= spot_of(cursor).order:
        return cursor
    return replace(
        cursor,
        revision=spot.position.revision,
        hash=spot.position.hash,
        part=spot.part,
        done=spot.done,
        moved_ns=now_ns,
        attempts=0,
        retry_ns=0,
    )


def renewed(cursor: Cursor, now_ns: int, lease_ns: int) -> Cursor:
    """Return the cursor with a lease from now."""
    return replace(cursor, lease_ns=now_ns + lease_ns)


def failed(cursor: Cursor, now_ns: int, wait: float) -> Cursor:
    """Return the cursor after its next change has failed once more."""
    retry_ns = now_ns + round(wait * 1e9)
    return replace(cursor, attempts=cursor.attempts + 1, retry_ns=retry_ns)


def given_back(cursor: Cursor) -> Cursor:
    """Return the cursor with its lease free."""
    return replace(cursor, lease_ns=0)


def reset(cursor: Cursor, position: Position, now_ns: int) -> Cursor:
    """Return the cursor at another position, taken away from whoever has it."""
    return replace(
        cursor,
        revision=position.revision,
        hash=position.hash,
        part=0,
        done=0,
        moved_ns=now_ns,
        attempts=0,
        retry_ns=0,
        holder=b"",
        epoch=cursor.epoch + 1,
        lease_ns=0,
    )
