"""The write verbs, decided but not run: what each one checks, prepares and wants committed.

Verbs that may need several commits are generators: they yield an `Intent`, are resumed when it
is committed (or with its error), and return the caller's result. `StateManager` runs them in the
caller's thread, `AsyncStateManager` awaits them; neither knows more than that.

The order of the pipeline is the order of the lines of `Writer.set`: address, class, guards,
encode, compress and delta, commit lane (preconditions, record, journal), acknowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from typing import Any, TypeVar

from holdfast.clock import to_ns
from holdfast.correlation import current
from holdfast.engines.base import Durability
from holdfast.errors import (
    ConflictError,
    InvalidArgumentError,
)
from holdfast.store import intent as wanted
from holdfast.store import layout
from holdfast.store.address import Addressing
from holdfast.store.codec import decode
from holdfast.store.compression import DELTA_FROM
from holdfast.store.intent import CLASS_PRIORITY, NORMAL, Intent, Op, Prepared
from holdfast.store.kernel import Kernel
from holdfast.store.local import LocalWrites
from holdfast.store.merge import appended, incremented, merge_patched, updated
from holdfast.store.options import (
    WriteOptions,
    annotate,
    belongs,
    condition,
    durability_of,
    guard_class,
    ttl_of,
)
from holdfast.store.policy import Policies
from holdfast.store.record import parse
from holdfast.store.retrying import attempts, exhausted
from holdfast.store.scope import StateScope
from holdfast.store.step import TooLargeForLaneError, TransformError
from holdfast.store.value import (
    CLASS_DURABILITY,
    MISSING,
    StateClass,
)

T = TypeVar("T")
Steps = Generator[Intent, None, T]

_SYNC = Durability.SYNC
LANE_LIMIT = 16 * 1024  # larger values are transformed outside the lane


class Writer:
    """Makes intents for one tenant of one store."""

    def __init__(self, kernel: Kernel, addressing: Addressing, policies: Policies) -> None:
        self.kernel = kernel
        self.address = addressing
        self.policies = policies
        self.ruled = bool(policies)
        self.local = LocalWrites(kernel, policies)

    # --- one key --------------------------------------------------------------------------

    def set(
        self,
        scope: StateScope | str,
        key: str,
        value: Any,
        state_class: StateClass | None = None,
        if_revision: int | None = None,
        if_version: int | None = None,
        if_absent: bool = False,
        expires_in: float | timedelta | None = None,
        expires_at: datetime | None = None,
        options: WriteOptions | None = None,
    ) -> Intent | None:
        """Return the intent of a set; None where it was ephemeral and is done."""
        if type(scope) is not StateScope:
            scope = self.address.scope(scope)
        if state_class is None and self.ruled:
            state_class = self.policies.state_class(scope)
        op = self.set_op(
            scope,
            key,
            value,
            state_class,
            if_revision,
            if_version,
            if_absent,
            expires_in,
            expires_at,
        )
        if op is None:
            return None
        return self.intent([op], scope, state_class, options)

    def set_op(
        self,
        scope: StateScope,
        key: str,
        value: Any,
        state_class: StateClass | None,
        if_revision: int | None,
        if_version: int | None,
        if_absent: bool,
        expires_in: float | timedelta | None,
        expires_at: datetime | None = None,
    ) -> Op | None:
        """Return the operation of a set; None where it was ephemeral and is done."""
        kernel = self.kernel
        address = self.address
        owner = address.tenant + scope.packed
        place = address.place(owner, key)
        if state_class is not None:
            guard_class(state_class)
        prepared = kernel.payloads.prepare(value)
        if if_absent or if_revision is not None or if_version is not None:
            if_revision = condition(if_revision, if_version, if_absent)
        op = Op(wanted.SET, owner, place, prepared, state_class, if_revision, if_version)
        if expires_in is not None or expires_at is not None:
            self._expire(op, expires_in, expires_at)
        if state_class is not None or kernel.ephemeral.entries:
            if self.local.set(op):
                return None
        if prepared.size >= DELTA_FROM:
            self._add_delta(op)
        return op

    def delete(
        self,
        scope: StateScope | str,
        key: str,
        if_revision: int | None = None,
        if_version: int | None = None,
        options: WriteOptions | None = None,
    ) -> Intent | bool:
        """Return the intent of a delete; the answer itself where the key is ephemeral."""
        scope = self.address.scope(scope)
        owner = self.address.owner(scope)
        place = self.address.place(owner, key)
        condition(if_revision, if_version, False)
        if self.local.delete(place, if_revision, if_version):
            return True
        op = Op(wanted.DELETE, owner, place, None, None, if_revision, if_version)
        return self.intent([op], scope, None, options)

    def touch(
        self,
        scope: StateScope | str,
        key: str,
        expires_in: float | timedelta | None,
        expires_at: datetime | None,
        options: WriteOptions | None = None,
    ) -> Intent | bool:
        """Return the intent of a touch; the answer itself where the key is ephemeral."""
        scope = self.address.scope(scope)
        owner = self.address.owner(scope)
        op = Op(wanted.TOUCH, owner, self.address.place(owner, key))
        self._expire(op, expires_in, expires_at)
        if self.local.touch(op):
            return True
        return self.intent([op], scope, None, options)

    # --- read, change, write --------------------------------------------------------------

    def increment(
        self, scope: StateScope | str, key: str, by: Any, options: WriteOptions
    ) -> Steps[Any]:
        """Add to a number; the result is the new number."""
        return self._transform(scope, key, lambda old: incremented(old, by), _same, options)

    def append(
        self, scope: StateScope | str, key: str, items: list[Any], options: WriteOptions
    ) -> Steps[int]:
        """Append to a list; the result is its new length."""
        items = self.kernel.payloads.plain(items)
        return self._transform(scope, key, lambda old: appended(old, items), len, options)

    def merge_patch(
        self, scope: StateScope | str, key: str, patch: Any, options: WriteOptions
    ) -> Steps[Any]:
        """Apply a JSON merge patch; the result is the new value."""
        patch = self.kernel.payloads.plain(patch)

        def change(old: Any) -> Any:
            return merge_patched(None if old is MISSING else old, patch)

        return self._transform(scope, key, change, _same, options)

    def update(
        self,
        scope: StateScope | str,
        key: str,
        fn: Callable[[Any], Any],
        default: Any,
        options: WriteOptions,
    ) -> Steps[Any]:
        """Replace the value by ``fn(value)``, again while others interfere."""

        def change(old: Any) -> Any:
            return updated(fn, default if old is MISSING else old)

        scope = self.address.scope(scope)
        owner = self.address.owner(scope)
        place = self.address.place(owner, key)
        if self.local.holds(place, scope):
            return self.local.transform(place, change, _same)
        return (yield from self._optimistic(scope, owner, place, change, _same, options))

    def _transform(
        self,
        scope: StateScope | str,
        key: str,
        change: Callable[[Any], Any],
        told: Callable[[Any], T],
        options: WriteOptions,
    ) -> Steps[T]:
        """Run `change` on the value inside the lane, or outside it where the value is large.

        The caller is `told` something about the new value.
        """
        scope = self.address.scope(scope)
        owner = self.address.owner(scope)
        place = self.address.place(owner, key)
        if self.local.holds(place, scope):
            return self.local.transform(place, change, told)
        payloads = self.kernel.payloads

        def transform(old: Any) -> tuple[Prepared, T]:
            new = change(old)
            return payloads.prepare(new), told(new)

        op = self._transform_op(scope, owner, place)
        op.transform, op.told, op.limit = transform, told, LANE_LIMIT
        intent = self.intent([op], scope, None, options)
        try:
            yield intent
        except TooLargeForLaneError:
            return (yield from self._optimistic(scope, owner, place, change, told, options))
        except TransformError as failed:
            raise failed.__cause__ or failed from None
        if intent.repeated:
            return told(self._recall(place, intent.revision))
        result: T = intent.results[0]
        return result

    def _optimistic(
        self,
        scope: StateScope,
        owner: bytes,
        place: bytes,
        change: Callable[[Any], Any],
        told: Callable[[Any], T],
        options: WriteOptions,
    ) -> Steps[T]:
        kernel = self.kernel
        for _ in attempts():
            old = kernel.reader.current(place)
            new = change(MISSING if old is None else decode(old.payload))
            prepared = kernel.payloads.prepare(new)
            op = self._transform_op(scope, owner, place)
            op.kind, op.prepared = wanted.SET, prepared
            op.if_revision = 0 if old is None else old.record.revision
            if old is not None:
                op.schema_version = old.record.schema_version
                kernel.payloads.add_delta(place, prepared, old.record)
            intent = self.intent([op], scope, None, options)
            try:
                yield intent
            except ConflictError:
                continue
            return told(self._recall(place, intent.revision) if intent.repeated else new)
        raise exhausted(place)

    def _recall(self, place: bytes, revision: int) -> Any:
        """Return the value that an earlier commit under the same commit id left behind."""
        found = self.kernel.reader.at(place, revision)
        return None if found is None else decode(found.payload)

    def _transform_op(self, scope: StateScope, owner: bytes, place: bytes) -> Op:
        op = Op(wanted.TRANSFORM, owner, place)
        op.expires_ns = None  # a change of the value keeps its expiry and its class
        if self.policies:
            self.guard(scope)
            op.state_class = self.policies.state_class(scope)
        return op

    def guard(self, scope: StateScope) -> None:
        """Refuse a scope whose policy demands a protection that is not there."""
        state_class = self.policies.state_class(scope) if self.policies else None
        if state_class is not None:
            guard_class(state_class)

    def guard_event(self, scope: StateScope | str, data: Any) -> None:
        """Refuse data of an event where policy demands that values are encrypted.

        Raises:
            ProtectionRequiredError: It does.
        """
        if data is not None and self.ruled:
            if self.policies.state_class(self.address.scope(scope)) is StateClass.SENSITIVE:
                guard_class(StateClass.SENSITIVE)

    # --- intents --------------------------------------------------------------------------

    def intent(
        self,
        ops: list[Op],
        scope: StateScope | None,
        state_class: StateClass | None,
        options: WriteOptions | None,
    ) -> Intent:
        """Return the intent of `ops` with the durability, priority and options that apply."""
        if options or self.ruled or state_class is not None:
            asked = options.get("durability") if options else None
            durability = self.durability(scope, state_class, asked)
            priority = NORMAL if state_class is None else CLASS_PRIORITY[state_class]
            intent = Intent(ops, durability, priority)
        else:
            intent = Intent(ops, _SYNC)
        context = current()
        if context is not None:
            belongs(intent, context)
        if options:
            annotate(intent, options)
        return intent

    def durability(
        self,
        scope: StateScope | None,
        state_class: StateClass | None,
        asked: Durability | str | None,
    ) -> Durability:
        """Return what was asked for, or what policy or class say."""
        if asked is not None:
            return asked if isinstance(asked, Durability) else durability_of(asked)
        if scope is not None and self.ruled:
            by_policy = self.policies.durability(scope)
            if by_policy is not None:
                return by_policy
        return _SYNC if state_class is None else CLASS_DURABILITY[state_class]

    def _add_delta(self, op: Op) -> None:
        """Prepare a delta against what is there now; the lane drops it if that has moved."""
        raw = self.kernel.engine.get(layout.DATA + op.place)
        if raw is not None and op.prepared is not None:
            self.kernel.payloads.add_delta(op.place, op.prepared, parse(op.place, raw))

    def _expire(
        self, op: Op, expires_in: float | timedelta | None, expires_at: datetime | None
    ) -> None:
        if expires_in is not None and expires_at is not None:
            raise InvalidArgumentError("give expires_in or expires_at, not both")
        if expires_in is not None:
            op.ttl_ns = ttl_of(expires_in)
        elif expires_at is not None:
            try:
                op.expires_ns = to_ns(expires_at)
            except (ValueError, AttributeError, TypeError) as error:
                raise InvalidArgumentError(f"expires_at: {error}") from None
            if not 0 < op.expires_ns < 1 << 63:
                raise InvalidArgumentError("expires_at is out of range")
        if op.ttl_ns is not None or op.expires_ns:
            self.kernel.sweeper.wake()


def _same(value: T) -> T:
    return value
