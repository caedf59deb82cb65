"""The connections of one handle: taken for a call, given back, thrown away when they fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.engines.postgres import failure
from holdfast.engines.postgres.deadline import Budget, Watchdog
from holdfast.engines.postgres.library import Link, Pool, Target, psycopg_pool
from holdfast.engines.postgres.talk import Talk
from holdfast.errors import BusyError, ClosedError, EngineError, ForkedError, StateError

#: Seconds for which a server that could not be reached counts as down for everybody.
_DOWN = 1.0
#: Seconds between looks at why there is no connection yet.
_SLICE = 0.5


class Connections:
    """A pool with a deadline on everything.

    Args:
        target: What to connect to.
        size: The most connections.
        timeout: Seconds that a call may wait.
    """

    def __init__(self, target: Target, size: int, timeout: float) -> None:
        self.target = target
        self.timeout = timeout
        self.size = size
        self.dog = Watchdog()
        self.trips = self.lost = 0
        self._pool = Pool(target, size)
        self._pool.open()
        self._gate = threading.Condition(threading.Lock())
        self._taken: set[Link] = set()
        self._closed = self._forked = False
        self._down: tuple[float, StateError] | None = None

    def budget(self) -> Budget:
        """Return the time of a new call."""
        return Budget(self.timeout)

    @contextmanager
    def talk(self, budget: Budget) -> Iterator[Talk]:
        """Take a connection for the length of a conversation."""
        talk = Talk(self.take(budget), budget, self.dog)
        try:
            yield talk
        finally:
            self.give(talk)

    def take(self, budget: Budget) -> Link:
        """Return a connection that nobody else uses.

        Raises:
            ClosedError, ForkedError: The handle cannot be used.
            BusyError: All are in use for too long.
            EngineError: The server cannot be reached.
        """
        self.refuse()
        if self._down is not None and not self._pool.get_stats().get("pool_available"):
            until, error = self._down
            if time.monotonic() < until:
                raise type(error)(error.message, hint=error.hint)
        link = self._wait(budget)
        self._down = None
        with self._gate:
            if not self._closed:
                self._taken.add(link)
                return link
        self._pool.putconn(link)
        raise self.closed()

    def _wait(self, budget: Budget) -> Link:
        while True:
            began = time.monotonic()
            try:
                return self._pool.getconn(max(0.001, min(_SLICE, budget.left)))
            except psycopg_pool.PoolClosed:
                raise self.closed() from None
            except psycopg_pool.PoolTimeout:
                budget.left -= time.monotonic() - began
            self.refuse()
            trouble = self._pool.trouble.error
            why = None if trouble is None else failure.refused(trouble, self.target)
            if why is not None and not isinstance(why, EngineError):
                raise why  # waiting does not help against a wrong password
            if budget.left <= 0:
                error = why or self._exhausted()
                self._down = (time.monotonic() + _DOWN, error)
                raise error

    def _exhausted(self) -> StateError:
        with self._gate:
            used = len(self._taken)
        if used >= self.size:
            return BusyError(
                f"all {self.size} connections to {self.target.place} are in use",
                hint="raise pool_size, or work with fewer threads",
            )
        return EngineError(
            f"cannot connect to {self.target.place}: the server did not answer in time",
            hint="check the server and the network; the option timeout sets how long to wait",
        )

    def give(self, talk: Talk) -> None:
        """Take a connection back; one that failed, or is in a transaction, is thrown away."""
        link = talk.link
        self.trips += talk.trips
        if not link.idle:
            link.close()
            self.lost += 1
        self._pool.putconn(link)
        with self._gate:
            self._taken.discard(link)
            if self._closed:
                self._gate.notify_all()

    def renew(self) -> None:
        """Throw idle connections away too: whatever broke one has likely broken the others."""
        self._pool.drain()

    def refuse(self) -> None:
        """Raise if the handle cannot be used.

        Raises:
            ClosedError, ForkedError: It cannot.
        """
        if self._forked:
            raise ForkedError(
                "this Postgres handle was opened before a fork, in the parent process"
            )
        if self._closed:
            raise self.closed()

    def closed(self) -> StateError:
        """Say that the handle was closed."""
        return ClosedError("the Postgres store is closed")

    @property
    def dead(self) -> bool:
        """Say whether the handle is closed, or the parent's."""
        return self._closed or self._forked

    def figures(self) -> dict[str, int]:
        """Return figures of the pool."""
        found = self._pool.get_stats()
        names = ("pool_max", "pool_size", "pool_available", "requests_waiting")
        return {
            **{name: found.get(name, 0) for name in names},
            "connections_made": found.get("connections_num", 0),
            "connections_lost": self.lost,
            "round_trips": self.trips,
        }

    def close(self) -> None:
        """Let calls under way end, cut those that do not, and disconnect."""
        with self._gate:
            if self.dead:
                return
            self._closed = True
            if not self._gate.wait_for(lambda: not self._taken, self.timeout):
                for link in self._taken:
                    link.cut()
        self._pool.close(timeout=self.timeout)
        self.dog.stop()

    def disown(self) -> list[object]:
        """Refuse everything: this is a child. Return what MUST NOT be freed here."""
        self._forked = True
        self._gate = threading.Condition(threading.Lock())
        return [self._pool, self.dog, *self._taken]
