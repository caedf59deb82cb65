"""The write verbs, decided but not run: what each one checks, prepares and wants committed.

Verbs that may need several commits are generators: they yield an `Intent`, are resumed when it
is committed (or with its error), and return the caller's result. `StateManager` runs them in the
caller's thread, `AsyncStateManager` awaits them; neither knows more than that.

The order of the pipeline is the order of the lines of `Writer.set`: address, class, guards,
encode, compress and delta, commit lane (preconditions, record, journal), acknowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from holdfast.clock import to_ns
from holdfast.engines.base import Durability
from holdfast.errors import (
    ConflictError,
    EphemeralMixError,
    InvalidArgumentError,
    LimitExceededError,
    StateError,
)
from holdfast.store import intent as wanted
from holdfast.store import layout
from holdfast.store.address import Addressing
from holdfast.store.codec import decode
from holdfast.store.compression import DELTA_FROM
from holdfast.store.intent import CLASS_PRIORITY, NORMAL, Intent, Op, Prepared
from holdfast.store.kernel import Kernel
from holdfast.store.local import LocalWrites
from holdfast.store.merge import appended, incremented, merge_patched
from holdfast.store.options import (
    WriteOptions,
    annotate,
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
    SetOperation,
    StateClass,
)

T = TypeVar("T")
Steps = Generator[Intent, None, T]

_SYNC = Durability.SYNC
LANE_LIMIT = 16 * 1024  # larger values are transformed outside the lane
_BATCH_ITEMS = 5000  # of a batch that need not be atomic, per commit


class Writer:
    """Makes intents for one tenant of one store."""

    def __init__(self, kernel: Kernel, addressing: Addressing, policies: Policies) -> None:
        self._kernel = kernel
        self._address = addressing
        self._policies = policies
        self._ruled = bool(policies)
        self._local = LocalWrites(kernel, policies)

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
            scope = self._address.scope(scope)
        if state_class is None and self._ruled:
            state_class = self._policies.state_class(scope)
        op = self._set_op(
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

    def _set_op(
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
        kernel = self._kernel
        owner = self._address.owner(scope)
        place = self._address.place(owner, key)
        if state_class is not None:
            guard_class(state_class)
        prepared = kernel.payloads.prepare(value)
        if if_absent or if_revision is not None or if_version is not None:
            if_revision = condition(if_revision, if_version, if_absent)
        op = Op(wanted.SET, owner, place, prepared, state_class, if_revision, if_version)
        if expires_in is not None or expires_at is not None:
            self._expire(op, expires_in, expires_at)
        if state_class is not None or kernel.ephemeral.entries:
            if self._local.set(op):
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
        scope = self._address.scope(scope)
        owner = self._address.owner(scope)
        place = self._address.place(owner, key)
        condition(if_revision, if_version, False)
        if self._local.delete(place, if_revision, if_version):
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
        scope = self._address.scope(scope)
        owner = self._address.owner(scope)
        op = Op(wanted.TOUCH, owner, self._address.place(owner, key))
        self._expire(op, expires_in, expires_at)
        if self._local.touch(op):
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
        items = self._kernel.payloads.plain(items)
        return self._transform(scope, key, lambda old: appended(old, items), len, options)

    def merge_patch(
        self, scope: StateScope | str, key: str, patch: Any, options: WriteOptions
    ) -> Steps[Any]:
        """Apply a JSON merge patch; the result is the new value."""
        patch = self._kernel.payloads.plain(patch)

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
            return fn(default if old is MISSING else old)

        scope = self._address.scope(scope)
        owner = self._address.owner(scope)
        place = self._address.place(owner, key)
        if self._local.holds(place, scope):
            return self._local.transform(place, change, _same)
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
        scope = self._address.scope(scope)
        owner = self._address.owner(scope)
        place = self._address.place(owner, key)
        if self._local.holds(place, scope):
            return self._local.transform(place, change, told)
        payloads = self._kernel.payloads

        def transform(old: Any) -> tuple[Prepared, T]:
            new = change(old)
            return payloads.prepare(new), told(new)

        op = self._transform_op(scope, owner, place)
        op.transform, op.limit = transform, LANE_LIMIT
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
        kernel = self._kernel
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
        found = self._kernel.reader.at(place, revision)
        return None if found is None else decode(found.payload)

    def _transform_op(self, scope: StateScope, owner: bytes, place: bytes) -> Op:
        op = Op(wanted.TRANSFORM, owner, place)
        op.expires_ns = None  # a change of the value keeps its expiry and its class
        if self._policies:
            self.guard(scope)
            op.state_class = self._policies.state_class(scope)
        return op

    # --- many keys ------------------------------------------------------------------------

    def batch(
        self, items: Iterable[SetOperation], atomic: bool, options: WriteOptions
    ) -> Steps[list[int | StateError]]:
        """Set many keys; the result is each item's revision, or its error."""
        durability = options.get("durability")
        sound: list[tuple[int, Op, Durability]] = []
        out: list[int | StateError] = []
        seen: dict[bytes, int] = {}
        for at, item in enumerate(items):
            try:
                wish = self._batch_item(item, atomic, durability)
                if wish is not None:
                    place = wish[0].place
                    if place in seen:
                        raise InvalidArgumentError(
                            f"items {seen[place]} and {at} of the batch are the same key",
                            hint="keys are compared in Unicode normal form C",
                        )
                    seen[place] = at
                    sound.append((at, *wish))
            except StateError as error:
                if atomic:
                    raise
                out.append(error)
            else:
                out.append(0)
        if not atomic and len(sound) > _BATCH_ITEMS and options.get("commit_id") is not None:
            raise InvalidArgumentError(
                f"a batch of more than {_BATCH_ITEMS} items is several commits",
                hint="a commit_id names one: use atomic=True, or split the batch",
            )
        limit = self._kernel.settings.max_commit_changes
        if atomic and len(sound) > limit:
            raise LimitExceededError(
                f"an atomic batch may have at most {limit} items",
                hint="split it, or raise max_commit_changes",
                limit=limit,
                actual=len(sound),
            )
        step = limit if atomic else _BATCH_ITEMS
        for low in range(0, len(sound), step):
            part = sound[low : low + step]
            whole = self.intent([op for _, op, _ in part], None, None, options)
            whole.durability = max(needed for _, _, needed in part)
            whole.loose = not atomic
            try:
                yield whole
            except StateError as error:
                if atomic or low == 0:
                    raise
                for at, _, _ in part:  # what was stored before is stored, and is told
                    out[at] = error
                continue
            for (at, _, _), result in zip(part, whole.results, strict=True):
                out[at] = result if isinstance(result, StateError) else whole.revision
        return out

    def load(
        self,
        items: Sequence[SetOperation],
        overwrite: bool,
        options: WriteOptions,
    ) -> Steps[int]:
        """Set the items of an import in one commit; the result counts them."""
        ops: dict[bytes, Op] = {}
        for item in items:
            intent = self.set(
                item.scope,
                item.key,
                item.value,
                item.state_class,
                if_absent=not overwrite,
                expires_at=item.expires_at,
            )
            if intent is not None:
                ops[intent.ops[0].place] = intent.ops[0]
        if ops:
            yield self.intent(list(ops.values()), None, None, options)
        return len(items)

    def _batch_item(
        self, item: SetOperation, atomic: bool, durability: Durability | str | None
    ) -> tuple[Op, Durability] | None:
        """Return what an item wants, and how durably; None where it was ephemeral and is done."""
        if not isinstance(item, SetOperation):
            raise InvalidArgumentError(
                f"an item of a batch must be a SetOperation, not a {type(item).__name__}"
            )
        scope = self._address.scope(item.scope)
        if atomic:
            place = self._address.place(self._address.owner(scope), item.key)
            if item.state_class is StateClass.EPHEMERAL or self._local.holds(place, scope):
                raise EphemeralMixError("ephemeral values take no part in atomic batches")
        state_class = item.state_class
        if state_class is None and self._policies:
            state_class = self._policies.state_class(scope)
        op = self._set_op(
            scope,
            item.key,
            item.value,
            state_class,
            item.if_revision,
            item.if_version,
            item.if_absent,
            item.expires_in,
            item.expires_at,
        )
        if op is None:
            return None
        return op, self._durability(scope, state_class, durability)

    def guard(self, scope: StateScope) -> None:
        """Refuse a scope whose policy demands a protection that is not there."""
        state_class = self._policies.state_class(scope) if self._policies else None
        if state_class is not None:
            guard_class(state_class)

    # --- intents --------------------------------------------------------------------------

    def intent(
        self,
        ops: list[Op],
        scope: StateScope | None,
        state_class: StateClass | None,
        options: WriteOptions | None,
    ) -> Intent:
        """Return the intent of `ops` with the durability, priority and options that apply."""
        asked = options.get("durability") if options else None
        durability = self._durability(scope, state_class, asked)
        intent = Intent(
            ops, durability, NORMAL if state_class is None else CLASS_PRIORITY[state_class]
        )
        if options:
            annotate(intent, options)
        return intent

    def _durability(
        self,
        scope: StateScope | None,
        state_class: StateClass | None,
        asked: Durability | str | None,
    ) -> Durability:
        """Return what was asked for, or what policy or class say."""
        if asked is not None:
            return asked if isinstance(asked, Durability) else durability_of(asked)
        if scope is not None and self._ruled:
            by_policy = self._policies.durability(scope)
            if by_policy is not None:
                return by_policy
        return _SYNC if state_class is None else CLASS_DURABILITY[state_class]

    def _add_delta(self, op: Op) -> None:
        """Prepare a delta against what is there now; the lane drops it if that has moved."""
        raw = self._kernel.engine.get(layout.DATA + op.place)
        if raw is not None and op.prepared is not None:
            self._kernel.payloads.add_delta(op.place, op.prepared, parse(op.place, raw))

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
            self._kernel.sweeper.wake()


def _same(value: T) -> T:
    return value
