"""Calls end although a server is silent: a thread cuts the connection that waits too long.

A stopped machine, or one behind a partition, keeps its sockets open and says nothing; neither
libpq nor the kernel gives up on it within a useful time.
"""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType
from typing import Protocol


class Cuttable(Protocol):
    """Something that waits and can be stopped from another thread."""

    def cut(self) -> None:
        """Stop waiting, with an error."""
        ...


class Budget:
    """The seconds that one call may still spend waiting for the server."""

    __slots__ = ("left",)

    def __init__(self, seconds: float) -> None:
        self.left = seconds


class Watch:
    """While it is open, somebody waits; it is spent from the call's budget."""

    __slots__ = ("_began", "_budget", "_dog", "_who")

    def __init__(self, dog: Watchdog, who: Cuttable, budget: Budget) -> None:
        self._dog, self._who, self._budget = dog, who, budget

    def __enter__(self) -> None:
        self._began = now = time.monotonic()
        self._dog.arm(self._who, now + max(0.0, self._budget.left))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._dog.disarm(self._who)
        self._budget.left -= time.monotonic() - self._began


class Watchdog:
    """One thread that cuts whoever is overdue. It starts with the first watch."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._due: dict[Cuttable, float] = {}
        self._wakes = -math.inf  # when the thread looks next; -inf: there is no thread
        self._stopped = False

    def watch(self, who: Cuttable, budget: Budget) -> Watch:
        """Return a context in which `who` may wait as long as `budget` has left."""
        return Watch(self, who, budget)

    def arm(self, who: Cuttable, due: float) -> None:
        """Cut `who` at `due` (monotonic seconds) unless it is disarmed before."""
        with self._condition:
            self._due[who] = due
            if self._wakes == -math.inf:
                self._wakes = due
                threading.Thread(
                    target=self._run, name="holdfast-postgres-watchdog", daemon=True
                ).start()
            elif due < self._wakes:
                self._wakes = due
                self._condition.notify()

    def disarm(self, who: Cuttable) -> None:
        """Leave `who` alone; it is not being cut when this returns."""
        with self._condition:
            self._due.pop(who, None)

    def stop(self) -> None:
        """End the thread."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def _run(self) -> None:
        with self._condition:
            while not self._stopped:
                now = time.monotonic()
                # A watch that ended leaves its time behind, so that the next one, which ends
                # later, need not wake the thread.
                if now >= self._wakes:
                    for who in [who for who, due in self._due.items() if due <= now]:
                        del self._due[who]
                        who.cut()
                    self._wakes = min(self._due.values(), default=math.inf)
                self._condition.wait(None if self._wakes == math.inf else self._wakes - now)
