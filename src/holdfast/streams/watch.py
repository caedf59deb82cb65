"""`Watch`: the changes of a store as they happen, from any position on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from holdfast.clock import Clock
from holdfast.errors import ClosedError, EngineError, StateError
from holdfast.store.kernel import Kernel
from holdfast.store.paging import Item, Wanted
from holdfast.store.position import Position
from holdfast.streams.bell import Bell, Ringer
from holdfast.streams.source import is_absence
from holdfast.streams.tail import Tail

_PAGE = 256


class Following:
    """What a watch knows and does, without waiting: the same for threads and for tasks.

    Attributes:
        bell: Rings when there may be more.
        position: Everything up to here has been told.
    """

    def __init__(self, kernel: Kernel, ringer: Ringer, wanted: Wanted, position: Position) -> None:
        self._kernel = kernel
        self._ringer = ringer
        self._tail = Tail(kernel, wanted, position)
        self._page: deque[Item] = deque()
        self._hashes: dict[int, bytes] = {}
        self._told = 0  # the revision of what was told last
        self._reading = threading.Lock()  # a task that gives up leaves its read behind, in a thread
        self.bell: Bell = ringer.bell()
        self.position = position
        self.ended = False

    def take(self) -> Item | None:
        """Return the next change that has been read; None where there is none."""
        if not self._page:
            return None
        item = self._page.popleft()
        # A commit has been told when the next one begins.
        if item.revision != self._told and self._told:
            self.position = Position(self._told, self._hashes[self._told])
        self._told = item.revision
        if not self._page:
            self._settle()
        return item

    def read(self) -> bool:
        """Read the next page; say whether there may be something to take, or more to read."""
        with self._reading:
            return self._read()

    def _read(self) -> bool:
        if self._page:
            return True
        if self._kernel.closed or self._ringer.closed:
            self.ended = True
        if self.ended:
            return False
        self.bell.reset()
        self._ringer.keep(self.bell)
        try:
            page = self._tail.read(_PAGE)
        except ClosedError:
            self.ended = True
            return False
        except EngineError as error:
            if is_absence(self._kernel, error):
                return False
            raise
        if page is None:
            return False
        self._hashes, self._told = page.hashes, 0
        if not page.items:
            self._settle()
        self._page.extend(page.items)
        return True

    def _settle(self) -> None:
        """Note that all of a page has been told."""
        self.position, self._told = self._tail.position, 0

    def end(self) -> None:
        """Tell nothing more, and wake who waits."""
        self.ended = True
        self._ringer.remove(self.bell)
        self.bell.ring()


class Watch:
    """Changes, and events if wanted, in the order of commits; made by `StateReader.watch`.

    Iterate over it, in one thread at a time. It ends when the store is closed, when `stop` or
    `close` is called (from any thread), or when nothing has come for its timeout. Between two
    changes it holds nothing open: a slow reader holds up nobody.
    """

    def __init__(
        self,
        following: Following,
        ringer: Ringer,
        clock: Clock,
        timeout: float | None,
        tell: Callable[[StateError], None],
    ) -> None:
        self._following = following
        self._ringer = ringer
        self._now_ns = clock.now_ns
        self._timeout = timeout
        self._tell = tell

    @property
    def position(self) -> Position:
        """Where to go on later: everything up to here has been told.

        In the middle of a commit of several changes, it is the commit before.
        """
        return self._following.position

    def stop(self) -> None:
        """End the iteration, also while it waits; what has been read already is not told."""
        self._following.end()

    close = stop

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        following, now_ns = self._following, self._now_ns
        until_ns: int | None = None
        while not following.ended:
            item = following.take()
            if item is not None:
                return item
            try:
                if following.read():
                    continue
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
            self._ringer.wait(following.bell, left)
        following.end()
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
