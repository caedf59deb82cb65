"""What callers see: classes of state, values with metadata, changes, options.

Plain frozen data; no I/O. Times are aware datetimes, sizes bytes, revisions ordered tokens.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from holdfast.correlation import CorrelationContext
from holdfast.engines.base import Durability
from holdfast.store.scope import StateScope


class StateClass(enum.IntEnum):
    """How a value is treated on its way in and out; the number is stored."""

    EPHEMERAL = 0
    TRUSTED = 1
    STANDARD = 2
    SENSITIVE = 3
    EXTERNAL = 4


class Operation(enum.IntEnum):
    """What a commit did to a key; the number is stored."""

    SET = 1
    DELETE = 2
    EXPIRE = 3
    TOUCH = 4
    TRIM = 5  # not of a key: a scope's or the journal's horizon moved
    LOST = 6  # repair gave the key up


@dataclass(frozen=True, slots=True)
class MigrationInfo:
    """What migrated a value to the version that it has.

    Attributes:
        from_version, to_version: Versions of its schema before and after.
        migration_id: Of the run, 32 hex digits.
        applied_at: When.
        restore_point: The store's revision before the run began.
        before: The commit that wrote what the migration replaced: the pre-image.
    """

    from_version: int
    to_version: int
    migration_id: str
    applied_at: datetime
    restore_point: int
    before: int


@dataclass(frozen=True, slots=True)
class StateMetadata:
    """What is stored beside a value.

    Attributes:
        revision: The commit that wrote it: the only proof that nothing changed since.
        version: 1 for a new key, one more at each change; starts again after a delete.
        previous_revision: The commit that wrote the version before; 0 for the first.
        created_at, updated_at: Commit times of the first and of this version.
        expires_at: When it ceases to exist, or None.
        size_bytes: Encoded size before compression.
        state_class: Its class.
        schema_version: Version of its schema, or None.
        correlation_id, actor: Who and what caused this version, where given.
        checksum: Hex xxh3-128 over the record as stored, with its place.
        compressed: Stored compressed.
        encryption: Key id, where encrypted.
        ephemeral: It lives in this process only, and has no revision.
        degraded: A failover store answered from its spill while the primary was away. A negative
            revision is the spill's; any other is what the primary had when it was last seen.
        migration: What migrated the value to this version of its schema, if something did.
    """

    revision: int
    version: int
    previous_revision: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    size_bytes: int
    state_class: StateClass
    schema_version: str | None
    correlation_id: str | None
    actor: str | None
    checksum: str
    compressed: bool = False
    encryption: str | None = None
    ephemeral: bool = False
    degraded: bool = False
    migration: MigrationInfo | None = None


class StateValue:
    """A value and its metadata. Immutable; the value is the caller's own copy."""

    __slots__ = ("_made_of", "_metadata", "_value")
    __match_args__ = ("value", "metadata")

    _value: Any
    _metadata: StateMetadata | None
    _made_of: tuple[Callable[[bytes], StateMetadata], bytes] | None

    def __init__(self, value: Any, metadata: StateMetadata) -> None:
        self._value = value
        self._metadata = metadata

    @classmethod
    def deferring(
        cls, value: Any, make: Callable[[bytes], StateMetadata], stored: bytes
    ) -> StateValue:
        """Return a value whose metadata is ``make(stored)``, made when it is first looked at.

        Most scans look at values only, and making the metadata costs more than they do.
        """
        made = cls.__new__(cls)
        made._value = value
        made._metadata = None
        made._made_of = (make, stored)
        return made

    @property
    def value(self) -> Any:
        """The value."""
        return self._value

    @property
    def metadata(self) -> StateMetadata:
        """What is stored beside it."""
        known = self._metadata
        if known is None:
            assert self._made_of is not None
            make, stored = self._made_of
            known = self._metadata = make(stored)
        return known

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StateValue):
            return NotImplemented
        return bool(self._value == other._value) and self.metadata == other.metadata

    def __hash__(self) -> int:
        return hash((self._value, self.metadata))

    def __reduce__(self) -> tuple[type[StateValue], tuple[Any, StateMetadata]]:
        return StateValue, (self._value, self.metadata)

    def __repr__(self) -> str:
        # Values stay out of logs: a repr shows where, not what.
        m = self.metadata
        return f"StateValue(revision={m.revision}, version={m.version}, size={m.size_bytes})"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one key, as the journal recorded it.

    Attributes:
        revision: The commit.
        scope, key: What changed.
        operation: What happened.
        version: The version it made (of a delete: the one it ended).
        previous_revision: The commit of the version before; 0 for none.
        at: Commit time.
        state_class: The class of the value.
        commit_id: Hex id of the commit; None in a key's history, which does not look it up.
        actor, correlation_id, cause: Where given.
        context: The step that the commit belongs to, where it said one.
        value: The value of that moment; None for deletes.
        readable: False where retention trimmed the value (it is then None).
    """

    revision: int
    scope: StateScope
    key: str
    operation: Operation
    version: int
    previous_revision: int
    at: datetime
    state_class: StateClass
    commit_id: str | None = None
    actor: str | None = None
    correlation_id: str | None = None
    cause: str | None = None
    context: CorrelationContext | None = None
    value: Any = None
    readable: bool = True

    def __repr__(self) -> str:
        return (
            f"Change(revision={self.revision}, {self.operation.name.lower()} "
            f"{self.scope}/{self.key}, version={self.version})"
        )


@dataclass(frozen=True, slots=True)
class StateEvent:
    """Something that happened, as the journal recorded it between the changes.

    Attributes:
        revision: The commit that carries it.
        id: 32 hex digits; what `causes` of later events and the ``cause`` of a write may name.
        scope: Where it happened.
        name: What happened, as ``order.paid``.
        at: Commit time.
        data: A value, as `set` takes one; None for none.
        causes: Ids of what led to it, beyond what its context says.
        commit_id: Hex id of the commit.
        actor, correlation_id, cause, context: As of a `Change`.
    """

    revision: int
    id: str
    scope: StateScope
    name: str
    at: datetime
    data: Any = None
    causes: tuple[str, ...] = ()
    commit_id: str | None = None
    actor: str | None = None
    correlation_id: str | None = None
    cause: str | None = None
    context: CorrelationContext | None = None

    def __repr__(self) -> str:
        return f"StateEvent(revision={self.revision}, {self.name} in {self.scope}, id={self.id})"


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that differs between two revisions.

    Attributes:
        scope, key: Which.
        before, after: The records then, None where absent.
    """

    scope: StateScope
    key: str
    before: StateValue | None
    after: StateValue | None

    @property
    def kind(self) -> str:
        """``"added"``, ``"removed"`` or ``"changed"``."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


@dataclass(frozen=True, slots=True)
class SetOperation:
    """One item of `set_batch`; the arguments of `set`."""

    scope: StateScope | str
    key: str
    value: Any
    state_class: StateClass | None = None
    expires_in: float | timedelta | None = None
    if_revision: int | None = None
    if_version: int | None = None
    if_absent: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class GetRequest:
    """One item of `get_batch`."""

    scope: StateScope | str
    key: str


class Missing(enum.Enum):
    """The type of `MISSING`: no value, where None is a value."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING

#: Revisions that a failover store's spill gives count up from here: negative, so that none is
#: ever one of the primary's, and exact in a double.
SPILL_REVISIONS: Final = -(1 << 52)

#: Durability of a class unless the call or a policy says otherwise.
CLASS_DURABILITY: Final = {
    StateClass.EPHEMERAL: Durability.MEMORY,
    StateClass.TRUSTED: Durability.SYNC,
    StateClass.STANDARD: Durability.SYNC,
    StateClass.SENSITIVE: Durability.SYNC,
    StateClass.EXTERNAL: Durability.SYNC,
}
