"""Every error that Holdfast raises, in one tree.

    StateError
    ├── UsageError                 the call is wrong: fix the call
    │   ├── InvalidArgumentError
    │   ├── InvalidKeyError
    │   ├── InvalidScopeError
    │   ├── InvalidValueError      .path says which element
    │   ├── LimitExceededError
    │   ├── ConfigurationError
    │   ├── MissingExtraError
    │   ├── ReadOnlyError
    │   └── ClosedError
    ├── RejectedError              the state said no: look at the data, perhaps retry
    │   ├── ConflictError          .expected, .actual revisions; .reason
    │   ├── WrongTypeError         the stored value cannot take this operation
    │   ├── EphemeralMixError      a key is ephemeral or durable, not both
    │   ├── HorizonError           the past asked for has been trimmed
    │   ├── DivergedError          a position belongs to another history
    │   ├── LeaseLostError         another worker has taken a consumer over
    │   ├── ProtectionRequiredError
    │   ├── SchemaRequiredError
    │   ├── MissingKeyError        what was asked for by its key, or id, is not there
    │   ├── MigrationStepError     .path, .reason: a step cannot work on a value
    │   ├── MigrationPlanError     no path of registered steps leads there
    │   ├── UnsafeMigrationError   .reasons: a plan loses data, and nobody has said that it may
    │   ├── MigrationFailedError   .migration_id: what became of it is in the message
    │   ├── VetoError              .hook, .reason: a before-hook refused the write
    │   ├── HookFailedError        a before-hook failed, and nothing passes without it
    │   ├── HookQueueFullError     more after-hooks wait than may
    │   └── HookRecursionError     hooks write, and what they write runs hooks, without end
    └── EngineError                storage failed
        ├── OutcomeUnknownError    .commit_id: the commit may or may not have happened
        ├── PoisonedError          reopen the store first
        ├── FencedError            a later epoch of this writer has begun
        ├── CorruptionError        .where: what is stored is not what was written
        ├── BusyError              another process holds what this call needs
        ├── DiskFullError
        ├── DegradedError          the primary is away, and the spill cannot answer this
        ├── NotAStoreError
        ├── FormatVersionError
        ├── UnsupportedPlatformError
        └── ForkedError            the handle belongs to the parent process

Each class has a stable ``code`` (shown by the CLI and, later, the server), says whether trying
again can help (``retryable``), and carries a ``hint``: what to do next. Facts are attributes.
Messages never contain stored values.
"""

from __future__ import annotations

from typing import Any, ClassVar


class StateError(Exception):
    """Root of all errors of Holdfast.

    Args:
        message: What happened, and where.
        hint: What the caller can do next; the class's own hint where none is given.
        **facts: Attributes of the error (they survive pickling).
    """

    code: ClassVar[str] = "state_error"
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    hint: str

    def __init__(self, message: str, *, hint: str | None = None, **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)
        self.hint = self.default_hint if hint is None else hint

    @property
    def message(self) -> str:
        """What happened, without the hint."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


# --- the call is wrong ------------------------------------------------------------------------


class UsageError(StateError):
    """The call cannot work as it is written."""

    code = "usage"


class InvalidArgumentError(UsageError):
    """An argument is out of range, or arguments exclude each other."""

    code = "invalid_argument"


class InvalidKeyError(UsageError):
    """A key breaks a rule of keys."""

    code = "invalid_key"
    default_hint = "keys are non-empty text without control characters"


class InvalidScopeError(UsageError):
    """A scope, or the text of one, breaks the grammar."""

    code = "invalid_scope"
    default_hint = (
        "use global, agent:ID, workflow:ID, workflow:ID:step:NAME, session:ID, user:ID or custom:NS"
    )


class InvalidValueError(UsageError):
    """A value would not read back equal.

    Attributes:
        path: The offending element, as ``$.profile.tags[3]``.
    """

    code = "invalid_value"
    default_hint = (
        "store JSON types, bytes, datetime, date, time, timedelta, UUID, Decimal, sets, "
        "or a msgspec Struct, dataclass or pydantic model"
    )
    path: str = "$"


class LimitExceededError(UsageError):
    """Something is larger than a stated limit.

    Attributes:
        limit: The limit; actual: what was met (both in the unit that the message names).
    """

    code = "limit_exceeded"
    limit: int | None = None
    actual: int | None = None


class ConfigurationError(UsageError):
    """A URL, a setting or a combination of settings cannot work."""

    code = "configuration"


class MissingExtraError(UsageError):
    """A feature needs an optional dependency that is not installed."""

    code = "missing_extra"


class ReadOnlyError(UsageError):
    """A write was asked of a store that is open for reading."""

    code = "read_only"
    default_hint = "open the store without read_only=True"


class ClosedError(UsageError):
    """The store is closed."""

    code = "closed"
    default_hint = "open it again with holdfast.open"


# --- the state said no ------------------------------------------------------------------------


class RejectedError(StateError):
    """The data, as it is, does not allow this."""

    code = "rejected"


class ConflictError(RejectedError):
    """Somebody else changed what this write depended on.

    Attributes:
        scope, key: What the conflict is about (texts), where it is one key.
        expected: The revision (or version) that the caller relied on; None for "must not exist".
        actual: The one that is there; 0 where nothing is.
        reason: ``"revision"``, ``"version"``, ``"exists"``, ``"range"``, ``"too_old"``,
            ``"snapshot"`` or ``"exhausted"``.
    """

    code = "conflict"
    retryable = True
    default_hint = "read again and retry; transact(fn) and update(fn) do that for you"
    scope: str | None = None
    key: str | None = None
    expected: int | None = None
    actual: int | None = None
    reason: str = "revision"


class WrongTypeError(RejectedError):
    """The stored value is of a type that this operation cannot work on."""

    code = "wrong_type"


class EphemeralMixError(RejectedError):
    """A key is either ephemeral or durable; crossing over needs a delete first."""

    code = "ephemeral_mix"
    default_hint = "delete the key first, or use another key"


class HorizonError(RejectedError):
    """The past that was asked for has been trimmed by retention.

    Attributes:
        requested: The revision asked for; horizon: the oldest one that can be read in full.
    """

    code = "before_horizon"
    requested: int | None = None
    horizon: int | None = None


class DivergedError(RejectedError):
    """A position (cursor, base, standby) belongs to another history than this store's."""

    code = "diverged"
    default_hint = "start again from a snapshot of this store"


class LeaseLostError(RejectedError):
    """Another worker has taken a consumer over; what this one acknowledges does not count."""

    code = "lease_lost"
    default_hint = "drop the batch and ask for the next one, or stop"


class ProtectionRequiredError(RejectedError):
    """The state class demands encryption and none is configured."""

    code = "protection_required"
    default_hint = "configure an encryption engine, or use another state class"


class SchemaRequiredError(RejectedError):
    """The state class demands a schema and none is bound."""

    code = "schema_required"
    default_hint = "bind a schema to the key, or use another state class"


class MissingKeyError(RejectedError):
    """What was asked for by its key, or by its id, is not there."""

    code = "missing_key"


class MigrationStepError(RejectedError):
    """A migration's step cannot work on a value; the value is as it was.

    Attributes:
        path: Where; reason: a word: ``"missing"``, ``"exists"``, ``"type"``, ``"condition"``,
            ``"convert"``, ``"custom"``, ``"validation"``.
    """

    code = "migration_step"
    path: str = "$"
    reason: str = ""


class MigrationPlanError(RejectedError):
    """No path of registered steps leads from one version to the other; no data was touched."""

    code = "migration_plan"
    default_hint = "register a step for every version on the way"


class UnsafeMigrationError(RejectedError):
    """A plan loses data, and nobody has said that it may; no data was touched.

    Attributes:
        reasons: Why, one line each.
    """

    code = "unsafe_migration"
    default_hint = "look at a dry run; allow_loss=True (on the command line: --allow-loss) goes on"
    reasons: tuple[str, ...] = ()


class MigrationFailedError(RejectedError):
    """A migration has failed.

    Attributes:
        migration_id: Of the run, empty where there was none; from_version, to_version: of it.
        scope, key: Of the value that failed; step: which step; reason: why.
    """

    code = "migration_failed"
    migration_id: str = ""
    from_version: int | None = None
    to_version: int | None = None
    scope: str = ""
    key: str = ""
    step: str = ""
    reason: str = ""


class VetoError(RejectedError):
    """A before-hook refused the write; nothing was written.

    Attributes:
        hook: Name of the hook; reason: what it said.
        scope, key: What was to be written (texts).
    """

    code = "vetoed"
    hook: str | None = None
    reason: str | None = None
    scope: str | None = None
    key: str | None = None


class HookFailedError(RejectedError):
    """A before-hook raised, took too long, or is switched off by its breaker; nothing was written.

    Attributes:
        hook: Name of the hook.
        reason: ``"raised"``, ``"timeout"``, ``"breaker"`` or ``"misused"``.
        scope, key: What was to be written (texts).
    """

    code = "hook_failed"
    default_hint = 'mend the hook; on_error="allow" lets writes pass where it fails'
    hook: str | None = None
    reason: str | None = None
    scope: str | None = None
    key: str | None = None


class HookQueueFullError(RejectedError):
    """The queue of after-hooks has no room for this commit; nothing was written.

    Attributes:
        limit: Events that may wait; actual: those that would.
    """

    code = "hook_queue_full"
    retryable = True
    default_hint = "retry when hooks have caught up, or raise queue_size"
    limit: int | None = None
    actual: int | None = None


class HookRecursionError(RejectedError):
    """A hook wrote what runs hooks, which wrote what runs hooks, and so on; nothing was written."""

    code = "hook_recursion"
    default_hint = "narrow the hook's scope and key, so that it does not hear of its own writes"


# --- storage failed ---------------------------------------------------------------------------


class EngineError(StateError):
    """The storage engine failed; nothing was written unless the class says otherwise."""

    code = "engine"


class OutcomeUnknownError(EngineError):
    """A commit or a flush raised: it may or may not have happened.

    Attributes:
        commit_id: Hex id of the commit; look it up with ``state.find_commit`` after reopening.
    """

    code = "outcome_unknown"
    default_hint = "reopen the store, then ask state.find_commit(commit_id) before you retry"
    commit_id: str | None = None


class PoisonedError(EngineError):
    """The engine met an error that leaves its handle in doubt; it refuses writes until reopened."""

    code = "poisoned"
    default_hint = "close the store and open it again"


class FencedError(EngineError):
    """The store no longer takes writes of this handle: a later epoch of its writer has begun."""

    code = "fenced"
    default_hint = "nothing was written; open the store again"


class CorruptionError(EngineError):
    """What is stored is not what was written.

    Attributes:
        where: The damaged thing (scope and key, or the engine's own words).
    """

    code = "corruption"
    default_hint = "run verify() to see the extent; repair(into=...) salvages what is sound"
    where: str | None = None


class BusyError(EngineError):
    """Another process holds what this call needs."""

    code = "busy"
    retryable = True


class DiskFullError(EngineError):
    """No space is left; nothing was written and reads go on."""

    code = "disk_full"
    retryable = True
    default_hint = "free disk space, then retry"


class DegradedError(EngineError):
    """The primary is away, and what was asked needs what only the primary knows."""

    code = "degraded"
    retryable = True
    default_hint = "retry when health() says that the primary is back"


class NotAStoreError(EngineError):
    """What the path names is not a Holdfast store."""

    code = "not_a_store"
    default_hint = "check the path; a new store is made in a path that does not exist yet"


class FormatVersionError(EngineError):
    """The store was written in a format that this version cannot read; it was left untouched."""

    code = "format_version"
    default_hint = "upgrade Holdfast"


class UnsupportedPlatformError(EngineError):
    """The library or filesystem cannot keep the engine's promises."""

    code = "unsupported_platform"


class ForkedError(EngineError):
    """The handle was inherited over a fork and cannot be used in the child."""

    code = "forked"
    default_hint = "open the store in the child process"
