"""`StateReader`: the verbs that only read. `StateManager` adds the ones that write.

A function that takes a `StateReader` says that it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, cast, overload

from holdfast.errors import (
    StateError,
)
from holdfast.events import EventReader
from holdfast.observe.observation import Observation
from holdfast.observe.settings import ObserveSettings
from holdfast.observe.telling import telling
from holdfast.store import history, lines
from holdfast.store.address import Addressing
from holdfast.store.codec import decode
from holdfast.store.inspection import Inspection, inspect_record
from holdfast.store.kernel import Kernel
from holdfast.store.listing import Listing, check_limit
from holdfast.store.lookup import Lookup
from holdfast.store.options import commit_id_of
from holdfast.store.policy import Policies, ScopePolicy
from holdfast.store.position import Position
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.store.typed import as_type
from holdfast.store.value import MISSING, Change, Difference, GetRequest, StateValue
from holdfast.streams.consumers import Consumers
from holdfast.streams.streams import Streams
from holdfast.streams.watch import Watch
from holdfast.timeline import Timeline, TimelineReader
from holdfast.transaction import Snapshot
from holdfast.whole import Correlation, WholeReader

T = TypeVar("T")
D = TypeVar("D")
Scope = StateScope | str


@telling
class StateReader(WholeReader):
    """The reading verbs of a store, open for one tenant; safe for many threads.

    Every verb that takes a scope takes a `StateScope` or its text. Values returned are the
    caller's own. `correlation` (an id, or a `CorrelationContext`) says what a read belongs to: in
    logs and spans, in the event of a read that fails, and where policy records reads.

    Attributes:
        events: Reads what happened.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        tenant: str = "",
        policies: Sequence[ScopePolicy] = (),
        observe: ObserveSettings | None = None,
    ) -> None:
        self._kernel = kernel
        self._address = Addressing(tenant, kernel.key_limit)
        self._policies = Policies(policies)
        self._observation = Observation(kernel, self._address, self._policies, observe)
        self._listing = Listing(kernel, self._address)
        self._lookup = Lookup(kernel)
        self.events = EventReader(kernel, self._address, self._listing)
        self._streams = Streams(kernel, self._listing, self._observation.heard)
        self.metrics.source("consumers", Consumers(self._streams, self._address).samples)

    @property
    def tenant(self) -> str:
        """The tenant that this manager can see; empty for none."""
        return self._address.tenant_name

    @property
    def revision(self) -> int:
        """The store's last revision."""
        return self._kernel.head_revision()

    @overload
    def get(
        self,
        scope: Scope,
        key: str,
        default: Any = None,
        *,
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> Any: ...

    @overload
    def get(
        self,
        scope: Scope,
        key: str,
        *,
        type: type[T],
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> T | None: ...

    @overload
    def get(
        self,
        scope: Scope,
        key: str,
        default: D,
        *,
        type: type[T],
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> T | D: ...

    def get(
        self,
        scope: Scope,
        key: str,
        default: Any = None,
        *,
        type: Any = None,
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> Any:
        """Return the value of a key, or `default` where there is none.

        Args:
            scope: The scope.
            key: The key.
            default: What to return for an absent or expired key.
            type: Convert to this msgspec Struct, dataclass, pydantic model or generic type.
            as_of: A revision, or an aware datetime, to read the past.
            correlation: What the read belongs to.

        Raises:
            WrongTypeError: The value does not fit `type`.
            HorizonError: That part of the past has been trimmed.
            EphemeralMixError: The past was asked of a key that is ephemeral in this process.
            CorruptionError: What is stored is damaged.
        """
        try:
            if correlation is not None:
                self._observation.check(correlation)
            address = self._address
            # Spelt out: this is the hot path, and most scopes are parsed already.
            owner = (
                address.tenant + scope.packed
                if scope.__class__ is StateScope
                else address.owner(scope)
            )
            place = address.place(owner, key)
            if as_of is not None:
                found = self._lookup.past(place, as_of)
                value = default if found is None else decode(found.payload)
                missing = found is None
            else:
                if self._kernel.ephemeral.entries:
                    entry = self._lookup.ephemeral(place)
                    if entry is not None:
                        value = entry.value
                        return value if type is None else as_type(value, type, f"{scope}/{key}")
                if type is None:
                    return self._kernel.reader.value(place, default)
                value = self._kernel.reader.value(place, MISSING)
                missing = value is MISSING
            if missing:
                return default
            return value if type is None else as_type(value, type, f"{scope}/{key}")
        except StateError as error:
            self._observation.told("get", scope, key, error, correlation)
            raise

    def get_with_metadata(
        self,
        scope: Scope,
        key: str,
        *,
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> StateValue | None:
        """Return the value with its metadata, or None."""
        return self._find(scope, key, as_of)

    def _find(
        self, scope: Scope, key: str, as_of: int | datetime | None = None
    ) -> StateValue | None:
        place = self._address.place(self._address.owner(scope), key)
        return self._lookup.find(place, as_of)

    def exists(self, scope: Scope, key: str, *, correlation: Correlation = None) -> bool:
        """Say whether the key is there."""
        return self._find(scope, key) is not None

    def get_batch(
        self,
        requests: Iterable[GetRequest | tuple[Scope, str]],
        *,
        correlation: Correlation = None,
    ) -> list[Any]:
        """Return the values of many keys in one consistent read, None where absent.

        An item that cannot be read has its `StateError` in its place.
        """
        return [
            found.value if isinstance(found, StateValue) else found
            for found in self._listing.get_many(requests)
        ]

    def list_keys(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        after: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> list[str]:
        """Return the keys of a scope in order of their UTF-8 bytes.

        Args:
            scope: The scope; never the steps of a workflow.
            prefix: Only keys that start with it.
            after: Only keys behind this one (before it, if `reverse`): the next page.
            limit: At most so many.
            reverse: Descending.
            as_of: A revision or an aware datetime.
            correlation: What the read belongs to.
        """
        return list(self._listing.keys(scope, prefix, after, limit, reverse, as_of))

    def scan(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        after: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> Iterator[tuple[str, StateValue]]:
        """Yield ``(key, StateValue)`` pairs in order, all as of the first page's moment.

        Args: As `list_keys`.
        """
        return self._listing.values(scope, prefix, after, limit, reverse, as_of)

    def count(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> int:
        """Count the keys of a scope."""
        return self._listing.count(scope, prefix, as_of)

    def scopes(
        self,
        kind: ScopeKind | None = None,
        *,
        within: Scope | None = None,
        correlation: Correlation = None,
    ) -> list[StateScope]:
        """Return the scopes that hold a key; of one kind, or the steps within a workflow."""
        inside = None if within is None else self._address.scope(within)
        return list(self._listing.scopes(kind, inside))

    def scope_exists(self, scope: Scope, *, correlation: Correlation = None) -> bool:
        """Say whether a scope holds a key."""
        return self._listing.exists(scope)

    def snapshot(
        self, *, as_of: int | datetime | None = None, correlation: Correlation = None
    ) -> AbstractContextManager[Snapshot]:
        """Show the whole store as of one revision: now, or `as_of`. Reads only, no conflicts."""
        return self._snapshot(as_of)

    @contextmanager
    def _snapshot(self, as_of: int | datetime | None = None) -> Iterator[Snapshot]:
        reader = self._kernel.reader
        if as_of is not None:
            reader.settle(as_of)
        with self._kernel.engine.read() as view:
            moment = reader.now(view) if as_of is None else reader.moment(view, as_of)
        with self._kernel.pins.hold(moment.lowest):
            yield Snapshot(self._kernel, self._address, self._listing, moment)

    def history(
        self,
        scope: Scope,
        key: str,
        *,
        newest_first: bool = True,
        limit: int | None = None,
        correlation: Correlation = None,
    ) -> Iterator[Change]:
        """Yield the versions of a key that retention has kept, deletes included, with values."""
        place = self._address.place(self._address.owner(scope), key)
        found = self._kernel.reader.history(place, newest_first=newest_first, limit=limit)
        return map(history.version_change, found)

    def changes(
        self,
        since: int = 0,
        *,
        until: int | None = None,
        scope: Scope | None = None,
        prefix: str = "",
        limit: int | None = None,
        values: bool = True,
        correlation: Correlation = None,
    ) -> Iterator[Change]:
        """Yield what was committed after revision `since`, in order.

        Events are in `events.read`, and in `watch` and consumers where those ask for them.

        Args:
            since: Everything behind this revision; 0 for all.
            until: Nothing behind this one.
            scope, prefix: Only keys of this scope, with this prefix.
            limit: At most so many.
            values: Read the values too.
            correlation: What the read belongs to; it selects nothing.

        Raises:
            HorizonError: The journal no longer reaches back to `since`.
        """
        start, stop = self._listing.reach(scope, prefix)
        found = history.changes(
            self._kernel,
            since=since,
            until=until,
            start=start,
            stop=stop,
            limit=limit,
            values=values,
        )
        return cast(Iterator[Change], found)

    def watch(
        self,
        scope: Scope | None = None,
        prefix: str = "",
        *,
        since: Position | int | None = None,
        events: bool = False,
        values: bool = True,
        timeout: float | None = None,
        correlation: Correlation = None,
    ) -> Watch:
        """Tell what is committed from now on, or from a position on, as it happens, in order.

        In one process it waits without polling; what other processes commit shows within some
        tens of milliseconds. Values that live in this process only are not told.

        Args:
            scope, prefix: Only keys of this scope, with this prefix.
            since: Everything behind this revision, or behind this `Watch.position`; now by
                default.
            events: Events, too, as `StateEvent` behind the changes of their commit.
            values: Read the values too.
            timeout: End when nothing has come for so many seconds; 0 tells what there is and ends.
            correlation: What the watch belongs to, where it fails; it selects nothing.

        Raises:
            HorizonError: (while iterating) The journal no longer reaches back that far.
            DivergedError: (while iterating) The position belongs to another history.
            DegradedError: The primary is away. A watch that has begun waits until it is back.
        """
        streams = self._streams
        with streams.told("watch", correlation, scope):
            return streams.watch(scope, prefix, events, values, since, timeout)

    def diff(
        self,
        before: int | datetime,
        after: int | datetime | None = None,
        *,
        scope: Scope | None = None,
        prefix: str = "",
        correlation: Correlation = None,
    ) -> Iterator[Difference]:
        """Yield the keys that differ between two moments; `after` is now by default.

        Raises:
            HorizonError: The journal no longer reaches back to `before`.
        """
        start, stop = self._listing.reach(scope, prefix)
        return history.differences(self._kernel, before, after, start, stop)

    def timeline(
        self,
        correlation: str | None = None,
        *,
        scope: Scope | None = None,
        key: str | None = None,
        since: int | datetime | None = None,
        until: int | datetime | None = None,
        limit: int | None = None,
    ) -> Timeline:
        """Return what happened, in order: changes and events, with their values of that moment.

        Where the journal has been trimmed, the timeline says so (`Timeline.complete`).

        Args:
            correlation: Of a piece of work. Found by an index, however large the store.
            scope: Of what happened in a scope.
            key: Of what happened to this key of the scope.
            since: Only what is behind this revision or aware datetime.
            until: Nothing behind this one.
            limit: At most so many entries.

        Raises:
            InvalidArgumentError: Nothing is asked for, or an argument is none.
        """
        reader = TimelineReader(self._kernel, self._address, self._listing, self._policies)
        return reader.read(correlation, scope=scope, key=key, since=since, until=until, limit=limit)

    def inspect(
        self,
        scope: Scope,
        key: str,
        *,
        revision: int | None = None,
        correlation: Correlation = None,
    ) -> Inspection | None:
        """Return what is stored of a key as it is stored, and where the journal has it.

        Args:
            scope, key: Which.
            revision: The version that this revision wrote; by default what is there now.

        Returns:
            None where no such record is stored.
        """
        place = self._address.place(self._address.owner(scope), key)
        return inspect_record(self._kernel, place, revision)

    # --- everything of the tenant ----------------------------------------------------------

    def export_lines(self, *, correlation: Correlation = None) -> Iterator[str]:
        """Yield the tenant's current state as JSON Lines, lossless, as of one revision.

        Ephemeral values are not included.
        """
        with self._snapshot() as snapshot:
            yield lines.header_line(snapshot.revision, self._kernel.info.lineage.hex())
            for scope in snapshot.scopes():
                for key, item in snapshot.scan(scope):
                    yield lines.record_line(scope, key, item)

    def find_commit(
        self, commit_id: bytes | str, *, since: int = 0, correlation: Correlation = None
    ) -> int | None:
        """Return the revision of a commit, or None if it did not happen.

        The way to resolve an `OutcomeUnknownError`. It waits for a commit still in flight.

        Args:
            commit_id: 16 bytes or their hex, as the error carries it.
            since: A revision known before the attempt; the search begins there.
            correlation: What the read belongs to.
        """
        check_limit(since)
        return self._kernel.find_commit(commit_id_of(commit_id), since)

    def close(self) -> None:
        """Finish what is queued and close the store. Closing twice is no error."""
        self._streams.close()
        self._kernel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        kernel = self._kernel
        state = "closed" if kernel.closed else "open"
        return f"<{type(self).__name__} {kernel.engine.traits.name} tenant={self.tenant!r} {state}>"
