"""`AsyncStateManager`: the same verbs, awaited. A thin face, written by hand.

An embedded read runs inline (it costs less than a hop to a thread). A write joins the commit lane
and awaits its outcome; the loop is woken once for all that a group finished. Work that may take
long, and every call of a remote engine, runs in this manager's own bounded pool.

Cancelling an await never leaves a half-done commit: a queued write is withdrawn; one that the
lane has taken finishes first, then the caller sees the cancellation.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, Unpack, cast, overload

from holdfast.errors import ConflictError, StateError
from holdfast.manager import StateManager
from holdfast.opening import open as open_sync
from holdfast.store.compact import CompactReport
from holdfast.store.intent import Intent
from holdfast.store.options import WriteOptions
from holdfast.store.repair import RepairReport
from holdfast.store.retention import HistoryPolicy
from holdfast.store.retrying import attempts, backoff
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.store.status import Health
from holdfast.store.transfer import CopyReport
from holdfast.store.value import (
    Change,
    Difference,
    GetRequest,
    SetOperation,
    StateClass,
    StateValue,
)
from holdfast.store.verify import Problem
from holdfast.store.writer import Steps
from holdfast.transaction import Snapshot, StateTransaction

T = TypeVar("T")
D = TypeVar("D")
Scope = StateScope | str

_LARGE = 64 * 1024  # texts and bytes from here on are encoded off the loop
_PAGE = 256


class AsyncStateManager:
    """The verbs of `StateManager`, awaited. Made by `holdfast.open_async`.

    Arguments, results and errors are those of the synchronous verbs of the same names. One
    manager serves several event loops.

    Attributes:
        sync: The synchronous manager of the same store.
    """

    def __init__(self, manager: StateManager, *, workers: int = 8) -> None:
        self.sync = manager
        self._kernel = manager._kernel
        self._remote = self._kernel.engine.traits.remote
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="holdfast-aio")
        self._wakers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Waker] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def tenant(self) -> str:
        """See `StateManager.tenant`."""
        return self.sync.tenant

    @property
    def revision(self) -> int:
        """See `StateManager.revision`."""
        return self.sync.revision

    # --- one key --------------------------------------------------------------------------

    @overload
    async def get(
        self, scope: Scope, key: str, default: Any = None, *, as_of: int | datetime | None = None
    ) -> Any: ...
    @overload
    async def get(
        self, scope: Scope, key: str, *, type: type[T], as_of: int | datetime | None = None
    ) -> T | None: ...
    @overload
    async def get(
        self,
        scope: Scope,
        key: str,
        default: D,
        *,
        type: type[T],
        as_of: int | datetime | None = None,
    ) -> T | D: ...
    async def get(
        self,
        scope: Scope,
        key: str,
        default: Any = None,
        *,
        type: Any = None,
        as_of: int | datetime | None = None,
    ) -> Any:
        """See `StateManager.get`."""
        if self._remote:
            return await self._off(
                partial(self.sync.get, scope, key, default, type=type, as_of=as_of)
            )
        if type is None and as_of is None:
            return self.sync.get(scope, key, default)
        return self.sync.get(scope, key, default, type=type, as_of=as_of)

    async def get_with_metadata(
        self, scope: Scope, key: str, *, as_of: int | datetime | None = None
    ) -> StateValue | None:
        """See `StateManager.get_with_metadata`."""
        return await self._read(partial(self.sync.get_with_metadata, scope, key, as_of=as_of))

    async def exists(self, scope: Scope, key: str) -> bool:
        """See `StateManager.exists`."""
        return await self._read(partial(self.sync.exists, scope, key))

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
        make = partial(
            self.sync._writer.set,
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
        intent = await self._off(make) if self._remote or _is_large(value) else make()
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

        return await self.transact(change, **options)

    # --- many keys ------------------------------------------------------------------------

    async def set_batch(
        self,
        items: Iterable[SetOperation],
        *,
        atomic: bool = False,
        **options: Unpack[WriteOptions],
    ) -> list[int | StateError]:
        """See `StateManager.set_batch`."""
        return await self._run(self.sync._writer.batch(items, atomic, options))

    async def get_batch(self, requests: Iterable[GetRequest | tuple[Scope, str]]) -> list[Any]:
        """See `StateManager.get_batch`."""
        return await self._read(partial(self.sync.get_batch, requests))

    async def list_keys(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        after: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
        as_of: int | datetime | None = None,
    ) -> list[str]:
        """See `StateManager.list_keys`."""
        return await self._long(
            partial(
                self.sync.list_keys,
                scope,
                prefix=prefix,
                after=after,
                limit=limit,
                reverse=reverse,
                as_of=as_of,
            )
        )

    def scan(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        after: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
        as_of: int | datetime | None = None,
    ) -> AsyncIterator[tuple[str, StateValue]]:
        """See `StateManager.scan`; iterate with ``async for``."""
        return self._iterate(
            partial(
                self.sync.scan,
                scope,
                prefix=prefix,
                after=after,
                limit=limit,
                reverse=reverse,
                as_of=as_of,
            )
        )

    async def count(
        self, scope: Scope, *, prefix: str = "", as_of: int | datetime | None = None
    ) -> int:
        """See `StateManager.count`."""
        return await self._long(partial(self.sync.count, scope, prefix=prefix, as_of=as_of))

    # --- scopes ---------------------------------------------------------------------------

    async def scopes(
        self, kind: ScopeKind | None = None, *, within: Scope | None = None
    ) -> list[StateScope]:
        """See `StateManager.scopes`."""
        return await self._long(partial(self.sync.scopes, kind, within=within))

    async def scope_exists(self, scope: Scope) -> bool:
        """See `StateManager.scope_exists`."""
        return await self._read(partial(self.sync.scope_exists, scope))

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

    @asynccontextmanager
    async def transaction(self, **options: Unpack[WriteOptions]) -> AsyncIterator[StateTransaction]:
        """See `StateManager.transaction`. The block may await; nothing is locked meanwhile.

        The transaction's own verbs are plain calls: they read inline and buffer writes.
        """
        tx = await self._read(self.sync._begin)
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
        for attempt in attempts():
            try:
                async with self.transaction(**options) as tx:
                    result = fn(tx)
                    if inspect.isawaitable(result):
                        result = await result
                return cast(T, result)
            except ConflictError:
                if attempt == attempts()[-1]:
                    raise
                await asyncio.sleep(backoff(attempt))
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def snapshot(self, *, as_of: int | datetime | None = None) -> AsyncIterator[Snapshot]:
        """See `StateManager.snapshot`."""
        with self.sync.snapshot(as_of=as_of) as snapshot:
            yield snapshot

    # --- the past -------------------------------------------------------------------------

    def history(
        self, scope: Scope, key: str, *, newest_first: bool = True, limit: int | None = None
    ) -> AsyncIterator[Change]:
        """See `StateManager.history`; iterate with ``async for``."""
        return self._iterate(
            partial(self.sync.history, scope, key, newest_first=newest_first, limit=limit)
        )

    def changes(
        self,
        since: int = 0,
        *,
        until: int | None = None,
        scope: Scope | None = None,
        prefix: str = "",
        limit: int | None = None,
        values: bool = True,
    ) -> AsyncIterator[Change]:
        """See `StateManager.changes`; iterate with ``async for``."""
        return self._iterate(
            partial(
                self.sync.changes,
                since,
                until=until,
                scope=scope,
                prefix=prefix,
                limit=limit,
                values=values,
            )
        )

    def diff(
        self,
        before: int | datetime,
        after: int | datetime | None = None,
        *,
        scope: Scope | None = None,
        prefix: str = "",
    ) -> AsyncIterator[Difference]:
        """See `StateManager.diff`; iterate with ``async for``."""
        return self._iterate(partial(self.sync.diff, before, after, scope=scope, prefix=prefix))

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

    # --- the store itself -----------------------------------------------------------------

    async def find_commit(self, commit_id: bytes | str, *, since: int = 0) -> int | None:
        """See `StateManager.find_commit`."""
        return await self._off(partial(self.sync.find_commit, commit_id, since=since))

    async def info(self) -> dict[str, Any]:
        """See `StateManager.info`."""
        return await self._off(self.sync.info)

    async def health(self) -> Health:
        """See `StateManager.health`."""
        return await self._off(self.sync.health)

    async def verify(self, *, progress: Callable[[int], None] | None = None) -> list[Problem]:
        """See `StateManager.verify`; `progress` is called from a thread."""
        return await self._off(partial(self.sync.verify, progress=progress))

    async def retention(self) -> list[HistoryPolicy]:
        """See `StateManager.retention`."""
        return await self._read(self.sync.retention)

    async def set_retention(self, policies: Sequence[HistoryPolicy]) -> None:
        """See `StateManager.set_retention`."""
        await self._off(partial(self.sync.set_retention, policies))

    async def compact(
        self, policies: Sequence[HistoryPolicy] | None = None, *, train: bool = False
    ) -> CompactReport:
        """See `StateManager.compact`."""
        return await self._off(partial(self.sync.compact, policies, train=train))

    async def copy_to(
        self,
        target: str | os.PathLike[str],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> CopyReport:
        """See `StateManager.copy_to`; `progress` is called from a thread."""
        return await self._off(partial(self.sync.copy_to, target, progress=progress))

    async def repair(
        self,
        into: str | os.PathLike[str],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> RepairReport:
        """See `StateManager.repair`; `progress` is called from a thread."""
        return await self._off(partial(self.sync.repair, into, progress=progress))

    def export_lines(self) -> AsyncIterator[str]:
        """See `StateManager.export_lines`; iterate with ``async for``."""
        return self._iterate(self.sync.export_lines)

    async def import_lines(
        self, lines: Iterable[str], *, overwrite: bool = False, **options: Unpack[WriteOptions]
    ) -> int:
        """See `StateManager.import_lines`."""
        return await self._off(
            partial(self.sync.import_lines, lines, overwrite=overwrite, **options)
        )

    async def sweep(self) -> int:
        """See `StateManager.sweep`."""
        return await self._off(self.sync.sweep)

    async def close(self) -> None:
        """See `StateManager.close`."""
        await self._off(self.sync.close)
        self._pool.shutdown(wait=False)

    async def __aenter__(self) -> AsyncStateManager:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- inside ---------------------------------------------------------------------------

    async def _off(self, call: Callable[[], T]) -> T:
        """Run a call in the pool; once started it finishes, whoever stopped waiting."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def _read(self, call: Callable[[], T]) -> T:
        return await self._off(call) if self._remote else call()

    async def _long(self, call: Callable[[], T]) -> T:
        return await self._off(call)

    async def _iterate(self, start: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """Turn an iterator into an asynchronous one that works in the pool, page by page."""
        iterator = start()
        call: Future[list[T]] | None = None
        try:
            while True:
                call = self._pool.submit(_take, iterator, _PAGE)
                page = await asyncio.wrap_future(call)
                for item in page:
                    yield item
                if len(page) < _PAGE:
                    return
        finally:
            close = getattr(iterator, "close", None)  # lets go of its pin
            if close is not None and (call is None or call.done()):
                close()
            elif close is not None and call is not None:  # cancelled; the pool still reads
                call.add_done_callback(lambda _: close())

    async def _commit(self, intent: Intent) -> Intent:
        """Send an intent through the lane and await its outcome."""
        kernel = self._kernel
        kernel.admit(intent)
        loop = asyncio.get_running_loop()
        waker = self._wakers.get(loop)
        if waker is None:
            waker = self._wakers[loop] = _Waker(loop)
        waiting = _Waiting(loop)
        intent.wake = partial(waker.wake, waiting)
        if not kernel.lane.submit_waking(intent):
            try:
                await waiting.future
            except asyncio.CancelledError:
                if not kernel.lane.withdraw(intent):
                    await waiting.until_done()
                raise
        if intent.error is not None:
            raise intent.error
        return intent

    async def _run(self, steps: Steps[T]) -> T:
        """Drive a verb that may need several commits."""
        conflicts = 0
        try:
            intent = next(steps)
            while True:
                try:
                    await self._commit(intent)
                except StateError as error:
                    intent = steps.throw(error)
                    await asyncio.sleep(backoff(conflicts))
                    conflicts += 1
                else:
                    intent = next(steps)
        except StopIteration as stop:
            return cast(T, stop.value)


class _Waiting:
    """A write whose outcome a task of `loop` awaits. Touched by the loop's own thread only.

    Cancelling the task cancels the future it awaits, and not the write: then another future
    takes its place, which is cheaper than shielding every write from what few ever meet.
    """

    __slots__ = ("done", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[None] = loop.create_future()
        self.done = False

    def finish(self) -> None:
        """Wake the task."""
        self.done = True
        if not self.future.done():
            self.future.set_result(None)

    async def until_done(self) -> None:
        """Wait for the outcome through any number of further cancellations."""
        while not self.done:
            self.future = asyncio.get_running_loop().create_future()
            with suppress(asyncio.CancelledError):
                await self.future


class _Waker:
    """Wakes one event loop once for everything that has finished since it last looked."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._done: deque[_Waiting] = deque()
        self._called = False

    def wake(self, waiting: _Waiting) -> None:
        """Note that a write is done. Called from the lane's thread only."""
        self._done.append(waiting)
        if not self._called:
            self._called = True
            loop = self._loop()
            if loop is not None and not loop.is_closed():
                with suppress(RuntimeError):  # the loop closed this very moment
                    loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._called = False  # before looking: what comes later calls again
        while self._done:
            self._done.popleft().finish()


def _take(iterator: Iterator[T], count: int) -> list[T]:
    out: list[T] = []
    for item in iterator:
        out.append(item)
        if len(out) == count:
            break
    return out


def _is_large(value: Any) -> bool:
    """Guess cheaply whether encoding `value` would hold up the loop."""
    if isinstance(value, str | bytes):
        return len(value) >= _LARGE
    if isinstance(value, list | dict):
        return len(value) >= 1000
    return False


async def open_async(*args: Any, workers: int = 8, **options: Any) -> AsyncStateManager:
    """Open a store for asynchronous use; the arguments are those of `holdfast.open`.

    Args:
        *args, **options: See `holdfast.open`.
        workers: Threads for long work and for remote engines.
    """
    loop = asyncio.get_running_loop()
    manager = await loop.run_in_executor(None, partial(open_sync, *args, **options))
    return AsyncStateManager(manager, workers=workers)
