"""Deciding one operation: from the record that stands there to the one that will. Pure."""

from __future__ import annotations

from typing import Any, Final

from holdfast.errors import ConflictError, StateError
from holdfast.store import intent as wanted
from holdfast.store import record
from holdfast.store.codec import decode
from holdfast.store.compression import MAX_RUN
from holdfast.store.intent import Intent, Op, Prepared
from holdfast.store.layout import split_place
from holdfast.store.payload import Payloads
from holdfast.store.record import build, parse
from holdfast.store.value import MISSING, Operation, StateClass

_DEFAULT_CLASS: Final = int(StateClass.STANDARD)
# Looking a member of an enum up costs more than all else that is done with it here.
_SET, _TOUCH = int(Operation.SET), int(Operation.TOUCH)
_SAME_FROM: Final = 256  # a touch of a smaller value simply copies it


class TooLargeForLaneError(StateError):
    """The old value is too large to be transformed inside the lane; never leaves the kernel."""


class TransformError(StateError):
    """A transform raised what is none of ours (its ``__cause__``); never leaves the kernel."""


class Step:
    """One operation, decided.

    Attributes:
        op: The operation.
        stored: The record that is there, also if it has expired; None if there is none.
        stored_raw: Its bytes.
        old: The record as callers see it: None if there is none or it has expired.
        operation: What the journal will say; 0 where nothing changes.
        live: The new record's bytes, None for none.
        row: The version row's bytes.
        version, state_class, expires_ns: Of the new record (of a delete: of the old one).
        result: What the caller is told.
    """

    # What a step of nothing is; setting only what differs is cheaper than slots for all.
    operation: int = 0
    live: bytes | None = None
    row: bytes = b""
    version: int = 0
    state_class: int = 0
    expires_ns: int = 0
    result: Any = True

    def __init__(
        self,
        op: Op,
        raw: bytes | None,
        intent: Intent,
        revision: int,
        now_ns: int,
        payloads: Payloads,
    ) -> None:
        """Decide `op` on the stored bytes `raw` at `revision` and `now_ns`.

        Raises:
            ConflictError: A precondition does not hold.
            CorruptionError: The record that is there is damaged.
            StateError: A transform refused the old value.
        """
        self.op = op
        self.stored_raw = raw
        place = op.place
        if raw is None:
            stored = old = None
        else:
            old = stored = parse(place, raw)
            if old.expires_ns and old.expires_ns <= now_ns:
                old = None
        self.stored, self.old = stored, old
        if op.if_revision is not None:
            actual = old.revision if old is not None else 0
            if actual != op.if_revision:
                raise conflict(place, op.if_revision, actual, "revision")
        if op.if_version is not None:
            actual = old.version if old is not None else 0
            if actual != op.if_version:
                raise conflict(place, op.if_version, actual, "version")

        kind = op.kind
        if kind == wanted.SET:
            assert op.prepared is not None
            self._write(_SET, op.prepared, intent, revision, now_ns)
        elif kind == wanted.TRANSFORM:
            prepared = self._transform(payloads)
            self._write(_SET, prepared, intent, revision, now_ns)
        elif kind == wanted.TOUCH and old is not None:
            same = Prepared(old.encoding, old.payload, old.size)
            self._write(_TOUCH, same, intent, revision, now_ns)
        elif kind == wanted.DELETE and old is not None:
            self._clear(int(Operation.DELETE), record.DELETED, intent, revision, now_ns)
        elif kind == wanted.EXPIRE and old is None and stored is not None:
            self._clear(int(Operation.EXPIRE), record.EXPIRED, intent, revision, now_ns)
        elif kind == wanted.LOST and stored is None:
            self._clear(int(Operation.LOST), record.DELETED, intent, revision, now_ns)
        else:
            self.result = False

    def _transform(self, payloads: Payloads) -> Prepared:
        op, old = self.op, self.old
        assert op.transform is not None
        if old is not None and op.limit and old.size > op.limit:
            raise TooLargeForLaneError("transform this outside the lane")
        value = MISSING if old is None else decode(payloads.restore(op.place, old))
        try:
            prepared, self.result = op.transform(value)
        except StateError:
            raise
        except Exception as error:  # of its caller's value; the rest of the group goes on
            raise TransformError("a transform raised") from error
        if old is not None:
            payloads.add_delta(op.place, prepared, old)
        return prepared

    def _write(
        self, operation: int, prepared: Prepared, intent: Intent, revision: int, now_ns: int
    ) -> None:
        op, old, stored = self.op, self.old, self.stored
        run, delta, compression = 0, None, record.ZSTD
        expires = op.expires_ns if op.ttl_ns is None else now_ns + op.ttl_ns
        state_class, schema = op.state_class, op.schema_version
        if old is None:
            version, created = 1, now_ns
        else:
            version, created = old.version + 1, old.created_ns
            if expires is None:
                expires = old.expires_ns
            if state_class is None:
                state_class = old.state_class
            if schema is None and op.kind != wanted.SET:
                schema = old.schema_version
            if old.run < MAX_RUN:
                if prepared.delta is not None and prepared.base == old.revision:
                    run, delta = old.run + 1, prepared.delta
                elif op.kind == wanted.TOUCH and old.size >= _SAME_FROM:
                    run, delta, compression = old.run + 1, b"", record.SAME
        self.operation = operation
        self.version = version
        self.state_class = state_class = _DEFAULT_CLASS if state_class is None else state_class
        if expires:
            self.expires_ns = expires
        else:
            expires = 0
        previous = 0 if stored is None else stored.revision
        self.live = self.row = live = build(
            op.place,
            record.VALUE,
            prepared.encoding,
            state_class,
            run,
            revision,
            previous,
            version,
            created,
            now_ns,
            prepared.size,
            prepared.payload,
            expires,
            intent.correlation,
            intent.actor,
            schema,
        )
        if delta is not None:
            self.row = build(
                op.place,
                record.DELTA,
                record.MSGPACK | compression,
                state_class,
                run,
                revision,
                previous,
                version,
                created,
                now_ns,
                prepared.size,
                delta,
                expires,
                intent.correlation,
                intent.actor,
                schema,
                None,
                live[-16:],
            )

    def _clear(self, operation: int, kind: int, intent: Intent, revision: int, now_ns: int) -> None:
        stored = self.stored
        self.operation = operation
        if stored is not None:
            self.version, self.state_class = stored.version, stored.state_class
        self.row = build(
            self.op.place,
            kind,
            0,
            self.state_class,
            0,
            revision,
            0 if stored is None else stored.revision,
            self.version,
            now_ns if stored is None else stored.created_ns,
            now_ns,
            0,
            b"",
            0,
            intent.correlation,
            intent.actor,
        )


def conflict(place: bytes, expected: int, actual: int, reason: str) -> ConflictError:
    """Return the error for a precondition on one key that does not hold."""
    _, scope, key = split_place(place)
    if expected == 0:
        text, reason = "exists already", "exists"
    elif actual == 0:
        text = "does not exist"
    else:
        text = f"is at {reason} {actual}, not {expected}"
    return ConflictError(
        f"{scope}/{key} {text}",
        scope=str(scope),
        key=key,
        expected=expected,
        actual=actual,
        reason=reason,
    )
