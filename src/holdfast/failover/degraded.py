"""The store's face while the primary is away: known keys answer, everything else says why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from holdfast.clock import Clock
from holdfast.engines.base import Body, Durability, Engine, View
from holdfast.errors import DegradedError
from holdfast.failover.knowledge import Knowledge, Known, inside, unknown
from holdfast.failover.mirror import head_of
from holdfast.failover.rows import INSIDE, shown, unshown
from holdfast.store import layout
from holdfast.store.codec import decode
from holdfast.store.ephemeral import Ephemeral
from holdfast.store.intent import Prepared
from holdfast.store.journal import pack_head, parse_head
from holdfast.store.partitions import Partitions
from holdfast.store.past import Found, Moment
from holdfast.store.payload import Payloads
from holdfast.store.pins import Pins
from holdfast.store.reader import Reader
from holdfast.store.record import Record, build, parse

_DATA = layout.DATA[0]
_VERSIONS = layout.VERSIONS[0]


class Spilled(bytes):
    """A record as the spill knows it, told from one of the primary by its type.

    Attributes:
        known: Where it comes from; None where the place is unknown.
    """

    known: Known | None = None


class DegradedFound(Found):
    """A record that the spill answered with; its revision is the one that callers see."""

    __slots__ = ()
    degraded = True


def marked(found: Found, *, spilled: bool) -> DegradedFound:
    """Return a record as callers see it: marked, and with the revisions of the spill shown so."""
    stored = found.record
    if spilled:
        previous = shown(stored.previous) if stored.previous else 0
        stored = stored._replace(revision=shown(stored.revision), previous=previous)
    return DegradedFound(found.place, stored, found.payload)


def refusal(what: str) -> DegradedError:
    """Return the error for what only the primary could answer."""
    return DegradedError(f"the primary is away, and {what} needs it")


class DegradedPayloads(Payloads):
    """Payloads for whichever store will get them.

    No dictionary, and no delta against a version that the other one has not got.
    """

    def add_delta(self, place: bytes, prepared: Prepared, old: Record) -> None:
        """Leave `prepared` a full copy."""


class DegradedEngine:
    """What the verbs above see of the spill's engine."""

    def __init__(self, engine: Engine, knowledge: Knowledge) -> None:
        self._engine = engine
        self._knowledge = knowledge
        self.traits = replace(engine.traits, shared=True)

    def get(self, key: bytes) -> bytes | None:
        """Return nothing to take a delta against; refuse what is no record."""
        if key[0] == _DATA:
            return None
        raise refusal("this")

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return records, each marked with where it comes from."""
        with self._engine.read() as view:
            return [self._mark(view, key) for key in keys]

    def _mark(self, view: View, key: bytes) -> bytes | None:
        if key[0] != _DATA:
            raise refusal("this")
        known = self._knowledge.look(view, key[1:])
        if known is not None and known.raw is None:
            return None
        marked = Spilled(b"" if known is None or known.raw is None else known.raw)
        marked.known = known
        return marked

    @contextmanager
    def read(self) -> Iterator[View]:
        """Open a view for a transaction."""
        with self._engine.read() as view:
            yield _DegradedView(view, self._knowledge)

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Refuse: only commits go to the spill."""
        raise refusal("this change of the store")

    def flush(self) -> None:
        """Bring the spill to disk."""
        self._engine.flush()

    def reclaim(self, budget: int | None = None) -> int:
        """Refuse."""
        raise refusal("giving space back")

    def stats(self) -> Mapping[str, int | float | str]:
        """Return facts about the spill."""
        return self._engine.stats()

    def close(self) -> None:
        """Leave the spill to its owner."""


class _DegradedView:
    """The spill for a transaction: its own revisions stand above every one of the primary's."""

    __slots__ = ("_knowledge", "_view")

    def __init__(self, view: View, knowledge: Knowledge) -> None:
        self._view = view
        self._knowledge = knowledge

    def get(self, key: bytes) -> bytes | None:
        if head_of(key) is not None:
            head = parse_head(self._view.get(layout.head_key(0)))
            return pack_head(head._replace(revision=inside(head.revision)))
        if key[0] != _DATA:
            if key.startswith(layout.SCOPE_HORIZON):
                return None
            raise refusal("this")
        known = self._knowledge.look(self._view, key[1:])
        if known is None:
            raise unknown(key[1:])
        if known.raw is None or not known.spilled:
            return known.raw
        return _renumbered(key[1:], known.raw)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def scan(
        self,
        start: bytes,
        stop: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        if start[0] != _VERSIONS or not keys_only:
            raise refusal("a listing, or the past,")
        place, low = layout.version_parts(start)
        low = max(0, low - INSIDE)
        rows = self._view.scan(
            layout.version_key(place, low), stop, reverse=reverse, limit=limit, keys_only=True
        )
        numbers = [layout.version_parts(key)[1] for key, _ in rows]
        return [(layout.version_key(place, inside(number)), b"") for number in numbers]


def _renumbered(place: bytes, raw: bytes) -> bytes:
    found = parse(place, raw)
    return build(
        place,
        found.kind,
        found.encoding,
        found.state_class,
        found.run,
        inside(found.revision),
        found.previous,
        found.version,
        found.created_ns,
        found.updated_ns,
        found.size,
        found.payload,
        found.expires_ns,
        found.correlation,
        found.actor,
        found.schema_version,
        found.key_id,
        found.full_sum,
    )


class DegradedReader(Reader):
    """Reads known keys from the spill, and refuses what only the primary could show."""

    def __init__(
        self,
        engine: Engine,
        outer: DegradedEngine,
        clock: Clock,
        payloads: Payloads,
        knowledge: Knowledge,
        own: Reader,
    ) -> None:
        pins, ephemeral = Pins(outer, clock), Ephemeral()
        super().__init__(outer, clock, payloads, pins, ephemeral, Partitions(1), can_settle=False)
        self._inner = engine
        self._knowledge = knowledge
        self._own = own

    def value(self, place: bytes, default: Any) -> Any:
        """Return the known value at `place`, or `default`."""
        found = self.current(place)
        return default if found is None else decode(found.payload)

    def current(self, place: bytes) -> Found | None:
        """Return the known record at `place`.

        Raises:
            DegradedError: The place is unknown here.
        """
        with self._inner.read() as view:
            known = self._knowledge.look(view, place)
        return self._found(place, known)

    def live(self, place: bytes, raw: bytes | None) -> Found | None:
        """Parse what `DegradedEngine` returned."""
        if raw is None:
            return None
        if not isinstance(raw, Spilled):  # read before the primary went away
            return super().live(place, raw)
        return self._found(place, raw.known)

    def settled(self) -> int:
        """Refuse."""
        raise refusal("the past")

    def _found(self, place: bytes, known: Known | None) -> Found | None:
        if known is None:
            raise unknown(place)
        found = self._knowledge.live(known, place)
        if found is None:
            return None
        whole = Found(place, found, self.payloads.restore(place, found))
        return marked(whole, spilled=known.spilled)

    def at(self, place: bytes, as_of: int | datetime) -> Found | None:
        """Return what a commit of the spill left at `place`; no other past is known."""
        if isinstance(as_of, int) and as_of < 0:
            revision = unshown(as_of)
            with self._inner.read() as view:
                written = self._knowledge.wrote(view, place, revision)
            if written:
                found = self._own.at(place, revision)
                return None if found is None else marked(found, spilled=True)
        raise refusal("the past")

    def at_moment(self, place: bytes, moment: Moment) -> Found | None:
        """Refuse."""
        raise refusal("a snapshot")

    def moment(self, view: View, as_of: int | datetime) -> Moment:
        """Refuse."""
        raise refusal("the past")

    def scan(self, *args: Any, **named: Any) -> Iterator[Found]:
        """Refuse."""
        raise refusal("a listing")

    def page(self, *args: Any, **named: Any) -> tuple[list[Found], bool]:
        """Refuse."""
        raise refusal("a listing")

    def history(self, *args: Any, **named: Any) -> Iterator[Found]:
        """Refuse."""
        raise refusal("a history")
