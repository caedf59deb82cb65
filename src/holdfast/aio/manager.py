"""`AsyncStateManager`: every verb, awaited. A thin face, written by hand.

A write joins the commit lane and awaits its outcome; the loop is woken once for all that a group
finished. Cancelling an await never leaves a half-done commit: a queued write is withdrawn; one
that the lane has taken finishes first, then the caller sees the cancellation.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar, Unpack, cast

from holdfast.aio.consumers import AsyncConsumer, AsyncConsumers
from holdfast.aio.events import AsyncEvents
from holdfast.aio.reading import AsyncStateReader, Scope
from holdfast.aio.waking import Waiting, Waker
from holdfast.engines.base import Durability
from holdfast.errors import ConflictError, StateError
from holdfast.hooks.comparing import Compare
from holdfast.hooks.hook import Hook
from holdfast.hooks.registry import Hooks
from holdfast.hooks.report import ReplayReport
from holdfast.manager import StateManager
from holdfast.observe.attaching import attach_async
from holdfast.observe.telling import telling
from holdfast.store.compact import CompactReport
from holdfast.store.intent import Intent
from holdfast.store.options import WriteOptions
from holdfast.store.position import Position
from holdfast.store.repair import RepairReport
from holdfast.store.retention import HistoryPolicy
from holdfast.store.retrying import attempts, backoff
from holdfast.store.value import MISSING, SetOperation, StateClass
from holdfast.store.writer import Steps
from holdfast.streams.retry import Retry
from holdfast.transaction import StateTransaction
from holdfast.whole import Correlation

T = TypeVar("T")

_LARGE = 64 * 1024  # texts and bytes from here on are encoded off the loop


@telling
class AsyncStateManager(AsyncStateReader[StateManager]):
    """The verbs of `StateManager`, awaited. Made by `holdfast.open_async`.

    Arguments, results and errors are those of the synchronous verbs of the same names. One
    manager serves several event loops.

    Attributes:
        sync: The synchronous manager of the same store.
        events: Emits and reads what happened.
        hooks: Those of the store, whatever face is used.
        consumers: The durable consumers: lists, measures, moves and deletes them.
    """

    def __init__(self, manager: StateManager, *, workers: int = 8) -> None:
        super().__init__(manager, workers=workers)
        self.events: AsyncEvents = AsyncEvents(manager.events, self._iterate, self._commit)
        self.hooks: Hooks = manager.hooks
        self.consumers = AsyncConsumers(manager.consumers, self._off, self._iterate)
        self._wakers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Waker] = (
            weakref.WeakKeyDictionary()
        )
        self._waker: Waker | None = None
        attach_async(self)

    # --- one key --------------------------------------------------------------------------

    async def set(
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
        """See `StateManager.set`."""
        asked = (
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
        make = self.sync._writer.set
        if self._remote or _is_large(value):
            intent = await self._off(partial(make, *asked))
        else:
            intent = make(*asked)
        return 0 if intent is None else (await self._commit(intent)).revision

    async def delete(
        self,
        scope: Scope,
        key: str,
        *,
        if_revision: int | None = None,
        if_version: int | None = None,
        **options: Unpack[WriteOptions],
    ) -> bool:
        """See `StateManager.delete`."""
        made = self.sync._writer.delete(scope, key, if_revision, if_version, options)
        return made if isinstance(made, bool) else bool((await self._commit(made)).results[0])

    async def touch(
        self,
        scope: Scope,
        key: str,
        *,
        expires_in: float | timedelta | None = None,
        expires_at: datetime | None = None,
        **options: Unpack[WriteOptions],
    ) -> bool:
        """See `StateManager.touch`."""
        made = self.sync._writer.touch(scope, key, expires_in, expires_at, options)
        return made if isinstance(made, bool) else bool((await self._commit(made)).results[0])

    # --- read, change, write --------------------------------------------------------------

    async def increment(
        self, scope: Scope, key: str, by: Any = 1, **options: Unpack[WriteOptions]
    ) -> Any:
        """See `StateManager.increment`."""
        return await self._run(self.sync._writer.increment(scope, key, by, options))

    async def append(
        self, scope: Scope, key: str, *items: Any, **options: Unpack[WriteOptions]
    ) -> int:
        """See `StateManager.append`."""
        return await self._run(self.sync._writer.append(scope, key, list(items), options))

    async def merge_patch(
        self, scope: Scope, key: str, patch: Any, **options: Unpack[WriteOptions]
    ) -> Any:
        """See `StateManager.merge_patch`."""
        return await self._run(self.sync._writer.merge_patch(scope, key, patch, options))

    async def update(
        self,
        scope: Scope,
        key: str,
        fn: Callable[[Any], Any] | Callable[[Any], Awaitable[Any]],
        *,
        default: Any = None,
        **options: Unpack[WriteOptions],
    ) -> Any:
        """See `StateManager.update`; `fn` may be a coroutine function."""
        if not inspect.iscoroutinefunction(fn):
            steps = self.sync._writer.update(scope, key, fn, default, options)
            return await self._run(steps)

        async def change(tx: StateTransaction) -> Any:
            new = await fn(await self._read(partial(tx.get, scope, key, default)))
            tx.update(scope, key, lambda _: new)
            return new

        return await self._transact(change, options)

    # --- many keys ------------------------------------------------------------------------

    async def set_batch(
        self,
        items: Iterable[SetOperation],
        *,
        atomic: bool = False,
        **options: Unpack[WriteOptions],
    ) -> list[int | StateError]:
        """See `StateManager.set_batch`."""
        return await self._run(self.sync._batches.set(items, atomic, options))

    # --- scopes ---------------------------------------------------------------------------

    async def copy_scope(
        self,
        source: Scope,
        target: Scope,
        *,
        recursive: bool = False,
        overwrite: bool = False,
        **options: Unpack[WriteOptions],
    ) -> int:
        """See `StateManager.copy_scope`."""
        return await self._off(
            partial(
                self.sync.copy_scope,
                source,
                target,
                recursive=recursive,
                overwrite=overwrite,
                **options,
            )
        )

    async def move_scope(
        self,
        source: Scope,
        target: Scope,
        *,
        recursive: bool = False,
        overwrite: bool = False,
        **options: Unpack[WriteOptions],
    ) -> int:
        """See `StateManager.move_scope`."""
        return await self._off(
            partial(
                self.sync.move_scope,
                source,
                target,
                recursive=recursive,
                overwrite=overwrite,
                **options,
            )
        )

    async def delete_scope(
        self, scope: Scope, *, recursive: bool = False, **options: Unpack[WriteOptions]
    ) -> int:
        """See `StateManager.delete_scope`."""
        return await self._off(
            partial(self.sync.delete_scope, scope, recursive=recursive, **options)
        )

    # --- transactions ---------------------------------------------------------------------

    def transaction(
        self, **options: Unpack[WriteOptions]
    ) -> AbstractAsyncContextManager[StateTransaction]:
        """See `StateManager.transaction`. The block may await; nothing is locked meanwhile.

        The transaction's own verbs are plain calls: they read inline and buffer writes.
        """
        return self._transaction(options)

    @asynccontextmanager
    async def _transaction(self, options: WriteOptions) -> AsyncIterator[StateTransaction]:
        tx = await self._read(partial(self.sync._begin, options))
        try:
            yield tx
        except BaseException:
            tx.end()
            raise
        intent = self.sync._finish(tx, options)
        if intent is not None:
            tx.revision = (await self._commit(intent)).revision

    async def transact(
        self,
        fn: Callable[[StateTransaction], Awaitable[T]] | Callable[[StateTransaction], T],
        **options: Unpack[WriteOptions],
    ) -> T:
        """See `StateManager.transact`; `fn` may be a coroutine function."""
        return await self._transact(fn, options)

    async def _transact(
        self,
        fn: Callable[[StateTransaction], Awaitable[T]] | Callable[[StateTransaction], T],
        options: WriteOptions,
    ) -> T:
        turn = None
        try:
            for attempt in attempts():
                try:
                    async with self._transaction(options) as tx:
                        result = fn(tx)
                        if inspect.isawaitable(result):
                            result = await result
                    return cast(T, result)
                except ConflictError as error:
                    if error.reason == "exists" or attempt == attempts()[-1]:
                        raise
                    turn = turn or await self._kernel.turns.wait_async(error)
                    await asyncio.sleep(backoff(attempt))
        finally:
            self._kernel.turns.leave(turn)
        raise AssertionError("the last attempt returns or raises")

    # --- the past -------------------------------------------------------------------------

    async def rewind(
        self,
        scope: Scope,
        key: str | None = None,
        *,
        to: int | datetime,
        **options: Unpack[WriteOptions],
    ) -> int:
        """See `StateManager.rewind`."""
        return await self._off(partial(self.sync.rewind, scope, key, to=to, **options))

    async def replay(
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
        """See `StateManager.replay`; hooks run in other threads and loops than the caller's."""
        return await self._off(
            partial(
                self.sync.replay,
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
        )

    # --- following the journal ------------------------------------------------------------

    async def consumer(
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
    ) -> AsyncConsumer:
        """See `StateManager.consumer`; await it, then iterate with ``async for``, or ``run``."""
        streams, consumers = self.sync._streams, self.sync.consumers
        with streams.told("consumer", correlation, scope):
            wanted = streams.wanted(scope, prefix, events, values)
            terms = batch, lease, start, retry, max_attempts, durability
            desk = await self._off(partial(consumers.desk, name, wanted, *terms))
        return AsyncConsumer(streams, consumers, name, desk, self._off, self._iterate, correlation)

    # --- the store itself -----------------------------------------------------------------

    async def set_retention(
        self, policies: Sequence[HistoryPolicy], *, correlation: Correlation = None
    ) -> None:
        """See `StateManager.set_retention`."""
        await self._off(partial(self.sync.set_retention, policies, correlation=correlation))

    async def compact(
        self,
        policies: Sequence[HistoryPolicy] | None = None,
        *,
        train: bool = False,
        correlation: Correlation = None,
    ) -> CompactReport:
        """See `StateManager.compact`."""
        compact = partial(self.sync.compact, train=train, correlation=correlation)
        return await self._off(partial(compact, policies))

    async def repair(
        self,
        into: str | os.PathLike[str],
        *,
        progress: Callable[[int], None] | None = None,
        correlation: Correlation = None,
    ) -> RepairReport:
        """See `StateManager.repair`; `progress` is called from a thread."""
        repair = partial(self.sync.repair, progress=progress, correlation=correlation)
        return await self._off(partial(repair, into))

    async def import_lines(
        self, lines: Iterable[str], *, overwrite: bool = False, **options: Unpack[WriteOptions]
    ) -> int:
        """See `StateManager.import_lines`."""
        return await self._off(
            partial(self.sync.import_lines, lines, overwrite=overwrite, **options)
        )

    async def sweep(self, *, correlation: Correlation = None) -> int:
        """See `StateManager.sweep`."""
        return await self._off(partial(self.sync.sweep, correlation=correlation))

    # --- inside ---------------------------------------------------------------------------

    async def _commit(self, intent: Intent) -> Intent:
        """Send an intent through the lane and await its outcome."""
        kernel = self._kernel
        kernel.admit(intent)
        if kernel.before is not None and kernel.before.wants(intent):
            await kernel.before.run_async(intent, self._send)
        else:
            await self._send(intent)
        if intent.error is not None:
            raise intent.error
        return intent

    async def _send(self, intent: Intent) -> None:
        """Send an intent through the lane and await its outcome, which is then on it."""
        lane = self._kernel.lane
        loop = asyncio.get_running_loop()
        waker = self._waker
        if waker is None or waker.loop() is not loop:
            waker = self._wakers.get(loop)
            if waker is None:
                waker = self._wakers[loop] = Waker(loop)
            self._waker = waker  # nearly always the next one's, too
        waiting = Waiting(loop, waker)
        intent.wake = waiting.wake
        if not lane.submit_waking(intent):
            try:
                await waiting.future
            except asyncio.CancelledError:
                if not lane.withdraw(intent):
                    await waiting.until_done()
                raise

    async def _run(self, steps: Steps[T]) -> T:
        """Drive a verb that may need several commits."""
        conflicts, turn = 0, None
        try:
            intent = next(steps)
            while True:
                try:
                    await self._commit(intent)
                except StateError as error:
                    if isinstance(error, ConflictError):
                        # Before the value is read again: waiting between that and the commit
                        # would make the next conflict certain.
                        turn = turn or await self._kernel.turns.wait_async(error)
                        if conflicts or turn is None:
                            await asyncio.sleep(backoff(conflicts))
                        conflicts += 1
                    intent = steps.throw(error)
                else:
                    intent = next(steps)
        except StopIteration as stop:
            return cast(T, stop.value)
        finally:
            self._kernel.turns.leave(turn)


def _is_large(value: Any) -> bool:
    """Guess cheaply whether encoding `value` would hold up the loop."""
    if isinstance(value, (list, dict)):
        return len(value) >= 1000
    return isinstance(value, (str, bytes)) and len(value) >= _LARGE
