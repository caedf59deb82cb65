"""`Consumer`: a named cursor over the journal that survives whoever works for it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

from holdfast.errors import InvalidArgumentError, LeaseLostError, StateError
from holdfast.store.paging import Item
from holdfast.streams.batch import Batch
from holdfast.streams.consumers import Consumers, DeadLetter
from holdfast.streams.desk import Counts, Desk
from holdfast.streams.source import is_absence
from holdfast.streams.streams import Correlation, Streams, check_timeout

_GLANCE = 0.1  # seconds between looks at an event that is not ours
By = Literal["change", "batch"]


class Consumer:
    """Works through the journal in batches, at least once; made by `StateManager.consumer`.

    Whoever acknowledged last goes on from there, in this process or in another. Several may share
    a name: one of them has the lease, and the others stand by. Use it from one thread at a time;
    `stop` may be called from any.

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
        correlation: Correlation = None,
    ) -> None:
        self._streams = streams
        self._consumers = consumers
        self._desk = desk
        self._correlation = correlation
        self._running = False
        self.name = name
        self.counts: Counts = desk.counts

    # --- pulling --------------------------------------------------------------------------

    def poll(self, timeout: float | None = None) -> Batch | None:
        """Return the next batch, waiting for one; None at the end.

        Args:
            timeout: Seconds to wait at most; 0 not to wait; None until `stop`, or the store closes.

        Raises:
            HorizonError: The journal was trimmed behind the cursor; see `Consumers.reset`.
            DivergedError: The cursor belongs to another history.
        """
        check_timeout(timeout)
        with self._streams.told("consume", self._correlation):
            return self._poll(timeout, None)

    def _poll(self, timeout: float | None, stop: threading.Event | None) -> Batch | None:
        desk, now_ns = self._desk, self._streams.kernel.clock.now_ns
        until_ns = None if timeout is None else now_ns() + round(timeout * 1e9)
        while not (stop is not None and stop.is_set()):
            found = desk.step()
            if isinstance(found, Batch):
                return found
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
                self._streams.ringer.wait(desk.bell, min(bounds, default=None))
            finally:
                desk.waiting = False
        return None

    def __iter__(self) -> Iterator[Batch]:
        while (batch := self.poll()) is not None:
            yield batch

    # --- pushing --------------------------------------------------------------------------

    def run(
        self,
        handler: Callable[[Any], object],
        *,
        by: By = "change",
        stop: threading.Event | None = None,
        timeout: float | None = None,
    ) -> None:
        """Call `handler` for every change, or for every batch, and acknowledge what it did.

        An exception of the handler is a failed attempt. A lease that is lost, or a primary that
        is away, is not the handler's business: what was not acknowledged is delivered again.

        Args:
            handler: Gets a `Change` or `StateEvent`; a `Batch` with ``by="batch"``, whose
                exceptions make its changes come again one by one.
            by: What the handler gets.
            stop: Set it to end after the change under way; or call `Consumer.stop`.
            timeout: End when nothing has come for so many seconds; 0 works off what is there.

        Raises:
            InvalidArgumentError: `handler` is a coroutine function: await an `AsyncConsumer`.
            HorizonError, DivergedError: See `poll`.
        """
        check_timeout(timeout)
        check_by(by)
        if inspect.iscoroutinefunction(handler):
            raise InvalidArgumentError(
                "a handler of this face is a plain function",
                hint="holdfast.open_async has consumers that await",
            )
        with self._streams.told("consume", self._correlation):
            self._run(handler, by, stop, timeout)

    def _run(
        self,
        handler: Callable[[Any], object],
        by: By,
        stop: threading.Event | None,
        timeout: float | None,
    ) -> None:
        self._running = True
        try:
            while (batch := self._poll(timeout, stop)) is not None:
                try:
                    self._work(batch, handler, by, stop)
                except LeaseLostError:
                    continue
                except StateError as error:
                    if not is_absence(self._streams.kernel, error):
                        raise
                if self._desk.ended or (stop is not None and stop.is_set()):
                    break
        finally:
            self._running = False  # before looking: `stop` says first that it ends, and looks then
            if self._desk.ended:
                self._desk.end()

    def _work(
        self, batch: Batch, handler: Callable[[Any], object], by: By, stop: threading.Event | None
    ) -> None:
        done: Item | None = None
        try:
            if by == "batch":
                _call(handler, batch)
            else:
                for done in batch:
                    _call(handler, done)
                    if self._desk.ended or (stop is not None and stop.is_set()):
                        break
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is a failed attempt
            batch.nack(done, error)
            return
        except BaseException:
            with suppress(StateError):
                self._ack_before(batch, done)
            raise
        batch.ack(done)

    @staticmethod
    def _ack_before(batch: Batch, failed: Item | None) -> None:
        """Acknowledge what was done before the handler was interrupted."""
        before = None
        for each in batch:
            if each is failed:
                break
            before = each
        if failed is not None and before is not None:
            batch.ack(before)

    # --- dead letters ---------------------------------------------------------------------

    def dead_letters(self, *, correlation: Correlation = None) -> Iterator[DeadLetter]:
        """Yield the changes that were given up, oldest first."""
        return self._consumers.dead_letters(self.name, correlation=correlation)

    def replay(self, id: str | None = None, *, correlation: Correlation = None) -> int:
        """Have a dead letter, or all of them, tried again; return how many.

        They come before anything new, so not in the order of their keys' other changes.
        """
        return self._consumers.replay(self.name, id, correlation=correlation)

    def discard(self, id: str, *, correlation: Correlation = None) -> None:
        """Forget a dead letter."""
        self._consumers.discard(self.name, id, correlation=correlation)

    # --- end ------------------------------------------------------------------------------

    def stop(self) -> None:
        """End every `poll`, loop and `run`, and give the lease back. From any thread.

        A `run` ends, and gives it back, when the change under way is done and acknowledged.
        """
        self._desk.halt()
        if not self._running:
            self._desk.end()

    close = stop

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
        return f"<Consumer {self.name!r}>"


def _call(handler: Callable[[Any], object], what: object) -> None:
    answer = handler(what)
    if inspect.iscoroutine(answer):  # to acknowledge it would lose the change
        answer.close()
        raise TypeError("the handler returned a coroutine, which nobody awaits")


def check_by(by: str) -> None:
    """Refuse what a handler cannot get.

    Raises:
        InvalidArgumentError: It is neither ``"change"`` nor ``"batch"``.
    """
    if by not in ("change", "batch"):
        raise InvalidArgumentError('by must be "change" or "batch"')
