"""The tally: what happened in this process, counted exactly, whichever threads it happened in.

Whoever has something to count appends one tuple to a queue, which is atomic and takes no lock;
whenever some have gathered, one of those who append, or who asks, works them into the figures.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from holdfast.observe.histogram import Histogram
from holdfast.observe.scopes import ScopeStats, ScopeTable
from holdfast.observe.verbs import VERBS, Kind, kind_of, scope_of
from holdfast.store.feed import Commit
from holdfast.store.intent import Intent
from holdfast.store.layout import MAX_KEY_BYTES, owner_of
from holdfast.store.scope import StateScope, unpack_scope
from holdfast.store.value import Operation, StateClass

_GATHERED = 256  # how many are worked in at once: one caller in so many pays for the others
_PARSED = 4096
_CLASSES = {int(each): each.name.lower() for each in StateClass}
_OPERATIONS = {int(each): each.name.lower() for each in Operation}

Scope = StateScope | str | None
#: Verb, scope, nanoseconds, the code of its error, and whether what was read was there.
Call = tuple[str, Scope, int, str | None, bool | None]
#: Of an item of a batch: its scope, the code of its error, and whether it was found.
Item = tuple[Scope, str | None, bool | None]
Items = Sequence[Item]


@dataclass(slots=True)
class Figures:
    """What was counted.

    Attributes:
        operations: By verb, kind of scope, and outcome (``ok`` or an error's code).
        seconds: By verb, in nanoseconds.
        changes: By operation and class: of changes that this process committed.
        change_bytes: By class: bytes of the versions written.
        events: How many events were committed.
        group_size, wait_ns, commit_ns: Of the lane's groups; `wait_ns` by member that waited.
    """

    operations: dict[tuple[str, str, str], int] = field(default_factory=dict)
    seconds: dict[str, Histogram] = field(default_factory=dict)
    changes: dict[tuple[str, str], int] = field(default_factory=dict)
    change_bytes: dict[str, int] = field(default_factory=dict)
    events: int = 0
    group_size: Histogram = field(default_factory=Histogram)
    wait_ns: Histogram = field(default_factory=Histogram)
    commit_ns: Histogram = field(default_factory=Histogram)


class Tally:
    """Counts.

    Args:
        tenant: Packed; changes of others belong to no scope here.
        max_scopes: Of how many scopes figures of their own are kept.
    """

    def __init__(self, tenant: bytes, max_scopes: int) -> None:
        self._tenant = tenant
        self._max_scopes = max_scopes
        self.reset()

    def reset(self) -> None:
        """Begin at zero, with a lock of one's own: in a child process after a fork, say."""
        self._lock = threading.Lock()
        # A call of a verb is a tuple: it is what comes most often. All else adds itself.
        self._pending: deque[Call | Callable[[], None]] = deque()
        self._figures = Figures()
        self._scopes = ScopeTable(self._max_scopes)
        self._parsed: dict[str, StateScope | None] = {}
        self._owners: dict[bytes, StateScope | None] = {}

    # --- noting: any thread, no lock ------------------------------------------------------

    def call(
        self, verb: str, scope: Scope, ns: int, code: str | None, found: bool | None = None
    ) -> None:
        """Count one call of a verb."""
        self._pending.append((verb, scope, ns, code, found))
        if len(self._pending) >= _GATHERED:
            self._fold_some()

    def batch(self, verb: str, ns: int, code: str | None, items: Items) -> None:
        """Count one call of a verb with many items."""
        self._note(lambda: self._add_batch(verb, ns, code, items), len(items))

    def commits(self, commits: Sequence[Commit]) -> None:
        """Count what was committed; an observer of the feed."""
        changes = [
            (owner_of(step.op.place), step.operation, step.state_class, len(step.row))
            for commit in commits
            for step in commit.steps
            if step.operation
        ]
        events = sum(len(commit.intent.events) for commit in commits)
        self._note(lambda: self._add_changes(changes, events), len(changes))

    def group(self, group: Sequence[Intent], began: int, ended: int) -> None:
        """Count one group of the lane."""
        size, took = len(group), ended - began
        waits = [began - intent.queued_ns for intent in group if intent.queued_ns]
        self._note(lambda: self._add_group(size, took, waits))

    def _note(self, add: Callable[[], None], size: int = 1) -> None:
        self._pending.append(add)
        # What is large is not kept until others have gathered.
        if size >= _GATHERED or len(self._pending) >= _GATHERED:
            self._fold_some()

    # --- asking ---------------------------------------------------------------------------

    def figures(self) -> Figures:
        """Return all that was counted up to now."""
        with self._lock:
            self._fold()
            figures = self._figures
            return Figures(
                dict(figures.operations),
                {verb: _copy(histogram) for verb, histogram in figures.seconds.items()},
                dict(figures.changes),
                dict(figures.change_bytes),
                figures.events,
                _copy(figures.group_size),
                _copy(figures.wait_ns),
                _copy(figures.commit_ns),
            )

    def stats(self, scope: StateScope | None) -> ScopeStats:
        """Return the figures of a scope, or of all."""
        with self._lock:
            self._fold()
            return self._scopes.stats(scope)

    # --- inside: under the lock -----------------------------------------------------------

    def _fold_some(self) -> None:
        if self._lock.acquire(blocking=False):  # whoever holds it does the work
            try:
                self._fold()
            finally:
                self._lock.release()

    def _fold(self) -> None:
        pending = self._pending
        for _ in range(len(pending)):
            noted = pending.popleft()
            if isinstance(noted, tuple):
                self._add_call(*noted)
            else:
                noted()

    def _add_call(
        self, verb: str, given: Scope, ns: int, code: str | None, found: bool | None
    ) -> None:
        scope = self._scope(given)
        self._add_operation(verb, scope, ns, code)
        counts = self._scopes.of(scope)
        kind = VERBS[verb].kind
        if kind is Kind.READ:
            counts.reads += 1
            counts.read_ns.add(ns)
            if found is not None:
                counts.hits += found
                counts.misses += not found
        elif kind is Kind.WRITE:
            counts.write_ns.add(ns)
            counts.writes += found is not None  # an ephemeral value: no commit tells of it
        if code is not None:
            counts.failures += 1
            counts.conflicts += code == "conflict"

    def _add_batch(self, verb: str, ns: int, code: str | None, items: Items) -> None:
        self._add_operation(verb, None, ns, code)
        reads = VERBS[verb].kind is Kind.READ
        for given, failed, found in items:
            counts = self._scopes.of(self._scope(given))
            if reads:
                counts.reads += 1
                if found is not None:
                    counts.hits += found
                    counts.misses += not found
            elif found:
                counts.writes += 1
            if failed is not None:
                counts.failures += 1
                counts.conflicts += failed == "conflict"
        other = self._scopes.of(None)
        (other.read_ns if reads else other.write_ns).add(ns)
        if code is not None:
            other.failures += 1
            other.conflicts += code == "conflict"

    def _add_operation(
        self, verb: str, scope: StateScope | None, ns: int, code: str | None
    ) -> None:
        figures = self._figures
        series = verb, kind_of(scope), code or "ok"
        figures.operations[series] = figures.operations.get(series, 0) + 1
        histogram = figures.seconds.get(verb)
        if histogram is None:
            histogram = figures.seconds[verb] = Histogram()
        histogram.add(ns)

    def _add_changes(self, changes: Sequence[tuple[bytes, int, int, int]], events: int) -> None:
        figures = self._figures
        figures.events += events
        for owner, operation, state_class, size in changes:
            word = _CLASSES[state_class]
            series = _OPERATIONS[operation], word
            figures.changes[series] = figures.changes.get(series, 0) + 1
            figures.change_bytes[word] = figures.change_bytes.get(word, 0) + size
            self._scopes.of(self._owner(owner)).writes += 1

    def _add_group(self, size: int, took: int, waits: Sequence[int]) -> None:
        figures = self._figures
        figures.group_size.add(size)
        figures.commit_ns.add(took)
        for wait in waits:
            figures.wait_ns.add(max(wait, 0))

    def _scope(self, given: Scope) -> StateScope | None:
        # What is too long to be a scope of any key is counted, and not kept.
        if not isinstance(given, str):
            scope = scope_of(given)
            return scope if scope is None or len(scope.packed) <= MAX_KEY_BYTES else None
        if len(given) > MAX_KEY_BYTES:
            return None
        if given not in self._parsed:
            if len(self._parsed) >= _PARSED:
                self._parsed.clear()
            self._parsed[given] = scope_of(given)
        return self._parsed[given]

    def _owner(self, owner: bytes) -> StateScope | None:
        if owner not in self._owners:
            if len(self._owners) >= _PARSED:
                self._owners.clear()
            ours = owner.startswith(self._tenant)
            self._owners[owner] = unpack_scope(owner, len(self._tenant))[0] if ours else None
        return self._owners[owner]


def _copy(histogram: Histogram) -> Histogram:
    copied = Histogram()
    copied.merge(histogram)
    return copied
