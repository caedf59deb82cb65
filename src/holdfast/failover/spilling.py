"""Commits while the primary is away: what the spill may take, and how it is put there.

Unconditional writes are taken as they are. What depends on the primary's state is refused, unless
its caller marks it provisional: then it is decided by what is known here, and what it was decided
on is noted, to be checked when the primary is back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from holdfast.engines.base import Batch, Durability, View
from holdfast.errors import ConflictError, DegradedError, StateError
from holdfast.failover import rows
from holdfast.failover.knowledge import Knowledge, Known, unknown
from holdfast.failover.rows import INSIDE, Note, shown
from holdfast.failover.spill import Spill
from holdfast.store import intent as wanted
from holdfast.store import layout, record
from holdfast.store.intent import Intent, Op, Prepared
from holdfast.store.payload import Payloads
from holdfast.store.record import Record
from holdfast.store.retrying import attempts, exhausted
from holdfast.store.step import conflict

_CARRIED = (wanted.SET, wanted.DELETE, wanted.TOUCH, wanted.TRANSFORM)
_PROVISIONAL = "retry later, or pass provisional=True to decide by what is known here"


class Spilled:
    """A commit on its way into the spill.

    Attributes:
        asked: What the caller wants.
        intent: What is committed.
        refused: Errors of single operations of a batch, by their number.
        guarded: It was decided on a state of the spill, which may have moved on.
    """

    __slots__ = ("asked", "guarded", "intent", "refused")

    def __init__(
        self, asked: Intent, intent: Intent, refused: dict[int, StateError], guarded: bool
    ) -> None:
        self.asked = asked
        self.intent = intent
        self.refused = refused
        self.guarded = guarded

    def settle(self) -> None:
        """Hand the outcome to the caller."""
        made, asked = self.intent, self.asked
        asked.error = made.error
        if made.error is None:
            results = iter(made.results)
            asked.results = [
                self.refused[at] if at in self.refused else next(results)
                for at in range(len(asked.ops))
            ]
            asked.revision = shown(made.revision)
            asked.repeated = made.repeated


class Spilling:
    """Puts commits into one spill."""

    def __init__(self, spill: Spill, knowledge: Knowledge) -> None:
        self._spill = spill
        self._knowledge = knowledge
        self.payloads: Payloads = spill.kernel.payloads  # that the callers' were prepared with

    def commit(self, asked: Intent, since: int | None) -> None:
        """Commit in the spill, and put the outcome on `asked`.

        Args:
            asked: What the caller wants.
            since: The primary's head before this was tried there, where its outcome is unknown.
        """
        try:
            for _ in attempts():
                spilled = self.prepare(asked, since)
                try:
                    if spilled.intent.ops or spilled.intent.events:
                        self._spill.kernel.commit(spilled.intent)
                except ConflictError:
                    if not spilled.guarded:
                        raise
                    continue
                spilled.settle()
                return
            raise exhausted(asked.ops[0].place)
        except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
            asked.error = error

    def submit(self, asked: Intent, since: int | None, done: Callable[[], object]) -> None:
        """Commit in the spill's own time; `done` is called when the outcome is on `asked`."""
        if asked.provisional:
            self.commit(asked, since)
            done()
            return
        try:
            spilled = self.prepare(asked, since)
            if spilled.intent.ops or spilled.intent.events:
                spilled.intent.wake = partial(_finish, spilled, done)
                if not self._spill.kernel.lane.submit_waking(spilled.intent):
                    return
            spilled.settle()
        except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
            asked.error = error
        done()

    # --- deciding ---------------------------------------------------------------------------

    def prepare(self, asked: Intent, since: int | None) -> Spilled:
        """Return what to commit for `asked`.

        Raises:
            DegradedError: Only the primary can decide it.
            ConflictError: A condition does not hold for what is known here.
        """
        if asked.ranges or asked.trims or any(op.kind not in _CARRIED for op in asked.ops):
            raise _refusal("what was asked", "retry later")
        if asked.reads is not None and not asked.provisional:
            raise _refusal("a transaction", _PROVISIONAL)
        refused: dict[int, StateError] = {}
        if not asked.provisional:
            for at, op in enumerate(asked.ops):
                if _conditional(op):
                    refused[at] = _refusal(_what(op), _PROVISIONAL)
                    if not asked.loose:
                        raise refused[at]
        self._knowledge.adopt(op for at, op in enumerate(asked.ops) if at not in refused)
        based: dict[bytes, int] = {}
        guards: dict[bytes, int] = {}
        if asked.provisional:
            with self._spill.engine.read() as view:
                self._judge(view, asked, refused, based, guards)
        taken = [op for at, op in enumerate(asked.ops) if at not in refused]
        made = Intent([self._carried(op) for op in taken], asked.durability, asked.priority)
        made.commit_id, made.given, made.loose = asked.commit_id, asked.given, asked.loose
        made.actor, made.correlation, made.cause = asked.actor, asked.correlation, asked.cause
        made.context, made.events, made.noted = asked.context, asked.events, asked.noted
        if guards:
            made.reads = guards
        self._note(asked, taken, since, based if asked.provisional else None)
        return Spilled(asked, made, refused, bool(guards))

    def _judge(
        self,
        view: View,
        asked: Intent,
        refused: dict[int, StateError],
        based: dict[bytes, int],
        guards: dict[bytes, int],
    ) -> None:
        """Check a provisional commit's premises, and collect them in `based` and `guards`."""

        def look(place: bytes) -> tuple[Record | None, int]:
            known = self._knowledge.look(view, place)
            if known is None:
                raise unknown(place)
            found = self._knowledge.live(known, place)
            based[place] = actual = known.revision(found)
            guards[place] = self._guard(view, place)
            return found, actual

        for place, expected in (asked.reads or {}).items():
            actual = look(place)[1]
            if expected >= INSIDE:
                expected = shown(expected - INSIDE)
            if actual != expected:
                raise conflict(place, expected, actual, "revision")
        for at, op in enumerate(asked.ops):
            if not _conditional(op):
                continue
            try:
                found, actual = look(op.place)
                if op.if_revision is not None and op.if_revision != actual:
                    raise conflict(op.place, op.if_revision, actual, "revision")
                version = 0 if found is None else found.version
                if op.if_version is not None and op.if_version != version:
                    raise conflict(op.place, op.if_version, version, "version")
            except StateError as error:
                if not asked.loose:
                    raise
                refused[at] = error

    def _guard(self, view: View, place: bytes) -> int:
        """Return the revision of the spill's own record, as a precondition there counts it."""
        raw = view.get(layout.DATA + place)
        if raw is None:
            return 0
        found = self._knowledge.live(Known(raw, True), place)
        return 0 if found is None else found.revision

    def _carried(self, op: Op) -> Op:
        """Return a copy of `op` that needs nothing of the primary's store, without conditions."""
        copy = Op(op.kind, op.owner, op.place)
        copy.__dict__.update(op.__dict__)
        copy.if_revision = copy.if_version = None
        if op.prepared is not None:
            copy.prepared = portable(self.payloads, op.place, op.prepared)
        if op.transform is not None:
            copy.transform = partial(self._transformed, op)
        return copy

    def _transformed(self, op: Op, old: Any) -> tuple[Prepared, Any]:
        assert op.transform is not None
        prepared, told = op.transform(old)
        return portable(self.payloads, op.place, prepared), told

    def _note(
        self, asked: Intent, taken: list[Op], since: int | None, based: dict[bytes, int] | None
    ) -> None:
        """Write down, before the commit, what the spill's journal will not say of it."""
        classes = [op.place for op in taken if op.kind == wanted.SET and op.state_class is not None]
        loose = asked.loose and len(taken) > 1
        if classes or loose or since is not None or based is not None:
            note = rows.pack(Note(classes, loose, since, based))
            row = (rows.NOTE + asked.commit_id, note)
            self._spill.engine.write(Durability.OS, lambda _: Batch(puts=[row]))


def portable(payloads: Payloads, place: bytes, prepared: Prepared) -> Prepared:
    """Return a payload as any store can keep it: no dictionary, no delta."""
    encoding, payload = prepared.encoding, prepared.payload
    if encoding & 0xF0 == record.ZSTD_DICTIONARY:
        payload = payloads.unpack(place, encoding, payload, prepared.size)
        encoding = record.MSGPACK | record.PLAIN
    return Prepared(encoding, payload, prepared.size)


def _finish(spilled: Spilled, done: Callable[[], object]) -> None:
    try:
        spilled.settle()
    except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
        spilled.asked.error = error
    done()  # whatever happened: the switch back waits for it


def _conditional(op: Op) -> bool:
    return op.kind == wanted.TRANSFORM or op.if_revision is not None or op.if_version is not None


def demanding(asked: Intent) -> bool:
    """Say whether only the primary can decide an intent: the spill would refuse it."""
    if asked.ranges or asked.trims:
        return True
    if asked.provisional:
        return False
    return asked.reads is not None or any(_conditional(op) for op in asked.ops)


def _what(op: Op) -> str:
    if op.kind == wanted.TRANSFORM:
        return "a change of a value"
    return "if_absent" if op.if_revision == 0 else "a precondition"


def _refusal(what: str, hint: str) -> DegradedError:
    return DegradedError(f"the primary is away, and {what} needs it", hint=hint)
