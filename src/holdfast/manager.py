"""`StateManager`: every verb of the store, synchronous. The one place that wires features.

Each verb is a line or two: address the key, let the kernel decide and commit, show the result.
The order in which a write is checked and prepared is the order of lines in `Writer.set`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from time import perf_counter_ns
from typing import Any, TypeVar, Unpack

from holdfast.correlation import current
from holdfast.engines.base import Durability
from holdfast.errors import ClosedError, ConflictError, DegradedError, StateError
from holdfast.events import Events
from holdfast.hooks.comparing import Compare
from holdfast.hooks.hook import Hook
from holdfast.hooks.registry import Hooks
from holdfast.hooks.replay import Replay
from holdfast.hooks.report import ReplayReport
from holdfast.observe.attaching import attach
from holdfast.observe.settings import ObserveSettings
from holdfast.observe.telling import tell, telling
from holdfast.reading import Scope, StateReader
from holdfast.store.batches import Batches
from holdfast.store.intent import Intent
from holdfast.store.kernel import Kernel
from holdfast.store.lines import parse_lines
from holdfast.store.options import WriteOptions
from holdfast.store.policy import ScopePolicy
from holdfast.store.position import Position
from holdfast.store.retrying import attempts, backoff
from holdfast.store.scopes import WholeScopes
from holdfast.store.status import Health
from holdfast.store.value import MISSING, SetOperation, StateClass
from holdfast.store.writer import Steps, Writer
from holdfast.streams.consumer import Consumer
from holdfast.streams.consumers import Consumers
from holdfast.streams.retry import Retry
from holdfast.transaction import StateTransaction
from holdfast.views import ScopeView
from holdfast.whole import Correlation, WholeKeeper

T = TypeVar("T")


@telling
class StateManager(StateReader, WholeKeeper):
    """A store, open for one tenant. Made by `holdfast.open`; safe for many threads.

    Every verb that takes a scope takes a `StateScope` or its text. Every write takes the options
    of `WriteOptions` (``durability``, ``commit_id``, ``actor``, ``correlation``, ``cause``) and
    raises `ConflictError` where a precondition fails. When a write returns, it is as durable as
    was asked (``sync`` by default: on disk). Values returned are the caller's own.

    Attributes:
        events: Emits and reads what happened.
        hooks: Functions that see, change, refuse or follow what is committed.
        consumers: The durable consumers: lists, measures, moves and deletes them.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        tenant: str = "",
        policies: Sequence[ScopePolicy] = (),
        observe: ObserveSettings | None = None,
    ) -> None:
        super().__init__(kernel, tenant=tenant, policies=policies, observe=observe)
        self._writer = Writer(kernel, self._address, self._policies)
        self._batches = Batches(self._writer)
        parts = kernel, self._address, self._listing, self._writer
        self.events: Events = Events(*parts, self._observation)
        self.consumers = Consumers(self._streams, self._address)
        self._scopes = WholeScopes(kernel, self._address, self._writer, self._listing)
        self.hooks = Hooks(kernel, self._address, self)
        self.metrics.source("hooks", self.hooks.samples)
        attach(self)

    # --- one key --------------------------------------------------------------------------

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
        # Every commit pays for what is done here: nothing is timed outside of a correlation.
        began = perf_counter_ns() if options or current() is not None else 0
        try:
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
        except StateError as error:
            given = {"correlation": options.get("correlation"), "state_class": state_class}
            tell(self._observation, "set", (scope, key), given, error, began)
            raise

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

    def append(self, scope: Scope, key: str, *items: Any, **options: Unpack[WriteOptions]) -> int:
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
            fn: From the old value (or `default`) to the new one, which it returns; None is refused.
                It may run several times.
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
        return self._run(self._batches.set(items, atomic, options))

    # --- scopes ---------------------------------------------------------------------------

    def scope(self, scope: Scope) -> ScopeView:
        """Return one scope as a `MutableMapping`."""
        return ScopeView(self, self._address.scope(scope))

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
        return self._run(self._scopes.copy(*ends, recursive, overwrite, options, empty_source=True))

    def delete_scope(
        self, scope: Scope, *, recursive: bool = False, **options: Unpack[WriteOptions]
    ) -> int:
        """Delete every key of a scope in one atomic commit; return how many."""
        return self._run(self._scopes.delete(self._address.scope(scope), recursive, options))

    # --- transactions ---------------------------------------------------------------------

    def transaction(
        self, **options: Unpack[WriteOptions]
    ) -> AbstractContextManager[StateTransaction]:
        """Open a serialisable transaction; leaving the block commits it, an exception does not.

        Raises:
            ConflictError: Somebody changed what it read (at the read, or at the end).
        """
        return self._transaction(options)

    @contextmanager
    def _transaction(self, options: WriteOptions) -> Iterator[StateTransaction]:
        tx = self._begin(options)
        try:
            yield tx
        except BaseException:
            tx.end()
            raise
        intent = self._finish(tx, options)
        if intent is not None:
            tx.revision = self._kernel.commit(intent).revision

    def transact(self, fn: Callable[[StateTransaction], T], **options: Unpack[WriteOptions]) -> T:
        """Run ``fn(tx)`` in a transaction, again while others interfere; return its result.

        Raises:
            ConflictError: All of 64 attempts conflicted.
        """
        turn = None
        try:
            for attempt in attempts():
                try:
                    with self._transaction(options) as tx:
                        result = fn(tx)
                    return result
                except ConflictError as error:
                    # That a key is there already is what `fn` found, and no interference.
                    if error.reason == "exists" or attempt == attempts()[-1]:
                        raise
                    turn = turn or self._kernel.turns.wait(error)
                    time.sleep(backoff(attempt))
        finally:
            self._kernel.turns.leave(turn)
        raise AssertionError("the last attempt returns or raises")

    # --- the past -------------------------------------------------------------------------

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

    def replay(
        self,
        hooks: Iterable[Hook | Callable[[Any], Any] | str] | Hook | Callable[[Any], Any] | str,
        *,
        since: int | datetime = 0,
        until: int | datetime | None = None,
        scope: Scope | None = None,
        key: str = "*",
        correlation: str | None = None,
        modify: Any = MISSING,
        overrides: Mapping[str, Callable[[Any], Any]] | None = None,
        compare: Compare | None = None,
        dry_run: bool = True,
        idempotent: bool = True,
    ) -> ReplayReport:
        """Run hooks again over past changes, and compare what they come to.

        Args:
            hooks: Names of registered or installed hooks, hooks, or functions that take a
                `HookEvent`.
            since: Changes after this revision or time.
            until: Nothing after this one.
            scope: Only keys of this scope.
            key: Only keys of this pattern.
            correlation: Only changes of this piece of work.
            modify: A value in place of the one that was written, or a function from the event to
                it.
            overrides: Functions in place of those of hooks, by name.
            compare: What counts as a difference.
            dry_run: Catch what the hooks write instead of writing it.
            idempotent: Write each thing once, however often it is replayed.

        Raises:
            InvalidArgumentError, ConfigurationError: There is no such hook.
            HorizonError: The journal no longer reaches back to `since`.
        """
        replay = Replay(self._kernel, self._address, self._listing, self.hooks, self)
        return replay.run(
            hooks,
            since=since,
            until=until,
            scope=scope,
            key=key,
            correlation=correlation,
            modify=modify,
            overrides=overrides,
            compare=compare,
            dry_run=dry_run,
            idempotent=idempotent,
        )

    # --- following the journal ------------------------------------------------------------

    def consumer(
        self,
        name: str,
        scope: Scope | None = None,
        prefix: str = "",
        *,
        events: bool = False,
        values: bool = True,
        batch: int = 100,
        lease: float = 30.0,
        start: Position | int | str = "now",
        retry: Retry | None = None,
        max_attempts: int = 10,
        durability: Durability | str = Durability.SYNC,
        correlation: Correlation = None,
    ) -> Consumer:
        """Return a durable consumer: a named cursor over the journal, made if it is new.

        Every change is delivered at least once, in the order of commits, and acknowledged in
        batches. A change that fails holds up those behind it until it succeeds, or becomes a dead
        letter.

        Args:
            name: Its name, within the tenant.
            scope, prefix: Only keys of this scope, with this prefix.
            events: Events, too.
            values: Read the values too.
            batch: Changes of a batch, at most.
            lease: Seconds until another worker takes over from one that is gone.
            start: Where a new one begins: ``"now"``, ``"earliest"``, a revision or a `Position`.
            retry: How long a change that failed waits; see `Retry`.
            max_attempts: After so many failures a change becomes a dead letter.
            durability: Of acknowledgements.
            correlation: What its work belongs to: what handlers write, what fails; selects nothing.

        Raises:
            ReadOnlyError: The store is open for reading.
            HorizonError, DivergedError: It cannot begin at `start`.
            DegradedError: The primary is away.
        """
        with self._streams.told("consumer", correlation, scope):
            wanted = self._streams.wanted(scope, prefix, events, values)
            terms = batch, lease, start, retry, max_attempts, durability
            desk = self.consumers.desk(name, wanted, *terms)
        return Consumer(self._streams, self.consumers, name, desk, correlation)

    # --- the store itself -----------------------------------------------------------------

    def _info(self) -> dict[str, Any]:
        return super()._info() | {"hooks": self.hooks.figures()}

    def _health(self) -> Health:
        health, hooks = super()._health(), self.hooks.health()
        return health if hooks is None else health.having("hooks", hooks)

    def close(self) -> None:
        """Run what waits for hooks, finish what is queued and close the store.

        Closing twice is no error.
        """
        self.hooks.close()
        super().close()

    def import_lines(
        self, lines: Iterable[str], *, overwrite: bool = False, **options: Unpack[WriteOptions]
    ) -> int:
        """Store what `export_lines` wrote; return how many keys. One commit, all or nothing.

        Revisions, versions and times are this store's own; values, classes and expiry are kept.

        Args:
            lines: The lines.
            overwrite: Replace keys that exist; otherwise one that exists is a conflict.
            **options: See `WriteOptions`.
        """
        items = list(parse_lines(lines))
        return self._run(self._batches.load(items, overwrite, options))

    # --- inside ---------------------------------------------------------------------------

    def _run(self, steps: Steps[T]) -> T:
        """Drive a verb that may need several commits."""
        conflicts, turn = 0, None
        try:
            intent = next(steps)
            while True:
                try:
                    self._kernel.commit(intent)
                except StateError as error:
                    if isinstance(error, ConflictError):
                        # Before the value is read again: waiting between that and the commit
                        # would make the next conflict certain.
                        turn = turn or self._kernel.turns.wait(error)
                        if conflicts or turn is None:
                            time.sleep(backoff(conflicts))
                        conflicts += 1
                    intent = steps.throw(error)
                else:
                    intent = next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            self._kernel.turns.leave(turn)

    def _begin(self, options: WriteOptions) -> StateTransaction:
        if self._kernel.closed:
            raise ClosedError("the store is closed")
        self._kernel.refuse_read_only()
        commit_id = options.get("commit_id")
        parts = self._kernel, self._address, self._writer, self._policies, commit_id
        try:
            return StateTransaction(*parts)
        except DegradedError:  # the primary went away over it: on the spill, then
            return StateTransaction(*parts)

    def _finish(self, tx: StateTransaction, options: WriteOptions) -> Intent | None:
        """Close a transaction and return what it wants committed; None for nothing."""
        tx.end()
        if not tx.core.writes and not tx.core.events:
            return None
        return tx.core.intent(self._writer.intent([], None, None, options))
