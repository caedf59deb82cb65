"""`state.consumers`: the durable consumers of a tenant, listed, measured, moved and deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from holdfast.clock import from_ns
from holdfast.engines.base import Durability, View
from holdfast.errors import InvalidArgumentError, LimitExceededError, StateError
from holdfast.keys import after, normal_text, pack_text, unpack_text
from holdfast.store import cursors, layout
from holdfast.store.address import Addressing
from holdfast.store.cursors import Cursor
from holdfast.store.journal import journal_horizon, parse_header, read_heads
from holdfast.store.kernel import Kernel
from holdfast.store.options import durability_of
from holdfast.store.paging import Item, Wanted
from holdfast.store.past import refuse_before
from holdfast.store.position import Position, checked, position_at, refuse_diverged
from holdfast.store.scope import StateScope, unpack_scope
from holdfast.store.status import ComponentHealth, Health
from holdfast.streams import leases
from holdfast.streams.desk import Desk, Terms, show_letter
from holdfast.streams.ledger import Ledger, absent, letter_id, parse_letter_id
from holdfast.streams.retry import Retry
from holdfast.streams.source import source_of
from holdfast.streams.streams import Correlation, Streams

Start = Position | int | str
Statuses = list["ConsumerStatus"]
Samples = list[tuple[str, Mapping[str, str], float]]
MAX_NAME = 255
_PAGE = 500
_NAMED = 10


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """How far a consumer is.

    Attributes:
        name: Its name.
        position: Everything up to here is acknowledged.
        lag: How many revisions lie behind that.
        behind: Seconds since the oldest commit that it has not looked at; 0 where there is none.
        attempts: How often the next change has failed.
        dead_letters: How many changes were given up.
        replaying: How many of those are to be tried again.
        worked_on: Somebody has its lease now.
        before_horizon: The journal was trimmed behind its cursor: it needs a `reset`.
        scope, prefix, events: What it wants, as whoever worked for it last said.
        moved_at, created_at: Times.
    """

    name: str
    position: Position
    lag: int
    behind: float
    attempts: int
    dead_letters: int
    replaying: int
    worked_on: bool
    before_horizon: bool
    scope: StateScope | None
    prefix: str
    events: bool
    moved_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A change that a consumer gave up.

    Attributes:
        id: Names it among those of its consumer.
        change: The change or event; `Change.readable` is False where retention trimmed the value.
        attempts: How often it was tried.
        error: What kind of error came last.
        died_at: When it was given up.
        replaying: It is to be tried again.
    """

    id: str
    change: Item
    attempts: int
    error: str
    died_at: datetime
    replaying: bool


class Consumers:
    """The durable consumers of one tenant of one store."""

    def __init__(self, streams: Streams, address: Addressing) -> None:
        self._streams = streams
        self._kernel = streams.kernel
        self._tenant = address.tenant

    # --- looking --------------------------------------------------------------------------

    def list(self, *, correlation: Correlation = None) -> list[ConsumerStatus]:
        """Return all consumers, by name."""
        with self._streams.told("consumers.list", correlation):
            return self._list()

    def _list(self) -> Statuses:
        source = source_of(self._kernel)
        found: list[ConsumerStatus] = []
        for partition in source.partitions.all:
            start = cursors.cursor_key(partition, self._tenant)
            stop = after(start)
            while True:
                with source.engine.read() as view:
                    rows = view.scan(start, stop, limit=_PAGE)
                    found += _statuses(source, view, rows)
                if len(rows) < _PAGE:
                    break
                start = rows[-1][0] + b"\0"
        return sorted(found, key=lambda each: each.name)

    def status(self, name: str, *, correlation: Correlation = None) -> ConsumerStatus:
        """Return how far one consumer is.

        Raises:
            InvalidArgumentError: There is none of that name.
        """
        with self._streams.told("consumers.status", correlation):
            return self._status(name)

    def _status(self, name: str) -> ConsumerStatus:
        source = source_of(self._kernel)
        name = self._named(name)
        key = self._key(source, name)
        with source.engine.read() as view:
            raw = view.get(key)
            if raw is None:
                raise absent(name)
            return _statuses(source, view, [(key, raw)])[0]

    def dead_letters(self, name: str, *, correlation: Correlation = None) -> Iterator[DeadLetter]:
        """Yield the changes that a consumer gave up, oldest first."""
        with self._streams.told("consumers.dead_letters", correlation):
            self._status(name)
        source = source_of(self._kernel)
        for revision, number, letter in self._ledger(name).letters():
            yield DeadLetter(
                letter_id(revision, number),
                show_letter(source, revision, letter),
                letter.attempts,
                letter.error,
                from_ns(letter.dead_ns),
                letter.queued,
            )

    def samples(self) -> Sequence[tuple[str, Mapping[str, str], float]]:
        """Return how far each is as samples, for `Metrics.source`."""
        found: Samples = []
        for each in self._list():
            labels = {"consumer": each.name}
            found.append(("lag", labels, each.lag))
            found.append(("behind_seconds", labels, each.behind))
            found.append(("attempts", labels, each.attempts))
            found.append(("dead_letters", labels, each.dead_letters))
            found.append(("worked_on", labels, int(each.worked_on)))
        return found

    def judged(self, health: Health) -> Health:
        """Return the store's health with a component for its consumers, where it has any."""
        try:
            found = self._list()
        except StateError:
            return health  # what else is wrong is in it
        if not found:
            return health
        lost = [each.name for each in found if each.before_horizon]
        detail: dict[str, Any] = {
            "consumers": len(found),
            "lag": max(each.lag for each in found),
            "behind": max(each.behind for each in found),
            "dead_letters": sum(each.dead_letters for each in found),
        }
        if lost:
            detail["before_horizon"] = lost[:_NAMED]
        component = ComponentHealth("degraded" if lost else "ok", detail)
        status = "degraded" if lost and health.status == "ok" else health.status
        return replace(
            health, status=status, components=health.components | {"consumers": component}
        )

    # --- changing -------------------------------------------------------------------------

    def reset(self, name: str, to: Start, *, correlation: Correlation = None) -> ConsumerStatus:
        """Put a consumer elsewhere: forwards or back, also beyond what was trimmed.

        Whoever works for it loses the lease, and goes on from there. Dead letters stay.

        Args:
            name: Which.
            to: ``"now"``, ``"earliest"`` (as far as the journal reaches), a revision, or a
                `Position`.

        Raises:
            HorizonError: The journal no longer reaches back to `to`.
            DivergedError: `to` lies in another history, or in the future.
        """
        with self._streams.told("consumers.reset", correlation):
            return self._reset(name, to)

    def _reset(self, name: str, to: Start) -> ConsumerStatus:
        self._kernel.admit_direct()
        name = self._named(name)
        if to == "now":
            to = self._streams.now()

        def elsewhere(view: View, source: Kernel, old: Cursor, now_ns: int) -> Cursor:
            wanted = Wanted(old.start, old.stop, old.events)
            return leases.reset(old, begin(view, source, wanted, to), now_ns)

        self._ledger(name).reset(elsewhere)
        self._streams.touch()
        return self._status(name)

    def delete(self, name: str, *, correlation: Correlation = None) -> bool:
        """Delete a consumer with its dead letters; say whether it was there."""
        with self._streams.told("consumers.delete", correlation):
            self._kernel.admit_direct()
            there = self._ledger(self._named(name)).delete()
            self._streams.touch()
            return there

    def replay(self, name: str, id: str | None = None, *, correlation: Correlation = None) -> int:
        """Have a dead letter, or all of them, tried again; return how many.

        Raises:
            InvalidArgumentError: There is no such consumer, or no such dead letter.
        """
        with self._streams.told("consumers.replay", correlation):
            return self._replay(name, id)

    def _replay(self, name: str, id: str | None) -> int:
        self._kernel.admit_direct()
        self._status(name)
        ledger = self._ledger(name)
        if id is not None:
            ids = [parse_letter_id(id)]
        else:
            ids = [(revision, number) for revision, number, _ in ledger.letters()]
        for each in ids:
            ledger.queue(each)
        self._streams.touch()
        return len(ids)

    def discard(self, name: str, id: str, *, correlation: Correlation = None) -> None:
        """Forget a dead letter.

        Raises:
            InvalidArgumentError: There is no such consumer, or no such dead letter.
        """
        with self._streams.told("consumers.discard", correlation):
            self._kernel.admit_direct()
            self._ledger(self._named(name)).discard(parse_letter_id(id))
            self._streams.touch()

    # --- making ---------------------------------------------------------------------------

    def desk(
        self,
        name: str,
        wanted: Wanted,
        batch: int,
        lease: float,
        start: Start,
        retry: Retry | None,
        max_attempts: int,
        durability: Durability | str,
    ) -> Desk:
        """Return the desk of a consumer, which is made if it is not there."""
        self._kernel.admit_direct()
        name = self._named(name)
        for what, number in (("batch", batch), ("max_attempts", max_attempts)):
            if type(number) is not int or not 1 <= number <= 1_000_000:
                raise InvalidArgumentError(f"{what} must be an integer from 1 to 1,000,000")
        if isinstance(lease, bool) or not isinstance(lease, int | float) or not 0 < lease <= 86400:
            raise InvalidArgumentError("lease must be seconds of more than 0, at most a day")
        if not isinstance(durability, Durability):
            durability = durability_of(durability)
        terms = Terms(wanted, batch, round(lease * 1e9), retry or Retry(), max_attempts, durability)
        ledger = self._ledger(name)
        if ledger.look()[0] is None:
            position = self._streams.now() if start == "now" else start

            def fresh(view: View, source: Kernel, now_ns: int) -> Cursor:
                at = begin(view, source, wanted, position)
                return Cursor(
                    revision=at.revision,
                    hash=at.hash,
                    moved_ns=now_ns,
                    created_ns=now_ns,
                    start=wanted.start,
                    stop=wanted.stop,
                    events=wanted.events,
                )

            ledger.make(fresh)
        return Desk(self._streams, ledger, terms)

    # --- inside ---------------------------------------------------------------------------

    def _ledger(self, name: str) -> Ledger:
        return Ledger(self._kernel, self._tenant, name)

    def _named(self, name: str) -> str:
        name = normal_text(name, what="the name of a consumer", error=InvalidArgumentError)
        size = len(cursors.letter_key(0, self._tenant, name, 0, 0))
        if len(name.encode()) > MAX_NAME or size > self._kernel.key_limit:
            raise LimitExceededError(
                f"the name of a consumer takes at most {MAX_NAME} bytes",
                limit=MAX_NAME,
                actual=len(name.encode()),
            )
        return name

    def _key(self, source: Kernel, name: str) -> bytes:
        packed = pack_text(name)
        partition = cursors.partition_of(self._tenant, packed, source.partitions.count)
        return cursors.cursor_key(partition, self._tenant, name)


def begin(view: View, source: Kernel, wanted: Wanted, start: Start) -> Position:
    """Return where a consumer begins, or goes on, as a position that the journal reaches back to.

    Raises:
        InvalidArgumentError: It is nothing of the kind.
        HorizonError: The journal no longer reaches back that far.
        DivergedError: It lies in another history, or in the future.
    """
    every = source.partitions.covering(wanted.start, wanted.stop)
    horizon = max(journal_horizon(view, partition)[0] for partition in every)
    if start == "earliest":
        return position_at(view, source.partitions.all, horizon)
    if isinstance(start, str):
        raise InvalidArgumentError(
            f"{start!r} is no start of a consumer",
            hint='say "now", "earliest", a revision, or a Position',
        )
    position = checked(start, "the start of a consumer")
    refuse_before(horizon, position.revision, "the journal")
    refuse_diverged(view, source.partitions.all, position)
    return position_at(view, source.partitions.all, position.revision)


def _statuses(source: Kernel, view: View, rows: list[tuple[bytes, bytes]]) -> list[ConsumerStatus]:
    if not rows:
        return []
    every = source.partitions.all
    head = max(read_heads(view, every))
    horizons = {partition: journal_horizon(view, partition)[0] for partition in every}
    now_ns = source.reader.now(view).time_ns
    ages: dict[int, float] = {head.revision: 0.0}
    found = []
    for key, raw in rows:
        cursor = cursors.parse_cursor(key, raw)
        horizon = max(
            horizons[each] for each in source.partitions.covering(cursor.start, cursor.stop)
        )
        trimmed = cursor.revision < horizon
        lag = max(0, head.revision - cursor.revision)
        scope, prefix = reach_of(cursor)
        if cursor.revision not in ages:
            ages[cursor.revision] = _behind(view, every, cursor.revision, now_ns)
        found.append(
            ConsumerStatus(
                cursors.key_parts(key)[3],
                Position(cursor.revision, cursor.hash),
                lag,
                ages[cursor.revision],
                cursor.attempts,
                cursor.dead,
                cursor.queued,
                cursor.lease_ns > now_ns,
                trimmed,
                scope,
                prefix,
                cursor.events,
                from_ns(cursor.moved_ns),
                from_ns(cursor.created_ns),
            )
        )
    return found


def _behind(view: View, partitions: tuple[int, ...], revision: int, now_ns: int) -> float:
    """Return the age of the oldest commit behind a revision that the journal still has."""
    ranges = [layout.journal_range(partition, revision) for partition in partitions]
    rows = [view.scan(*each, limit=1) for each in ranges]
    times = [parse_header(*found[0]).time_ns for found in rows if found]
    return max(0, now_ns - min(times)) / 1e9 if times else 0.0


def reach_of(cursor: Cursor) -> tuple[StateScope | None, str]:
    """Return the scope and prefix that a cursor's range is of."""
    start = cursor.start
    try:
        _, at = unpack_text(start, 0)
        scope, at = unpack_scope(start, at)
    except (ValueError, IndexError):
        return None, ""
    return scope, start[at:].replace(b"\0\xff", b"\0").decode(errors="replace")
