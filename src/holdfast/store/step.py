"""Deciding one operation: from the record that stands there to the one that will. Pure."""

from __future__ import annotations

from typing import Final

from holdfast.errors import ConflictError, StateError
from holdfast.store import intent as wanted
from holdfast.store import record
from holdfast.store.codec import decode
from holdfast.store.compression import MAX_RUN
from holdfast.store.intent import Intent, Op, Prepared
from holdfast.store.layout import split_place
from holdfast.store.payload import Payloads
from holdfast.store.record import Record, build, expiry_of, parse, parse_fixed
from holdfast.store.value import MISSING, Operation, StateClass

_DEFAULT_CLASS: Final = int(StateClass.STANDARD)
# Looking a member of an enum up costs more than all else that is done with it here.
_SET, _TOUCH = int(Operation.SET), int(Operation.TOUCH)
_ABSENT: Final = (0,) * 13  # the fixed fields of no record
_SAME_FROM: Final = 256  # a touch of a smaller value simply copies it


class TooLargeForLaneError(StateError):
    """The old value is too large to be transformed inside the lane; never leaves the kernel."""


class TransformError(StateError):
    """A transform raised what is none of ours (its ``__cause__``); never leaves the kernel."""


class Step:
    """One operation, decided.

    Attributes:
        op: The operation.
        stored_raw: The bytes of the record that is there, also if it has expired; None for none.
        present: Callers see a record there: there is one, and it has not expired.
        previous, stored_run, stored_expires_ns: Revision, run and expiry of the record that is
            there, also if it has expired; 0 for none.
        operation: What the journal will say; 0 where nothing changes.
        live: The new record's bytes, None for none.
        row: The version row's bytes.
        version, state_class, expires_ns: Of the new record (of a delete: of the old one).
        result: What the caller is told.
    """

    __slots__ = (
        "expires_ns",
        "live",
        "op",
        "operation",
        "present",
        "previous",
        "result",
        "row",
        "state_class",
        "stored_expires_ns",
        "stored_raw",
        "stored_run",
        "version",
    )

    live: bytes | None

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
        place, kind = op.place, op.kind
        # Every set comes through here: locals and one unpacking instead of a `Record`.
        fixed = _ABSENT if raw is None else parse_fixed(place, raw)
        _, _, _, flags, state_class, run, _, previous, _, version, created, _, size = fixed
        self.previous, self.stored_run = previous, run
        present = raw is not None
        self.stored_expires_ns = ended = 0
        if flags & record.EXPIRES:
            assert raw is not None
            self.stored_expires_ns = ended = expiry_of(raw)
            present = ended > now_ns
        self.present = present
        if op.if_revision is not None and op.if_revision != (previous if present else 0):
            raise conflict(place, op.if_revision, previous if present else 0, "revision")
        if op.if_version is not None and op.if_version != (version if present else 0):
            raise conflict(place, op.if_version, version if present else 0, "version")

        self.result = True
        schema, operation = op.schema_version, _SET
        if kind == wanted.SET:
            prepared = op.prepared
            assert prepared is not None
        elif kind == wanted.TRANSFORM:
            prepared = self._transform(payloads)
        elif kind == wanted.TOUCH and present:
            old = self.stored
            assert old is not None
            operation, prepared = _TOUCH, Prepared(old.encoding, old.payload, old.size)
        else:
            self._clear(intent, revision, now_ns)
            return

        delta, compression = None, record.ZSTD
        expires = op.expires_ns if op.ttl_ns is None else now_ns + op.ttl_ns
        if present:
            version += 1
            if expires is None:
                expires = ended
            if op.state_class is not None:
                state_class = op.state_class
            if schema is None and kind != wanted.SET:
                schema = self.stored.schema_version  # type: ignore[union-attr]
            if run >= MAX_RUN:
                run = 0
            elif prepared.delta is not None and prepared.base == previous:
                run, delta = run + 1, prepared.delta
            elif operation == _TOUCH and size >= _SAME_FROM:
                run, delta, compression = run + 1, b"", record.SAME
            else:
                run = 0
        else:
            version, created, run = 1, now_ns, 0
            state_class = _DEFAULT_CLASS if op.state_class is None else op.state_class
        self.operation = operation
        self.version = version
        self.state_class = state_class
        self.expires_ns = expires = expires or 0
        size = prepared.size
        correlation, actor = intent.correlation, intent.actor
        self.live = self.row = live = build(
            place,
            record.VALUE,
            prepared.encoding,
            state_class,
            run,
            revision,
            previous,
            version,
            created,
            now_ns,
            size,
            prepared.payload,
            expires,
            correlation,
            actor,
            schema,
        )
        if delta is not None:
            self.row = build(
                place,
                record.DELTA,
                record.MSGPACK | compression,
                state_class,
                run,
                revision,
                previous,
                version,
                created,
                now_ns,
                size,
                delta,
                expires,
                correlation,
                actor,
                schema,
                None,
                live[-16:],
            )

    @property
    def stored(self) -> Record | None:
        """The record that is there, also if it has expired; None if there is none."""
        return None if self.stored_raw is None else parse(self.op.place, self.stored_raw)

    @property
    def stored_class(self) -> int:
        """The class of the record that is there, without parsing the rest; 0 if there is none."""
        return 0 if self.stored_raw is None else self.stored_raw[record.CLASS_AT]

    @property
    def old(self) -> Record | None:
        """The record as callers see it: None if there is none or it has expired."""
        return self.stored if self.present else None

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

    def _clear(self, intent: Intent, revision: int, now_ns: int) -> None:
        """Decide an operation that leaves no record, or changes nothing."""
        kind, raw = self.op.kind, self.stored_raw
        self.live, self.row = None, b""
        self.operation = self.version = self.state_class = self.expires_ns = 0
        if kind == wanted.DELETE and self.present:
            operation, left = Operation.DELETE, record.DELETED
        elif kind == wanted.EXPIRE and raw is not None and not self.present:
            operation, left = Operation.EXPIRE, record.EXPIRED
        elif kind == wanted.LOST and raw is None:
            operation, left = Operation.LOST, record.DELETED
        else:
            self.result = False
            return
        self.operation = int(operation)
        stored = self.stored
        if stored is not None:
            self.version, self.state_class = stored.version, stored.state_class
        self.row = build(
            self.op.place,
            left,
            0,
            self.state_class,
            0,
            revision,
            self.previous,
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


def moved(place: bytes, expected: int, actual: int) -> ConflictError:
    """Return the error for a key that is not what a transaction has read: trying again may help."""
    error = conflict(place, expected, actual, "revision")
    error.reason = "revision"  # also where it read nothing, and there is something now
    return error
