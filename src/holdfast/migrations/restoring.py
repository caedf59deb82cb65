"""Rolling a run back: every value that it wrote, to the very bytes that were there before.

The pre-image is read from the history, at the commit that the record names. A value that somebody
has changed since is left alone, and counted.
"""

from __future__ import annotations

from typing import Any

from holdfast.errors import ConflictError, CorruptionError
from holdfast.manager import StateManager
from holdfast.migrations.ledger import Ledger
from holdfast.migrations.selection import Item, Selection
from holdfast.store import intent as wanted
from holdfast.store.intent import Op
from holdfast.store.migrated import migration_of
from holdfast.store.past import Moment
from holdfast.store.retrying import attempts, exhausted

_BATCH = 500


def restore(
    state: StateManager, ledger: Ledger, selection: Selection, id_: str, actor: str | None
) -> int:
    """Restore what a run has written, batch by batch; return how many values were left alone.

    Raises:
        HorizonError: A pre-image has been trimmed; what was restored until then stays restored.
    """
    conflicts, batch = 0, []
    for item in selection.items():
        info = migration_of(item.found.record.schema_version)
        if info is None or info.migration_id != id_:
            continue
        if item.found.record.previous != info.before:
            conflicts += 1
            continue
        batch.append(item)
        if len(batch) == _BATCH:
            conflicts += _restored(state, ledger, selection, id_, batch, actor)
            batch = []
    if batch:
        conflicts += _restored(state, ledger, selection, id_, batch, actor)
    return conflicts


def _restored(
    state: StateManager,
    ledger: Ledger,
    selection: Selection,
    id_: str,
    items: list[Item],
    actor: str | None,
) -> int:
    left = 0
    for _ in attempts():
        ops = [_op(state, item) for item in items]
        if not ops:
            return left
        number = len(ops)

        def count(record: dict[str, Any], number: int = number) -> None:
            record["restored"] = record.get("restored", 0) + number

        ops.append(ledger.change(id_, count))
        try:
            ledger.commit(ops, [], actor=actor, correlation=f"migration-{id_}")
        except ConflictError:
            # Whatever moved since it was read was changed by somebody: it is theirs now.
            still = [
                item
                for item in items
                if (now := selection.again(item)) is not None
                and now.found.record.revision == item.found.record.revision
            ]
            left += len(items) - len(still)
            items = still
            continue
        return left
    raise exhausted(items[0].found.place)


def _op(state: StateManager, item: Item) -> Op:
    kernel, stored, place = state._kernel, item.found.record, item.found.place
    # As of its own commit a value has not expired: that moment's time, which only the commit's
    # header knows, need not be looked up.
    before = kernel.reader.at_moment(place, Moment(kernel.outward(stored.previous), 0))
    if before is None or before.record.revision != stored.previous:
        raise CorruptionError(
            "the version that a migration replaced is gone", where=f"{item.scope}/{item.key}"
        )
    prepared = kernel.payloads.pack(before.payload)
    kernel.payloads.add_delta(place, prepared, stored)
    op = Op(wanted.SET, item.owner, place, prepared, before.record.state_class, stored.revision)
    op.expires_ns = None  # as it is
    op.schema_version = before.record.schema_version
    return op
