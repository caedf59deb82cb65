"""Turns: who tries next on a key that many change at once.

An optimistic write that met a conflict queues here, first come, first served, before it reads
again: of a thousand callers that update one key, each then needs about two tries. A turn is a
courtesy within this process. Nothing is locked by it, other processes know nothing of it, and
whoever waits too long goes on without.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from holdfast.errors import ConflictError

#: Seconds after which a caller goes on without its turn (its holder may think, or wait for us).
PATIENCE: Final = 10.0


class Turns:
    """The queues of one store, by key."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """Forget who waited: they are not here."""
        self._mutex = threading.Lock()
        self._waiting: dict[str, deque[Callable[[], object]]] = {}

    def wait(self, conflict: ConflictError) -> str | None:
        """Wait for the turn on the key of a conflict; return it, for `leave`, or None for none."""
        key = _key_of(conflict)
        gate = threading.Lock()
        gate.acquire()
        if key is None or self._enter(key, gate.release) or gate.acquire(timeout=PATIENCE):
            return key
        self._give_up(key, gate.release)
        return None

    async def wait_async(self, conflict: ConflictError) -> str | None:
        """Await the turn; as `wait`. A caller that is cancelled gives its place up."""
        key = _key_of(conflict)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        wake = partial(loop.call_soon_threadsafe, _finish, future)
        if key is None or self._enter(key, wake):
            return key
        try:
            await asyncio.wait_for(future, PATIENCE)
        except TimeoutError:
            self._give_up(key, wake)
            return None
        except asyncio.CancelledError:
            self._give_up(key, wake)
            raise
        return key

    def leave(self, key: str | None) -> None:
        """Give the turn on `key` to who waits longest."""
        while key is not None:
            with self._mutex:
                queue = self._waiting.get(key)
                if not queue:
                    self._waiting.pop(key, None)
                    return
                wake = queue.popleft()
            try:
                wake()
            except RuntimeError:  # its event loop is closed: it waits no longer
                continue
            return

    def _enter(self, key: str, wake: Callable[[], object]) -> bool:
        with self._mutex:
            queue = self._waiting.get(key)
            if queue is None:
                self._waiting[key] = deque()
                return True
            queue.append(wake)
            return False

    def _give_up(self, key: str, wake: Callable[[], object]) -> None:
        with self._mutex:
            try:
                self._waiting.get(key, deque()).remove(wake)
            except ValueError:
                pass
            else:
                return
        self.leave(key)  # it had come in this very moment


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _key_of(conflict: ConflictError) -> str | None:
    return None if conflict.key is None else f"{conflict.scope}/{conflict.key}"
