"""The journal of runs: records in a reserved scope, written in the commits that they speak of.

Counters are changed inside the commit lane, in the same commit as the values that they count: a
kill between the two cannot be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Unpack

from xxhash import xxh3_128_hexdigest

from holdfast.errors import MissingKeyError
from holdfast.manager import StateManager
from holdfast.migrations.report import Run
from holdfast.store import intent as wanted
from holdfast.store.happening import emitted
from holdfast.store.intent import Emitted, Intent, Op, Prepared
from holdfast.store.options import WriteOptions
from holdfast.store.scope import StateScope
from holdfast.store.value import MISSING

SCOPE: Final = StateScope.custom("holdfast.migrations")
_FIELDS: Final = frozenset(Run.__slots__) - {"duration"}


class Ledger:
    """The runs of one tenant's store."""

    def __init__(self, state: StateManager) -> None:
        self._state = state
        self._kernel = state._kernel
        self._address = state._address
        self._owner = self._address.owner(SCOPE)

    def read(self, id_: str) -> dict[str, Any]:
        """Return the record of a run.

        Raises:
            MissingKeyError: There is none of that id.
        """
        found = self._state.get(SCOPE, f"run/{id_}") if id_ else None
        if found is None:
            raise MissingKeyError(
                f"there is no migration {id_!r}", hint="holdfast migrate status lists them"
            )
        record: dict[str, Any] = found
        return record

    def runs(self) -> list[dict[str, Any]]:
        """Return the records of all runs, oldest first."""
        found = [value.value for _, value in self._state.scan(SCOPE, prefix="run/")]
        return sorted(found, key=lambda each: str(each["started_at"]))

    def put(self, record: dict[str, Any]) -> Op:
        """Return the operation that stores a run's record."""
        return self.set(f"run/{record['id']}", record)

    def change(self, id_: str, change: Callable[[dict[str, Any]], None]) -> Op:
        """Return the operation that changes a run's record inside the lane."""
        payloads = self._kernel.payloads

        def transform(old: Any) -> tuple[Prepared, None]:
            record = {} if old is MISSING else old
            change(record)
            return payloads.prepare(record), None

        op = Op(wanted.TRANSFORM, self._owner, self._place(f"run/{id_}"))
        op.expires_ns, op.transform = None, transform
        return op

    def set(self, key: str, value: Any) -> Op:
        """Return the operation that stores a record of the ledger."""
        prepared = self._kernel.payloads.prepare(value)
        return Op(wanted.SET, self._owner, self._place(key), prepared)

    def delete(self, key: str) -> Op:
        """Return the operation that deletes a record of the ledger."""
        return Op(wanted.DELETE, self._owner, self._place(key))

    def event(self, name: str, data: dict[str, Any], number: int = 0) -> Emitted:
        """Return an event of a run."""
        return emitted(self._kernel.payloads, self._address, SCOPE, f"migration.{name}", data)

    def commit(
        self, ops: list[Op], events: list[Emitted], **options: Unpack[WriteOptions]
    ) -> Intent:
        """Commit operations with events.

        Raises:
            StateError: As `StateManager.set`.
        """
        intent = self._state._writer.intent(ops, None, None, options)
        intent.events = events
        return self._kernel.commit(intent)

    def beside(self, kind: str, id_: str, place: bytes) -> str:
        """Return the key of what a run keeps about a value: the same each time."""
        return f"{kind}/{id_}/{xxh3_128_hexdigest(place)}"

    def count(self, kind: str, id_: str) -> int:
        """Count what a run keeps of a kind."""
        return self._state.count(SCOPE, prefix=f"{kind}/{id_}/")

    def kept(self, kind: str, id_: str) -> list[dict[str, Any]]:
        """Return what a run keeps of a kind."""
        return [v.value for _, v in self._state.scan(SCOPE, prefix=f"{kind}/{id_}/")]

    def _place(self, key: str) -> bytes:
        return self._address.place(self._owner, key)


def shown(record: dict[str, Any], duration: float = 0.0, **changed: Any) -> Run:
    """Return a run's record as callers see it."""
    fields = {name: value for name, value in record.items() if name in _FIELDS}
    return Run(**{**fields, "duration": duration, **changed})
