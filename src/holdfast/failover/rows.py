"""The rows that failover keeps: in the spill's own space, and one in the primary.

``docs/format.md`` is normative. Reading and writing rows is here; deciding is not.
"""

from __future__ import annotations

from typing import Final

import msgspec

from holdfast.store import layout
from holdfast.store.value import SPILL_REVISIONS

SPACE: Final = b"\x0e"
IDENTITY: Final = SPACE + b"\x01"
HEAD: Final = SPACE + b"\x02"  # the primary's heads as last seen
OUTAGE: Final = SPACE + b"\x03"
SESSION: Final = SPACE + b"\x04"
MIRROR: Final = SPACE + b"\x10"  # + place
NOTE: Final = SPACE + b"\x11"  # + commit id
CONFLICT: Final = SPACE + b"\x12"  # + spill revision, number
PROVISIONAL: Final = SPACE + b"\x13"  # + spill revision

#: Inside transactions the spill's revisions count from here: above all of any primary's.
INSIDE: Final = 1 << 62


class Identity(msgspec.Struct, frozen=True):
    """Whose spill this is.

    Attributes:
        lineage: Of the primary's store.
        writer: 16 random bytes, this spill's name in the primary.
        prefix: 8 bytes that the ids of this writer's commits begin with.
        mark: 8 bytes that the ids of commits begin with that only repeat what the primary holds.
        epoch: The last one taken.
        key_limit: The longest key that both stores take.
    """

    lineage: bytes
    writer: bytes
    prefix: bytes
    mark: bytes
    epoch: int = 0
    key_limit: int = layout.MAX_KEY_BYTES


class KnownHead(msgspec.Struct, frozen=True):
    """The last state of one partition of the primary that this writer has seen.

    Attributes:
        revision: The end of a commit group.
        hash: The chain's hash there.
    """

    revision: int = 0
    hash: bytes = bytes(32)


Heads = dict[int, KnownHead]


class Outage(msgspec.Struct, frozen=True):
    """A time without the primary.

    Attributes:
        began_ns: When.
        start: The spill's last revision then: what comes behind is to be replayed.
        done: The spill's last revision that is replayed.
        known: The primary's heads, by partition, as known when it went away.
        code: Of the error.
    """

    began_ns: int
    start: int
    done: int
    known: Heads
    code: str


class Session(msgspec.Struct, frozen=True):
    """Whether the mirror can be believed.

    Attributes:
        boot: Names the run of the machine; what was not flushed is lost with it.
        clean: The spill was closed.
    """

    boot: str
    clean: bool


class Note(msgspec.Struct, frozen=True):
    """What the spill's journal does not say of a commit. Plain sets need none.

    Attributes:
        classes: Places whose class the caller gave.
        loose: Its operations succeed or fail one by one.
        since: It was tried at the primary, whose head was this before; None if it was not.
        based: Places to the revision they were decided on, where it is provisional.
    """

    classes: list[bytes] = []
    loose: bool = False
    since: int | None = None
    based: dict[bytes, int] | None = None


class ConflictRow(msgspec.Struct, frozen=True):
    """A recorded conflict; records are whole, with revisions of their own store."""

    place: bytes
    ours: bytes | None
    theirs: bytes | None
    made_ns: int
    commit_id: bytes
    provisional: bool
    resolution: str
    failed: str | None = None


class ProvisionalRow(msgspec.Struct, frozen=True):
    """What became of a provisional commit."""

    places: list[bytes]
    made_ns: int
    commit_id: bytes
    confirmed: bool
    based: dict[bytes, int]
    actual: dict[bytes, int]
    revision: int | None


pack = msgspec.msgpack.Encoder().encode
unpack_identity = msgspec.msgpack.Decoder(Identity).decode
unpack_heads = msgspec.msgpack.Decoder(Heads).decode
unpack_outage = msgspec.msgpack.Decoder(Outage).decode
unpack_session = msgspec.msgpack.Decoder(Session).decode
unpack_note = msgspec.msgpack.Decoder(Note).decode
unpack_conflict = msgspec.msgpack.Decoder(ConflictRow).decode
unpack_provisional = msgspec.msgpack.Decoder(ProvisionalRow).decode


def shown(revision: int) -> int:
    """Return what callers see of a revision of the spill: negative, never one of the primary's."""
    return SPILL_REVISIONS + revision


def unshown(revision: int) -> int:
    """Return the spill's revision behind a negative one that a caller holds."""
    return revision - SPILL_REVISIONS


def fence_key(writer: bytes) -> bytes:
    """Return the key of a writer's epoch in the primary."""
    return layout.FENCE + writer
