"""Bells and their ringer: wake whoever waits for the journal to grow.

Inside one process the feed of commits rings. Where others may write too, one thread looks at the
journal's heads now and then, only while somebody waits.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import DegradedError, StateError
from holdfast.failover.kernel import FailoverKernel
from holdfast.store import layout
from holdfast.streams.source import source_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.store.feed import Commit
    from holdfast.store.kernel import Kernel

#: Seconds between looks at the heads of a store that other processes write.
NEAR, REMOTE = 0.025, 0.075
_LONG = 3600.0


class Bell:
    """Something to wait on, of a thread or of a task. It may ring for nothing."""

    __slots__ = ("__weakref__", "_event", "_future", "_loop", "until_ns", "waits")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: asyncio.Future[None] | None = None
        self.waits = False  # somebody does now
        self.until_ns: int | None = None  # when a waiting task is to be woken at the latest

    def ring(self) -> None:
        """Wake who waits, or the next one who would."""
        if self._event.is_set():
            return
        self._event.set()
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop closed this very moment
                loop.call_soon_threadsafe(self._wake)

    def reset(self) -> None:
        """Take note of what rang so far; to be called before looking, never after."""
        self._event.clear()

    def wait(self, wait: Callable[[threading.Event, float], bool], seconds: float) -> None:
        """Wait in a thread until it rings, or so long; `wait` is the clock's."""
        wait(self._event, seconds)

    async def wait_async(self) -> None:
        """Wait in a task until it rings."""
        self._loop = asyncio.get_running_loop()
        self._future = self._loop.create_future()
        try:
            if not self._event.is_set():  # it rang before `_loop` was there
                await self._future
        finally:
            self._loop = self._future = None

    def _wake(self) -> None:
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)


class Ringer:
    """Rings the bells of one store. Costs nothing while nobody has one."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.closed = False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        # A lock that its holder may take again: a collected bell's owner may tidy up meanwhile.
        self._mutex = threading.RLock()
        self._bells: tuple[weakref.ref[Bell], ...] = ()
        self._unsubscribe: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None
        self._stir = threading.Event()
        self._wakes_ns: int | None = None
        self._heads: list[bytes | None] | None = None
        self.looks = 0

    def bell(self) -> Bell:
        """Return a bell that rings at commits from now on, as long as it is referred to."""
        bell = Bell()
        self.add(bell)
        return bell

    def add(self, bell: Bell) -> None:
        """Ring `bell` too."""
        if self._pid != os.getpid():  # the thread, and the holders of locks, are the parent's
            self._begin()
        with self._mutex:
            alive = tuple(each for each in self._bells if each() not in (None, bell))
            self._bells = (*alive, weakref.ref(bell))
            if self._unsubscribe is None:
                self._unsubscribe = self._kernel.feed.subscribe(self._told)
        if self.closed:
            bell.ring()

    def keep(self, bell: Bell) -> None:
        """Ring `bell` in this process, too, if it was made in the one that forked it."""
        if self._pid != os.getpid():
            self.add(bell)

    def remove(self, bell: Bell) -> None:
        """Ring `bell` no more."""
        if self._pid != os.getpid():
            return
        with self._mutex:
            self._bells = tuple(each for each in self._bells if each() not in (None, bell))
            self._hush()

    def ring(self) -> None:
        """Ring every bell."""
        gone = False
        for each in self._bells:
            bell = each()
            if bell is None:
                gone = True
            else:
                bell.ring()
        if gone and self._mutex.acquire(blocking=False):  # else whoever has it tidies up
            try:
                self._bells = tuple(each for each in self._bells if each() is not None)
                self._hush()
            finally:
                self._mutex.release()

    def close(self) -> None:
        """Ring for the last time: the store closes."""
        self.closed = True
        self._stir.set()
        self.ring()

    def wait(self, bell: Bell, seconds: float | None) -> None:
        """Wait in a thread for the bell, or so long."""
        bell.waits = True
        try:
            self._attend(None)
            if not self.closed:
                bell.wait(self._kernel.clock.wait, _LONG if seconds is None else seconds)
        finally:
            bell.waits = False

    async def wait_async(self, bell: Bell, seconds: float | None) -> None:
        """Wait in a task for the bell, or so long by the store's clock."""
        if seconds is not None:
            bell.until_ns = self._kernel.clock.now_ns() + round(seconds * 1e9)
        bell.waits = True
        try:
            self._attend(bell.until_ns)
            if not self.closed:
                await bell.wait_async()
        finally:
            bell.waits, bell.until_ns = False, None

    # --- inside ---------------------------------------------------------------------------

    def _hush(self) -> None:
        if not self._bells and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _told(self, _: Sequence[Commit]) -> None:
        self.ring()

    def _every(self) -> float | None:
        """Return the seconds between looks; None where all commits are this process's own."""
        kernel = self._kernel
        traits = kernel.engine.traits
        if traits.remote:
            return REMOTE
        watched = traits.shared or kernel.settings.read_only or isinstance(kernel, FailoverKernel)
        return NEAR if watched else None

    def _attend(self, until_ns: int | None) -> None:
        """Make sure that the thread runs where it is needed, and wakes in time.

        Who waits says so before this is called, and the thread says when it will wake before it
        looks who waits: so neither overlooks the other.
        """
        if until_ns is None and self._every() is None:
            return
        if self._thread is None:
            with self._mutex:
                if self._thread is None and not self.closed:
                    self._thread = threading.Thread(
                        target=self._serve, name="holdfast-watch", daemon=True
                    )
                    self._thread.start()
        wakes = self._wakes_ns
        if wakes is None or (until_ns is not None and until_ns < wakes):
            self._stir.set()

    def _serve(self) -> None:
        clock = self._kernel.clock
        while not self.closed:
            self._wakes_ns = None
            seconds = self._pause(clock.now_ns())
            if seconds is not None:
                self._wakes_ns = clock.now_ns() + round(seconds * 1e9)
            clock.wait(self._stir, _LONG if seconds is None else seconds)
            self._stir.clear()
            if seconds is not None and not self.closed:
                self._ring_late(clock.now_ns())
                if self._every() is not None:
                    self._look()

    def _waiting(self) -> list[Bell]:
        return [bell for each in self._bells if (bell := each()) is not None and bell.waits]

    def _pause(self, now_ns: int) -> float | None:
        """Return how long nothing is to be done; None while nobody waits."""
        waiting, every = self._waiting(), self._every()
        due = [(bell.until_ns - now_ns) / 1e9 for bell in waiting if bell.until_ns is not None]
        if waiting and every is not None:
            due.append(every)
        return max(0.0, min(due)) if due else None

    def _ring_late(self, now_ns: int) -> None:
        for bell in self._waiting():
            if bell.until_ns is not None and bell.until_ns <= now_ns:
                bell.ring()

    def _look(self) -> None:
        """Ring if the journal has grown, or cannot be read: who waits then finds out why."""
        self.looks += 1
        try:
            source = source_of(self._kernel)
            keys = [layout.head_key(partition) for partition in source.partitions.all]
            heads = source.engine.get_many(keys)
        except DegradedError:
            return  # it comes back, or the store is closed
        except StateError:
            heads = None
        if heads is None or heads != self._heads:
            self._heads = heads
            self.ring()
