"""What a store with failover tells of itself: where it runs, what it met at replays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.clock import from_ns
from holdfast.engines.base import Batch, Durability
from holdfast.errors import ConfigurationError, StateError
from holdfast.failover import rows
from holdfast.failover.breaker import State
from holdfast.failover.conflict import Conflict, Provisional
from holdfast.failover.degraded import DegradedFound, refusal
from holdfast.failover.kernel import FailoverKernel
from holdfast.failover.rows import shown
from holdfast.keys import after
from holdfast.store import layout, status
from holdfast.store.kernel import Kernel
from holdfast.store.past import Found
from holdfast.store.reader import state_value
from holdfast.store.record import parse
from holdfast.store.scope import StateScope
from holdfast.store.status import ComponentHealth, Health
from holdfast.store.value import StateValue

_ORDER = ("ok", "degraded", "failed")
_FATAL = ("diverged", "not_a_store", "format_version", "internal")


@dataclass(frozen=True, slots=True)
class FailoverStatus:
    """Where the store runs.

    Attributes:
        state: ``"closed"`` (on the primary), ``"open"`` (on the spill), or ``"half-open"`` (on
            the spill, while the primary is tried and caught up).
        since: When it came to that.
        pending: Revisions of the spill that are not replayed: about as many commits.
        replayed: Commits replayed since the store was opened.
        conflicts: Recorded conflicts.
        not_confirmed: Provisional writes that were not confirmed.
        known_keys: Keys of the primary that the spill knows.
        code: Code of the last error, or None.
    """

    state: str
    since: datetime
    pending: int
    replayed: int
    conflicts: int
    not_confirmed: int
    known_keys: int
    code: str | None


class FailoverReport:
    """The failover of one store, for its operator. Made by `StateManager.failover`."""

    def __init__(self, kernel: FailoverKernel) -> None:
        self._kernel = kernel
        self._spill = kernel.spill

    def status(self) -> FailoverStatus:
        """Say where the store runs, and what waits."""
        kernel, spill = self._kernel, self._spill
        breaker = kernel.breaker
        return FailoverStatus(
            breaker.state.value,
            from_ns(breaker.since_ns),
            spill.pending(),
            kernel.replayed(),
            len(self._rows(rows.CONFLICT)),
            sum(not rows.unpack_provisional(r).confirmed for _, r in self._rows(rows.PROVISIONAL)),
            len(spill.mirror),
            breaker.code or spill.mirror.lost,
        )

    def conflicts(self) -> list[Conflict]:
        """Return the conflicts that replays met, in the order of our commits."""
        return [_conflict(rows.unpack_conflict(row)) for _, row in self._rows(rows.CONFLICT)]

    def provisional(self) -> list[Provisional]:
        """Return the provisional writes: those of earlier outages, then those that wait."""
        done = [_provisional(rows.unpack_provisional(r)) for _, r in self._rows(rows.PROVISIONAL)]
        return done + self._waiting({each.commit_id for each in done})

    def probe(self) -> bool:
        """Try the primary now, not at the next probe; return whether the store runs on it."""
        return self._kernel.probe()

    def leave(self) -> None:
        """Go to the spill now, as if the primary were away: for its upkeep, and for drills.

        Probes begin after `probe_every` as they do in any outage. Calls that are under way at the
        primary end there.
        """
        self._kernel.leave()

    def dismiss(self) -> int:
        """Forget every conflict and every finished provisional write; return how many.

        Not while the primary is away: a replay that was cut off goes by its records.

        Raises:
            DegradedError: It is.
        """
        if self._kernel.degraded:
            raise refusal("forgetting what replays met")
        count = len(self._rows(rows.CONFLICT)) + len(self._rows(rows.PROVISIONAL))
        spans = [(prefix, after(prefix)) for prefix in (rows.CONFLICT, rows.PROVISIONAL)]
        self._spill.engine.write(Durability.SYNC, lambda _: Batch(delete_ranges=spans))
        return count

    def health(self) -> Health:
        """Return the health of the store in use, with a component ``"failover"``."""
        kernel = self._kernel
        primary = kernel.primary
        try:
            whole = status.health(self._spill.kernel if primary is None else primary)
        except StateError:  # it went away over the question
            whole = status.health(self._spill.kernel)
        told = self.status()
        word = "ok" if told.state == State.CLOSED.value and told.code is None else "degraded"
        if told.state != State.CLOSED.value and told.code in _FATAL:
            word = "failed"
        detail: dict[str, Any] = {
            "state": told.state,
            "since": told.since.isoformat(),
            "pending": told.pending,
            "replayed": told.replayed,
            "conflicts": told.conflicts,
            "not_confirmed": told.not_confirmed,
            "known_keys": told.known_keys,
            "code": told.code,
        }
        components = {**whole.components, "failover": ComponentHealth(word, detail)}
        return Health(max(whole.status, word, key=_ORDER.index), components)

    def _rows(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        with self._spill.engine.read() as view:
            return view.scan(prefix, after(prefix))

    def _waiting(self, done: set[str]) -> list[Provisional]:
        spill = self._spill
        outage = spill.outage
        if outage is None:
            return []
        found: list[Provisional] = []
        since, more = outage.done, True
        while more:
            page, more = spill.commits(since)
            for revision, header, commit in page:
                since = revision
                row = spill.engine.get(rows.NOTE + commit.commit_id)
                note = None if row is None else rows.unpack_note(row)
                if note is None or note.based is None or commit.commit_id.hex() in done:
                    continue
                found.append(
                    Provisional(
                        tuple(_where(change.place) for change in commit.changes),
                        from_ns(header.time_ns),
                        commit.commit_id.hex(),
                        "pending",
                        {_where(place): revision for place, revision in note.based.items()},
                        {},
                    )
                )
        return found


def _where(place: bytes) -> tuple[StateScope, str]:
    _, scope, key = layout.split_place(place)
    return scope, key


def _conflict(row: rows.ConflictRow) -> Conflict:
    tenant, scope, key = layout.split_place(row.place)
    return Conflict(
        tenant,
        scope,
        key,
        _value(row.place, row.ours, ours=True),
        _value(row.place, row.theirs, ours=False),
        from_ns(row.made_ns),
        row.commit_id.hex(),
        row.provisional,
        row.resolution,
        row.failed,
    )


def _value(place: bytes, raw: bytes | None, *, ours: bool) -> StateValue | None:
    if raw is None:
        return None
    found = parse(place, raw)
    if not ours:
        return state_value(Found(place, found, found.payload))
    found = found._replace(revision=shown(found.revision), previous=0)
    return state_value(DegradedFound(place, found, found.payload))


def _provisional(row: rows.ProvisionalRow) -> Provisional:
    return Provisional(
        tuple(_where(place) for place in row.places),
        from_ns(row.made_ns),
        row.commit_id.hex(),
        "confirmed" if row.confirmed else "not_confirmed",
        {_where(place): revision for place, revision in row.based.items()},
        {_where(place): revision for place, revision in row.actual.items()},
        row.revision,
    )


def report_of(kernel: Kernel) -> FailoverReport:
    """Return the report of a store with failover.

    Raises:
        ConfigurationError: It has none.
    """
    if not isinstance(kernel, FailoverKernel):
        raise ConfigurationError(
            "the store has no failover", hint="open it with failover=FailoverSettings(...)"
        )
    return FailoverReport(kernel)


def health_of(kernel: Kernel) -> Health:
    """Return the health of a store, with failover or without."""
    if isinstance(kernel, FailoverKernel):
        return FailoverReport(kernel).health()
    return status.health(kernel)
