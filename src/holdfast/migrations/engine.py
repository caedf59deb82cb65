"""`MigrationEngine`: brings stored values from one version of their schema to another.

A run is a record in the store; each batch of values commits together with what counts it, each
value only if it is still what was read. So a run that was killed anywhere is run again and
finishes, and no value goes through a step twice.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC
from time import perf_counter
from typing import Any

from holdfast.clock import from_ns
from holdfast.errors import (
    InvalidArgumentError,
    MigrationFailedError,
    MigrationPlanError,
    MissingKeyError,
    StateError,
)
from holdfast.manager import StateManager
from holdfast.migrations.batch import Batcher, ValueFailedError
from holdfast.migrations.catalogue import Catalogue
from holdfast.migrations.ledger import Ledger, shown
from holdfast.migrations.pacing import Pacer
from holdfast.migrations.planner import Plan, plan
from holdfast.migrations.plans import Plans
from holdfast.migrations.report import (
    UNFINISHED,
    DryRun,
    KeyChange,
    MigrationResult,
    Run,
    differences,
    lost,
)
from holdfast.migrations.restoring import restore
from holdfast.migrations.selection import Item, Selection
from holdfast.migrations.settings import RunSettings
from holdfast.migrations.transforms import Trace
from holdfast.store.codec import decode
from holdfast.store.scope import StateScope

Scope = StateScope | str


class MigrationEngine:
    """Plans, tries and runs migrations of one store.

    Args:
        state: The store.
        catalogue: The steps that are known; or what `Catalogue` takes.
    """

    def __init__(self, state: StateManager, catalogue: Catalogue | Any) -> None:
        self._state = state
        self.catalogue = catalogue if isinstance(catalogue, Catalogue) else Catalogue(catalogue)
        self._ledger = Ledger(state)

    # --- looking --------------------------------------------------------------------------

    def plan(self, schema: str, from_version: int, to_version: int) -> Plan:
        """Return the way from one version of a schema to another; no data is read.

        Raises:
            MigrationPlanError: There is none over registered steps.
            InvalidArgumentError: A step is not sound, or names a function that there is not.
        """
        return plan(self.catalogue.steps(schema), schema, from_version, to_version)

    def dry_run(
        self,
        schema: str,
        to_version: int,
        *,
        scope: Scope = "*",
        key: str = "*",
        limit: int | None = None,
        unversioned: int = 1,
    ) -> DryRun:
        """Say what a run would do to each value, and what would be lost; nothing is written.

        Args:
            schema: Name of the schema.
            to_version: The version to bring values to.
            scope, key: Patterns, as of `apply`.
            limit: At most so many values that are not at the version.
            unversioned: The version of values that say none.

        Raises:
            MigrationPlanError: There is no plan from a version that a value has.
        """
        found: list[KeyChange] = []
        current, plans = 0, self._plans(schema, to_version)
        for item in Selection(self._state, str(scope), key, unversioned).items():
            if item.version == to_version:
                current += 1
            elif limit is None or len(found) < limit:
                found.append(_tried(item, plans(item.version)))
        reasons = dict.fromkeys(reason for each in plans.made.values() for reason in each.reasons)
        return DryRun(schema, to_version, tuple(found), current, tuple(reasons))

    def runs(self) -> list[Run]:
        """Return all runs that the store remembers, oldest first."""
        return [self._shown(record) for record in self._ledger.runs()]

    def status(self, id_: str) -> Run:
        """Return a run.

        Raises:
            MissingKeyError: There is none of that id.
        """
        return self._shown(self._ledger.read(id_))

    def quarantine(self, id_: str) -> list[dict[str, Any]]:
        """Return what a run left as it was because it failed: where, at which step, and why."""
        return self._ledger.kept("quarantine", id_)

    def originals(self, id_: str) -> list[dict[str, Any]]:
        """Return what validations of a run replaced or removed: where, and the originals."""
        return self._ledger.kept("kept", id_)

    # --- running --------------------------------------------------------------------------

    def migrate(
        self,
        scope: Scope,
        key: str,
        schema: str,
        to_version: int,
        *,
        allow_loss: bool = False,
        unversioned: int = 1,
        actor: str | None = None,
    ) -> MigrationResult:
        """Bring one value to a version; one that has it already is left alone.

        Raises:
            MissingKeyError: There is no such key.
            MigrationPlanError, UnsafeMigrationError: Nothing was touched.
            MigrationFailedError: A step cannot work on the value; it is as it was.
        """
        if "*" in key:
            raise InvalidArgumentError(
                "migrate takes one key, without *", hint="apply takes patterns"
            )
        began = perf_counter()
        found = self._state.get_with_metadata(scope, key)
        if found is None:
            raise MissingKeyError(f"there is no {scope}/{key}", scope=str(scope), key=key)
        text = found.metadata.schema_version
        version = unversioned if text is None else int(text)
        if version == to_version:
            took = perf_counter() - began
            return MigrationResult(version, to_version, (), took, None, None)
        way = self.plan(schema, version, to_version)
        run = self.apply(
            schema,
            to_version,
            scope=scope,
            key=key,
            settings=RunSettings(
                allow_loss=allow_loss, unversioned=unversioned, actor=actor, workers=1
            ),
        )
        if run.quarantined:
            (note,) = self.quarantine(run.id)
            raise MigrationFailedError(
                f"{scope}/{key} was put aside as it was: {note['error']}",
                migration_id=run.id,
                from_version=version,
                to_version=to_version,
                scope=str(scope),
                key=key,
                step=note["step"],
                reason=note["error"],
            )
        names = tuple(step.name for step in way.steps)
        took = perf_counter() - began
        return MigrationResult(version, to_version, names, took, run.restore_point, run.id)

    def apply(
        self,
        schema: str,
        to_version: int,
        *,
        scope: Scope = "*",
        key: str = "*",
        settings: RunSettings | None = None,
    ) -> Run:
        """Bring all values of a selection to a version.

        A run of the same selection that was cut off is resumed.

        Args:
            schema: Name of the schema.
            to_version: The version.
            scope, key: Patterns, where ``*`` stands for any text: the whole store by default.
            settings: How it works; see `RunSettings`.

        Raises:
            MigrationPlanError, UnsafeMigrationError: Nothing was touched.
            MigrationFailedError: A value failed; `RunSettings.on_failure` says what that means.
        """
        settings = settings or RunSettings()
        for record in self._ledger.runs():
            asked = (schema, to_version, str(scope), key, settings.on_failure)
            fields = "schema", "to_version", "scope", "key", "on_failure"
            if record["state"] in UNFINISHED and tuple(record[f] for f in fields) == asked:
                run = self.resume(str(record["id"]), settings=settings)
                if run.state != "rolled_back":  # that was a rollback's end: begin anew
                    return run
        plans = self._plans(schema, to_version)
        selection = Selection(self._state, str(scope), key, settings.unversioned)
        total = self._survey(selection, plans, settings.allow_loss)
        record = {
            "id": os.urandom(16).hex(),
            "schema": schema,
            "to_version": to_version,
            "scope": str(scope),
            "key": key,
            "state": "running",
            "on_failure": settings.on_failure,
            "unversioned": settings.unversioned,
            "allow_loss": settings.allow_loss,
            "total": total,
            "restore_point": self._state.revision,
            "started_at": self._now(),
            "plan": plans.digest(),
        }
        event = self._ledger.event("started", _told(record) | {"total": total})
        self._commit([self._ledger.put(record)], [event], settings, record)
        return self._run(record, selection, plans, settings)

    def resume(self, id_: str, *, settings: RunSettings | None = None) -> Run:
        """Go on with a run that was cut off; one that is at its end is only told.

        Args:
            id_: Of the run.
            settings: How fast; what it does is as it was begun.

        Raises:
            MissingKeyError: There is none of that id.
            MigrationPlanError: Its steps are not those that it was begun with.
            MigrationFailedError: As `apply`.
        """
        record = self._ledger.read(id_)
        settings = replace(
            settings or RunSettings(),
            on_failure=record["on_failure"],
            unversioned=record["unversioned"],
            allow_loss=record["allow_loss"],
        )
        if record["state"] == "rolling_back":
            return self._roll_back(record, settings, perf_counter())
        stopped = record["state"] == "failed" and record["on_failure"] == "batch"
        if record["state"] != "running" and not stopped:
            return self._shown(record)
        plans = self._plans(record["schema"], record["to_version"])
        if plans.digest() != record["plan"]:
            raise MigrationPlanError(
                f"the steps of {record['schema']} are not those that migration {id_} began with",
                hint="load the same steps, or roll the migration back",
            )
        selection = self._selection(record)
        self._survey(selection, plans, settings.allow_loss)
        return self._run(record, selection, plans, settings)

    def rollback(self, id_: str, *, actor: str | None = None) -> Run:
        """Restore every value that a run wrote to the bytes that were there before.

        Values that somebody has changed since are left alone; `Run.conflicts` counts them.

        Raises:
            MissingKeyError: There is no run of that id.
            HorizonError: Retention has trimmed a pre-image.
        """
        record = self._ledger.read(id_)
        if record["state"] == "rolled_back":
            return self._shown(record)
        return self._roll_back(record, RunSettings(actor=actor), perf_counter())

    # --- inside ---------------------------------------------------------------------------

    def _plans(self, schema: str, to_version: int) -> Plans:
        return Plans(self.catalogue, schema, to_version)

    def _selection(self, record: dict[str, Any]) -> Selection:
        return Selection(self._state, record["scope"], record["key"], record["unversioned"])

    def _survey(self, selection: Selection, plans: Plans, allow_loss: bool) -> int:
        """Count what is to be done, and refuse what cannot or should not be, before any write."""
        total = 0
        for item in selection.items():
            if item.version != plans.to_version:
                plans(item.version)
                total += 1
        for each in plans.made.values():
            each.refuse_loss(allow_loss)
        return total

    def _run(
        self, record: dict[str, Any], selection: Selection, plans: Plans, settings: RunSettings
    ) -> Run:
        began, id_ = perf_counter(), str(record["id"])
        aside = {
            self._ledger.beside("quarantine", id_, self._place(note))
            for note in self._ledger.kept("quarantine", id_)
        }
        batcher = Batcher(self._state, self._ledger, selection, plans, record, settings, aside)
        pacer = Pacer(settings, int(record["total"]))
        skipped = [0]
        try:
            self._batches(_todo(selection, plans.to_version, skipped), batcher, pacer, settings)
        except ValueFailedError as failed:
            return self._failed(record, failed, settings, began)
        quarantined = self._ledger.count("quarantine", id_)

        def end(stored: dict[str, Any]) -> None:
            stored |= {
                "state": "completed",
                "ended_at": self._now(),
                "skipped": skipped[0],
                "quarantined": quarantined,
            }

        now = self._ledger.read(id_)
        number = {step.name: step for each in plans.made.values() for step in each.steps}
        events = [
            self._ledger.event(
                "step",
                _told(record)
                | {"step": name, "values": values, "progress": (at + 1) / len(now["steps"])},
            )
            for at, (name, values) in enumerate(now.get("steps", {}).items())
            if name in number
        ]
        done = {"migrated": now.get("migrated", 0), "quarantined": quarantined}
        events.append(self._ledger.event("completed", _told(record) | done))
        self._commit([self._ledger.change(id_, end)], events, settings, record)
        return self._shown(self._ledger.read(id_), perf_counter() - began)

    def _batches(
        self, items: Iterator[Item], batcher: Batcher, pacer: Pacer, settings: RunSettings
    ) -> None:
        """Hand batches to workers, a few ahead; the first that fails ends it, the others finish."""
        waiting: deque[Future[int]] = deque()
        with ThreadPoolExecutor(settings.workers, "holdfast-migration") as pool:
            try:
                while batch := _next(items, settings.batch_size):
                    waiting.append(pool.submit(batcher.run, batch))
                    pacer.handed(len(batch))
                    while len(waiting) > settings.workers or (waiting and waiting[0].done()):
                        pacer.done(waiting.popleft().result())
                while waiting:
                    pacer.done(waiting.popleft().result())
            except BaseException:
                for each in waiting:
                    each.cancel()
                raise

    def _failed(
        self,
        record: dict[str, Any],
        failed: ValueFailedError,
        settings: RunSettings,
        began: float,
    ) -> Run:
        item, error, id_ = failed.item, failed.error, str(record["id"])
        step = str(getattr(error, "step", ""))
        whole = settings.on_failure == "all"
        words = f"{item.scope}/{item.key}: {error.message}"

        def fail(stored: dict[str, Any]) -> None:
            stored["state"] = "rolling_back" if whole else "failed"
            stored["error"] = words
            stored["ended_at"] = None if whole else self._now()

        data = {"scope": str(item.scope), "key": item.key, "step": step, "code": error.code}
        event = self._ledger.event("failed", _told(record) | data)
        self._commit([self._ledger.change(id_, fail)], [event], settings, record)
        became = "its batch was not written, and the run can be resumed"
        if whole:
            run = self._roll_back(self._ledger.read(id_), settings, began)
            became = f"everything was restored ({run.restored} values)"
            if run.conflicts:
                became += f", but for {run.conflicts} that others have changed since"
        raise MigrationFailedError(
            f"migration {id_} failed at {words}; {became}",
            hint="a dry run shows every value that fails",
            migration_id=id_,
            from_version=item.version,
            to_version=record["to_version"],
            scope=str(item.scope),
            key=item.key,
            step=step,
            reason=error.message,
        ) from error

    def _roll_back(self, record: dict[str, Any], settings: RunSettings, began: float) -> Run:
        id_ = str(record["id"])

        def begin(stored: dict[str, Any]) -> None:
            stored["state"] = "rolling_back"

        self._commit([self._ledger.change(id_, begin)], [], settings, record)
        selection = self._selection(record)
        conflicts = restore(self._state, self._ledger, selection, id_, settings.actor)

        def end(stored: dict[str, Any]) -> None:
            stored |= {
                "state": "rolled_back",
                "ended_at": self._now(),
                "conflicts": conflicts,
            }

        event = self._ledger.event("rolled_back", _told(record) | {"conflicts": conflicts})
        self._commit([self._ledger.change(id_, end)], [event], settings, record)
        return self._shown(self._ledger.read(id_), perf_counter() - began)

    def _commit(
        self, ops: list[Any], events: list[Any], settings: RunSettings, record: dict[str, Any]
    ) -> None:
        self._ledger.commit(
            ops, events, actor=settings.actor, correlation=f"migration-{record['id']}"
        )

    def _shown(self, record: dict[str, Any], duration: float = 0.0) -> Run:
        if record["state"] == "completed":
            return shown(record, duration)
        quarantined = self._ledger.count("quarantine", str(record["id"]))
        return shown(record, duration, quarantined=quarantined)

    def _place(self, note: dict[str, Any]) -> bytes:
        address = self._state._address
        return address.place(address.owner(note["scope"]), note["key"])

    def _now(self) -> str:
        return from_ns(self._state._kernel.clock.now_ns()).astimezone(UTC).isoformat()


def _next(items: Iterator[Item], size: int) -> list[Item]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            break
    return batch


def _todo(selection: Selection, to_version: int, skipped: list[int]) -> Iterator[Item]:
    for item in selection.items():
        if item.version == to_version:
            skipped[0] += 1
        else:
            yield item


def _told(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "migration": record["id"],
        "schema": record["schema"],
        "to": record["to_version"],
    }


def _tried(item: Item, way: Plan) -> KeyChange:
    trace, scope = Trace(), str(item.scope)
    before = decode(item.found.payload)
    try:
        after = way.run(decode(item.found.payload), trace)
    except StateError as error:
        return KeyChange(scope, item.key, item.version, error=error.message)
    return KeyChange(
        scope,
        item.key,
        item.version,
        tuple(differences(before, after)),
        lost(before, after),
        tuple(path for path, _ in trace.kept),
        tuple(trace.quarantine),
    )
