"""Records: what is stored for a key, one self-describing blob.

A record is a fixed header, optional fields, the payload, and an xxh3-128 checksum over the place
and everything before it, so that a damaged record and one copied to another place are noticed.
The same bytes stand in the data space and in the versions space, unless the version is stored as
a delta. ``docs/format.md`` is normative; this module is its only reader and writer.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from xxhash import xxh3_128_digest

from holdfast.errors import CorruptionError, FormatVersionError

FORMAT: Final = 1

# Kinds
VALUE, DELTA, DELETED, EXPIRED = 1, 2, 3, 4
# Compression, in the high nibble of the encoding byte; the low nibble is the codec
MSGPACK: Final = 1
PLAIN, ZSTD, ZSTD_DICTIONARY, SAME = 0x00, 0x10, 0x20, 0x30  # SAME: a delta that changes nothing
# Flags: which optional fields follow, in this order
EXPIRES, CORRELATION, ACTOR, SCHEMA, ENCRYPTED, FULL_SUM = 1, 2, 4, 8, 16, 32
_TEXTS: Final = (CORRELATION, ACTOR, SCHEMA, ENCRYPTED)
_FLAGS: Final = 63  # all of them

_FIXED = struct.Struct(">BBBBBBHQQQQQI")
_pack = _FIXED.pack
_unpack = _FIXED.unpack_from
_FIXED_SIZE: Final = _FIXED.size
SUM_SIZE: Final = 16
# Parts of a record (the payload where no optional field is). A slice that is written out is made
# anew each time, which costs as much as the cut.
_SUMMED: Final = slice(None, -SUM_SIZE)
CHECKSUM: Final = slice(-SUM_SIZE, None)
CLASS_AT: Final = 4  # where the class stands in a record
_FIELDS: Final = slice(None, _FIXED_SIZE)
_PAYLOAD: Final = slice(_FIXED_SIZE, -SUM_SIZE)
_SMALLEST: Final = _FIXED_SIZE + SUM_SIZE
_U64 = struct.Struct(">Q")
_unpack_u64 = _U64.unpack_from


class Record(NamedTuple):
    """A parsed record. Fields are as stored; `payload` may be compressed or a delta.

    A tuple, because every read and every write makes one: the fixed fields come as they are.

    Attributes:
        format, flags, reserved: As stored.
        kind: VALUE, DELTA, DELETED or EXPIRED.
        encoding: Codec and compression.
        state_class: Number of the class.
        run: Deltas since the last full copy among this key's versions; 0 for a full copy.
        revision, previous: This commit's and the previous version's revision.
        version: Counts from 1.
        created_ns, updated_ns, expires_ns: Times; expires_ns is 0 for never.
        size: Bytes of the payload before compression.
        correlation, actor, schema_version: Texts or None.
        key_id: Of the encryption, or None.
        full_sum: Of a delta: the checksum of the full record that it stands for.
        payload: The bytes.
        checksum: 16 bytes.
    """

    format: int
    kind: int
    encoding: int
    flags: int
    state_class: int
    run: int
    reserved: int
    revision: int
    previous: int
    version: int
    created_ns: int
    updated_ns: int
    size: int
    expires_ns: int
    correlation: str | None
    actor: str | None
    schema_version: str | None
    key_id: str | None
    full_sum: bytes | None
    payload: bytes
    checksum: bytes


_make = tuple.__new__
_NO_EXTRA: Final = (0, None, None, None, None, None)
#: A record of nothing, for walks over keys alone.
NOTHING: Final = _make(Record, (0,) * 13 + _NO_EXTRA + (b"", b""))


def build(
    place: bytes,
    kind: int,
    encoding: int,
    state_class: int,
    run: int,
    revision: int,
    previous: int,
    version: int,
    created_ns: int,
    updated_ns: int,
    size: int,
    payload: bytes,
    expires_ns: int = 0,
    correlation: str | None = None,
    actor: str | None = None,
    schema_version: str | None = None,
    key_id: str | None = None,
    full_sum: bytes | None = None,
) -> bytes:
    """Build the bytes of a record for `place`; the fields are those of `Record`."""
    flags = 0
    if (
        expires_ns
        or correlation is not None
        or actor is not None
        or schema_version is not None
        or key_id is not None
        or full_sum is not None
    ):
        texts = correlation, actor, schema_version, key_id
        flags, extra = _build_extra(expires_ns, texts, full_sum)
        payload = extra + payload
    body = (
        _pack(
            FORMAT,
            kind,
            encoding,
            flags,
            state_class,
            run,
            0,
            revision,
            previous,
            version,
            created_ns,
            updated_ns,
            size,
        )
        + payload
    )
    return body + xxh3_128_digest(place + body)


def _build_extra(
    expires_ns: int, texts: tuple[str | None, ...], full_sum: bytes | None
) -> tuple[int, bytes]:
    """Return flags and bytes of the optional fields."""
    flags, extra = 0, b""
    if expires_ns:
        flags, extra = EXPIRES, _U64.pack(expires_ns)
    for flag, text in zip(_TEXTS, texts, strict=True):
        if text is not None:
            flags |= flag
            extra += _short(text)
    if full_sum is not None:
        flags |= FULL_SUM
        extra += full_sum
    return flags, extra


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data


def parse(place: bytes, raw: bytes) -> Record:
    """Check and parse the record stored for `place`.

    Raises:
        CorruptionError: The checksum does not match: damaged, or written for another place.
        FormatVersionError: A newer format.
    """
    fixed = parse_fixed(place, raw)
    if fixed[3]:
        extra, at = _parse_extra(raw, fixed[3])
        return _make(Record, fixed + extra + (raw[at:-SUM_SIZE], raw[-SUM_SIZE:]))
    return _make(Record, fixed + _NO_EXTRA + (raw[_FIXED_SIZE:-SUM_SIZE], raw[-SUM_SIZE:]))


def parse_fixed(place: bytes, raw: bytes) -> tuple[int, ...]:
    """Check the record stored for `place`, and parse the fields that every record has.

    Returns:
        The first fields of a `Record`, up to `size`: what the commit lane needs of most.

    Raises:
        CorruptionError, FormatVersionError: As `parse`.
    """
    if len(raw) < _SMALLEST or xxh3_128_digest(place + raw[_SUMMED]) != raw[CHECKSUM]:
        raise CorruptionError("a record fails its checksum", where=describe(place))
    fixed = _unpack(raw)
    if fixed[0] != FORMAT or fixed[3] > _FLAGS:
        raise FormatVersionError(
            f"a record has format {fixed[0]} and flags {fixed[3]}, newer than this Holdfast",
        )
    return fixed


def expiry_of(raw: bytes) -> int:
    """Return when a record whose flags say `EXPIRES` does."""
    at: int = _unpack_u64(raw, _FIXED_SIZE)[0]
    return at


def _parse_extra(raw: bytes, flags: int) -> tuple[tuple[Any, ...], int]:
    at = _FIXED_SIZE
    expires = 0
    if flags & EXPIRES:
        expires = expiry_of(raw)
        at += 8
    texts: list[str | None] = []
    for flag in _TEXTS:
        text = None
        if flags & flag:
            text, at = _long(raw, at)
        texts.append(text)
    full_sum = None
    if flags & FULL_SUM:
        full_sum = raw[at : at + SUM_SIZE]
        at += SUM_SIZE
    return (expires, *texts, full_sum), at


def _long(raw: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + raw[at]
    return raw[at + 1 : end].decode(), end


#: The first bytes of a full, uncompressed record with no optional field: nearly all there are.
SIMPLE: Final = bytes((FORMAT, VALUE, MSGPACK | PLAIN, 0))


def simple_payload(place: bytes, raw: bytes) -> bytes:
    """Return the payload of a record that starts with `SIMPLE`: what the hot path of get needs.

    Raises:
        CorruptionError: The checksum does not match.
    """
    if xxh3_128_digest(place + raw[_SUMMED]) != raw[CHECKSUM]:
        raise CorruptionError("a record fails its checksum", where=describe(place))
    return raw[_PAYLOAD]


def simple_stub(raw: bytes) -> bytes:
    """Return a record that starts with `SIMPLE` without its payload: fixed fields, checksum."""
    return raw[_FIELDS] + raw[CHECKSUM]


def peek(raw: bytes) -> Record:
    """Return the fixed fields of stored bytes, unchecked, for walks that need no more.

    Raises:
        CorruptionError: They are too short to be a record.
    """
    if len(raw) < _SMALLEST:
        raise CorruptionError("a record is too short")
    return _make(Record, _unpack(raw) + _NO_EXTRA + (b"", raw[-SUM_SIZE:]))


def describe(place: bytes) -> str:
    """Return scope and key of a place for an error, or its bytes in hex if it is unsound."""
    from holdfast.store.layout import split_place

    try:
        tenant, scope, key = split_place(place)
    except (ValueError, IndexError):
        return f"place {place.hex()}"
    return f"{tenant + '/' if tenant else ''}{scope}/{key}"
