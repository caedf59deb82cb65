"""What the cases ask of a contender. It knows no library and no case.

A store offers what its own API offers; where there is no equivalent, `NotOfferedError` says why,
and the table shows that instead of a figure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

#: Whose state (an agent's number), and under which key.
Place = tuple[int, str]
Item = tuple[Place, Any]


class NotOfferedError(Exception):
    """The API has no equivalent of the work."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where a contender makes its store.

    Attributes:
        path: A path that nothing is at, in a directory of its own.
        postgres: A connection string to an empty database, if the contender wants one.
    """

    path: Path
    postgres: str = ""


def agent(number: int) -> str:
    """Return the name of an agent."""
    return f"agent-{number:05d}"


class Peer:
    """A store that blocks its caller. Each method does the work as the library's page would.

    Attributes:
        package: The distribution whose version is told; None for Python itself.
        requires: The modules without which the contender is left out.
        server: Needs a Postgres database.
        threads: Callers of a blocking API that want to wait without blocking their loop use
            threads; false where calls neither block nor differ from calling inline.
        last_only: `get` returns what was set last, whatever the key.
    """

    package: str | None = None
    requires: tuple[str, ...] = ()
    server: bool = False
    threads: bool = True
    last_only: bool = False

    def open(self, room: Room) -> None:
        """Open the store."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the store."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Return what the store itself says of its durability."""
        return {}

    def set(self, place: Place, value: Any) -> None:
        """Store a value; as durable as the contender says when this returns."""
        raise NotOfferedError("no values by key")

    def get(self, place: Place) -> Any:
        """Return a value."""
        raise NotOfferedError("no values by key")

    def set_many(self, items: Sequence[Item]) -> None:
        """Store many values, by the API's batch if it has one."""
        for place, value in items:
            self.set(place, value)

    def keys(self, owner: int) -> list[str]:
        """Return the keys of an agent."""
        raise NotOfferedError("no listing of keys")

    def increment(self, place: Place) -> None:
        """Add 1 to a number in one atomic operation of the API."""
        raise NotOfferedError("no atomic increment")

    def modify(self, place: Place) -> None:
        """Add 1 by reading, changing and writing, as safely as the API lets one."""
        value = self.get(place)
        self.set(place, {"n": value["n"] + 1})

    # What each of a thousand tasks calls; only a store with an API of its own for that differs.

    def set_together(self) -> Callable[[Place, Any], Any]:
        """Return what one of many tasks calls to set a value."""
        return self._in_thread(self.set)

    def increment_together(self) -> Callable[[Place], Any]:
        """Return what one of many tasks calls to increment."""
        return self._in_thread(self.increment)

    def modify_together(self) -> Callable[[Place], Any]:
        """Return what one of many tasks calls to modify."""
        return self._in_thread(self.modify)

    def _in_thread(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return how a task that must not block its loop calls `work`."""
        return partial(asyncio.to_thread, work) if self.threads else work

    def number(self, place: Place) -> int:
        """Return the number that `increment` and `modify` count up."""
        return int(self.get(place)["n"])

    def start(self, place: Place) -> None:
        """Set that number to 0."""
        self.set(place, {"n": 0})

    def say(self, conversation: list[Any]) -> Any:
        """Store a conversation to which the last message was added; perhaps to be awaited."""
        return self.set((0, "conversation"), conversation)

    def said(self) -> Any:
        """Return the conversation; perhaps to be awaited."""
        return self.get((0, "conversation"))

    def versions(self) -> int:
        """Read every version of the conversation; return how many there are."""
        raise NotOfferedError("no versions of a value")

    def tidy(self) -> None:
        """Give space back as the library offers it, keeping what `versions` reads."""


class AwaitedPeer(Peer):
    """A store whose API is awaited: every method returns an awaitable of what is said above."""

    def _in_thread(self, work: Callable[..., Any]) -> Callable[..., Any]:
        return work
