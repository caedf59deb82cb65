"""What a hook is given: one change of one key, before or after it is committed.

Most hooks look at a few attributes, so all others are worked out when they are first asked for,
and values are decoded at each access: what a hook gets is its own.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

from holdfast.clock import from_ns
from holdfast.correlation import CorrelationContext
from holdfast.errors import InvalidArgumentError
from holdfast.failover.rows import shown
from holdfast.store.codec import decode
from holdfast.store.record import Record, parse
from holdfast.store.scope import StateScope
from holdfast.store.value import Operation, StateClass

if TYPE_CHECKING:
    from holdfast.hooks.matching import OwnerMatch
    from holdfast.store.feed import Commit
    from holdfast.store.kernel import Kernel
    from holdfast.store.step import Step

SENSITIVE: Final = StateClass.SENSITIVE
_EXPIRE: Final = int(Operation.EXPIRE)


class Redacted(enum.Enum):
    """The type of `REDACTED`: what a hook without a grant sees of a sensitive value."""

    REDACTED = "redacted"


REDACTED: Final = Redacted.REDACTED


class Refused(Exception):  # noqa: N818 - a verdict, which never leaves this package
    """A hook's veto, on its way to whoever called the hook."""

    def __init__(self, reason: str) -> None:
        super().__init__("vetoed")
        self.reason = reason


class HookEvent:
    """One change of one key, as a hook sees it.

    Attributes:
        phase: ``"before"`` or ``"after"``.
        scope, key: What changes.
        operation: What happens.
        state_class: The class of the value that is written (of a delete: that was there).
        version: The version that the change makes (of a delete: that it ends).
        revision: The commit's; None before it.
        seen_revision: The revision of `old`; 0 where there is none. A before-hook's write is
            committed only if that is still so; otherwise the hook runs again.
        actor, correlation_id, correlation, cause: Of the commit, where given.
        commit_id: Hex id of the commit; None before it, unless the caller chose one.
        at: Commit time; before it, the time now.
        dry_run: Nothing that the hook does may have effects: a replay only looks.
        replayed: This is a change of the past.
        state: The `StateManager` of the store. In a dry run, what is written through it (and
            through any other of the same store) is captured instead.
    """

    __slots__ = (
        "_commit",
        "_hidden",
        "_kernel",
        "_lineage",
        "_match",
        "_new",
        "_old",
        "_old_class",
        "_place",
        "_put",
        "_step",
        "actor",
        "at",
        "cause",
        "commit_id",
        "correlation",
        "correlation_id",
        "dry_run",
        "hook",
        "key",
        "operation",
        "phase",
        "replayed",
        "revision",
        "scope",
        "seen_revision",
        "state",
        "state_class",
        "version",
    )

    phase: str
    scope: StateScope
    key: str
    operation: Operation
    state_class: StateClass
    version: int
    revision: int | None
    seen_revision: int
    actor: str | None
    correlation_id: str | None
    correlation: CorrelationContext | None
    cause: str | None
    commit_id: str | None
    at: datetime
    dry_run: bool
    replayed: bool
    state: Any
    hook: str

    _kernel: Kernel
    _match: OwnerMatch
    _step: Step
    _commit: Commit
    _hidden: bool
    _old: bytes | None
    _new: bytes | None
    _old_class: int
    _lineage: bytes
    _place: bytes
    _put: Callable[[Any], bytes] | None

    @property
    def old(self) -> Any:
        """The value before; None where there was none (`seen_revision` is 0 then)."""
        raw = self._old
        if raw is None:
            return None
        return REDACTED if self._hidden and self._old_class == SENSITIVE else decode(raw)

    @property
    def new(self) -> Any:
        """The value afterwards; None where there is none (a delete, an expiry)."""
        raw = self._new
        if raw is None:
            return None
        return REDACTED if self._hidden and self.state_class == SENSITIVE else decode(raw)

    @property
    def idempotency_key(self) -> str | None:
        """A text that is the same whenever this hook meets this change; None before a commit.

        Made of the store's lineage, the hook's name, the revision, scope and key. Give it to
        services that the hook calls. Read it inside the hook: hooks of one change may share the
        event, and one that is kept for later then speaks for the last of them.
        """
        if self.revision is None:
            return None
        return idempotency_key(self._lineage, self.hook, self.revision, self._place)

    def replace(self, value: Any) -> None:
        """Have `value` written instead; later hooks see it as `new`. Before-hooks only.

        Raises:
            InvalidArgumentError: There is no value to replace.
            InvalidValueError, LimitExceededError: The value cannot be stored.
        """
        if self._put is None or self.operation is not Operation.SET:
            raise InvalidArgumentError("only a value that is about to be set can be replaced")
        self._new = self._put(value)

    def veto(self, reason: str) -> NoReturn:
        """Refuse the write: its caller gets a `VetoError` with this reason. Before-hooks only.

        Raises:
            InvalidArgumentError: It is written already, or the reason is no text.
        """
        if self._put is None:
            raise InvalidArgumentError("what is committed cannot be vetoed: use a before-hook")
        if not isinstance(reason, str) or not reason:
            raise InvalidArgumentError("a veto needs a reason, as text")
        raise Refused(reason)

    def __repr__(self) -> str:
        revision = "" if self.revision is None else f", revision={self.revision}"
        name = self.operation.name.lower()
        return f"HookEvent({self.phase} {name} {self.scope}/{self.key}{revision})"

    def __getattr__(self, name: str) -> Any:
        if name in ("_old", "_new"):
            self._load()
        elif name in HookEvent.__slots__ and name not in _GIVEN:
            self._fill()
        else:
            raise AttributeError(name)
        return object.__getattribute__(self, name)

    def for_hook(self, name: str, *, hidden: bool) -> HookEvent:
        """Return the event for one hook, which may not see sensitive values if `hidden`."""
        made = HookEvent.__new__(HookEvent)
        for slot in HookEvent.__slots__:
            try:
                setattr(made, slot, object.__getattribute__(self, slot))
            except AttributeError:
                continue
        made.hook, made._hidden = name, hidden
        return made

    def _fill(self) -> None:
        """Work out what the commit says."""
        step, commit = self._step, self._commit
        intent, match = commit.intent, self._match
        self.phase = "after"
        self.scope, self._place = match.scope, step.op.place
        self.key = match.key(step.op.place)
        self.operation = Operation(step.operation)
        self.state_class = StateClass(step.state_class)
        self.version, self.revision = step.version, commit.revision
        old = self._record()
        self._old_class = step.state_class if old is None else old.state_class
        seen = 0 if old is None else old.revision
        self.seen_revision = shown(seen) if seen and commit.revision < 0 else seen
        self.actor, self.cause = intent.actor, intent.cause
        self.correlation_id, self.correlation = intent.correlation, intent.context
        self.commit_id = intent.commit_id.hex()
        self.at = from_ns(commit.time_ns)
        self.dry_run = self.replayed = False
        self._put = None
        self.state = match.state
        self._lineage = self._kernel.info.lineage

    def _record(self) -> Record | None:
        step = self._step
        return step.stored if step.operation == _EXPIRE else step.old

    def _load(self) -> None:
        """Restore the encoded values."""
        step, payloads = self._step, self._kernel.payloads
        place, old = step.op.place, self._record()
        self._old = None if old is None else payloads.restore(place, old)
        live = step.live
        self._new = None if live is None else payloads.restore(place, parse(place, live))


_GIVEN: Final = frozenset(["_kernel", "_match", "_step", "_commit", "_hidden", "hook"])
_new_event = HookEvent.__new__


def committed(kernel: Kernel, match: OwnerMatch, step: Step, commit: Commit) -> HookEvent:
    """Return the event of a step of a commit. The hot path."""
    event = _new_event(HookEvent)
    event._kernel = kernel
    event._match = match
    event._step = step
    event._commit = commit
    event._hidden = False
    return event


def idempotency_key(lineage: bytes, hook: str, revision: int, place: bytes) -> str:
    """Return 32 hex digits that name a hook's work on one change."""
    text = b"\0".join([lineage, hook.encode(), str(revision).encode(), place])
    return hashlib.sha256(text).hexdigest()[:32]
