"""Replay: chosen hooks run again over past changes, with the values of those moments.

Dry unless asked otherwise: what a hook writes is caught on its way to the lane. Each call is
compared: with a changed hook or value, with what the hook as it is makes of the change as it was;
otherwise with what stands in the store now, so that a dry run says what a real one would change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from holdfast.correlation import CorrelationContext
from holdfast.errors import HorizonError, InvalidArgumentError, StateError
from holdfast.hooks.calling import inside
from holdfast.hooks.capture import CAPTURE, Capture, CapturedWrite
from holdfast.hooks.comparing import Compare, FieldDifference, differences
from holdfast.hooks.event import REDACTED, SENSITIVE, HookEvent, Refused, idempotency_key
from holdfast.hooks.hook import Hook, name_of, unused_name
from holdfast.hooks.marking import load_hook, mark_of
from holdfast.hooks.report import ReplayReport, ReplayResult
from holdfast.hooks.running import class_of
from holdfast.hooks.selection import Selection, select
from holdfast.store import history
from holdfast.store.codec import decode, encode
from holdfast.store.past import Found
from holdfast.store.scope import StateScope
from holdfast.store.value import MISSING, Change, Operation

if TYPE_CHECKING:
    from holdfast.hooks.registry import Hooks
    from holdfast.store.address import Addressing
    from holdfast.store.kernel import Kernel
    from holdfast.store.listing import Listing

Scope = StateScope | str
Moment = int | datetime
Function = Callable[[Any], Any]
Chosen = Hook | Function | str

_NOTHING: Final = Compare()
_WRITTEN: Final = (Operation.SET, Operation.TOUCH)


@dataclass(frozen=True, slots=True)
class Played:
    """A hook that is replayed.

    Attributes:
        name: Its name.
        phase: Its phase.
        fn: Its function.
        changed: The function that takes its place, or None.
        selection: What it hears of.
        timeout: Seconds that a call may take, or None.
        sees_sensitive: It was granted sensitive values.
    """

    name: str
    phase: str
    fn: Function
    changed: Function | None
    selection: Selection
    timeout: float | None
    sees_sensitive: bool


@dataclass(frozen=True, slots=True)
class Run:
    """What one call came to."""

    outcome: dict[str, Any]
    capture: Capture
    error: BaseException | None
    veto: str | None
    result: Any


class Replay:
    """Replays hooks of one store."""

    def __init__(
        self, kernel: Kernel, address: Addressing, listing: Listing, hooks: Hooks, state: Any
    ) -> None:
        self._kernel, self._address, self._listing = kernel, address, listing
        self._hooks, self._state = hooks, state

    def run(
        self,
        hooks: Iterable[Chosen] | Chosen,
        *,
        since: Moment,
        until: Moment | None,
        scope: Scope | None,
        key: str,
        correlation: str | None,
        modify: Any,
        overrides: Mapping[str, Function] | None,
        compare: Compare | None,
        dry_run: bool,
        idempotent: bool,
    ) -> ReplayReport:
        """See `StateManager.replay`."""
        if compare is not None and not isinstance(compare, Compare):
            raise InvalidArgumentError(f"compare is a Compare, not a {type(compare).__name__}")
        if not dry_run:
            self._kernel.refuse_read_only()
        played = self._chosen(hooks, dict(overrides or {}))
        wanted = select("after", "*", key)
        results: list[ReplayResult] = []
        count = 0
        for change in self._changes(since, until, scope):
            if correlation is not None and change.correlation_id != correlation:
                continue
            if not wanted.takes_key(change.key):
                continue
            count += 1
            for hook in played:
                if _hears(hook, change):
                    results.append(
                        self._one(hook, change, modify, compare or _NOTHING, dry_run, idempotent)
                    )
        return ReplayReport(dry_run, count, results)

    # --- what is replayed -----------------------------------------------------------------

    def _chosen(
        self, hooks: Iterable[Chosen] | Chosen, overrides: dict[str, Function]
    ) -> list[Played]:
        several = [hooks] if isinstance(hooks, str) or callable(hooks) else list(hooks)
        if not several:
            raise InvalidArgumentError("name a hook to replay, or give a function")
        found: list[Played] = []
        for each in several:
            played = self._played(each, [hook.name for hook in found])
            changed = overrides.pop(played.name, None)
            if changed is not None and not callable(changed):
                raise InvalidArgumentError(f"what overrides {played.name} is no function")
            found.append(dataclasses.replace(played, changed=changed))
        if overrides:
            raise InvalidArgumentError(
                f"{min(overrides)!r} is overridden, but not replayed",
                hint=f"there is {', '.join(hook.name for hook in found)}",
            )
        return found

    def _played(self, chosen: Chosen, taken: list[str]) -> Played:
        if isinstance(chosen, str):
            registered = {hook.name: hook for hook in self._hooks.list()}
            chosen, name = registered.get(chosen) or load_hook(chosen), chosen
        else:
            name = None
        if isinstance(chosen, Hook):
            return Played(
                chosen.name,
                chosen.phase,
                chosen.fn,
                None,
                chosen.selection,
                chosen.timeout,
                chosen.sees_sensitive,
            )
        if not callable(chosen):
            raise InvalidArgumentError(f"a hook is a function, not a {type(chosen).__name__}")
        mark = mark_of(chosen)
        options = {} if mark is None else mark.options
        phase = "after" if mark is None else mark.phase
        words = {k: v for k, v in options.items() if k in ("scope", "key", "operations", "classes")}
        return Played(
            unused_name(str(name or options.get("name") or name_of(chosen)), taken),
            phase,
            chosen,
            None,
            select(phase, **words),
            options.get("timeout"),
            bool(options.get("sees_sensitive", False)),
        )

    def _changes(
        self, since: Moment, until: Moment | None, scope: Scope | None
    ) -> Iterator[Change]:
        start, stop = self._listing.reach(scope, "")
        found = history.changes(
            self._kernel,
            since=self._revision(since),
            until=None if until is None else self._revision(until),
            start=start,
            stop=stop,
            limit=None,
            values=True,
        )
        for change in found:
            if isinstance(change, Change) and change.operation is not Operation.TRIM:
                yield change

    def _revision(self, moment: Moment) -> int:
        if not isinstance(moment, datetime):
            return moment
        reader = self._kernel.reader
        reader.settle(moment)
        with self._kernel.engine.read() as view:
            return reader.moment(view, moment).revision

    # --- one call -------------------------------------------------------------------------

    def _one(
        self,
        hook: Played,
        change: Change,
        modify: Any,
        compare: Compare,
        dry_run: bool,
        idempotent: bool,
    ) -> ReplayResult:
        place = self._address.place(self._address.owner(change.scope), change.key)
        lineage = self._kernel.info.lineage
        identity = idempotency_key(lineage, hook.name, change.revision, place)
        try:
            if not change.readable:
                raise HorizonError("the value has been trimmed", requested=change.revision)
            event = self._event(hook, change, place, dry_run)
            changed = event
            if modify is not MISSING and change.operation in _WRITTEN:
                changed = event.for_hook(hook.name, hidden=event._hidden)
                changed._new = self._modified(event, modify)
        except Exception as error:  # noqa: BLE001 - of the past, or of the caller's function
            return _result(change, hook, identity, error=error)
        alike = hook.changed is None and modify is MISSING
        base = None if alike else self._call(hook, hook.fn, event, change, dry=True, seed=None)
        seed = identity if idempotent else None
        fn = hook.changed or hook.fn
        done = self._call(hook, fn, changed, change, dry=dry_run, seed=seed)
        found: list[FieldDifference] = []
        if done.error is None:
            before = self._as_it_is(event, done) if base is None else base.outcome
            found = differences(before, done.outcome, compare)
        return _result(change, hook, identity, done, found)

    def _call(
        self,
        hook: Played,
        fn: Function,
        event: HookEvent,
        change: Change,
        *,
        dry: bool,
        seed: str | None,
    ) -> Run:
        own = event.for_hook(hook.name, hidden=event._hidden)
        own.dry_run = dry
        cause = f"replay:{change.commit_id}"
        capture = Capture(self._kernel, dry=dry, seed=seed, cause=cause)
        self._hooks.capture()
        caught = CAPTURE.set(capture)
        result, error, veto = None, None, None
        try:
            with inside(_context(change), 0):
                result = self._hooks.runner.run(fn, own, hook.timeout)
        except Refused as refused:
            veto = refused.reason
        except Exception as raised:  # noqa: BLE001 - told in the report
            error = raised
        finally:
            CAPTURE.reset(caught)
        result = _value(result)
        outcome: dict[str, Any] = {
            "writes": [_written(write) for write in capture.writes],
            "events": [
                {"scope": str(e.scope), "name": e.name, "data": e.data} for e in capture.events
            ],
            "result": result,
        }
        if hook.phase == "before":
            outcome |= {"value": own.new, "veto": veto}
        if error is not None:
            outcome = {"error": class_of(error)}
        return Run(outcome, capture, error, veto, result)

    def _as_it_is(self, event: HookEvent, run: Run) -> dict[str, Any]:
        """Return what a call would have come to if it had changed nothing."""
        writes = [self._standing(write) for write in run.capture.writes]
        outcome = {**run.outcome, "writes": writes}
        if "value" in outcome:
            outcome |= {"value": event.new, "veto": None}
        return outcome

    def _standing(self, write: CapturedWrite) -> dict[str, Any]:
        place = self._address.place(self._address.owner(write.scope), write.key)
        if write.repeated:
            return _written(write)
        if write.revision:  # it has just been done: what was before?
            found = self._kernel.reader.at(place, write.revision - 1)
        else:
            found = self._kernel.reader.current(place)
        fields = {"scope": str(write.scope), "key": write.key}
        if found is None:
            return fields | {"value": MISSING}
        return fields | {"value": _seen(found)}

    def _event(self, hook: Played, change: Change, place: bytes, dry_run: bool) -> HookEvent:
        kernel = self._kernel
        old: Found | None = None
        if change.previous_revision:
            old = kernel.reader.at(place, change.revision - 1)
            if old is None and change.operation is Operation.EXPIRE:
                old = self._version(place, change.previous_revision)
        event = HookEvent.__new__(HookEvent)
        event.hook, event.phase = hook.name, hook.phase
        event.scope, event.key, event.operation = change.scope, change.key, change.operation
        event.state_class, event.version = change.state_class, change.version
        event.revision = change.revision
        event.seen_revision = 0 if old is None else old.record.revision
        event.actor, event.cause, event.at = change.actor, change.cause, change.at
        event.correlation_id, event.correlation = change.correlation_id, change.context
        event.commit_id = change.commit_id
        event.dry_run, event.replayed = dry_run, True
        event.state = self._state
        event._hidden = not hook.sees_sensitive
        event._place, event._lineage = place, kernel.info.lineage
        event._old_class = int(change.state_class) if old is None else old.record.state_class
        event._old = None if old is None else old.payload
        most = kernel.settings.max_value_bytes
        written = change.operation in _WRITTEN
        event._new = encode(change.value, max_bytes=most) if written else None
        before = hook.phase == "before"
        event._put = (lambda value: encode(value, max_bytes=most)) if before else None
        return event

    def _version(self, place: bytes, revision: int) -> Found | None:
        """Return a version whether it has expired since or not."""
        for found in self._kernel.reader.history(place, newest_first=True, limit=None):
            if found.record.revision == revision:
                return found
        return None

    def _modified(self, event: HookEvent, modify: Any) -> bytes:
        value = modify(event) if callable(modify) else modify
        return encode(value, max_bytes=self._kernel.settings.max_value_bytes)


def _hears(hook: Played, change: Change) -> bool:
    selection = hook.selection
    if hook.phase == "before" and change.operation in (Operation.EXPIRE, Operation.LOST):
        return False
    return (
        selection.takes_scope(change.scope)
        and selection.takes_key(change.key)
        and selection.takes_kind(change.operation, change.state_class)
    )


def _context(change: Change) -> CorrelationContext | None:
    """Return the context that a replayed change's hooks run in: it says that it is a replay."""
    tags = {"replayed": True, "replay_of": change.revision}
    if change.context is not None:
        return change.context.child(operation="replay", attributes=tags)
    return CorrelationContext.new(change.correlation_id, operation="replay", attributes=tags)


def _value(result: Any) -> Any:
    """Return what a hook returned, if it is a value, else the name of its type."""
    try:
        return decode(encode(result, max_bytes=1 << 20))
    except StateError:
        return f"<{type(result).__name__}>"


def _written(write: CapturedWrite) -> dict[str, Any]:
    value = MISSING if write.operation == "delete" else write.value
    return {"scope": str(write.scope), "key": write.key, "value": value}


def _seen(found: Found) -> Any:
    return REDACTED if found.record.state_class == SENSITIVE else decode(found.payload)


def _result(
    change: Change,
    hook: Played,
    identity: str,
    run: Run | None = None,
    found: list[FieldDifference] | None = None,
    error: BaseException | None = None,
) -> ReplayResult:
    if run is not None:
        error = run.error
    status = "error" if error is not None else "different" if found else "identical"
    return ReplayResult(
        revision=change.revision,
        scope=change.scope,
        key=change.key,
        operation=change.operation.name.lower(),
        at=change.at,
        hook=hook.name,
        status=status,
        differences=tuple(found or ()),
        error=None if error is None else class_of(error),
        veto=None if run is None else run.veto,
        writes=() if run is None else tuple(run.capture.writes),
        events=() if run is None else tuple(run.capture.events),
        result=None if run is None else run.result,
        idempotency_key=identity,
    )
