"""What is stored of a session and its artifacts.

In ``session:ID``: ``session`` (`SessionRecord`), ``expiry`` (expires by the store, where the
session has one) and ``artifact/NAME`` (`Artifact`). Other keys are the user's.

Content lies in the *key domain*: ``user:OWNER`` where the session has an owner, and ``session:ID``
where it has none. It is deduplicated inside it and never across, so that erasing what belongs to
one owner cannot hit another's; the domain is the scope, and so part of every stored key:
``artifact-blob/SHA256`` (`Blob`), ``artifact-upload/UPLOAD`` (`Upload`),
``artifact-chunk/UPLOAD/NUMBER`` (bytes). Chunks belong to an upload and not to a digest: what is
being deleted is never what somebody puts in again meanwhile.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from holdfast.store.scope import StateScope

SESSION: Final = "session"
EXPIRY: Final = "expiry"
ARTIFACT: Final = "artifact/"
BLOB: Final = "artifact-blob/"
UPLOAD: Final = "artifact-upload/"
CHUNK: Final = "artifact-chunk/"

ACTIVE: Final = "active"
SUSPENDED: Final = "suspended"
ENDED: Final = "ended"
IMPORTING: Final = "importing"
DELETING: Final = "deleting"
VISIBLE: Final = (ACTIVE, SUSPENDED, ENDED)

OPEN: Final = "open"
PUBLISHED: Final = "published"
DEAD: Final = "dead"


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A session as stored.

    Attributes:
        status: ``"active"``, ``"suspended"``, ``"ended"``; ``"importing"`` and ``"deleting"`` are
            never shown.
        owner: Whose it is; names the key domain.
        ttl: Seconds without a touch after which it is gone; None for never.
        previous: The id of an earlier session.
        correlation: What its events belong to.
        metadata: The caller's.
    """

    status: str
    owner: str | None
    ttl: float | None
    previous: str | None
    correlation: str
    metadata: dict[str, Any]


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """One artifact of a session.

    Attributes:
        sha256: Of its content, as hex; size: bytes.
        type: A media type, or any words; metadata: the caller's.
    """

    sha256: str
    size: int
    type: str | None
    metadata: dict[str, Any]


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """Content, once per key domain: where it lies, and how many artifacts refer to it."""

    size: int
    chunks: int
    upload: str
    refs: int


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """Who may write chunks: ``"open"`` (expires), ``"published"``, or ``"dead"``: to be purged."""

    state: str
    session: str


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is now; `expires_at` is None where it has no expiry."""

    id: str
    status: str
    owner: str | None
    previous: str | None
    correlation: str
    metadata: dict[str, Any]
    started_at: datetime
    updated_at: datetime
    expires_at: datetime | None


def domain_of(id: str, owner: str | None) -> StateScope:
    """Return the key domain: where content is deduplicated."""
    return StateScope.session(id) if owner is None else StateScope.user(owner)


def chunk_key(upload: str, number: int) -> str:
    """Return the key of a chunk; chunks sort by number."""
    return f"{CHUNK}{upload}/{number:08d}"
