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
# 09 schemas, 0A access, 0B audit, 0C cursors, 0D blobs: kept for the features of later formats.
BLOBS = b"\x0d"  # name: compression dictionaries

PARTITION = b"\x00\x00"  # the only partition of format 1

STORE = META + PARTITION + pack_text("store")
HEAD = META + PARTITION + pack_text("head")
JOURNAL_HORIZON = META + PARTITION + pack_text("journal-horizon")
SCOPE_HORIZON = META + PARTITION + pack_text("scope-horizon")  # + tenant, scope
PIN = META + PARTITION + pack_text("pin")  # + pin id
INCOMPLETE = META + PARTITION + pack_text("incomplete")  # a copy or repair goes on
RETENTION = META + PARTITION + pack_text("retention")

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


def journal_key(revision: int) -> bytes:
    """Return the row key of the group whose last revision is `revision`."""
    return JOURNAL + PARTITION + revision.to_bytes(8)


def journal_revision(key: bytes) -> int:
    """Return the last revision of the group stored under `key`."""
    return int.from_bytes(key[3:])


def version_key(place: bytes, revision: int) -> bytes:
    """Return the row key of the version of `place` that `revision` wrote."""
    return VERSIONS + place + revision.to_bytes(8)


def version_parts(key: bytes) -> tuple[bytes, int]:
    """Return place and revision of a version's row key."""
    return key[1:-8], int.from_bytes(key[-8:])


def expiry_key(expires_ns: int, place: bytes) -> bytes:
    """Return the row key that makes `place` found when it has expired."""
    return EXPIRY + PARTITION + expires_ns.to_bytes(8) + place


def expiry_parts(key: bytes) -> tuple[int, bytes]:
    """Return time and place of an expiry row's key."""
    return int.from_bytes(key[3:11]), key[11:]


def commit_key(commit_id: bytes) -> bytes:
    """Return the row key of a commit id that a caller gave."""
    return COMMITS + PARTITION + commit_id


def correlation_key(correlation: str, revision: int) -> bytes:
    """Return the row key of one commit under its correlation id."""
    return CORRELATIONS + PARTITION + pack_text(correlation) + revision.to_bytes(8)


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


def _skip(packed: bytes, at: int) -> int:
    end = packed.index(0, at)
    while packed[end + 1 : end + 2] == b"\xff":
        end = packed.index(0, end + 2)
    return end + 1
