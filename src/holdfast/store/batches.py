"""Batches and imports: many keys in one go, each item refused for itself or all together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.engines.base import Durability
from holdfast.errors import (
    EphemeralMixError,
    InvalidArgumentError,
    LimitExceededError,
    StateError,
)
from holdfast.store.intent import Op
from holdfast.store.options import WriteOptions
from holdfast.store.value import SetOperation, StateClass
from holdfast.store.writer import Steps, Writer

_BATCH_ITEMS = 5000  # of a batch that need not be atomic, per commit


class Batches:
    """The verbs on many keys of one tenant."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def set(
        self, items: Iterable[SetOperation], atomic: bool, options: WriteOptions
    ) -> Steps[list[int | StateError]]:
        """Set many keys; the result is each item's revision, or its error."""
        durability = options.get("durability")
        sound: list[tuple[int, Op, Durability]] = []
        out: list[int | StateError] = []
        seen: dict[bytes, int] = {}
        for at, item in enumerate(items):
            try:
                wish = self._item(item, atomic, durability)
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
        limit = self._writer.kernel.settings.max_commit_changes
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
            whole = self._writer.intent([op for _, op, _ in part], None, None, options)
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
            intent = self._writer.set(
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
            yield self._writer.intent(list(ops.values()), None, None, options)
        return len(items)

    def _item(
        self, item: SetOperation, atomic: bool, durability: Durability | str | None
    ) -> tuple[Op, Durability] | None:
        """Return what an item wants, and how durably; None where it was ephemeral and is done."""
        if not isinstance(item, SetOperation):
            raise InvalidArgumentError(
                f"an item of a batch must be a SetOperation, not a {type(item).__name__}"
            )
        scope = self._writer.address.scope(item.scope)
        if atomic:
            place = self._writer.address.place(self._writer.address.owner(scope), item.key)
            if item.state_class is StateClass.EPHEMERAL or self._writer.local.holds(place, scope):
                raise EphemeralMixError("ephemeral values take no part in atomic batches")
        state_class = item.state_class
        if state_class is None and self._writer.policies:
            state_class = self._writer.policies.state_class(scope)
        op = self._writer.set_op(
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
        return op, self._writer.durability(scope, state_class, durability)
