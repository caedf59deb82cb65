"""Whole scopes: copying, moving, deleting. Each is one atomic commit, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from holdfast.errors import (
    ConflictError,
    EphemeralMixError,
    InvalidArgumentError,
)
from holdfast.store import intent as wanted
from holdfast.store import layout
from holdfast.store.address import Addressing
from holdfast.store.history import rewind_ops
from holdfast.store.intent import Intent, Op
from holdfast.store.kernel import Kernel
from holdfast.store.listing import Listing
from holdfast.store.options import WriteOptions
from holdfast.store.past import Found
from holdfast.store.record import describe
from holdfast.store.retrying import attempts
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.store.step import conflict
from holdfast.store.transaction import TransactionCore
from holdfast.store.writer import Steps, Writer


class WholeScopes:
    """The verbs on whole scopes of one tenant."""

    def __init__(
        self, kernel: Kernel, addressing: Addressing, writer: Writer, listing: Listing
    ) -> None:
        self._kernel = kernel
        self._address = addressing
        self._writer = writer
        self._listing = listing

    def copy(
        self,
        source: StateScope,
        target: StateScope,
        recursive: bool,
        overwrite: bool,
        options: WriteOptions,
        *,
        empty_source: bool = False,
    ) -> Steps[int]:
        """Copy every durable key, its class, schema version and expiry; the result counts keys.

        Existing keys of the target raise unless `overwrite`. With `empty_source` it is a move.
        """
        if source == target:
            raise InvalidArgumentError("source and target are the same scope")
        if recursive and source.kind is not target.kind:
            raise InvalidArgumentError("recursive needs two scopes of one kind")
        for attempt in attempts():
            core = TransactionCore(self._kernel)
            try:
                count = 0
                for one, other in self._pairs(source, target, recursive):
                    count += self._copy_one(core, one, other, overwrite, empty_source)
                if count:
                    yield self._intent(core, options)
                return count
            except ConflictError as error:
                if error.reason == "exists" or attempt == attempts()[-1]:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def delete(self, scope: StateScope, recursive: bool, options: WriteOptions) -> Steps[int]:
        """Delete every key, ephemeral ones included; the result counts keys."""
        for attempt in attempts():
            core = TransactionCore(self._kernel)
            try:
                count = 0
                for one, _ in self._pairs(scope, scope, recursive):
                    start, stop = self._address.range(one)
                    owner = self._address.owner(one)
                    for found in core.scan(start, stop):
                        core.write(Op(wanted.DELETE, owner, found.place), None)
                        count += 1
                if count:
                    yield self._intent(core, options)
                break
            except ConflictError:
                if attempt == attempts()[-1]:
                    raise
        now = self._kernel.clock.now_ns()
        for one, _ in self._pairs(scope, scope, recursive):
            for place in self._kernel.ephemeral.within(*self._address.range(one), now):
                count += self._kernel.ephemeral.pop(place, now)
        return count

    def rewind(
        self, scope: StateScope, key: str | None, to: int | datetime, options: WriteOptions
    ) -> Steps[int]:
        """Bring a key or a scope back to an earlier moment; the result counts changed keys."""
        owner = self._address.owner(scope)
        if key is None:
            start, stop = self._address.range(scope)
        else:
            start = self._address.place(owner, key)
            stop = layout.behind(start)
        for attempt in attempts():
            ops = rewind_ops(self._kernel, owner, start, stop, to)
            if not ops:
                return 0
            for op in ops:
                self._refuse_ephemeral(op.place)
            try:
                yield self._writer.intent(ops, None, None, options)
                return len(ops)
            except ConflictError:
                if attempt == attempts()[-1]:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _copy_one(
        self,
        core: TransactionCore,
        source: StateScope,
        target: StateScope,
        overwrite: bool,
        empty_source: bool,
    ) -> int:
        self._writer.guard(target)
        owner, new_owner = self._address.owner(source), self._address.owner(target)
        found = core.scan(*self._address.range(source))
        for item in found:
            place = new_owner + item.place[len(owner) :]
            layout.check_place(place, self._kernel.key_limit)
            if not overwrite:
                there = core.read(place)
                if there is not None:
                    raise conflict(place, 0, there.record.revision, "exists")
            self._refuse_ephemeral(place)
            core.write(self._copy_op(item, new_owner, place), None)
            if empty_source:
                core.write(Op(wanted.DELETE, owner, item.place), None)
        return len(found)

    def _refuse_ephemeral(self, place: bytes) -> None:
        if self._kernel.ephemeral.get(place, self._kernel.clock.now_ns()) is not None:
            raise EphemeralMixError(f"{describe(place)} holds an ephemeral value in this process")

    def _copy_op(self, item: Found, owner: bytes, place: bytes) -> Op:
        stored = item.record
        prepared = self._kernel.payloads.pack(item.payload)
        op = Op(wanted.SET, owner, place, prepared, stored.state_class)
        op.expires_ns = stored.expires_ns
        op.schema_version = stored.schema_version
        return op

    def _pairs(
        self, source: StateScope, target: StateScope, recursive: bool
    ) -> Iterator[tuple[StateScope, StateScope]]:
        """Yield the scopes to work on; a workflow's steps only if asked to."""
        yield source, target
        if recursive and source.kind is ScopeKind.WORKFLOW:
            for step in self._listing.scopes(within=source):
                yield step, StateScope.step(target.ids[0], step.ids[1])

    def _intent(self, core: TransactionCore, options: WriteOptions) -> Intent:
        return core.intent(self._writer.intent([], None, None, options))
