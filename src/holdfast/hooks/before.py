"""Before-hooks: what a commit becomes when they have seen it. Decided here, run elsewhere.

The steps are a generator: it yields what is to be read, asked and submitted, and is resumed with
the outcome; a thread or a task drives it. Hooks see the value that stands there, and the commit
relies on its revision. Where that has moved on meanwhile, they are asked again about the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from holdfast.clock import from_ns
from holdfast.errors import ConflictError, StateError
from holdfast.hooks.event import SENSITIVE, HookEvent
from holdfast.hooks.hook import Hook
from holdfast.store import intent as wanted
from holdfast.store import layout
from holdfast.store.codec import decode, encode
from holdfast.store.intent import Intent, Op
from holdfast.store.past import Found
from holdfast.store.retrying import attempts, exhausted
from holdfast.store.step import conflict, moved
from holdfast.store.value import MISSING, Operation, StateClass

if TYPE_CHECKING:
    from holdfast.hooks.matching import Matcher, OwnerMatch
    from holdfast.store.kernel import Kernel

OPERATIONS: Final = {
    wanted.SET: Operation.SET,
    wanted.TRANSFORM: Operation.SET,
    wanted.DELETE: Operation.DELETE,
    wanted.TOUCH: Operation.TOUCH,
}
_STANDARD: Final = int(StateClass.STANDARD)


class Read(NamedTuple):
    """Read from the store; resumed with what `fn` returns."""

    fn: Callable[[], Any]


class Ask(NamedTuple):
    """Ask a hook; resumed with nothing, or with what refuses the write."""

    hook: Hook
    event: HookEvent


class Submit(NamedTuple):
    """Send the intent to the lane; resumed when its outcome is on it."""


class Pause(NamedTuple):
    """Wait a moment before a further attempt."""

    attempt: int


Request = Read | Ask | Submit | Pause
Requests = Generator[Request, Any, None]


class Decided:
    """One operation of a commit, as before-hooks left it.

    Attributes:
        op: What is to be done now.
        pin: The revision that the hooks saw, if nobody else sees to it; None otherwise.
        told: What a transform's caller is told; MISSING for others.
    """

    __slots__ = ("op", "pin", "told")

    def __init__(self, op: Op, pin: int | None = None, told: Any = MISSING) -> None:
        self.op, self.pin, self.told = op, pin, told


class BeforeHooks:
    """Has the hooks of one store look at commits."""

    def __init__(self, kernel: Kernel, state: Any) -> None:
        self._kernel, self._state = kernel, state

    def steps(self, intent: Intent, matcher: Matcher) -> Requests:
        """Prepare `intent`, submit it, and leave its outcome on it.

        Raises:
            StateError: A hook refused it, or a condition of its caller does not hold.
        """
        if intent.given:
            if (yield Read(lambda: self._is_repeat(intent))):
                yield Submit()  # the lane answers what the first one did
                return
        asked, reads = intent.ops, intent.reads
        concerned = self._concerned(asked, matcher)
        places = [asked[at].place for at in concerned]
        for attempt in attempts():
            found = yield Read(lambda: self._look(places))
            made: dict[int, Decided] = {}
            refused: dict[int, StateError] = {}
            for (at, match), there in zip(concerned.items(), found, strict=True):
                try:
                    made[at] = yield from self._decide(asked[at], match, intent, reads, there)
                except StateError as error:
                    if not intent.loose:
                        raise
                    refused[at] = error
            pins = _put(intent, asked, reads, made, refused)
            if intent.ops or not refused:
                yield Submit()
            if not _is_ours(intent.error, pins):
                _settle(intent, len(asked), made, refused)
                return
            yield Pause(attempt)
            intent.error, intent.revision, intent.results = None, 0, ()
        intent.ops, intent.reads = asked, reads
        raise exhausted(places[0])

    def _concerned(self, ops: list[Op], matcher: Matcher) -> dict[int, OwnerMatch]:
        found = {}
        for at, op in enumerate(ops):
            match = matcher.of(op.owner) if op.kind in OPERATIONS else None
            if match is not None and match.before:
                found[at] = match
        return found

    def _look(self, places: list[bytes]) -> list[Found | None]:
        kernel = self._kernel
        if len(places) == 1:
            return [kernel.reader.current(places[0])]
        rows = kernel.engine.get_many([layout.DATA + place for place in places])
        live = kernel.reader.live
        return [live(place, row) for place, row in zip(places, rows, strict=True)]

    def _is_repeat(self, intent: Intent) -> bool:
        """Say whether the lane will find the id known: it looks in the intent's partitions only."""
        kernel = self._kernel
        among = kernel.partitions.of_intent(intent)
        keys = [layout.commit_key(partition, intent.commit_id) for partition in among]
        return any(row is not None for row in kernel.engine.get_many(keys))

    def _decide(
        self,
        op: Op,
        match: OwnerMatch,
        intent: Intent,
        reads: dict[bytes, int] | None,
        found: Found | None,
    ) -> Generator[Request, Any, Decided]:
        refuse_stale(op, reads, found)
        pinned = op.if_revision is not None or (reads is not None and op.place in reads)
        pin = None if pinned else _revision(found)
        kind = OPERATIONS[op.kind]
        if found is None and kind is not Operation.SET:
            return Decided(op, pin)  # it does nothing; if it would after all, hooks are asked
        stands = _STANDARD if found is None else found.record.state_class
        state_class = (
            stands if op.state_class is None or kind is not Operation.SET else (op.state_class)
        )
        plan = match.plan(op.place, int(kind), state_class)
        if not plan.before:
            # Which hooks hear of it may depend on the class that stands there.
            return Decided(op, pin if match.classed and op.state_class is None else None)
        told: Any = MISSING
        if op.kind == wanted.TRANSFORM:
            op, told = self._transformed(op, found)
        event = self._event(op, kind, state_class, match, intent, found)
        given = event._new
        for hook in plan.before:
            hidden = not hook.sees_sensitive and SENSITIVE in (state_class, stands)
            if hidden or hook.timeout is not None:  # one that is late must not change it any more
                own = event.for_hook(hook.name, hidden=hidden)
                yield Ask(hook, own)
                event._new = own._new
            else:
                event.hook = hook.name
                yield Ask(hook, event)
        if event._new is not given:
            op = self._replaced(op, event._new, found)
            if told is not MISSING and op.told is not None:
                told = op.told(event.new)
        return Decided(op, pin, told)

    def _transformed(self, op: Op, found: Found | None) -> tuple[Op, Any]:
        """Run a transform here, and return the set that it comes to."""
        assert op.transform is not None
        prepared, told = op.transform(MISSING if found is None else decode(found.payload))
        copy = copied(op)
        copy.kind, copy.transform, copy.prepared = wanted.SET, None, prepared
        if found is not None:
            copy.schema_version = found.record.schema_version
            self._kernel.payloads.add_delta(op.place, prepared, found.record)
        return copy, told

    def _replaced(self, op: Op, payload: bytes | None, found: Found | None) -> Op:
        assert payload is not None
        copy, payloads = copied(op), self._kernel.payloads
        copy.prepared = prepared = payloads.pack(payload)
        if found is not None:
            payloads.add_delta(op.place, prepared, found.record)
        return copy

    def _event(
        self,
        op: Op,
        kind: Operation,
        state_class: int,
        match: OwnerMatch,
        intent: Intent,
        found: Found | None,
    ) -> HookEvent:
        kernel = self._kernel
        event = HookEvent.__new__(HookEvent)
        event.phase, event.scope, event.key = "before", match.scope, match.key(op.place)
        event.operation, event.state_class = kind, StateClass(state_class)
        version = 0 if found is None else found.record.version
        event.version = version if kind is Operation.DELETE else version + 1
        event.revision, event.seen_revision = None, _revision(found)
        event.actor, event.cause = intent.actor, intent.cause
        event.correlation_id, event.correlation = intent.correlation, intent.context
        event.commit_id = intent.commit_id.hex() if intent.given else None
        event.at = from_ns(kernel.clock.now_ns())
        event.dry_run = event.replayed = event._hidden = False
        event.state = self._state
        event._place, event._lineage = op.place, kernel.info.lineage
        event._old_class = state_class if found is None else found.record.state_class
        event._old = None if found is None else found.payload
        event._new = event._old if kind is Operation.TOUCH else None
        prepared = op.prepared
        if prepared is not None:
            event._new = kernel.payloads.unpack(
                op.place, prepared.encoding, prepared.payload, prepared.size
            )
        most = kernel.settings.max_value_bytes
        event._put = lambda value: encode(value, max_bytes=most)
        return event


def copied(op: Op) -> Op:
    """Return a copy: what a caller made is asked about again, perhaps."""
    copy = Op(op.kind, op.owner, op.place)
    copy.__dict__.update(op.__dict__)
    return copy


def _revision(found: Found | None) -> int:
    return 0 if found is None else found.record.revision


def refuse_stale(op: Op, reads: dict[bytes, int] | None, found: Found | None) -> None:
    """Raise where a condition of the caller fails already: no hook need be asked."""
    actual = _revision(found)
    read = None if reads is None else reads.get(op.place)
    if read is not None and read != actual:
        raise moved(op.place, read, actual)
    if op.if_revision is not None and op.if_revision != actual:
        raise conflict(op.place, op.if_revision, actual, "revision")
    version = 0 if found is None else found.record.version
    if op.if_version is not None and op.if_version != version:
        raise conflict(op.place, op.if_version, version, "version")


def _put(
    intent: Intent,
    asked: list[Op],
    reads: dict[bytes, int] | None,
    made: dict[int, Decided],
    refused: dict[int, StateError],
) -> set[bytes]:
    """Put on the intent what is to be submitted; return the places that we have pinned."""
    pins: dict[bytes, int] = {}
    ops = []
    for at, op in enumerate(asked):
        if at in refused:
            continue
        done = made.get(at)
        if done is None:
            ops.append(op)
            continue
        op = done.op
        if done.pin is not None:
            pins[op.place] = done.pin
            if not intent.loose:
                op = copied(op)
                op.if_revision = done.pin
        ops.append(op)
    intent.ops = ops
    if intent.loose and pins:
        # An item that moved must not fail alone: all are tried again, so that one revision
        # stands for all.
        intent.reads = {**(reads or {}), **pins}
    return set(pins)


def _is_ours(error: BaseException | None, pins: set[bytes]) -> bool:
    """Say whether a commit failed at what hooks saw, and not at a condition of its caller."""
    if not isinstance(error, ConflictError) or error.key is None or error.reason == "range":
        return False
    return any(
        (str(scope), key) == (error.scope, error.key)
        for _, scope, key in map(layout.split_place, pins)
    )


def _settle(
    intent: Intent, count: int, made: dict[int, Decided], refused: dict[int, StateError]
) -> None:
    """Give each operation that was asked for its result."""
    if intent.error is not None:
        return
    told = (
        {}
        if intent.repeated
        else {at: done.told for at, done in made.items() if done.told is not MISSING}
    )
    if not refused and not told:
        return
    given = iter(intent.results)
    results: list[Any] = []
    for at in range(count):
        if at in refused:
            results.append(refused[at])
            continue
        result = next(given)
        results.append(told[at] if at in told and result is True else result)
    intent.results = results
