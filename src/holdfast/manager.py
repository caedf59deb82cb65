"""`StateManager`: every verb of the store, synchronous. The one place that wires features.

Each verb is a line or two: address the key, let the kernel decide and commit, show the result.
The order in which a write is checked and prepared is the order of lines in `Writer.set`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar, Unpack, overload

from holdfast.errors import ClosedError, ConflictError, StateError
from holdfast.store import history
from holdfast.store.address import Addressing
from holdfast.store.codec import decode
from holdfast.store.intent import Intent
from holdfast.store.kernel import Kernel
from holdfast.store.listing import Listing
from holdfast.store.policy import Policies, ScopePolicy
from holdfast.store.reader import ephemeral_value, state_value
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.store.scopes import WholeScopes
from holdfast.store.typed import as_type
from holdfast.store.value import (
    Change,
    Difference,
    GetRequest,
    SetOperation,
    StateClass,
    StateValue,
)
from holdfast.store.writer import Steps, WriteOptions, Writer, attempts, backoff
from holdfast.transaction import Snapshot, StateTransaction
from holdfast.views import ScopeView

T = TypeVar("T")
D = TypeVar("D")
Scope = StateScope | str


class StateManager:
    """A store, open for one tenant. Made by `holdfast.open`; safe for many threads.

    Every verb that takes a scope takes a `StateScope` or its text. Every write takes the options
    of `WriteOptions` (``durability``, ``commit_id``, ``actor``, ``correlation``, ``cause``) and
    raises `ConflictError` where a precondition fails. When a write returns, it is as durable as
    was asked (``sync`` by default: on disk). Values returned are the caller's own.
    """

    def __init__(
        self, kernel: Kernel, *, tenant: str = "", policies: Sequence[ScopePolicy] = ()
    ) -> None:
        self._kernel = kernel
        self._address = Addressing(tenant, kernel.key_limit)
        self._policies = Policies(policies)
        self._writer = Writer(kernel, self._address, self._policies)
        self._listing = Listing(kernel, self._address)
        self._scopes = WholeScopes(kernel, self._address, self._writer, self._listing)

    @property
    def tenant(self) -> str:
        """The tenant that this manager can see; empty for none."""
        return self._address.tenant_name

    @property
    def revision(self) -> int:
        """The store's last revision."""
        return self._kernel.head_revision()

    # --- one key --------------------------------------------------------------------------

    @overload
    def get(
        self, scope: Scope, key: str, default: Any = None, *, as_of: int | datetime | None = None
    ) -> Any: ...
    @overload
    def get(
        self, scope: Scope, key: str, *, type: type[T], as_of: int | datetime | None = None
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
    ) -> T | D: ...
    def get(
        self,
        scope: Scope,
        key: str,
        default: Any = None,
        *,
        type: Any = None,
        as_of: int | datetime | None = None,
    ) -> Any:
        """Return the value of a key, or `default` where there is none.

        Args:
            scope: The scope.
            key: The key.
            default: What to return for an absent or expired key.
            type: Convert to this msgspec Struct, dataclass, pydantic model or generic type.
            as_of: A revision, or an aware datetime, to read the past.

        Raises:
            WrongTypeError: The value does not fit `type`.
            HorizonError: That part of the past has been trimmed.
            CorruptionError: What is stored is damaged.
        """
        address = self._address
        place = address.place(address.owner(scope), key)
        if as_of is not None:
            found = self._kernel.reader.at(place, as_of)
            value = default if found is None else decode(found.payload)
            missing = found is None
        else:
            if self._kernel.ephemeral.entries:
                entry = self._ephemeral(place)
                if entry is not None:
                    return entry.value if type is None else self._typed(entry, type, scope, key)
            value = self._kernel.reader.value(place, default)
            if type is None:
                return value
            missing = value is default
        if type is None or missing:
            return value
        return as_type(value, type, f"{scope}/{key}")

    def get_with_metadata(
        self, scope: Scope, key: str, *, as_of: int | datetime | None = None
    ) -> StateValue | None:
        """Return the value with its metadata, or None."""
        place = self._address.place(self._address.owner(scope), key)
        if as_of is not None:
            found = self._kernel.reader.at(place, as_of)
            return None if found is None else state_value(found)
        return self._ephemeral(place) or self._state_value(place)

    def exists(self, scope: Scope, key: str) -> bool:
        """Say whether the key is there."""
        return self.get_with_metadata(scope, key) is not None

    def set(
        self,
        scope: Scope,
        key: str,
        value: Any,
        *,
        state_class: StateClass | None = None,
        if_revision: int | None = None,
        if_version: int | None = None,
        if_absent: bool = False,
        expires_in: float | timedelta | None = None,
        expires_at: datetime | None = None,
        **options: Unpack[WriteOptions],
    ) -> int:
        """Store a value and return the revision of the commit (0 for an ephemeral value).

        Args:
            scope: The scope.
            key: The key.
            value: JSON types, bytes, datetime, date, time, timedelta, UUID, Decimal, sets,
                integers of any size, or a msgspec Struct, dataclass or pydantic model.
            state_class: How the value is treated; None keeps the key's class, or takes the
                policy's, or standard.
            if_revision: Only if the key is at this revision (0: absent). The proof to use.
            if_version: Only if the key is at this version; a convenience, because a key deleted
                and created again starts at version 1.
            if_absent: Only if the key is absent.
            expires_in: Seconds or a timedelta until the key ceases to exist; a set without it
                makes the key stay.
            expires_at: The moment itself, instead.
            **options: See `WriteOptions`.

        Raises:
            ConflictError: A precondition does not hold.
            InvalidKeyError, InvalidScopeError, InvalidValueError, LimitExceededError: Refused
                before anything was queued.
            OutcomeUnknownError: The commit or its flush failed; see `find_commit`.
        """
        intent = self._writer.set(
            scope,
            key,
            value,
            state_class,
            if_revision,
            if_version,
            if_absent,
            expires_in,
            expires_at,
            options,
        )
        return 0 if intent is None else self._kernel.commit(intent).revision

    def delete(
        self,
        scope: Scope,
        key: str,
        *,
        if_revision: int | None = None,
        if_version: int | None = None,
        **options: Unpack[WriteOptions],
    ) -> bool:
        """Delete a key and return whether it was there."""
        made = self._writer.delete(scope, key, if_revision, if_version, options)
        return made if isinstance(made, bool) else bool(self._kernel.commit(made).results[0])

    def touch(
        self,
        scope: Scope,
        key: str,
        *,
        expires_in: float | timedelta | None = None,
        expires_at: datetime | None = None,
        **options: Unpack[WriteOptions],
    ) -> bool:
        """Give a key a new expiry, or none, and return whether it was there."""
        made = self._writer.touch(scope, key, expires_in, expires_at, options)
        return made if isinstance(made, bool) else bool(self._kernel.commit(made).results[0])

    # --- read, change, write --------------------------------------------------------------

    def increment(
        self, scope: Scope, key: str, by: Any = 1, **options: Unpack[WriteOptions]
    ) -> Any:
        """Add `by` to a number atomically (an absent key counts as 0) and return the sum.

        Raises:
            WrongTypeError: The value is no number.
        """
        return self._run(self._writer.increment(scope, key, by, options))

    def append(
        self, scope: Scope, key: str, *items: Any, **options: Unpack[WriteOptions]
    ) -> int:
        """Append items to a list atomically (absent: an empty one) and return its new length.

        Raises:
            WrongTypeError: The value is no list.
        """
        return self._run(self._writer.append(scope, key, list(items), options))

    def merge_patch(
        self, scope: Scope, key: str, patch: Any, **options: Unpack[WriteOptions]
    ) -> Any:
        """Apply a JSON merge patch (RFC 7396) atomically and return the new value."""
        return self._run(self._writer.merge_patch(scope, key, patch, options))

    def update(
        self,
        scope: Scope,
        key: str,
        fn: Callable[[Any], Any],
        *,
        default: Any = None,
        **options: Unpack[WriteOptions],
    ) -> Any:
        """Replace the value by ``fn(value)`` and return it; no concurrent update is lost.

        Args:
            scope: The scope.
            key: The key.
            fn: From the old value (or `default`) to the new one. It may run several times.
            default: What `fn` gets where there is no value.
            **options: See `WriteOptions`.

        Raises:
            ConflictError: Others changed the key at every one of 64 attempts.
        """
        return self._run(self._writer.update(scope, key, fn, default, options))

    # --- many keys ------------------------------------------------------------------------

    def set_batch(
        self,
        items: Iterable[SetOperation],
        *,
        atomic: bool = False,
        **options: Unpack[WriteOptions],
    ) -> list[int | StateError]:
        """Store many values in one go.

        Args:
            items: What to set.
            atomic: All or nothing: the first refused item raises, and nothing is written.
            **options: See `WriteOptions`.

        Returns:
            For each item its revision (0 if ephemeral), or, unless `atomic`, the error that
            refused it.
        """
        return self._run(self._writer.batch(items, atomic, options))

    def get_batch(self, requests: Iterable[GetRequest | tuple[Scope, str]]) -> list[Any]:
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
    ) -> list[str]:
        """Return the keys of a scope in order of their UTF-8 bytes.

        Args:
            scope: The scope; never the steps of a workflow.
            prefix: Only keys that start with it.
            after: Only keys behind this one (before it, if `reverse`): the next page.
            limit: At most so many.
            reverse: Descending.
            as_of: A revision or an aware datetime.
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
    ) -> Iterator[tuple[str, StateValue]]:
        """Yield ``(key, StateValue)`` pairs in order, all as of the first page's moment.

        Args: As `list_keys`.
        """
        return self._listing.values(scope, prefix, after, limit, reverse, as_of)

    def count(self, scope: Scope, *, prefix: str = "", as_of: int | datetime | None = None) -> int:
        """Count the keys of a scope."""
        return self._listing.count(scope, prefix, as_of)

    # --- scopes ---------------------------------------------------------------------------

    def scope(self, scope: Scope) -> ScopeView:
        """Return one scope as a `MutableMapping`."""
        return ScopeView(self, self._address.scope(scope))

    def scopes(
        self, kind: ScopeKind | None = None, *, within: Scope | None = None
    ) -> list[StateScope]:
        """Return the scopes that hold a key; of one kind, or the steps within a workflow."""
        inside = None if within is None else self._address.scope(within)
        return list(self._listing.scopes(kind, inside))

    def scope_exists(self, scope: Scope) -> bool:
        """Say whether a scope holds a key."""
        return self._listing.exists(scope)

    def copy_scope(
        self,
        source: Scope,
        target: Scope,
        *,
        recursive: bool = False,
        overwrite: bool = False,
        **options: Unpack[WriteOptions],
    ) -> int:
        """Copy every durable key of a scope in one atomic commit and return how many.

        Args:
            source, target: The scopes.
            recursive: Of a workflow, its steps too.
            overwrite: Replace keys of the target; otherwise one that exists is a conflict.
            **options: See `WriteOptions`.
        """
        ends = self._address.scope(source), self._address.scope(target)
        return self._run(self._scopes.copy(*ends, recursive, overwrite, options))

    def move_scope(
        self,
        source: Scope,
        target: Scope,
        *,
        recursive: bool = False,
        overwrite: bool = False,
        **options: Unpack[WriteOptions],
    ) -> int:
        """Copy a scope and empty the source, in one atomic commit; return how many keys."""
        ends = self._address.scope(source), self._address.scope(target)
        return self._run(
            self._scopes.copy(*ends, recursive, overwrite, options, empty_source=True)
        )

    def delete_scope(
        self, scope: Scope, *, recursive: bool = False, **options: Unpack[WriteOptions]
    ) -> int:
        """Delete every key of a scope in one atomic commit; return how many."""
        return self._run(self._scopes.delete(self._address.scope(scope), recursive, options))

    # --- transactions ---------------------------------------------------------------------

    @contextmanager
    def transaction(self, **options: Unpack[WriteOptions]) -> Iterator[StateTransaction]:
        """Open a serialisable transaction; leaving the block commits it, an exception does not.

        Raises:
            ConflictError: Somebody changed what it read (at the read, or at the end).
        """
        tx = self._begin()
        try:
            yield tx
        except BaseException:
            tx.end()
            raise
        intent = self._finish(tx, options)
        if intent is not None:
            tx.revision = self._kernel.commit(intent).revision

    def transact(
        self, fn: Callable[[StateTransaction], T], **options: Unpack[WriteOptions]
    ) -> T:
        """Run ``fn(tx)`` in a transaction, again while others interfere; return its result.

        Raises:
            ConflictError: All of 64 attempts conflicted.
        """
        for attempt in attempts():
            try:
                with self.transaction(**options) as tx:
                    result = fn(tx)
                return result
            except ConflictError:
                if attempt == attempts()[-1]:
                    raise
                time.sleep(backoff(attempt))
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def snapshot(self, *, as_of: int | datetime | None = None) -> Iterator[Snapshot]:
        """Show the whole store as of one revision: now, or `as_of`. Reads only, no conflicts."""
        reader = self._kernel.reader
        with self._kernel.engine.read() as view:
            moment = reader.now(view) if as_of is None else reader.moment(view, as_of)
        with self._kernel.pins.hold(moment.revision):
            yield Snapshot(self._kernel, self._address, self._listing, moment)

    # --- the past -------------------------------------------------------------------------

    def history(
        self, scope: Scope, key: str, *, newest_first: bool = True, limit: int | None = None
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
    ) -> Iterator[Change]:
        """Yield what was committed after revision `since`, in order.

        Args:
            since: Everything behind this revision; 0 for all.
            until: Nothing behind this one.
            scope, prefix: Only keys of this scope, with this prefix.
            limit: At most so many.
            values: Read the values too.

        Raises:
            HorizonError: The journal no longer reaches back to `since`.
        """
        start, stop = self._listing.reach(scope, prefix)
        return history.changes(
            self._kernel,
            since=since,
            until=until,
            start=start,
            stop=stop,
            limit=limit,
            values=values,
        )

    def diff(
        self,
        before: int | datetime,
        after: int | datetime | None = None,
        *,
        scope: Scope | None = None,
        prefix: str = "",
    ) -> Iterator[Difference]:
        """Yield the keys that differ between two moments; `after` is now by default.

        Raises:
            HorizonError: The journal no longer reaches back to `before`.
        """
        start, stop = self._listing.reach(scope, prefix)
        return history.differences(self._kernel, before, after, start, stop)

    def rewind(
        self,
        scope: Scope,
        key: str | None = None,
        *,
        to: int | datetime,
        **options: Unpack[WriteOptions],
    ) -> int:
        """Bring a key, or a whole scope, back to what it was, as a new commit.

        Nothing is forgotten: the versions in between stay in the history.

        Returns:
            How many keys changed.
        """
        return self._run(self._scopes.rewind(self._address.scope(scope), key, to, options))

    # --- the store itself -----------------------------------------------------------------

    def find_commit(self, commit_id: bytes | str, *, since: int = 0) -> int | None:
        """Return the revision of a commit, or None if it did not happen.

        The way to resolve an `OutcomeUnknownError`. It waits for a commit still in flight.

        Args:
            commit_id: 16 bytes or their hex, as the error carries it.
            since: A revision known before the attempt; the search begins there.
        """
        raw = bytes.fromhex(commit_id) if isinstance(commit_id, str) else commit_id
        return self._kernel.find_commit(raw, since)

    def sweep(self) -> int:
        """Remove expired keys now instead of in the background; return how many."""
        return self._kernel.sweep()

    def close(self) -> None:
        """Finish what is queued and close the store. Closing twice is no error."""
        self._kernel.close()

    def __enter__(self) -> StateManager:
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
        return f"<StateManager {kernel.engine.traits.name} tenant={self.tenant!r} {state}>"

    # --- inside ---------------------------------------------------------------------------

    def _run(self, steps: Steps[T]) -> T:
        """Drive a verb that may need several commits."""
        conflicts = 0
        try:
            intent = next(steps)
            while True:
                try:
                    self._kernel.commit(intent)
                except StateError as error:
                    intent = steps.throw(error)
                    time.sleep(backoff(conflicts))
                    conflicts += 1
                else:
                    intent = next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _begin(self) -> StateTransaction:
        if self._kernel.closed:
            raise ClosedError("the store is closed")
        self._kernel.refuse_read_only()
        return StateTransaction(self._kernel, self._address, self._writer, self._policies)

    def _finish(self, tx: StateTransaction, options: WriteOptions) -> Intent | None:
        """Close a transaction and return what it wants committed; None for nothing."""
        tx.end()
        if not tx.core.writes:
            return None
        return tx.core.intent(self._writer.intent([], None, None, options))

    def _ephemeral(self, place: bytes) -> StateValue | None:
        kernel = self._kernel
        entry = kernel.ephemeral.get(place, kernel.clock.now_ns())
        if entry is None:
            return None
        prepared = entry.prepared
        payload = kernel.payloads.unpack(
            place, prepared.encoding, prepared.payload, prepared.size
        )
        return ephemeral_value(entry, payload)

    def _state_value(self, place: bytes) -> StateValue | None:
        found = self._kernel.reader.current(place)
        return None if found is None else state_value(found)

    def _typed(self, found: StateValue, kind: Any, scope: Scope, key: str) -> Any:
        return as_type(found.value, kind, f"{scope}/{key}")
