"""What sessions do, without waiting: steps for `drive` and `drive_async`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from holdfast.correlation import CorrelationContext, current
from holdfast.driving import Call, Steps
from holdfast.errors import CorruptionError, InvalidArgumentError, StateError
from holdfast.sessions import decisions, model
from holdfast.sessions.errors import (
    ArtifactDamagedError,
    ArtifactNotFoundError,
    SessionNotFoundError,
)
from holdfast.sessions.model import Artifact, Blob, SessionInfo, SessionRecord, domain_of
from holdfast.store.options import ttl_of
from holdfast.store.scope import ScopeKind, StateScope

CHUNK_BYTES = 1 << 20
_BATCH = 16  # keys of one commit of a delete: a bound on memory, since a key may hold a chunk

Source = bytes | BinaryIO | Iterable[bytes]


def _transact(plan: Callable[[Any], Any], **options: Any) -> Call:
    return lambda state: state.transact(plan, **options)


def _get(scope: StateScope, key: str, kind: type) -> Call:
    return lambda state: state.get(scope, key, type=kind)


def _keys(scope: StateScope, prefix: str, after: str | None, limit: int) -> Call:
    return lambda state: state.list_keys(scope, prefix=prefix, after=after, limit=limit)


def start(
    id: str,
    owner: str | None = None,
    metadata: dict[str, Any] | None = None,
    ttl: float | None = None,
    previous: str | None = None,
    correlation: str | None = None,
    status: str = model.ACTIVE,
) -> Steps[None]:
    """Begin a session."""
    if ttl is not None:
        ttl_of(ttl)
    around = current()
    if correlation is None and around is not None:
        correlation = around.id
    context = CorrelationContext.new(correlation, component="session", operation="start")
    record = SessionRecord(
        status=status,
        owner=owner,
        ttl=None if ttl is None else float(ttl),
        previous=previous,
        correlation=context.id,
        metadata=metadata or {},
    )
    domain_of(id, owner)

    def plan(tx: Any) -> None:
        decisions.started(tx, id, record)

    yield lambda state: state.transact(plan, correlation=context)


def act(id: str, operation: str, plan: Callable[[Any], Any]) -> Steps[Any]:
    """Commit one decision as part of a session's piece of work."""
    scope = StateScope.session(id)
    record = yield lambda state: state.get(scope, model.SESSION, type=SessionRecord)
    context = current()
    if context is None:
        context = CorrelationContext.new(
            None if record is None else record.correlation,
            component="session",
            operation=operation,
        )
    return (yield lambda state: state.transact(plan, correlation=context))


def info(id: str) -> Steps[SessionInfo | None]:
    """Return a session as it is now."""
    scope = StateScope.session(id)
    found = yield lambda state: state.get_with_metadata(scope, model.SESSION)
    record = yield lambda state: state.get(scope, model.SESSION, type=SessionRecord)
    if found is None or record is None or record.status not in model.VISIBLE:
        return None
    expiry = None
    if record.ttl is not None:
        expiry = yield lambda state: state.get_with_metadata(scope, model.EXPIRY)
        if expiry is None:
            return None
    return SessionInfo(
        id=id,
        status=record.status,
        owner=record.owner,
        previous=record.previous,
        correlation=record.correlation,
        metadata=record.metadata,
        started_at=found.metadata.created_at,
        updated_at=found.metadata.updated_at,
        expires_at=None if expiry is None else expiry.metadata.expires_at,
    )


def known(id: str) -> Steps[SessionInfo]:
    """Return a session, or raise that it is not there."""
    found = yield from info(id)
    if found is None:
        raise SessionNotFoundError(f"there is no session {id!r}", session=id)
    return found


def listed(status: str | None) -> Steps[list[SessionInfo]]:
    """Return all sessions."""
    if status is not None and status not in model.VISIBLE:
        raise InvalidArgumentError(f"status is {', '.join(model.VISIBLE)}")
    scopes, found = (yield lambda state: state.scopes(ScopeKind.SESSION)), []
    for scope in scopes:
        one = yield from info(scope.ids[0])
        if one is not None and status in (None, one.status):
            found.append(one)
    return found


def artifacts(id: str) -> Steps[dict[str, Artifact]]:
    """Return the artifacts of a session by name."""
    yield from known(id)
    scope = StateScope.session(id)
    keys = yield lambda state: state.list_keys(scope, prefix=model.ARTIFACT)
    found = {}
    for key in keys:
        one = yield _get(scope, key, Artifact)
        if one is not None:
            found[key.removeprefix(model.ARTIFACT)] = one
    return found


# --- in -----------------------------------------------------------------------------------------


def puller(source: Source, size: int) -> Callable[[], Any]:
    """Return what gives the next bytes of a source, and none at its end."""
    if isinstance(source, bytes | bytearray | memoryview):
        view = memoryview(source).cast("B")
        pieces: Iterator[Any] = (view[at : at + size] for at in range(0, len(view), size))
        return lambda: next(pieces, b"")
    read = getattr(source, "read", None)
    if read is not None:
        return lambda: read(size)
    if hasattr(source, "__aiter__"):
        turns = source.__aiter__()

        async def following() -> bytes:
            async for piece in turns:
                if piece:
                    return bytes(piece)
            return b""

        return following
    if isinstance(source, str) or not hasattr(source, "__iter__"):
        raise InvalidArgumentError("an artifact's source is bytes, a binary file, or gives bytes")
    given = iter(source)
    return lambda: next((piece for piece in given if piece), b"")


def put(
    id: str,
    name: str,
    pull: Callable[[], Any],
    size: int,
    type: str | None,
    metadata: dict[str, Any] | None,
) -> Steps[Artifact]:
    """Store an artifact in chunks; it shows when it is whole."""
    upload, scope = os.urandom(16).hex(), StateScope.session(id)
    record = yield _get(scope, model.SESSION, SessionRecord)
    if record is None:
        raise SessionNotFoundError(f"there is no session {id!r}", session=id)
    domain = domain_of(id, record.owner)
    digest, buffer, number, total = hashlib.sha256(), bytearray(), 0, 0
    try:
        yield from act(id, "put", lambda tx: decisions.opened(tx, id, upload))
        while True:
            piece = yield lambda _: pull()
            if not isinstance(piece, bytes | bytearray | memoryview):
                raise InvalidArgumentError("an artifact's source must give bytes")
            buffer += piece
            while len(buffer) >= size or (not piece and buffer):
                data = bytes(buffer[:size])
                del buffer[:size]
                digest.update(data)

                def plan(tx: Any, number: int = number, data: bytes = data) -> None:
                    decisions.added(tx, domain, id, upload, number, data)

                # Made durable by the commit that shows the artifact, which comes behind.
                yield _transact(plan, durability="os")
                number, total = number + 1, total + len(data)
            if not piece:
                break
        artifact = Artifact(
            sha256=digest.hexdigest(), size=total, type=type, metadata=metadata or {}
        )

        def show(tx: Any) -> list[str]:
            return decisions.published(tx, domain, id, name, upload, number, artifact)

        dead = yield from act(id, "put", show)
    except GeneratorExit:
        raise
    except BaseException:
        try:
            yield from _abandon(domain, id, upload)
        except StateError:
            pass  # sweep finds it
        raise
    for one in dead:
        yield from purge(domain, one)
    return artifact


def _abandon(domain: StateScope, id: str, upload: str) -> Steps[None]:
    gone = yield lambda state: state.transact(
        lambda tx: decisions.abandoned(tx, domain, id, upload)
    )
    if gone:
        yield from purge(domain, upload)


# --- out ----------------------------------------------------------------------------------------


class Reading:
    """Checks an artifact while it is read: number, sizes and digest of its chunks."""

    def __init__(self, id: str, name: str, domain: StateScope, item: Artifact, blob: Blob) -> None:
        self.id, self.name, self.domain, self.item, self.blob = id, name, domain, item, blob
        self._digest, self._size = hashlib.sha256(), 0

    def chunk(self, number: int) -> Steps[bytes]:
        """Return one chunk; the last one only if the whole is what was put in."""
        key = model.chunk_key(self.blob.upload, number)
        try:
            data = yield lambda state: state.get(self.domain, key)
        except CorruptionError as error:
            raise self.damaged(f"chunk {number} is damaged") from error
        if data is None:
            blob = yield lambda state: state.get(self.domain, model.BLOB + self.item.sha256)
            if blob is None or blob.get("upload") != self.blob.upload:
                raise _no_artifact(self.id, self.name)
            raise self.damaged(f"chunk {number} of {self.blob.chunks} is missing")
        if not isinstance(data, bytes):
            raise self.damaged(f"chunk {number} is damaged")
        self._digest.update(data)
        self._size += len(data)
        if number == self.blob.chunks - 1:
            self.check()
        return data

    def check(self) -> None:
        """Compare what was read with what was put in."""
        if (self._digest.hexdigest(), self._size) != (self.item.sha256, self.item.size):
            raise self.damaged("its content has another SHA-256")

    def damaged(self, words: str) -> ArtifactDamagedError:
        """Return the error."""
        return ArtifactDamagedError(
            f"artifact {self.name!r} of session {self.id!r}: {words}",
            where=f"session:{self.id}/{self.name}",
            session=self.id,
            artifact=self.name,
        )


def reading(id: str, name: str) -> Steps[Reading]:
    """Return what reads an artifact."""
    found = yield from known(id)
    scope, domain = StateScope.session(id), domain_of(id, found.owner)
    item = yield lambda state: state.get(scope, model.ARTIFACT + name, type=Artifact)
    if item is None:
        raise _no_artifact(id, name)
    blob = yield lambda state: state.get(domain, model.BLOB + item.sha256, type=Blob)
    if blob is None:
        raise Reading(id, name, domain, item, Blob(size=0, chunks=0, upload="", refs=0)).damaged(
            "its content is missing"
        )
    read = Reading(id, name, domain, item, blob)
    if not blob.chunks:
        read.check()
    return read


def _no_artifact(id: str, name: str) -> ArtifactNotFoundError:
    return ArtifactNotFoundError(
        f"session {id!r} has no artifact {name!r}", session=id, artifact=name
    )


# --- away ---------------------------------------------------------------------------------------


def remove(id: str, name: str) -> Steps[None]:
    """Take an artifact out of a session."""
    domain, dead = yield from act(id, "remove", lambda tx: decisions.removed(tx, id, name))
    for upload in dead:
        yield from purge(domain, upload)


def purge(domain: StateScope, upload: str) -> Steps[None]:
    """Delete the chunks of a dead upload, then its record; can be done again."""
    yield from _empty(domain, f"{model.CHUNK}{upload}/", ())
    yield lambda state: state.delete(domain, model.UPLOAD + upload)


def _empty(scope: StateScope, prefix: str, but: tuple[str, ...]) -> Steps[None]:
    """Delete keys in bounded commits, until there are none."""
    while True:
        keys = yield lambda state: state.list_keys(scope, prefix=prefix, limit=_BATCH + len(but))
        keys = [key for key in keys if key not in but]
        if not keys:
            return

        def plan(tx: Any, keys: list[str] = keys) -> None:
            for key in keys:
                tx.delete(scope, key)

        yield _transact(plan)


def delete(id: str, *, expired_only: bool = False) -> Steps[bool]:
    """Delete all of a session, in bounded commits; once begun, again finishes it."""
    scope = StateScope.session(id)
    record = yield from act(
        id, "delete", lambda tx: decisions.doomed(tx, id, expired_only=expired_only)
    )
    if record is None:
        return False
    domain = domain_of(id, record.owner)
    while True:
        keys = yield lambda state: state.list_keys(scope, prefix=model.ARTIFACT, limit=_BATCH)
        if not keys:
            break

        def plan(tx: Any, keys: list[str] = keys) -> list[str]:
            return decisions.cleared(tx, domain, id, keys)

        dead = yield _transact(plan)
        for upload in dead:
            yield from purge(domain, upload)
    yield from collect(domain)  # what an interrupted delete has left there
    yield from _empty(scope, "", (model.SESSION,))
    yield lambda state: state.delete(scope, model.SESSION)
    return True


def collect(domain: StateScope) -> Steps[int]:
    """Purge the chunks of uploads that are dead or were given up; return how many uploads."""
    count, after = 0, None
    while True:  # one step an upload, however many chunks it has
        keys = yield _keys(domain, model.CHUNK, after, 1)
        if not keys:
            break
        upload = keys[0].removeprefix(model.CHUNK).partition("/")[0]
        after = f"{model.CHUNK}{upload}/~"

        def plan(tx: Any, upload: str = upload) -> bool:
            return decisions.orphaned(tx, domain, upload)

        if (yield _transact(plan)):
            yield from purge(domain, upload)
            count += 1
    after = None
    while True:
        keys = yield _keys(domain, model.UPLOAD, after, 100)
        for key in keys:
            record = yield _get(domain, key, model.Upload)
            if record is not None and record.state == model.DEAD:
                yield from purge(domain, key.removeprefix(model.UPLOAD))
                count += 1
        if len(keys) < 100:
            return count
        after = keys[-1]


def sweep() -> Steps[tuple[int, int]]:
    """Delete expired sessions, finish interrupted deletes, purge; return both counts."""
    sessions = uploads = 0
    scopes = yield lambda state: state.scopes(ScopeKind.SESSION)
    for scope in scopes:
        if (yield from delete(scope.ids[0], expired_only=True)):
            sessions += 1
        else:
            uploads += yield from collect(scope)
    scopes = yield lambda state: state.scopes(ScopeKind.USER)
    for scope in scopes:
        uploads += yield from collect(scope)
    return sessions, uploads
