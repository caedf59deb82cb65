"""Holdfast as a contender: one class, an engine and a durability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import holdfast
from benchmarks.data import scope_of
from benchmarks.peers.peer import Item, Peer, Place, Room
from holdfast import AsyncStateManager, SetOperation, StateManager


class Holdfast(Peer):
    """Holdfast with its defaults, and the durability that is asked."""

    package = None

    def __init__(self, engine: str, durability: str) -> None:
        self._engine = engine
        self._durability = durability
        self.server = engine == "postgres"
        self.requires = {
            "rocksdb": ("rocksdict",),
            "postgres": ("psycopg", "holdfast.engines.postgres"),
        }.get(engine, ())
        self._state: StateManager
        self._async: AsyncStateManager

    def open(self, room: Room) -> None:
        url = {"memory": "memory:", "postgres": room.postgres}.get(
            self._engine, f"{self._engine}:{room.path}"
        )
        self._state = holdfast.open(url)
        self._async = AsyncStateManager(self._state)

    def close(self) -> None:
        self._state.close()

    def facts(self) -> dict[str, Any]:
        return {"durability": self._durability, "engine": self._engine}

    def set(self, place: Place, value: Any) -> None:
        self._state.set(scope_of(place[0]), place[1], value, durability=self._durability)

    def get(self, place: Place) -> Any:
        return self._state.get(scope_of(place[0]), place[1])

    def set_many(self, items: Sequence[Item]) -> None:
        work = [SetOperation(scope_of(owner), key, value) for (owner, key), value in items]
        refused = [
            each
            for each in self._state.set_batch(work, durability=self._durability)
            if isinstance(each, Exception)
        ]
        if refused:
            raise refused[0]

    def keys(self, owner: int) -> list[str]:
        return self._state.list_keys(scope_of(owner))

    def increment(self, place: Place) -> None:
        self._state.increment(scope_of(place[0]), place[1], durability=self._durability)

    def modify(self, place: Place) -> None:
        self._state.update(
            scope_of(place[0]), place[1], lambda n: n + 1, durability=self._durability
        )

    def set_together(self) -> Callable[[Place, Any], Any]:
        return lambda place, value: self._async.set(
            scope_of(place[0]), place[1], value, durability=self._durability
        )

    def increment_together(self) -> Callable[[Place], Any]:
        return lambda place: self._async.increment(
            scope_of(place[0]), place[1], durability=self._durability
        )

    def modify_together(self) -> Callable[[Place], Any]:
        return lambda place: self._async.update(
            scope_of(place[0]), place[1], lambda n: n + 1, durability=self._durability
        )

    def number(self, place: Place) -> int:
        return int(self._state.get(scope_of(place[0]), place[1]))

    def start(self, place: Place) -> None:
        self._state.set(scope_of(place[0]), place[1], 0)

    def versions(self) -> int:
        return sum(len(each.value) > 0 for each in self._state.history(scope_of(0), "conversation"))

    def tidy(self) -> None:
        self._state.compact()
