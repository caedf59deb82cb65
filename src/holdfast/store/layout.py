"""Where everything stands in the engine: spaces, and the key of each kind of row.

A *place* is the packed (tenant, scope, key) of one piece of state, without a space byte; it is
what checksums, the journal and transactions name. ``docs/format.md`` is normative.
"""

from __future__ import annotations

from holdfast.errors import LimitExceededError
from holdfast.keys import after, pack_text, unpack_text
from holdfast.store.scope import StateScope, unpack_scope

META = b"\x01"  # partition, name
SCOPES = b"\x02"  # tenant, scope
DATA = b"\x03"  # place
JOURNAL = b"\x04"  # partition, last revision of the group
VERSIONS = b"\x05"  # place, revision
CORRELATIONS = b"\x06"  # partition, correlation id, revision
EXPIRY = b"\x07"  # partition, time, place
COMMITS = b"\x08"  # partition, commit id
# 09 schemas, 0A access, 0B audit: kept for the features of later formats.
CURSORS = b"\x0c"  # partition, kind, tenant, name, …: see `cursors`
BLOBS = b"\x0d"  # name: compression dictionaries

_FIRST = META + bytes(2)  # what there is once in a store stands with its first partition

STORE = _FIRST + pack_text("store")
SCOPE_HORIZON = _FIRST + pack_text("scope-horizon")  # + tenant, scope
PIN = _FIRST + pack_text("pin")  # + pin id
INCOMPLETE = _FIRST + pack_text("incomplete")  # a copy or repair goes on
RETENTION = _FIRST + pack_text("retention")
SEQUENCE = _FIRST + pack_text("sequence")  # of a store of several partitions
HOOKS = _FIRST + pack_text("hooks")  # + an open store's id
FENCE = _FIRST + pack_text("fence")  # + writer id

MAX_KEY_BYTES = 2500
#: What the longest row key adds to a place: a space, a partition, a time and a terminator.
OVERHEAD = 1 + 2 + 8 + 1


def place_of(tenant: bytes, scope: StateScope, key: str) -> bytes:
    """Return the place of `key`; `tenant` is packed."""
    return tenant + scope.packed + pack_text(key)


def check_place(place: bytes, limit: int) -> None:
    """Refuse a place whose row keys would exceed `limit` bytes.

    Raises:
        LimitExceededError: It is too long for the store's engine.
    """
    if len(place) + OVERHEAD > limit:
        raise LimitExceededError(
            f"the key is {len(place) + OVERHEAD} bytes with its scope, the limit is {limit}",
            hint="shorten the key or the ids of its scope; put long texts into the value",
            limit=limit,
            actual=len(place) + OVERHEAD,
        )


def split_place(place: bytes) -> tuple[str, StateScope, str]:
    """Return tenant, scope and key of a place.

    Raises:
        ValueError: It is no sound place.
    """
    tenant, at = unpack_text(place, 0)
    scope, at = unpack_scope(place, at)
    key, at = unpack_text(place, at)
    if at != len(place):
        raise ValueError("bytes behind the key")
    return tenant, scope, key


def behind(place: bytes) -> bytes:
    """Return where a range of places begins that leaves out `place`.

    One NUL behind `place` would not do: in the space of versions the rows of `place` are behind it.
    No other place starts with the bytes of `place`, so nothing else is left out.
    """
    return after(place)


def scope_range(tenant: bytes, scope: StateScope, prefix: bytes = b"") -> tuple[bytes, bytes]:
    """Return the half-open range of the places of `scope` whose keys start with `prefix`."""
    start = tenant + scope.packed + prefix
    return start, after(start)


def head_key(partition: int) -> bytes:
    """Return the row key of a partition's head."""
    return META + partition.to_bytes(2) + b"head\0"


def horizon_key(partition: int) -> bytes:
    """Return the row key of the horizon of a partition's journal."""
    return META + partition.to_bytes(2) + b"journal-horizon\0"


def journal_key(partition: int, revision: int) -> bytes:
    """Return the row key of a partition's group whose last revision is `revision`."""
    return JOURNAL + partition.to_bytes(2) + revision.to_bytes(8)


def journal_range(partition: int, behind: int = 0) -> tuple[bytes, bytes]:
    """Return the range of the groups of a partition that end behind a revision."""
    return journal_key(partition, behind + 1), journal_key(partition, (1 << 64) - 1)


def journal_parts(key: bytes) -> tuple[int, int]:
    """Return the partition and the last revision of the group stored under `key`."""
    return int.from_bytes(key[1:3]), int.from_bytes(key[3:])


def version_key(place: bytes, revision: int) -> bytes:
    """Return the row key of the version of `place` that `revision` wrote."""
    return VERSIONS + place + revision.to_bytes(8)


def version_parts(key: bytes) -> tuple[bytes, int]:
    """Return place and revision of a version's row key."""
    return key[1:-8], int.from_bytes(key[-8:])


def expiry_key(partition: int, expires_ns: int, place: bytes) -> bytes:
    """Return the row key that makes `place` found when it has expired."""
    return EXPIRY + partition.to_bytes(2) + expires_ns.to_bytes(8) + place


def expiry_range(partition: int, first_ns: int, until_ns: int) -> tuple[bytes, bytes]:
    """Return the range of a partition's expiry rows with ``first <= time <= until``."""
    begin = EXPIRY + partition.to_bytes(2)
    return begin + first_ns.to_bytes(8), begin + (until_ns + 1).to_bytes(8)


def expiry_parts(key: bytes) -> tuple[int, bytes]:
    """Return time and place of an expiry row's key."""
    return int.from_bytes(key[3:11]), key[11:]


def commit_key(partition: int, commit_id: bytes) -> bytes:
    """Return the row key of a commit id that a caller gave."""
    return COMMITS + partition.to_bytes(2) + commit_id


def correlation_key(partition: int, correlation: str, revision: int) -> bytes:
    """Return the row key of one commit under its correlation id."""
    return CORRELATIONS + partition.to_bytes(2) + pack_text(correlation) + revision.to_bytes(8)


def correlation_range(partition: int, correlation: str, low: int, high: int) -> tuple[bytes, bytes]:
    """Return the range of a correlation's rows with ``low < revision <= high``."""
    start = CORRELATIONS + partition.to_bytes(2) + pack_text(correlation)
    return start + (low + 1).to_bytes(8), start + (high + 1).to_bytes(8)


def correlation_revision(key: bytes) -> int:
    """Return the revision that a correlation row names."""
    return int.from_bytes(key[-8:])


def scope_horizon_key(owner: bytes) -> bytes:
    """Return the row key of the horizon of a scope; `owner` is its packed tenant and scope."""
    return SCOPE_HORIZON + owner


def owner_of(place: bytes) -> bytes:
    """Return the packed tenant and scope at the start of a sound place."""
    at = _skip(place, 0)  # tenant
    kind = place[at]
    at += 1
    for _ in range(0 if kind == 1 else 2 if kind == 4 else 1):
        at = _skip(place, at)
    return place[:at]


def root_of(place: bytes) -> tuple[int, int]:
    """Return where the tenant of a place ends, and where its scope's kind and first id do.

    Raises:
        ValueError, IndexError: The place ends before that.
    """
    tenant = _skip(place, 0)
    return tenant, tenant + 1 if place[tenant] == 1 else _skip(place, tenant + 1)


def _skip(packed: bytes, at: int) -> int:
    end = packed.index(0, at)
    while packed[end + 1 : end + 2] == b"\xff":
        end = packed.index(0, end + 2)
    return end + 1
