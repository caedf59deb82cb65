"""Catching what a hook writes while it is replayed: to report it only, or to do it just once.

A hook writes through whatever manager it holds, so what is caught are commits, on their way to
the lane, by a context variable: it follows the hook through coroutines, and through the threads
that this package starts for it.
"""

from __future__ import annotations

import hashlib
import heapq
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import ConflictError, RejectedError
from holdfast.hooks.before import OPERATIONS, refuse_stale
from holdfast.hooks.event import REDACTED
from holdfast.keys import pack_text, unpack_text
from holdfast.store import intent as wanted
from holdfast.store.codec import decode
from holdfast.store.happening import event_id
from holdfast.store.layout import split_place
from holdfast.store.scope import StateScope, unpack_scope
from holdfast.store.value import MISSING, StateClass

if TYPE_CHECKING:
    from holdfast.store.intent import Emitted, Intent, Op
    from holdfast.store.kernel import Kernel
    from holdfast.store.past import Found

_SENSITIVE: Final = int(StateClass.SENSITIVE)


@dataclass(frozen=True, slots=True)
class CapturedWrite:
    """A change that a replayed hook made, or would make.

    Attributes:
        scope, key: Of what.
        operation: ``"set"``, ``"delete"`` or ``"touch"``.
        value: The value; None for a delete.
        revision: The commit that did it; 0 where nothing was done.
        repeated: An earlier replay had done it already.
    """

    scope: StateScope
    key: str
    operation: str
    value: Any = None
    revision: int = 0
    repeated: bool = False

    def __repr__(self) -> str:
        return f"CapturedWrite({self.operation} {self.scope}/{self.key})"


@dataclass(frozen=True, slots=True)
class CapturedEvent:
    """An event that a replayed hook emitted, or would emit.

    Attributes:
        scope, name: Where and what.
        data: Its data.
    """

    scope: StateScope
    name: str
    data: Any = None

    def __repr__(self) -> str:
        return f"CapturedEvent({self.name} in {self.scope})"


class Numbers:
    """Numbers that are taken and given back, the smallest first."""

    def __init__(self) -> None:
        self._next = 0
        self._free: list[int] = []

    def take(self) -> int:
        """Return the smallest that is free."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, number: int) -> None:
        """Free it."""
        heapq.heappush(self._free, number)


class Capture:
    """What one call of a hook commits.

    Args:
        kernel: The store.
        dry: Only report it.
        seed: Names the hook and the change; ids of commits are made of it. None: made as ever.
        cause: What the commits say led to them, unless they say so themselves.

    Attributes:
        writes, events: What was caught.
        lineage: Of the store; commits of others are not caught.
    """

    def __init__(self, kernel: Kernel, *, dry: bool, seed: str | None, cause: str) -> None:
        self.dry, self.lineage = dry, kernel.info.lineage
        self.writes: list[CapturedWrite] = []
        self.events: list[CapturedEvent] = []
        self._kernel, self._seed, self._cause = kernel, seed, cause
        self._mutex = threading.Lock()  # a call may commit several things at once
        self._numbers: dict[bytes, Numbers] = {}  # by what commits touch
        self._under_way: dict[bytes, tuple[Numbers, int]] = {}  # by their ids
        self._after: dict[bytes, bytes | None] = {}  # what earlier writes of this call left

    def take(self, intent: Intent) -> bool:
        """Catch a commit: put an outcome on it if dry, or an id that makes it happen once.

        Returns:
            Whether that was all: it is not to be committed.
        """
        if self.dry:
            try:
                self._pretend_all(intent)
            except ConflictError as error:
                intent.error = error
            return True
        if intent.cause is None:
            intent.cause = self._cause
        if self._seed is not None and not intent.given:
            intent.commit_id, intent.given = self._identify(self._seed, intent), True
            for number, event in enumerate(intent.events):
                event.id = event_id(intent.commit_id, number, event.owner)
        return False

    def done(self, intent: Intent) -> None:
        """Note what a commit did; the number of one that came to nothing is the next one's."""
        happened = intent.error is None and intent.revision
        with self._mutex:
            numbers, number = self._under_way.pop(intent.commit_id, (None, 0))
            if numbers is not None and not happened:
                numbers.give_back(number)
        if not happened:
            return
        self.events += [self._event(event) for event in intent.events]
        for op in intent.ops:
            if op.kind not in OPERATIONS:
                continue
            found = self._kernel.reader.at(op.place, max(0, intent.revision))
            payload = None if found is None else found.payload
            hidden = found is not None and found.record.state_class == _SENSITIVE
            self._note(op, payload, intent.revision, intent.repeated, hidden=hidden)

    # --- inside ---------------------------------------------------------------------------

    def _identify(self, seed: str, intent: Intent) -> bytes:
        """Return an id that is the same whenever this call comes to this commit.

        It is made of what the commit touches, and of its number among those of the call that
        touch the same: so it does not depend on what else the call does, fails to do, or does at
        the same time.
        """
        touched = hashlib.sha256(seed.encode())
        for op in intent.ops:
            touched.update(b"%d:%d:%b" % (op.kind, len(op.place), op.place))
        for event in intent.events:
            touched.update(pack_text(event.name) + event.owner)
        with self._mutex:
            numbers = self._numbers.setdefault(touched.digest(), Numbers())
            number = numbers.take()
            touched.update(b"#%d" % number)
            made = touched.digest()[:16]
            self._under_way[made] = numbers, number
        return made

    def _pretend_all(self, intent: Intent) -> None:
        """Put the outcome on an intent that it would have.

        Raises:
            ConflictError: It would fail: one of its conditions does not hold.
        """
        found = [self._kernel.reader.current(op.place) for op in intent.ops]
        results: list[Any] = []
        for op, there in zip(intent.ops, found, strict=True):
            try:
                if op.place not in self._after:  # what this call left has no revision yet
                    refuse_stale(op, None, there)
            except ConflictError as error:
                if not intent.loose:
                    raise
                results.append(error)
            else:
                results.append(None)
        for at, (op, there) in enumerate(zip(intent.ops, found, strict=True)):
            if results[at] is None:
                results[at] = self._pretend(op, there)
        intent.results, intent.revision = results, 0
        self.events += [self._event(event) for event in intent.events]

    def _pretend(self, op: Op, found: Found | None) -> Any:
        """Return the result that an operation would have."""
        if op.kind not in OPERATIONS:  # of a sweep: it goes on where nothing is done
            return False
        stands = None if found is None else found.payload
        if op.place in self._after:
            stands = self._after[op.place]
        result: Any = True
        if op.kind == wanted.DELETE or op.kind == wanted.TOUCH:
            result, payload = stands is not None, None if op.kind == wanted.DELETE else stands
            if not result:
                return False
        else:
            prepared = op.prepared
            if op.transform is not None:
                prepared, result = op.transform(MISSING if stands is None else decode(stands))
            assert prepared is not None
            payload = self._kernel.payloads.unpack(
                op.place, prepared.encoding, prepared.payload, prepared.size
            )
        self._after[op.place] = payload
        stored = None if found is None else found.record.state_class
        hidden = _SENSITIVE in (op.state_class, stored)
        self._note(op, payload, 0, False, hidden=hidden)
        return result

    def _note(
        self, op: Op, payload: bytes | None, revision: int, repeated: bool, *, hidden: bool
    ) -> None:
        _, scope, key = split_place(op.place)
        value = None if payload is None else REDACTED if hidden else decode(payload)
        name = OPERATIONS[op.kind].name.lower()
        self.writes.append(CapturedWrite(scope, key, name, value, revision, repeated))

    def _event(self, event: Emitted) -> CapturedEvent:
        _, at = unpack_text(event.owner, 0)
        scope, _ = unpack_scope(event.owner, at)
        data = event.prepared
        payload = self._kernel.payloads.unpack(event.owner, data.encoding, data.payload, data.size)
        return CapturedEvent(scope, event.name, decode(payload))


#: What catches the commits of this code; None for nothing.
CAPTURE: Final[ContextVar[Capture | None]] = ContextVar("holdfast_capture", default=None)


def guard_direct(lineage: bytes) -> None:
    """Refuse what is no commit in a dry run: it is done at once, and cannot be caught.

    Raises:
        RejectedError: In a dry run over this store.
    """
    capture = CAPTURE.get()
    if capture is not None and capture.dry and capture.lineage == lineage:
        raise RejectedError(
            "a dry run can only commit: ephemeral values, consumers and upkeep are not caught",
            hint="look at event.dry_run, or replay with dry_run=False",
        )
