"""A session as one file of JSON Lines: head, keys, artifacts in chunks, and an end that sums it up.

``docs/format.md`` has the members. Nothing of an import shows before the end of the file was read
and its digest is right.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec

from holdfast.driving import drive
from holdfast.errors import InvalidArgumentError, StateError
from holdfast.manager import StateManager
from holdfast.sessions import core, decisions, model
from holdfast.sessions.errors import SessionFileError
from holdfast.sessions.model import Artifact, Blob, SessionRecord, domain_of
from holdfast.store.lines import TAG, from_json, parse_lines, record_line, to_json
from holdfast.store.scope import StateScope
from holdfast.store.value import SetOperation

FORMAT = 1
_BATCH = 50


def export_lines(state: StateManager, id: str) -> Iterator[str]:
    """Yield a session's lines, all of one moment, with one chunk in memory at a time."""
    found = drive(state, core.known(id))
    scope, domain = StateScope.session(id), domain_of(id, found.owner)
    digest = hashlib.sha256()

    def told(line: str) -> str:
        digest.update(line.encode() + b"\n")
        return line

    with state.snapshot() as snapshot:
        record = snapshot.get(scope, model.SESSION, type=SessionRecord)
        if record is None:
            drive(state, core.known(id))
            return
        head = {TAG: "session", "format": FORMAT, "id": id}
        head |= {"session": to_json(msgspec.to_builtins(record))}
        yield told(json.dumps(head, ensure_ascii=False))
        names = []
        for key, item in snapshot.scan(scope):
            if key.startswith(model.ARTIFACT):
                names.append(key.removeprefix(model.ARTIFACT))
            elif not _internal(key):
                yield told(record_line(scope, key, item))
        for name in names:
            artifact = snapshot.get(scope, model.ARTIFACT + name, type=Artifact)
            assert artifact is not None
            blob = snapshot.get(domain, model.BLOB + artifact.sha256, type=Blob)
            missing = Blob(size=0, chunks=0, upload="", refs=0)
            reading = core.Reading(id, name, domain, artifact, blob or missing)
            if blob is None:
                raise reading.damaged("its content is missing")
            line = {"artifact": name, "chunks": blob.chunks}
            line |= to_json(msgspec.to_builtins(artifact))
            yield told(json.dumps(line, ensure_ascii=False))
            for number in range(blob.chunks):
                data = drive(snapshot, reading.chunk(number))
                yield told(json.dumps({"data": base64.b64encode(data).decode()}))
    yield json.dumps({"end": True, "sha256": digest.hexdigest()})


def _internal(key: str) -> bool:
    """Say whether a key is how the session is stored, and no content of it."""
    return key in (model.SESSION, model.EXPIRY) or key.startswith(
        (model.BLOB, model.UPLOAD, model.CHUNK)
    )


class _Lines:
    """Lines of a file, summed up as they are read."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines, self.number = iter(lines), 0
        self._digest = hashlib.sha256()

    def next(self) -> tuple[str, dict[str, Any]]:
        """Return the next line, as text and as an object."""
        text = next(self._lines, None)
        self.number += 1
        if text is None:
            raise SessionFileError(f"the file ends at line {self.number}, before its end line")
        text = text.rstrip("\n")
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            raise self.bad("is not JSON") from None
        if not isinstance(line, dict):
            raise self.bad("is no object")
        if line.get("end") is True:
            if line.get("sha256") != self._digest.hexdigest():
                raise SessionFileError("the file has been changed: its SHA-256 differs")
        else:
            self._digest.update(text.encode() + b"\n")
        return text, line

    def bad(self, words: str) -> SessionFileError:
        """Return the error of a line."""
        return SessionFileError(f"line {self.number} {words}")


def import_lines(
    state: StateManager, lines: Iterable[str], id: str | None, owner: str | None, size: int
) -> str:
    """Read a session in, under its own id and owner or others; return the id."""
    source = _Lines(lines)
    _, head = source.next()
    if head.get(TAG) != "session" or head.get("format") != FORMAT:
        raise SessionFileError("this is no exported session that this version can read")
    try:
        record = msgspec.convert(from_json(head["session"]), SessionRecord)
        name = head["id"] if id is None else id
        scope = StateScope.session(name)
    except (KeyError, TypeError, ValueError, InvalidArgumentError):
        raise source.bad("describes no session") from None
    if record.status not in model.VISIBLE:
        raise source.bad("describes a session that is not whole")
    owner = record.owner if owner is None else owner
    begun = (name, owner, record.metadata, None, record.previous)
    drive(state, core.start(*begun, record.correlation, status=model.IMPORTING))
    try:
        _contents(state, source, scope, size)
        drive(
            state,
            core.act(
                name, "import", lambda tx: decisions.arrived(tx, name, record.status, record.ttl)
            ),
        )
    except BaseException:
        with suppress(StateError):
            drive(state, core.delete(name))
        raise
    return str(name)


def _contents(state: StateManager, source: _Lines, scope: StateScope, size: int) -> None:
    batch: list[SetOperation] = []
    while True:
        text, line = source.next()
        if len(batch) == _BATCH or (batch and "end" in line):
            state.set_batch(batch, atomic=True)
            batch = []
        if line.get("end") is True:
            return
        if "artifact" in line:
            _artifact(state, source, scope.ids[0], line, size)
            continue
        try:
            (operation,) = parse_lines([text])
        except (StateError, ValueError) as error:
            raise source.bad("is no key") from error
        if _internal(operation.key) or operation.key.startswith(model.ARTIFACT):
            raise source.bad("has a key that sessions keep for themselves")
        batch.append(replace(operation, scope=scope))


def _artifact(
    state: StateManager, source: _Lines, id: str, line: dict[str, Any], size: int
) -> None:
    try:
        name, chunks = str(line.pop("artifact")), int(line.pop("chunks"))
        told = msgspec.convert(from_json(line), Artifact)
    except (KeyError, TypeError, ValueError, InvalidArgumentError):
        raise source.bad("describes no artifact") from None

    def pieces() -> Iterator[bytes]:
        for _ in range(chunks):
            _, piece = source.next()
            try:
                yield base64.b64decode(piece["data"], validate=True)
            except (KeyError, TypeError, ValueError):
                raise source.bad("is no chunk") from None

    pull = core.puller(pieces(), size)
    made = drive(state, core.put(id, name, pull, size, told.type, told.metadata))
    if (made.sha256, made.size) != (told.sha256, told.size):
        raise source.bad("ends an artifact whose SHA-256 differs")
