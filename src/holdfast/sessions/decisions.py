"""What becomes of sessions, artifacts and content. Decisions over a transaction.

Every decision reads the session's record and its expiry, and every chunk is written under its
upload's record: whoever was overtaken by a delete, an expiry or a purge is refused at its commit.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.sessions import model
from holdfast.sessions.errors import (
    ArtifactNotFoundError,
    SessionExistsError,
    SessionNotFoundError,
    SessionStatusError,
)
from holdfast.sessions.model import Artifact, Blob, SessionRecord, Upload, domain_of
from holdfast.store.scope import StateScope
from holdfast.transaction import StateTransaction

#: Seconds that an upload may rest; each chunk begins them anew.
UPLOAD_TTL = 3600.0
IMPORT_TTL = 24 * 3600.0


def started(tx: StateTransaction, id: str, record: SessionRecord) -> None:
    """Begin a session; the one it links to must be there."""
    scope = StateScope.session(id)
    if tx.exists(scope, model.SESSION):
        raise SessionExistsError(f"session {id!r} exists already", session=id)
    if record.previous is not None and record.status == model.ACTIVE:
        living(tx, record.previous)
    tx.set(scope, model.SESSION, record)
    if record.status == model.IMPORTING:
        tx.set(scope, model.EXPIRY, True, expires_in=IMPORT_TTL)
        return
    if record.ttl is not None:
        tx.set(scope, model.EXPIRY, True, expires_in=record.ttl)
    tx.emit("session.started", {"previous": record.previous}, scope=scope)


def living(tx: StateTransaction, id: str, status: tuple[str, ...] = model.VISIBLE) -> SessionRecord:
    """Return a session's record.

    Raises:
        SessionNotFoundError: There is none, or it has expired.
        SessionStatusError: It has another status.
    """
    scope = StateScope.session(id)
    record = tx.get(scope, model.SESSION, type=SessionRecord)
    present = record is not None and (
        (record.ttl is None and record.status != model.IMPORTING) or tx.exists(scope, model.EXPIRY)
    )
    hidden = record is not None and record.status not in (*model.VISIBLE, *status)
    if record is None or not present or hidden:
        raise SessionNotFoundError(f"there is no session {id!r}", session=id)
    if record.status not in status:
        raise SessionStatusError(
            f"session {id!r} is {record.status}, not {' or '.join(status)}",
            session=id,
            status=record.status,
        )
    return record


def moved(
    tx: StateTransaction, id: str, before: tuple[str, ...], after: str, event: str
) -> SessionRecord:
    """Give a session another status, with its event."""
    scope = StateScope.session(id)
    record = replace(living(tx, id, before), status=after)
    tx.set(scope, model.SESSION, record)
    touched(tx, id)
    tx.emit(event, scope=scope)
    return record


def touched(tx: StateTransaction, id: str) -> None:
    """Begin a session's time to live anew."""
    record = living(tx, id)
    if record.ttl is not None:
        tx.set(StateScope.session(id), model.EXPIRY, True, expires_in=record.ttl)


def described(tx: StateTransaction, id: str, metadata: dict[str, Any]) -> None:
    """Replace a session's metadata."""
    record = living(tx, id, (model.ACTIVE, model.SUSPENDED))
    tx.set(StateScope.session(id), model.SESSION, replace(record, metadata=metadata))


def arrived(tx: StateTransaction, id: str, status: str, ttl: float | None) -> None:
    """Show a session whose import is whole."""
    scope = StateScope.session(id)
    record = living(tx, id, (model.IMPORTING,))
    tx.set(scope, model.SESSION, replace(record, status=status, ttl=ttl))
    if ttl is None:
        tx.delete(scope, model.EXPIRY)
    else:
        tx.set(scope, model.EXPIRY, True, expires_in=ttl)
    tx.emit("session.imported", scope=scope)


def doomed(tx: StateTransaction, id: str, *, expired_only: bool) -> SessionRecord | None:
    """Mark a session as being deleted; return its record, or None where it is to stay."""
    scope = StateScope.session(id)
    record = tx.get(scope, model.SESSION, type=SessionRecord)
    if record is None or record.status == model.DELETING:
        return record
    mortal = record.ttl is not None or record.status == model.IMPORTING
    if expired_only and not (mortal and not tx.exists(scope, model.EXPIRY)):
        return None
    tx.set(scope, model.SESSION, replace(record, status=model.DELETING))
    tx.emit("session.deleted", {"expired": expired_only}, scope=scope)
    return record


# --- content ------------------------------------------------------------------------------------


def opened(tx: StateTransaction, id: str, upload: str) -> StateScope:
    """Begin an upload; return the key domain."""
    record = living(tx, id, (model.ACTIVE, model.IMPORTING))
    domain = domain_of(id, record.owner)
    written = Upload(state=model.OPEN, session=id)
    tx.set(domain, model.UPLOAD + upload, written, expires_in=UPLOAD_TTL)
    return domain


def added(
    tx: StateTransaction, domain: StateScope, id: str, upload: str, number: int, data: bytes
) -> None:
    """Write one chunk of an upload that is still open."""
    record = _open(tx, domain, id, upload)
    tx.set(domain, model.chunk_key(upload, number), data)
    tx.set(domain, model.UPLOAD + upload, record, expires_in=UPLOAD_TTL)


def published(
    tx: StateTransaction,
    domain: StateScope,
    id: str,
    name: str,
    upload: str,
    chunks: int,
    artifact: Artifact,
) -> list[str]:
    """Show an artifact; return the uploads that nobody needs any more."""
    living(tx, id, (model.ACTIVE, model.IMPORTING))
    record, scope, dead = _open(tx, domain, id, upload), StateScope.session(id), []
    blob = tx.get(domain, model.BLOB + artifact.sha256, type=Blob)
    if blob is None:
        blob = Blob(size=artifact.size, chunks=chunks, upload=upload, refs=0)
        tx.set(domain, model.UPLOAD + upload, replace(record, state=model.PUBLISHED))
    else:
        tx.set(domain, model.UPLOAD + upload, replace(record, state=model.DEAD))
        dead.append(upload)
    tx.set(domain, model.BLOB + artifact.sha256, replace(blob, refs=blob.refs + 1))
    old = tx.get(scope, model.ARTIFACT + name, type=Artifact)
    if old is not None:
        dead += _released(tx, domain, id, old)
    tx.set(scope, model.ARTIFACT + name, artifact)
    data = {"artifact": name, "sha256": artifact.sha256, "size": artifact.size}
    tx.emit("session.artifact.stored", data, scope=scope)
    return dead


def removed(tx: StateTransaction, id: str, name: str) -> tuple[StateScope, list[str]]:
    """Take an artifact out of a session; return the domain, and what is to be purged."""
    record = living(tx, id, (model.ACTIVE, model.SUSPENDED))
    scope, domain = StateScope.session(id), domain_of(id, record.owner)
    artifact = tx.get(scope, model.ARTIFACT + name, type=Artifact)
    if artifact is None:
        raise ArtifactNotFoundError(
            f"session {id!r} has no artifact {name!r}", session=id, artifact=name
        )
    tx.delete(scope, model.ARTIFACT + name)
    tx.emit("session.artifact.removed", {"artifact": name}, scope=scope)
    return domain, _released(tx, domain, id, artifact)


def cleared(tx: StateTransaction, domain: StateScope, id: str, keys: list[str]) -> list[str]:
    """Take artifacts out of a session that is being deleted; return what is to be purged."""
    scope, dead = StateScope.session(id), []
    for key in keys:
        artifact = tx.get(scope, key, type=Artifact)
        if artifact is not None:
            tx.delete(scope, key)
            dead += _released(tx, domain, id, artifact)
    return dead


def abandoned(tx: StateTransaction, domain: StateScope, id: str, upload: str) -> bool:
    """Give an upload up unless it is published; say whether it is to be purged."""
    record = tx.get(domain, model.UPLOAD + upload, type=Upload)
    if record is not None and record.state == model.PUBLISHED:
        return False
    tx.set(domain, model.UPLOAD + upload, Upload(state=model.DEAD, session=id))
    return True


def orphaned(tx: StateTransaction, domain: StateScope, upload: str) -> bool:
    """Say whether chunks are nobody's; whoever still writes them is fenced off by that."""
    record = tx.get(domain, model.UPLOAD + upload, type=Upload)
    if record is None:
        tx.set(domain, model.UPLOAD + upload, Upload(state=model.DEAD, session=""))
        return True
    return record.state == model.DEAD


def _open(tx: StateTransaction, domain: StateScope, id: str, upload: str) -> Upload:
    record = tx.get(domain, model.UPLOAD + upload, type=Upload)
    if record is None or record.state != model.OPEN:
        raise SessionStatusError(
            f"an upload to session {id!r} has been given up: it rested too long, or the session "
            "was deleted",
            hint="put the artifact in again",
            session=id,
        )
    return record


def _released(tx: StateTransaction, domain: StateScope, id: str, artifact: Artifact) -> list[str]:
    key = model.BLOB + artifact.sha256
    blob = tx.get(domain, key, type=Blob)
    if blob is None:
        return []
    if blob.refs > 1:
        tx.set(domain, key, replace(blob, refs=blob.refs - 1))
        return []
    tx.delete(domain, key)
    tx.set(domain, model.UPLOAD + blob.upload, Upload(state=model.DEAD, session=id))
    return [blob.upload]
