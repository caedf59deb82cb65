"""One entry of a timeline: a change or an event, with what it was at that moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from holdfast.clock import from_ns
from holdfast.correlation import CorrelationContext
from holdfast.store.scope import StateScope
from holdfast.store.value import Change, Operation, StateClass, StateEvent

#: Events of these names are entries of a kind of their own: what was refused, and what was read.
FAILED: Final = "state.failed"
READ: Final = "state.read"

Kind = Literal["change", "event", "failed", "read"]

_KINDS: Final[Mapping[str, Kind]] = {FAILED: "failed", READ: "read"}
#: Members of such an event's data that say how long it took, and what one of them is.
_UNITS: Final = {
    "duration_ns": timedelta(0),  # a nanosecond is no timedelta
    "duration_us": timedelta(microseconds=1),
    "duration_ms": timedelta(milliseconds=1),
    "duration_s": timedelta(seconds=1),
    "duration": timedelta(seconds=1),
}
_LONGEST: Final = timedelta(days=36525)  # who says more says nonsense
_WRITTEN: Final = (Operation.SET, Operation.TOUCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One thing that happened.

    Attributes:
        index: Its place in the timeline, from 0.
        kind: ``"change"``, ``"event"``, ``"failed"`` (an operation that was refused) or
            ``"read"`` (one that policy records).
        revision: The commit.
        at: Commit time.
        offset: How long after the timeline's beginning.
        scope: Where.
        key: Of a change, and of what failed or was read; None for other events.
        operation: ``"set"``, ``"delete"``, ``"expire"``, ``"touch"``, ``"lost"``; of an event
            ``"emit"``; of what failed or was read, that operation.
        name, id, causes: Of an event.
        version, previous_revision: Of a change.
        state_class: Of a change; of an event what policy says of its scope, or None.
        value: The value of that moment, or an event's data; None for deletes.
        readable: False where retention has trimmed the value (it is then None).
        error: The error's code, of what failed.
        duration: How long the operation took, of what failed or was read.
        elapsed: How long after its step had begun; None outside of steps.
        actor, correlation_id, cause, commit_id: As of a `Change`.
        context: The step that it belongs to, where it said one.
    """

    index: int
    kind: Kind
    revision: int
    at: datetime
    scope: StateScope
    operation: str
    offset: timedelta = timedelta(0)
    key: str | None = None
    name: str | None = None
    id: str | None = None
    causes: tuple[str, ...] = ()
    version: int | None = None
    previous_revision: int | None = None
    state_class: StateClass | None = None
    value: Any = field(default=None, repr=False)
    readable: bool = True
    error: str | None = None
    duration: timedelta | None = None
    elapsed: timedelta | None = None
    actor: str | None = None
    correlation_id: str | None = None
    cause: str | None = None
    commit_id: str | None = None
    context: CorrelationContext | None = field(default=None, repr=False)

    @property
    def wrote(self) -> bool:
        """Whether it left a value behind."""
        return self.kind == "change" and self.operation in ("set", "touch")

    @property
    def removed(self) -> bool:
        """Whether it took a key away."""
        return self.kind == "change" and self.operation in ("delete", "expire", "lost")


def entries_of(
    items: Iterable[Change | StateEvent], classes: Mapping[StateScope, StateClass | None]
) -> tuple[TimelineEntry, ...]:
    """Return what the journal has as entries, in its order.

    Args:
        items: Changes and events.
        classes: What policy says of scopes, for events: these have no class of their own.
    """
    items = list(items)
    begun = [started for item in items if (started := _begun(item)) is not None]
    begin = min(begun, default=None)
    return tuple(
        _change(index, item, begin)
        if isinstance(item, Change)
        else _event(index, item, begin, classes)
        for index, item in enumerate(items)
    )


def started_at(context: CorrelationContext | None) -> datetime | None:
    """Return when a step began; None where it does not say, or says nonsense."""
    if context is None or context.started_ns <= 0:
        return None
    try:
        return from_ns(context.started_ns)
    except OverflowError:
        return None


def about(item: Change | StateEvent, scope: StateScope, key: str) -> bool:
    """Say whether a change, or an event of an operation, is of one key."""
    if isinstance(item, Change):
        return item.scope == scope and item.key == key
    if item.name not in _KINDS or not isinstance(item.data, dict):
        return False
    return item.data.get("key") == key and item.data.get("scope", str(scope)) == str(scope)


def _begun(item: Change | StateEvent) -> datetime | None:
    started = started_at(item.context)
    return item.at if started is None else min(started, item.at)


def _times(item: Change | StateEvent, begin: datetime | None) -> dict[str, timedelta | None]:
    started = started_at(item.context)
    elapsed = None if started is None else max(timedelta(0), item.at - started)
    return {"offset": item.at - (begin or item.at), "elapsed": elapsed}


def _change(index: int, item: Change, begin: datetime | None) -> TimelineEntry:
    return TimelineEntry(
        index=index,
        kind="change",
        revision=item.revision,
        at=item.at,
        scope=item.scope,
        key=item.key,
        operation=item.operation.name.lower(),
        version=item.version,
        previous_revision=item.previous_revision,
        state_class=item.state_class,
        value=item.value,
        readable=item.readable or item.operation not in _WRITTEN,
        actor=item.actor,
        correlation_id=item.correlation_id,
        cause=item.cause,
        commit_id=item.commit_id,
        context=item.context,
        **_times(item, begin),  # type: ignore[arg-type]
    )


def _event(
    index: int,
    item: StateEvent,
    begin: datetime | None,
    classes: Mapping[StateScope, StateClass | None],
) -> TimelineEntry:
    kind: Kind = _KINDS.get(item.name, "event")
    facts = item.data if kind != "event" and isinstance(item.data, dict) else {}
    return TimelineEntry(
        index=index,
        kind=kind,
        revision=item.revision,
        at=item.at,
        scope=item.scope,
        key=_text(facts.get("key")),
        operation=_text(facts.get("operation")) or ("emit" if kind == "event" else kind),
        name=item.name,
        id=item.id,
        causes=item.causes,
        state_class=classes.get(item.scope),
        value=item.data,
        error=_text(facts.get("code", facts.get("error"))),
        duration=_duration(facts),
        actor=item.actor,
        correlation_id=item.correlation_id,
        cause=item.cause,
        commit_id=item.commit_id,
        context=item.context,
        **_times(item, begin),  # type: ignore[arg-type]
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _duration(facts: Mapping[str, Any]) -> timedelta | None:
    for name, unit in _UNITS.items():
        value = facts.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                value = _scaled(value, name, unit)
            except (OverflowError, ValueError):
                return None
        if isinstance(value, timedelta):
            return max(timedelta(0), value) if value <= _LONGEST else None
    return None


def _scaled(value: float, name: str, unit: timedelta) -> timedelta:
    return timedelta(microseconds=value / 1000) if name == "duration_ns" else value * unit
