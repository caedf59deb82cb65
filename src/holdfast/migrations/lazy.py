"""Reading at a version: what is stored at another one is shown as the program knows it.

For a rollout, where old and new programs work on one store: each says its own version. A new
program sees old values brought up; an old one sees new values brought down, where that loses
nothing. Fields that no step speaks of pass through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.errors import ConflictError, ReadOnlyError, UnsafeMigrationError
from holdfast.manager import StateManager
from holdfast.migrations.catalogue import Catalogue
from holdfast.migrations.planner import Plan, plan
from holdfast.migrations.selection import Item, Selection
from holdfast.migrations.transforms import Trace
from holdfast.store import intent as wanted
from holdfast.store.codec import decode
from holdfast.store.intent import Op
from holdfast.store.migrated import migrated_text
from holdfast.store.retrying import attempts, exhausted
from holdfast.store.scope import StateScope

Scope = StateScope | str
_LAZY = "0" * 32  # the id of no run: a value was brought up by being read


class Versioned:
    """One schema of one store, seen at one version.

    Args:
        state: The store.
        catalogue: The steps that are known; or what `Catalogue` takes.
        schema: Name of the schema.
        version: The version that this program knows.
        write_back: Store what a read has brought up, where nobody else has changed it meanwhile
            and the store may be written. What is newer is never written back at a lower version.
        allow_loss: Bring values up although that loses data.
        unversioned: The version of values that say none.
    """

    def __init__(
        self,
        state: StateManager,
        catalogue: Catalogue | Any,
        schema: str,
        version: int,
        *,
        write_back: bool = False,
        allow_loss: bool = False,
        unversioned: int = 1,
    ) -> None:
        self._state, self._schema, self._version = state, schema, version
        self._catalogue = catalogue if isinstance(catalogue, Catalogue) else Catalogue(catalogue)
        self._write_back, self._allow_loss = write_back, allow_loss
        self._unversioned = unversioned

    def get(self, scope: Scope, key: str, default: Any = None) -> Any:
        """Return a value as this version has it, or `default`.

        Raises:
            MigrationPlanError: No steps lead from the version that is stored to this one.
            UnsafeMigrationError: They lose data.
            MigrationStepError: One cannot work on the value.
        """
        item = self._item(scope, key)
        if item is None:
            return default
        value = self._shown(item)
        if self._write_back and item.version < self._version:
            try:
                self._commit(item, value, self._version)
            except (ConflictError, ReadOnlyError):
                pass  # it is shown all the same; the next read, or a run, brings it up
        return value

    def set(self, scope: Scope, key: str, value: Any) -> None:
        """Store a value of this version, in place of what is there."""
        for _ in attempts():
            item = self._item(scope, key)
            stored = self._version if item is None else max(item.version, self._version)
            try:
                self._commit(item, self._raised(value, stored), stored, scope, key)
            except ConflictError:
                continue
            return
        raise exhausted(self._place(scope, key))

    def update(
        self, scope: Scope, key: str, fn: Callable[[Any], Any], *, default: Any = None
    ) -> Any:
        """Replace a value by ``fn(value)``, both as this version has them, and return it.

        A value of a higher version keeps that: it is brought down for `fn`, and up again.

        Raises:
            UnsafeMigrationError: A newer value would not survive the way down and up again.
            ConflictError: Others changed the key at every one of 64 attempts.
        """
        for _ in attempts():
            item = self._item(scope, key)
            shown = default if item is None else self._shown(item)
            stored = self._version if item is None else max(item.version, self._version)
            if item is not None and stored > self._version:
                if self._raised(self._shown(item), stored) != decode(item.found.payload):
                    raise UnsafeMigrationError(
                        f"{scope}/{key} is of version {stored}, and holds what version "
                        f"{self._version} cannot keep",
                        hint="leave writing it to programs of the newer version",
                        reasons=("it does not survive the way down and up again",),
                    )
            new = fn(shown)
            try:
                self._commit(item, self._raised(new, stored), stored, scope, key)
            except ConflictError:
                continue
            return new
        raise exhausted(self._place(scope, key))

    # --- inside ---------------------------------------------------------------------------

    def _item(self, scope: Scope, key: str) -> Item | None:
        selection = Selection(self._state, str(scope), key, self._unversioned)
        owner = self._state._address.owner(scope)
        found = self._state._kernel.reader.current(self._place(scope, key))
        if found is None:
            return None
        return selection.item(self._state._address.scope(scope), key, owner, found)

    def _place(self, scope: Scope, key: str) -> bytes:
        return self._state._address.place(self._state._address.owner(scope), key)

    def _way(self, from_version: int, to_version: int) -> Plan:
        steps = self._catalogue.steps(self._schema)
        way = plan(steps, self._schema, from_version, to_version)
        way.refuse_loss(self._allow_loss and way.up)
        return way

    def _shown(self, item: Item) -> Any:
        value = decode(item.found.payload)
        if item.version == self._version:
            return value
        return self._way(item.version, self._version).run(value, Trace())

    def _raised(self, value: Any, stored: int) -> Any:
        if stored == self._version:
            return value
        value = self._state._kernel.payloads.plain(value)
        return self._way(self._version, stored).run(value, Trace())

    def _commit(
        self,
        item: Item | None,
        value: Any,
        version: int,
        scope: Scope | None = None,
        key: str = "",
    ) -> None:
        kernel, address = self._state._kernel, self._state._address
        scope = item.scope if item is not None else address.scope(scope or "")
        owner = address.owner(scope)
        place = address.place(owner, item.key if item is not None else key)
        prepared = kernel.payloads.prepare(value)
        op = Op(wanted.SET, owner, place, prepared, None, 0)
        op.expires_ns, op.schema_version = None, str(version)
        if item is not None:
            stored = item.found.record
            op.if_revision = stored.revision
            if item.version < version:
                now = kernel.clock.now_ns()
                point = self._state.revision
                op.schema_version = migrated_text(
                    item.version, version, _LAZY, now, point, stored.revision
                )
            elif stored.schema_version is not None:
                op.schema_version = stored.schema_version
            kernel.payloads.add_delta(place, prepared, stored)
        writer = self._state._writer
        durability = writer.durability(scope, None, None)
        kernel.commit(writer.intent([op], None, None, {"durability": durability}))
