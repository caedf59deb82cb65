"""What migrations tell: results, runs, dry runs. Plain frozen data; no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from holdfast.migrations.paths import Place, path_text
from holdfast.store.value import MISSING

#: States of a run that is not at its end.
UNFINISHED = ("running", "rolling_back")


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What became of one value.

    Attributes:
        from_version, to_version: Versions before and after.
        applied_steps: Names of the steps; none where the value had the version already.
        duration: In seconds.
        restore_point: The store's revision before; None where nothing was to be done.
        migration_id: Of the run; None where nothing was to be done.
    """

    from_version: int
    to_version: int
    applied_steps: tuple[str, ...]
    duration: float
    restore_point: int | None
    migration_id: str | None

    @property
    def needed(self) -> bool:
        """False where the value had the version already, and nothing was done."""
        return self.migration_id is not None


@dataclass(frozen=True, slots=True)
class Run:
    """A run, as the store's journal of migrations has it.

    Attributes:
        id: 32 hex digits.
        schema, to_version: What it brings values to.
        scope, key: Patterns of what it is about.
        state: ``running``, ``completed``, ``failed``, ``rolling_back`` or ``rolled_back``.
        on_failure: ``value``, ``batch`` or ``all``.
        migrated: Values that it has brought to the version.
        skipped: Values that had the version already, when it was last at work.
        quarantined: Values that it left as they were, and has a record of.
        kept: Values of which it replaced or removed something, and keeps the original.
        restored, conflicts: Of a rollback: values restored, and values changed since, left alone.
        total: Values to migrate, when it began.
        steps: Names of steps, and how many values each has brought forward.
        restore_point: The store's revision before.
        started_at, ended_at: ISO times.
        error: Why it failed.
        duration: Of this call, in seconds.
    """

    id: str
    schema: str
    to_version: int
    scope: str
    key: str
    state: str
    on_failure: str = "all"
    migrated: int = 0
    skipped: int = 0
    quarantined: int = 0
    kept: int = 0
    restored: int = 0
    conflicts: int = 0
    total: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    restore_point: int = 0
    started_at: str = ""
    ended_at: str | None = None
    error: str | None = None
    duration: float = 0.0

    @property
    def finished(self) -> bool:
        """Say whether there is nothing left to resume."""
        return self.state not in UNFINISHED

    def to_json(self) -> dict[str, Any]:
        """Return the run as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One path that differs; `MISSING` stands for absence. Its repr shows no values."""

    path: str
    before: Any = field(repr=False)
    after: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What a run would do to one value.

    Attributes:
        scope, key: Which.
        from_version: That it has.
        changes: What differs.
        lost: Paths whose values would be in the value no more, under any path.
        kept: Paths whose originals would be kept aside.
        quarantine: Paths for which it would be put aside.
        error: Why a step cannot work on it, or None.
    """

    scope: str
    key: str
    from_version: int
    changes: tuple[FieldChange, ...] = ()
    lost: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    quarantine: tuple[str, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "scope": self.scope,
            "key": self.key,
            "from": self.from_version,
            "changes": [
                {"path": each.path}
                | ({} if each.before is MISSING else {"before": each.before})
                | ({} if each.after is MISSING else {"after": each.after})
                for each in self.changes
            ],
            "lost": list(self.lost),
            "kept": list(self.kept),
            "quarantine": list(self.quarantine),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would do.

    Attributes:
        schema, to_version: What it would bring values to.
        keys: One for each value looked at.
        current: Values that have the version already.
        reasons: Why its plans lose data.
    """

    schema: str
    to_version: int
    keys: tuple[KeyChange, ...]
    current: int
    reasons: tuple[str, ...]

    @property
    def failures(self) -> tuple[KeyChange, ...]:
        """Those that would fail."""
        return tuple(each for each in self.keys if each.error is not None)

    @property
    def losing(self) -> tuple[KeyChange, ...]:
        """The loss report: values of which something would be gone, or kept aside only."""
        return tuple(each for each in self.keys if each.lost or each.kept)


def differences(before: Any, after: Any, at: Place = ()) -> Iterator[FieldChange]:
    """Yield the paths that differ, objects compared by key and lists by position."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from differences(before.get(key, MISSING), after.get(key, MISSING), (*at, key))
    elif isinstance(before, list) and isinstance(after, list):
        for number in range(max(len(before), len(after))):
            one = before[number] if number < len(before) else MISSING
            other = after[number] if number < len(after) else MISSING
            yield from differences(one, other, (*at, number))
    elif type(before) is not type(after) or before != after:
        yield FieldChange(path_text(at) or "$", before, after)


def leaves(value: Any, at: Place = ()) -> Iterator[tuple[str, Any]]:
    """Yield the scalars of a value with their paths."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from leaves(each, (*at, key))
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from leaves(each, (*at, number))
    else:
        yield path_text(at) or "$", value


def lost(before: Any, after: Any) -> tuple[str, ...]:
    """Return the paths of scalars that are nowhere any more, not even as another type."""
    there = {_essence(value) for _, value in leaves(after)}
    unchanged = dict(leaves(after))
    return tuple(
        path
        for path, value in leaves(before)
        if path not in unchanged and _essence(value) not in there
    )


def _essence(value: Any) -> str:
    return str(value).strip().lower()
