"""Watches, awaited: the same decisions as the synchronous ones, with tasks that wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self, TypeVar

from holdfast.errors import ClosedError, InvalidArgumentError, StateError
from holdfast.store.paging import Item, Wanted
from holdfast.store.position import Position
from holdfast.streams.bell import Ringer
from holdfast.streams.streams import Since, Streams, check_timeout
from holdfast.streams.watch import Following

T = TypeVar("T")


class Off(Protocol):
    """Runs a call in a pool of threads."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
        """Return the call's result once it has one."""
        ...


class AsyncWatch:
    """See `Watch`; iterate with ``async for``, in one task at a time.

    Embedded stores are watched from the call on; those whose every read is a round trip from the
    first step, or from ``async with``.
    """

    def __init__(
        self,
        streams: Streams,
        off: Off,
        wanted: Wanted,
        since: Since,
        timeout: float | None,
        tell: Callable[[StateError], None],
    ) -> None:
        check_timeout(timeout)
        self._tell = tell
        self._streams, self._off = streams, off
        self._wanted, self._since, self._timeout = wanted, since, timeout
        self._following: Following | None = None
        self._stopped = False

    def begin(self) -> Following:
        """Fix where the watch begins."""
        if self._following is None:
            try:
                self._following = self._streams.follow(self._wanted, self._since)
            except StateError as error:
                self._tell(error)
                raise
            if self._stopped:
                self._following.end()
        return self._following

    @property
    def position(self) -> Position:
        """See `Watch.position`."""
        if self._following is None:
            raise InvalidArgumentError("the watch has not begun")
        return self._following.position

    def stop(self) -> None:
        """See `Watch.stop`; may be called from any thread."""
        self._stopped = True
        if self._following is not None:
            self._following.end()

    async def aclose(self) -> None:
        """End the iteration."""
        self.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        following = self._following
        if following is None:
            following = await self._off(self.begin)
        item = following.take()
        return item if item is not None else await self._next(following)

    async def _next(self, following: Following) -> Item:
        ringer: Ringer = self._streams.ringer
        now_ns = self._streams.kernel.clock.now_ns
        until_ns: int | None = None
        while not following.ended:
            item = following.take()
            if item is not None:
                return item
            try:
                if await self._off(following.read):
                    continue
            except ClosedError:
                break
            except StateError as error:
                following.end()
                self._tell(error)
                raise
            if self._timeout is not None:
                now = now_ns()
                until_ns = now + round(self._timeout * 1e9) if until_ns is None else until_ns
                if now >= until_ns:
                    break
            if following.ended:  # its ring may have been taken for an older one
                break
            left = None if until_ns is None else (until_ns - now) / 1e9
            await ringer.wait_async(following.bell, left)
        following.end()
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        if self._following is None:
            await self._off(self.begin)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
