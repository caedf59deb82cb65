"""`AsyncStateReader`: the verbs that only read, awaited.

An embedded read runs inline (it costs less than a hop to a thread); every call of a remote engine,
and work that may take long, runs in this manager's own bounded pool.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from holdfast.aio.events import AsyncEventReader
from holdfast.aio.streams import AsyncWatch
from holdfast.errors import ClosedError
from holdfast.failover.kernel import FailoverKernel
from holdfast.failover.report import FailoverReport
from holdfast.observe.findings import Analysis
from holdfast.observe.metrics import Metrics
from holdfast.observe.scopes import ScopeStats
from holdfast.reading import StateReader
from holdfast.store.inspection import Inspection
from holdfast.store.position import Position
from holdfast.store.retention import HistoryPolicy
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.store.status import Health
from holdfast.store.transfer import CopyReport
from holdfast.store.value import Change, Difference, GetRequest, StateValue
from holdfast.store.verify import Problem
from holdfast.timeline import Timeline
from holdfast.transaction import Snapshot
from holdfast.whole import Correlation

T = TypeVar("T")
D = TypeVar("D")
Scope = StateScope | str
Manager = TypeVar("Manager", bound=StateReader)

_PAGE = 256


class AsyncStateReader(Generic[Manager]):
    """The reading verbs of a store, awaited.

    Arguments, results and errors are those of the synchronous verbs of the same names. One
    manager serves several event loops.

    Attributes:
        sync: The synchronous manager of the same store.
        events: Reads what happened.
    """

    def __init__(self, manager: Manager, *, workers: int = 8) -> None:
        self.sync = manager
        self._kernel = manager._kernel
        self._observation = manager._observation
        # With failover a read may have to wait for the switch, and looks into a file meanwhile.
        failover = isinstance(self._kernel, FailoverKernel)
        self._remote = failover or self._kernel.engine.traits.remote
        self._workers = workers
        self.events = AsyncEventReader(manager.events, self._iterate)
        self._make_pool()

    @property
    def tenant(self) -> str:
        """See `StateManager.tenant`."""
        return self.sync.tenant

    @property
    def revision(self) -> int:
        """See `StateManager.revision`."""
        return self.sync.revision

    @property
    def failover(self) -> FailoverReport:
        """See `StateManager.failover`."""
        return self.sync.failover

    # --- one key --------------------------------------------------------------------------

    @overload
    async def get(
        self,
        scope: Scope,
        key: str,
        default: Any = None,
        *,
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> Any: ...

    @overload
    async def get(
        self,
        scope: Scope,
        key: str,
        *,
        type: type[T],
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
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
        correlation: Correlation = None,
    ) -> T | D: ...

    async def get(
        self,
        scope: Scope,
        key: str,
        default: Any = None,
        *,
        type: Any = None,
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> Any:
        """See `StateManager.get`."""
        if type is None and as_of is None and correlation is None and not self._remote:
            return self.sync.get(scope, key, default)
        get = partial(
            self.sync.get, scope, key, default, type=type, as_of=as_of, correlation=correlation
        )
        return await self._read(get)

    async def get_with_metadata(
        self,
        scope: Scope,
        key: str,
        *,
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> StateValue | None:
        """See `StateManager.get_with_metadata`."""
        find = self.sync.get_with_metadata
        return await self._read(partial(find, scope, key, as_of=as_of, correlation=correlation))

    async def exists(self, scope: Scope, key: str, *, correlation: Correlation = None) -> bool:
        """See `StateManager.exists`."""
        return await self._read(partial(self.sync.exists, scope, key, correlation=correlation))

    # --- many keys ------------------------------------------------------------------------

    async def get_batch(
        self,
        requests: Iterable[GetRequest | tuple[Scope, str]],
        *,
        correlation: Correlation = None,
    ) -> list[Any]:
        """See `StateManager.get_batch`."""
        return await self._read(partial(self.sync.get_batch, requests, correlation=correlation))

    async def list_keys(
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
                correlation=correlation,
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
        correlation: Correlation = None,
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
                correlation=correlation,
            )
        )

    async def count(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        as_of: int | datetime | None = None,
        correlation: Correlation = None,
    ) -> int:
        """See `StateManager.count`."""
        count = partial(self.sync.count, prefix=prefix, as_of=as_of, correlation=correlation)
        return await self._long(partial(count, scope))

    # --- scopes ---------------------------------------------------------------------------

    async def scopes(
        self,
        kind: ScopeKind | None = None,
        *,
        within: Scope | None = None,
        correlation: Correlation = None,
    ) -> list[StateScope]:
        """See `StateManager.scopes`."""
        scopes = self.sync.scopes
        return await self._long(partial(scopes, kind, within=within, correlation=correlation))

    async def scope_exists(self, scope: Scope, *, correlation: Correlation = None) -> bool:
        """See `StateManager.scope_exists`."""
        return await self._read(partial(self.sync.scope_exists, scope, correlation=correlation))

    @asynccontextmanager
    async def snapshot(
        self, *, as_of: int | datetime | None = None, correlation: Correlation = None
    ) -> AsyncIterator[Snapshot]:
        """See `StateManager.snapshot`."""
        with self.sync.snapshot(as_of=as_of, correlation=correlation) as snapshot:
            yield snapshot

    # --- the past -------------------------------------------------------------------------

    def history(
        self,
        scope: Scope,
        key: str,
        *,
        newest_first: bool = True,
        limit: int | None = None,
        correlation: Correlation = None,
    ) -> AsyncIterator[Change]:
        """See `StateManager.history`; iterate with ``async for``."""
        return self._iterate(
            partial(
                self.sync.history,
                scope,
                key,
                newest_first=newest_first,
                limit=limit,
                correlation=correlation,
            )
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
        correlation: Correlation = None,
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
                correlation=correlation,
            )
        )

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
    ) -> AsyncWatch:
        """See `StateManager.watch`; iterate with ``async for``."""
        streams = self.sync._streams
        with streams.told("watch", correlation, scope):
            wanted = streams.wanted(scope, prefix, events, values)
            watch = AsyncWatch(streams, self._off, wanted, since, timeout, streams.teller(scope))
        if not self._remote:
            watch.begin()
        return watch

    def diff(
        self,
        before: int | datetime,
        after: int | datetime | None = None,
        *,
        scope: Scope | None = None,
        prefix: str = "",
        correlation: Correlation = None,
    ) -> AsyncIterator[Difference]:
        """See `StateManager.diff`; iterate with ``async for``."""
        diff = partial(self.sync.diff, scope=scope, prefix=prefix, correlation=correlation)
        return self._iterate(partial(diff, before, after))

    async def timeline(
        self,
        correlation: str | None = None,
        *,
        scope: Scope | None = None,
        key: str | None = None,
        since: int | datetime | None = None,
        until: int | datetime | None = None,
        limit: int | None = None,
    ) -> Timeline:
        """See `StateManager.timeline`."""
        return await self._long(
            partial(
                self.sync.timeline,
                correlation,
                scope=scope,
                key=key,
                since=since,
                until=until,
                limit=limit,
            )
        )

    async def inspect(
        self,
        scope: Scope,
        key: str,
        *,
        revision: int | None = None,
        correlation: Correlation = None,
    ) -> Inspection | None:
        """See `StateManager.inspect`."""
        inspect = partial(self.sync.inspect, revision=revision, correlation=correlation)
        return await self._read(partial(inspect, scope, key))

    # --- the store itself -----------------------------------------------------------------

    async def find_commit(
        self, commit_id: bytes | str, *, since: int = 0, correlation: Correlation = None
    ) -> int | None:
        """See `StateManager.find_commit`."""
        find = self.sync.find_commit
        return await self._off(partial(find, commit_id, since=since, correlation=correlation))

    @property
    def metrics(self) -> Metrics:
        """See `StateManager.metrics`."""
        return self.sync.metrics

    async def stats(
        self, scope: Scope | None = None, *, correlation: Correlation = None
    ) -> ScopeStats:
        """See `StateManager.stats`."""
        return self.sync.stats(scope, correlation=correlation)

    async def analyze(
        self,
        scope: Scope | None = None,
        *,
        window: timedelta = timedelta(days=7),
        top: int = 10,
        correlation: Correlation = None,
    ) -> Analysis:
        """See `StateManager.analyze`."""
        analyze = partial(self.sync.analyze, window=window, top=top, correlation=correlation)
        return await self._off(partial(analyze, scope))

    async def info(self, *, correlation: Correlation = None) -> dict[str, Any]:
        """See `StateManager.info`."""
        return await self._off(partial(self.sync.info, correlation=correlation))

    async def health(self, *, correlation: Correlation = None) -> Health:
        """See `StateManager.health`."""
        return await self._off(partial(self.sync.health, correlation=correlation))

    async def verify(
        self,
        *,
        progress: Callable[[int], None] | None = None,
        correlation: Correlation = None,
    ) -> list[Problem]:
        """See `StateManager.verify`; `progress` is called from a thread."""
        verify = partial(self.sync.verify, progress=progress, correlation=correlation)
        return await self._off(verify)

    async def retention(self, *, correlation: Correlation = None) -> list[HistoryPolicy]:
        """See `StateManager.retention`."""
        return await self._read(partial(self.sync.retention, correlation=correlation))

    async def copy_to(
        self,
        target: str | os.PathLike[str],
        *,
        progress: Callable[[int, int], None] | None = None,
        correlation: Correlation = None,
    ) -> CopyReport:
        """See `StateManager.copy_to`; `progress` is called from a thread."""
        copy_to = partial(self.sync.copy_to, progress=progress, correlation=correlation)
        return await self._off(partial(copy_to, target))

    def export_lines(self, *, correlation: Correlation = None) -> AsyncIterator[str]:
        """See `StateManager.export_lines`; iterate with ``async for``."""
        return self._iterate(partial(self.sync.export_lines, correlation=correlation))

    async def close(self) -> None:
        """See `StateManager.close`."""
        try:
            if not self._kernel.closed:
                await self._off(self.sync.close)
        finally:
            self._pool.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- inside ---------------------------------------------------------------------------

    def _make_pool(self) -> None:
        self._pid = os.getpid()
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="holdfast-aio")

    async def _off(self, call: Callable[[], T]) -> T:
        """Run a call in the pool; once started it finishes, whoever stopped waiting."""
        return await asyncio.wrap_future(self._submit(call))

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        if self._pid != os.getpid():  # forked: the pool's threads are the parent's
            self._make_pool()
        try:
            return self._pool.submit(copy_context().run, call)  # the correlation goes along
        except RuntimeError:  # it was shut down
            raise ClosedError("the store is closed") from None

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
                call = self._submit(partial(_take, iterator, _PAGE))
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


def _take(iterator: Iterator[T], count: int) -> list[T]:
    out: list[T] = []
    for item in iterator:
        out.append(item)
        if len(out) == count:
            break
    return out
