"""What a replay found, as values and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from holdfast.hooks.capture import CapturedEvent, CapturedWrite
from holdfast.hooks.comparing import FieldDifference
from holdfast.hooks.event import REDACTED
from holdfast.store.lines import to_json
from holdfast.store.scope import StateScope
from holdfast.store.value import MISSING

STATUSES: Final = ("identical", "different", "error")


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What one hook made of one change.

    Attributes:
        revision, scope, key, operation, at: The change.
        hook: The hook.
        status: ``"identical"``, ``"different"`` or ``"error"``.
        differences: The fields that differ; empty unless the status says so.
        error: Name of the exception's class, where there was one.
        veto: Why a before-hook would refuse the change; None if it would not.
        writes, events: What the hook wrote: captured in a dry run, else done.
        result: What it returned, where that is a value; else the name of its type.
        idempotency_key: See `HookEvent.idempotency_key`.
    """

    revision: int
    scope: StateScope
    key: str
    operation: str
    at: datetime
    hook: str
    status: str
    differences: tuple[FieldDifference, ...] = ()
    error: str | None = None
    veto: str | None = None
    writes: tuple[CapturedWrite, ...] = ()
    events: tuple[CapturedEvent, ...] = ()
    result: Any = None
    idempotency_key: str = ""

    def __repr__(self) -> str:
        return (
            f"ReplayResult({self.hook} at revision {self.revision} of {self.scope}/{self.key}: "
            f"{self.status})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types; values in their lossless form."""
        return {
            "revision": self.revision,
            "scope": str(self.scope),
            "key": self.key,
            "operation": self.operation,
            "at": self.at.isoformat(),
            "hook": self.hook,
            "status": self.status,
            "error": self.error,
            "veto": self.veto,
            "differences": [
                _sides(each.path, each.before, each.after) for each in self.differences
            ],
            "writes": [_write(each) for each in self.writes],
            "events": [
                {"scope": str(each.scope), "name": each.name, "data": plain(each.data)}
                for each in self.events
            ],
            "result": plain(self.result),
            "idempotency_key": self.idempotency_key,
        }


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay found.

    Attributes:
        dry_run: Nothing was done.
        changes: Changes that were gone through.
        results: One for each change and each hook that hears of it, in the order of the journal.
    """

    dry_run: bool
    changes: int = 0
    results: list[ReplayResult] = field(default_factory=list)

    @property
    def identical(self) -> int:
        """How many results are identical."""
        return self._count("identical")

    @property
    def different(self) -> int:
        """How many differ."""
        return self._count("different")

    @property
    def errors(self) -> int:
        """How many are errors."""
        return self._count("error")

    @property
    def applied(self) -> int:
        """How many writes were done; those that an earlier replay had done do not count."""
        writes = [write for result in self.results for write in result.writes]
        return 0 if self.dry_run else sum(not write.repeated for write in writes)

    def _count(self, status: str) -> int:
        return sum(result.status == status for result in self.results)

    def __repr__(self) -> str:
        return (
            f"ReplayReport(dry_run={self.dry_run}, changes={self.changes}, "
            f"identical={self.identical}, different={self.different}, errors={self.errors})"
        )

    def summary(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "dry_run": self.dry_run,
            "changes": self.changes,
            "calls": len(self.results),
            "identical": self.identical,
            "different": self.different,
            "errors": self.errors,
            "applied": self.applied,
        }

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return self.summary() | {"results": [result.to_json() for result in self.results]}


def plain(value: Any) -> Any:
    """Return a value as JSON types."""
    return {"redacted": True} if value is REDACTED else to_json(value)


def _write(write: CapturedWrite) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "scope": str(write.scope),
        "key": write.key,
        "operation": write.operation,
        "revision": write.revision,
        "repeated": write.repeated,
    }
    if write.operation != "delete":
        fields["value"] = plain(write.value)
    return fields


def _sides(path: str, before: Any, after: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"path": path}
    for name, side in (("before", before), ("after", after)):
        if side is not MISSING:
            fields[name] = plain(side)
    return fields
