"""The arguments of writes, checked: options, preconditions, classes, lifetimes. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

from holdfast.correlation import CorrelationContext, check_text, current
from holdfast.engines.base import Durability
from holdfast.errors import (
    InvalidArgumentError,
    ProtectionRequiredError,
    SchemaRequiredError,
)
from holdfast.store.intent import Intent
from holdfast.store.value import SPILL_REVISIONS, StateClass


class WriteOptions(TypedDict, total=False):
    """Options of every write.

    Attributes:
        durability: What the acknowledgement means; by default that of the class or policy.
        commit_id: 16 bytes; writing again under the same id does nothing (idempotent retry).
        actor: Who writes (text).
        correlation: What it belongs to: an id, or a `CorrelationContext`; by default the context
            that the code runs in (`correlate`).
        cause: What led to it: a commit id, the id of an event, or any text.
        provisional: Where a store with failover runs on its spill, decide this write by what the
            spill knows, and confirm or report it when the primary is back. No effect elsewhere.
    """

    durability: Durability | str | None
    commit_id: bytes | None
    actor: str | None
    correlation: str | CorrelationContext | None
    cause: str | None
    provisional: bool


_OPTIONS = frozenset(WriteOptions.__annotations__)


def condition(if_revision: int | None, if_version: int | None, if_absent: bool) -> int | None:
    """Check preconditions; `if_absent` is the same as ``if_revision=0``."""
    if if_absent:
        if if_revision is not None or if_version is not None:
            raise InvalidArgumentError("if_absent excludes if_revision and if_version")
        return 0
    for name, number in (("if_revision", if_revision), ("if_version", if_version)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise InvalidArgumentError(f"{name} must be an integer")
        if number is not None and number < 0 and not (name == "if_revision" and _is_spill(number)):
            raise InvalidArgumentError(f"{name} must be 0 or more (0: must not exist)")
    return if_revision


def _is_spill(revision: int) -> bool:
    """Say whether a negative number is a revision of a spill: it can be compared, and differs."""
    return SPILL_REVISIONS <= revision < SPILL_REVISIONS // 2


def guard_class(state_class: StateClass) -> None:
    """Refuse classes whose protection is not there, and what is no class.

    Raises:
        ProtectionRequiredError: Sensitive, without encryption.
        SchemaRequiredError: External, without a schema.
    """
    if not isinstance(state_class, StateClass):
        raise InvalidArgumentError(
            f"state_class must be a StateClass, not {type(state_class).__name__}"
        )
    if state_class is StateClass.SENSITIVE:
        raise ProtectionRequiredError("sensitive values are stored encrypted only")
    if state_class is StateClass.EXTERNAL:
        raise SchemaRequiredError("external values are stored under a schema only")


def ttl_of(expires_in: float | timedelta) -> int:
    """Convert seconds or a timedelta to nanoseconds.

    Raises:
        InvalidArgumentError: Not positive, not finite, or beyond 200 years.
    """
    if isinstance(expires_in, timedelta):
        ns = expires_in // timedelta(microseconds=1) * 1000
    elif isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        raise InvalidArgumentError("expires_in must be seconds or a timedelta")
    else:
        ns = int(expires_in * 1e9) if -1e10 < expires_in < 1e10 else -1
    if not 0 < ns < 200 * 366 * 86400 * 10**9:
        raise InvalidArgumentError("expires_in must be more than 0 seconds and below 200 years")
    return ns


def durability_of(text: object) -> Durability:
    """Read a durability's name.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        return Durability[str(text).upper()]
    except KeyError:
        raise InvalidArgumentError(
            f"durability {text!r} is not known", hint="use sync, os, relaxed or memory"
        ) from None


def annotate(intent: Intent, options: WriteOptions) -> None:
    """Put the caller's commit id, actor, correlation and cause on an intent.

    Raises:
        InvalidArgumentError: A text is empty, too long (255 bytes), the id is not 16 bytes, or
            there is no such option.
    """
    unknown = options.keys() - _OPTIONS
    if unknown:  # a misspelt precondition must not become a blind write
        name = min(unknown)
        raise InvalidArgumentError(
            f"there is no option {name!r}", hint=f"there is {', '.join(sorted(_OPTIONS))}"
        )
    commit_id = options.get("commit_id")
    if commit_id is not None:
        if not isinstance(commit_id, bytes) or len(commit_id) != 16:
            raise InvalidArgumentError("commit_id must be 16 bytes", hint="say uuid4().bytes")
        intent.commit_id, intent.given = bytes(commit_id), True
    intent.actor = short_text(options.get("actor"), "actor")
    correlation = options.get("correlation")
    if isinstance(correlation, CorrelationContext):
        belongs(intent, correlation)
    elif correlation is not None:
        intent.correlation = check_text(correlation, "correlation")
        intent.context = None  # the context around is of something else, or says no more
    intent.cause = short_text(options.get("cause"), "cause")
    provisional = options.get("provisional", False)
    if not isinstance(provisional, bool):
        raise InvalidArgumentError("provisional must be True or False")
    if provisional:
        intent.provisional = True


def belongs(intent: Intent, context: CorrelationContext) -> None:
    """Make an intent part of a step."""
    intent.correlation, intent.context = context.id, context


def join_step(intent: Intent) -> Intent:
    """Make an intent part of the step that the code runs in, if it runs in one."""
    context = current()
    if context is not None:
        belongs(intent, context)
    return intent


def short_text(text: str | None, what: str) -> str | None:
    """Check an annotation, which may be left out.

    Raises:
        InvalidArgumentError: A text is empty, or longer than 255 bytes.
    """
    return None if text is None else check_text(text, what)


def commit_id_of(given: bytes | str) -> bytes:
    """Return a commit id that was given as 16 bytes or their hex.

    Raises:
        InvalidArgumentError: It is neither.
    """
    try:
        raw = bytes.fromhex(given) if isinstance(given, str) else given
    except ValueError:
        raw = b""
    if not isinstance(raw, bytes) or len(raw) != 16:
        raise InvalidArgumentError("a commit_id is 16 bytes, or their hex")
    return raw
