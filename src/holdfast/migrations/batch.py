"""One batch of a run: values through their plans, and into one commit with what counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.errors import (
    ConflictError,
    EngineError,
    LimitExceededError,
    MigrationStepError,
    RejectedError,
    StateError,
)
from holdfast.manager import StateManager
from holdfast.migrations.ledger import SCOPE, Ledger
from holdfast.migrations.planner import Plan
from holdfast.migrations.selection import Item, Selection
from holdfast.migrations.settings import RunSettings
from holdfast.migrations.transforms import Trace
from holdfast.store import intent as wanted
from holdfast.store.codec import decode
from holdfast.store.compression import DELTA_FROM
from holdfast.store.intent import Op
from holdfast.store.migrated import migrated_text
from holdfast.store.retrying import attempts, exhausted


class ValueFailedError(Exception):
    """A value failed, and its run does not go on without it."""

    def __init__(self, item: Item, error: StateError) -> None:
        super().__init__(item, error)
        self.item = item
        self.error = error


@dataclass(slots=True)
class Made:
    """What one value comes to."""

    ops: list[Op]
    steps: Sequence[str] = ()
    kept: int = 0
    migrated: bool = False


class Batcher:
    """Commits the batches of one run; safe for many threads.

    Args:
        state: The store.
        ledger: Its journal of runs.
        selection: To read a value again.
        plans: From a version to the plan.
        record: The run's.
        settings: How it works.
        quarantined: Keys of what it has in quarantine from before.
    """

    def __init__(
        self,
        state: StateManager,
        ledger: Ledger,
        selection: Selection,
        plans: Callable[[int], Plan],
        record: dict[str, Any],
        settings: RunSettings,
        quarantined: set[str],
    ) -> None:
        self._state = state
        self._kernel = state._kernel
        self._ledger = ledger
        self._selection = selection
        self._plans = plans
        self._id = str(record["id"])
        self._to = int(record["to_version"])
        self._restore_point = int(record["restore_point"])
        self._schema = str(record["schema"])
        self._settings = settings
        self._quarantined = quarantined
        self._correlation = f"migration-{self._id}"

    def run(self, items: list[Item]) -> int:
        """Migrate values, and return how many of them have been dealt with.

        Raises:
            ValueFailedError: One of them failed, and takes more than itself with it.
            EngineError: Storage failed.
        """
        try:
            return self._attempts(items)
        except LimitExceededError:
            if len(items) == 1:
                raise
            half = len(items) // 2
            return self.run(items[:half]) + self.run(items[half:])

    def _attempts(self, items: list[Item]) -> int:
        todo: list[Item] = items
        for _ in attempts():
            made = [each for item in todo if (each := self._made(item)) is not None]
            if not made:
                return len(items)
            try:
                self._commit(todo, made)
            except ConflictError:
                todo = [new for item in todo if (new := self._selection.again(item)) is not None]
                continue
            except LimitExceededError:
                raise
            except RejectedError as error:  # a hook's veto: of one of them
                if len(todo) > 1 and self._settings.on_failure == "value":
                    for item in todo:
                        self._attempts([item])
                    return len(items)
                if self._settings.on_failure != "value":
                    raise ValueFailedError(todo[0], error) from error
                self._commit(todo, [Made([self._aside(todo[0], error)])])
            return len(items)
        raise exhausted(items[0].found.place)

    def _made(self, item: Item) -> Made | None:
        """Return what a value comes to; None where it has the version already."""
        if item.version == self._to:
            return None
        trace = Trace()
        try:
            plan = self._plans(item.version)
            value = plan.run(decode(item.found.payload), trace)
            if trace.quarantine:
                raise MigrationStepError(
                    f"{', '.join(trace.quarantine)}: fails its validation",
                    path=trace.quarantine[0],
                    reason="quarantine",
                )
            op = self._set(item, plan, value)
        except EngineError:
            raise
        except StateError as error:
            aside = getattr(error, "reason", "") == "quarantine"
            if not aside and self._settings.on_failure != "value":
                raise ValueFailedError(item, error) from error
            return Made([self._aside(item, error)])
        ops = [op]
        if trace.kept:
            key = self._ledger.beside("kept", self._id, op.place)
            ops.append(self._ledger.set(key, self._note(item) | {"originals": trace.kept}))
        if self._quarantined:
            key = self._ledger.beside("quarantine", self._id, op.place)
            if key in self._quarantined:
                ops.append(self._ledger.delete(key))
        return Made(ops, [step.name for step in plan.steps], len(trace.kept), True)

    def _set(self, item: Item, plan: Plan, value: Any) -> Op:
        found, payloads = item.found, self._kernel.payloads
        stored = found.record
        prepared = payloads.prepare(value)
        op = Op(wanted.SET, item.owner, found.place, prepared, None, stored.revision)
        op.expires_ns = None  # as it was
        now = self._kernel.clock.now_ns()
        op.schema_version = migrated_text(
            plan.from_version, self._to, self._id, now, self._restore_point, stored.revision
        )
        if prepared.size >= DELTA_FROM:
            payloads.add_delta(found.place, prepared, stored)
        return op

    def _aside(self, item: Item, error: StateError) -> Op:
        note = self._note(item) | {
            "step": getattr(error, "step", ""),
            "path": getattr(error, "path", "$"),
            "error": error.message,
            "code": error.code,
        }
        return self._ledger.set(self._ledger.beside("quarantine", self._id, item.found.place), note)

    def _note(self, item: Item) -> dict[str, Any]:
        return {
            "scope": str(item.scope),
            "key": item.key,
            "version": item.version,
            "revision": item.found.record.revision,
        }

    def _commit(self, items: list[Item], made: list[Made]) -> None:
        migrated = sum(each.migrated for each in made)
        kept = sum(1 for each in made if each.kept)
        steps = Counter(name for each in made for name in each.steps)

        def count(record: dict[str, Any]) -> None:
            record["migrated"] = record.get("migrated", 0) + migrated
            record["kept"] = record.get("kept", 0) + kept
            counted = record.setdefault("steps", {})
            for name, number in steps.items():
                counted[name] = counted.get(name, 0) + number

        ops = [op for each in made for op in each.ops]
        ops.append(self._ledger.change(self._id, count))
        data = {"migration": self._id, "schema": self._schema, "migrated": migrated}
        events = [self._ledger.event("progress", data | {"aside": len(made) - migrated})]
        self._ledger.commit(
            ops,
            events,
            durability=self._durability(items),
            actor=self._settings.actor,
            correlation=self._correlation,
        )

    def _durability(self, items: list[Item]) -> Any:
        writer, asked = self._state._writer, self._settings.durability
        if asked is not None or not writer.ruled:
            return asked
        scopes = {item.scope for item in items} | {SCOPE}
        return max(writer.durability(scope, None, None) for scope in scopes)
