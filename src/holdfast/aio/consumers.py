"""Durable consumers, awaited: the same desk as the synchronous ones, with tasks that wait."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from holdfast.aio.streams import Off
from holdfast.errors import ClosedError, LeaseLostError, StateError
from holdfast.store.paging import Item
from holdfast.streams.batch import Batch
from holdfast.streams.consumer import By, check_by
from holdfast.streams.consumers import Consumers, ConsumerStatus, DeadLetter, Start
from holdfast.streams.desk import Counts, Desk
from holdfast.streams.source import is_absence
from holdfast.streams.streams import Correlation, Streams, check_timeout

T = TypeVar("T")
_GLANCE = 0.1  # seconds between looks at an event that is not ours


class Iterate(Protocol):
    """Turns an iterator into an asynchronous one that works in a pool of threads."""

    def __call__(self, start: Callable[[], Iterator[T]], /) -> AsyncIterator[T]:
        """Return what `start` yields."""
        ...


class Flag(Protocol):
    """An `asyncio.Event`, or a `threading.Event`."""

    def is_set(self) -> bool:
        """Say whether it is set."""
        ...


class AsyncBatch:
    """See `Batch`."""

    def __init__(self, batch: Batch, off: Off) -> None:
        self._batch = batch
        self._off = off

    @property
    def changes(self) -> Sequence[Item]:
        """The changes."""
        return self._batch.changes

    @property
    def attempt(self) -> int:
        """How often the first of them is tried now; 1 for the first time."""
        return self._batch.attempt

    @property
    def replayed(self) -> bool:
        """Whether it is a dead letter that is tried again."""
        return self._batch.replayed

    async def ack(self, upto: Item | None = None) -> None:
        """See `Batch.ack`."""
        await self._off(partial(self._batch.ack, upto))

    async def nack(self, failed: Item | None = None, error: BaseException | str = "") -> None:
        """See `Batch.nack`."""
        await self._off(partial(self._batch.nack, failed, error))

    def __iter__(self) -> Iterator[Item]:
        return iter(self._batch)

    def __len__(self) -> int:
        return len(self._batch)

    def __repr__(self) -> str:
        return repr(self._batch)


class AsyncConsumer:
    """See `Consumer`; use it from one task at a time.

    Attributes:
        name: Its name.
        counts: What it has done in this process.
    """

    def __init__(
        self,
        streams: Streams,
        consumers: Consumers,
        name: str,
        desk: Desk,
        off: Off,
        iterate: Iterate,
        correlation: Correlation = None,
    ) -> None:
        self._correlation = correlation
        self._streams, self._consumers, self._desk = streams, consumers, desk
        self._off, self._iterate = off, iterate
        self._running = False
        self.name = name
        self.counts: Counts = desk.counts

    async def poll(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - by the store's clock
    ) -> AsyncBatch | None:
        """See `Consumer.poll`."""
        check_timeout(timeout)
        with self._streams.told("consume", self._correlation):
            return await self._poll(timeout, None)

    async def _poll(
        self,
        timeout: float | None,  # noqa: ASYNC109
        stop: Flag | None,
    ) -> AsyncBatch | None:
        desk, now_ns = self._desk, self._streams.kernel.clock.now_ns
        until_ns = None if timeout is None else now_ns() + round(timeout * 1e9)
        while not (stop is not None and stop.is_set()):
            try:
                found = await self._off(desk.step)
            except ClosedError:
                desk.halt()
                return None
            if isinstance(found, Batch):
                return AsyncBatch(found, self._off)
            if desk.ended:
                return None
            left = None if until_ns is None else (until_ns - now_ns()) / 1e9
            if left is not None and left <= 0:
                return None
            bounds = [each for each in (found, left) if each is not None]
            if stop is not None:
                bounds.append(_GLANCE)
            desk.waiting = True
            try:
                await self._streams.ringer.wait_async(desk.bell, min(bounds, default=None))
            finally:
                desk.waiting = False
        return None

    async def __aiter__(self) -> AsyncIterator[AsyncBatch]:
        while (batch := await self.poll()) is not None:
            yield batch

    async def run(
        self,
        handler: Callable[[Any], object] | Callable[[Any], Awaitable[object]],
        *,
        by: By = "change",
        stop: Flag | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        """See `Consumer.run`; `handler` may be a coroutine function."""
        check_timeout(timeout)
        check_by(by)
        with self._streams.told("consume", self._correlation):
            await self._run(handler, by, stop, timeout)

    async def _run(
        self,
        handler: Callable[[Any], object],
        by: By,
        stop: Flag | None,
        timeout: float | None,  # noqa: ASYNC109
    ) -> None:
        self._running = True
        try:
            while (batch := await self._poll(timeout, stop)) is not None:
                try:
                    await self._work(batch, handler, by, stop)
                except (LeaseLostError, ClosedError):
                    continue
                except StateError as error:
                    if not is_absence(self._streams.kernel, error):
                        raise
                if self._desk.ended or (stop is not None and stop.is_set()):
                    break
        finally:
            self._running = False  # before looking, as `Consumer.run`
            if self._desk.ended:
                await self._end()

    async def _work(
        self, batch: AsyncBatch, handler: Callable[[Any], object], by: By, stop: Flag | None
    ) -> None:
        done: Item | None = None
        try:
            if by == "batch":
                await _finished(handler(batch))
            else:
                for done in batch:
                    await _finished(handler(done))
                    if self._desk.ended or (stop is not None and stop.is_set()):
                        break
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is a failed attempt
            await batch.nack(done, error)
            return
        await batch.ack(done)

    def dead_letters(self, *, correlation: Correlation = None) -> AsyncIterator[DeadLetter]:
        """See `Consumer.dead_letters`; iterate with ``async for``."""
        letters = partial(self._consumers.dead_letters, correlation=correlation)
        return self._iterate(partial(letters, self.name))

    async def replay(self, id: str | None = None, *, correlation: Correlation = None) -> int:
        """See `Consumer.replay`."""
        replay = partial(self._consumers.replay, correlation=correlation)
        return await self._off(partial(replay, self.name, id))

    async def discard(self, id: str, *, correlation: Correlation = None) -> None:
        """See `Consumer.discard`."""
        discard = partial(self._consumers.discard, correlation=correlation)
        await self._off(partial(discard, self.name, id))

    def stop(self) -> None:
        """End every `poll`, loop and `run`; `close`, or the `run`, gives the lease back.

        From any thread.
        """
        self._desk.halt()

    async def close(self) -> None:
        """End it, and give the lease back; see `Consumer.stop`."""
        self._desk.halt()
        if not self._running:
            await self._end()

    async def _end(self) -> None:
        with suppress(ClosedError):  # closing the store has given it back
            await self._off(self._desk.end)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncConsumer {self.name!r}>"


async def _finished(result: object) -> None:
    if inspect.isawaitable(result):
        await result


class AsyncConsumers:
    """See `Consumers`."""

    def __init__(self, consumers: Consumers, off: Off, iterate: Iterate) -> None:
        self._consumers, self._off, self._iterate = consumers, off, iterate

    async def list(self, *, correlation: Correlation = None) -> list[ConsumerStatus]:
        """See `Consumers.list`."""
        return await self._off(partial(self._consumers.list, correlation=correlation))

    async def status(self, name: str, *, correlation: Correlation = None) -> ConsumerStatus:
        """See `Consumers.status`."""
        return await self._off(partial(self._consumers.status, name, correlation=correlation))

    def dead_letters(
        self, name: str, *, correlation: Correlation = None
    ) -> AsyncIterator[DeadLetter]:
        """See `Consumers.dead_letters`; iterate with ``async for``."""
        letters = partial(self._consumers.dead_letters, correlation=correlation)
        return self._iterate(partial(letters, name))

    async def reset(
        self, name: str, to: Start, *, correlation: Correlation = None
    ) -> ConsumerStatus:
        """See `Consumers.reset`."""
        return await self._off(partial(self._consumers.reset, name, to, correlation=correlation))

    async def delete(self, name: str, *, correlation: Correlation = None) -> bool:
        """See `Consumers.delete`."""
        return await self._off(partial(self._consumers.delete, name, correlation=correlation))

    async def replay(
        self, name: str, id: str | None = None, *, correlation: Correlation = None
    ) -> int:
        """See `Consumers.replay`."""
        return await self._off(partial(self._consumers.replay, name, id, correlation=correlation))

    async def discard(self, name: str, id: str, *, correlation: Correlation = None) -> None:
        """See `Consumers.discard`."""
        await self._off(partial(self._consumers.discard, name, id, correlation=correlation))
