"""Writes of ephemeral values: done at once, and a key stays either ephemeral or durable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from holdfast.errors import ConflictError, EphemeralMixError, InvalidArgumentError
from holdfast.store.codec import decode
from holdfast.store.intent import Op
from holdfast.store.kernel import Kernel
from holdfast.store.policy import Policies
from holdfast.store.record import describe
from holdfast.store.scope import StateScope
from holdfast.store.value import MISSING, StateClass

T = TypeVar("T")


class LocalWrites:
    """The write verbs on ephemeral values of one store."""

    def __init__(self, kernel: Kernel, policies: Policies) -> None:
        self._kernel = kernel
        self._policies = policies
        self._ephemeral = kernel.ephemeral

    def delete(
        self, place: bytes, if_revision: int | None = None, if_version: int | None = None
    ) -> bool:
        """Delete an ephemeral value; return whether there was one."""
        with self._ephemeral.lock:
            now = self._kernel.clock.now_ns()
            entry = self._ephemeral.get(place, now)
            if entry is not None and if_revision is not None:
                raise InvalidArgumentError("ephemeral values have no revision to compare")
            if entry is not None and if_version not in (None, entry.version):
                raise ConflictError(f"{describe(place)} has another version", reason="version")
            return self._ephemeral.pop(place, now)

    def touch(self, op: Op) -> bool:
        """Give an ephemeral value another expiry; return whether there was one."""
        with self._ephemeral.lock:
            now = self._kernel.clock.now_ns()
            entry = self._ephemeral.get(op.place, now)
            if entry is not None:
                entry.expires_ns = deadline(op, now)
        return entry is not None

    def holds(self, place: bytes, scope: StateScope) -> bool:
        """Say whether a change of `place` concerns an ephemeral value, there or by policy."""
        if self._ephemeral.get(place, self._kernel.clock.now_ns()) is not None:
            return True
        if not self._policies:
            return False
        return self._policies.state_class(scope) is StateClass.EPHEMERAL

    def set(self, op: Op) -> bool:
        """Store an ephemeral value; False if the value is a durable one after all."""
        now = self._kernel.clock.now_ns()
        prepared = op.prepared
        assert prepared is not None
        with self._ephemeral.lock:
            entry = self._ephemeral.get(op.place, now)
            if op.state_class is None and entry is None:
                return False
            if op.state_class not in (None, StateClass.EPHEMERAL):
                if entry is None:
                    return False
                raise EphemeralMixError(
                    f"{describe(op.place)} holds an ephemeral value in this process"
                )
            if op.if_revision is not None and not (op.if_revision == 0 and entry is None):
                if op.if_revision == 0:
                    raise ConflictError(
                        f"{describe(op.place)} exists already", reason="exists", expected=0
                    )
                raise InvalidArgumentError("ephemeral values have no revision to compare")
            if op.if_version is not None and op.if_version != (entry.version if entry else 0):
                raise ConflictError(f"{describe(op.place)} has another version", reason="version")
            if entry is None and self._kernel.reader.current(op.place) is not None:
                raise EphemeralMixError(f"{describe(op.place)} holds a durable value")
            self._ephemeral.put(op.place, prepared, now, deadline(op, now))
            return True

    def transform(self, place: bytes, change: Callable[[Any], Any], told: Callable[[Any], T]) -> T:
        """Change an ephemeral value and return what the caller is `told` of the new one."""
        kernel = self._kernel
        with self._ephemeral.lock:
            now = kernel.clock.now_ns()
            entry = self._ephemeral.get(place, now)
            if entry is None and kernel.reader.current(place) is not None:
                raise EphemeralMixError(f"{describe(place)} holds a durable value")
            old: Any = MISSING
            if entry is not None:
                prepared = entry.prepared
                old = decode(
                    kernel.payloads.unpack(
                        place, prepared.encoding, prepared.payload, prepared.size
                    )
                )
            new = change(old)
            self._ephemeral.put(place, kernel.payloads.prepare(new), now, None)
        return told(new)


def deadline(op: Op, now_ns: int) -> int:
    """Return when what `op` writes at `now_ns` expires; 0 for never."""
    return now_ns + op.ttl_ns if op.ttl_ns is not None else op.expires_ns or 0
