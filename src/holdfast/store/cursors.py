"""The rows of durable consumers: cursors over the journal, and changes that were given up.

They are no state: nothing of them is in the journal. ``docs/format.md`` is normative.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from holdfast.errors import CorruptionError, FormatVersionError
from holdfast.keys import after, pack_text, unpack_text
from holdfast.store.journal import CommitEntry
from holdfast.store.layout import CURSORS

CURSOR, LETTER = b"\x01", b"\x02"  # kinds of rows
FORMAT: Final = 1
_SUM: Final = 16


class Cursor(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """How far one consumer is, and who works for it.

    Attributes:
        format: Of the row.
        revision: Everything up to this commit is done.
        hash: Of the header that holds it; empty where it is unknown.
        part: A later commit of which a part is done; 0 for none.
        done: How many of its changes and events that the consumer wants are.
        moved_ns: When it last moved.
        created_ns: When the consumer was made.
        epoch: Counts who got the lease.
        holder: 16 random bytes of who has it, or had it last.
        lease_ns: When the lease runs out; 0 where it was given back.
        attempts: How often the next change has failed.
        retry_ns: Not before this time is it tried again.
        dead: How many changes were given up.
        queued: How many of those wait to be tried again.
        start, stop: The range of places that it wants.
        events: Whether it wants events.
    """

    format: int = FORMAT
    revision: int
    hash: bytes
    part: int = 0
    done: int = 0
    moved_ns: int = 0
    created_ns: int = 0
    epoch: int = 0
    holder: bytes = b""
    lease_ns: int = 0
    attempts: int = 0
    retry_ns: int = 0
    dead: int = 0
    queued: int = 0
    start: bytes = b""
    stop: bytes = b""
    events: bool = False


class Letter(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A change or event that a consumer gave up.

    Attributes:
        format: Of the row.
        time_ns: Commit time.
        dead_ns: When it was given up.
        attempts: How often it was tried.
        error: What kind of error came last.
        queued: It is to be tried again.
        retry_ns: Not before this time.
        commit: Its commit's entry in the header, with nothing else in it.
    """

    format: int = FORMAT
    time_ns: int
    dead_ns: int
    attempts: int
    error: str
    queued: bool = False
    retry_ns: int = 0
    commit: CommitEntry


Row = TypeVar("Row", Cursor, Letter)
_encode = msgspec.msgpack.Encoder().encode
_cursors = msgspec.msgpack.Decoder(Cursor)
_letters = msgspec.msgpack.Decoder(Letter)


def partition_of(tenant: bytes, name: bytes, count: int) -> int:
    """Return the partition that the rows of a consumer stand with; both are packed."""
    return 0 if count == 1 else xxh3_64_intdigest(tenant + name) % count


def cursor_key(partition: int, tenant: bytes, name: str = "") -> bytes:
    """Return the row key of a cursor; without a name, what a tenant's all start with."""
    return CURSORS + partition.to_bytes(2) + CURSOR + tenant + (pack_text(name) if name else b"")


def letter_key(partition: int, tenant: bytes, name: str, revision: int, number: int) -> bytes:
    """Return the row key of a change that was given up; `number` is its place in the commit."""
    start = letters_of(partition, tenant, name)[0]
    return start + revision.to_bytes(8) + number.to_bytes(4)


def letters_of(partition: int, tenant: bytes, name: str) -> tuple[bytes, bytes]:
    """Return the range of the rows of a consumer's changes that were given up."""
    start = CURSORS + partition.to_bytes(2) + LETTER + tenant + pack_text(name)
    return start, after(start)


def key_parts(key: bytes) -> tuple[int, bytes, str, str, int, int]:
    """Return partition, kind, tenant and name of a row key, and revision and number of a letter.

    Raises:
        ValueError: It is none.
    """
    kind = key[3:4]
    if kind not in (CURSOR, LETTER):
        raise ValueError("unknown kind of row")
    tenant, at = unpack_text(key, 4)
    name, at = unpack_text(key, at)
    if not name or len(key) - at != (0 if kind == CURSOR else 12):
        raise ValueError("a row key of a wrong length")
    revision, number = int.from_bytes(key[at : at + 8]), int.from_bytes(key[at + 8 :])
    return int.from_bytes(key[1:3]), kind, tenant, name, revision, number


def pack(key: bytes, row: Cursor | Letter) -> bytes:
    """Return the bytes of a row that stands under `key`."""
    body = _encode(row)
    return body + xxh3_128_digest(key + body)


def parse_cursor(key: bytes, raw: bytes) -> Cursor:
    """Parse a cursor.

    Raises:
        CorruptionError: It is damaged, or stands under another key.
        FormatVersionError: A newer format.
    """
    return _parse(key, raw, _cursors)


def parse_letter(key: bytes, raw: bytes) -> Letter:
    """Parse a change that was given up; raises as `parse_cursor` does."""
    return _parse(key, raw, _letters)


def _parse(key: bytes, raw: bytes, decoder: msgspec.msgpack.Decoder[Row]) -> Row:
    where = f"consumers/{key[4:].hex()}"
    body = raw[:-_SUM]
    if len(raw) <= _SUM or xxh3_128_digest(key + body) != raw[-_SUM:]:
        raise CorruptionError("a row of a consumer fails its checksum", where=where)
    try:
        row = decoder.decode(body)
    except (msgspec.MsgspecError, ValueError):
        raise CorruptionError("a row of a consumer does not decode", where=where) from None
    if row.format > FORMAT:
        raise FormatVersionError(f"a row of a consumer has format {row.format}, not {FORMAT}")
    return row
