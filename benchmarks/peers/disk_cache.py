"""diskcache: a dict in SQLite and files, by default without waiting for the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.peer import Item, Peer, Place, Room, agent
from benchmarks.peers.sqlite_facts import SYNCHRONOUS


def _key(place: Place) -> str:
    return f"{agent(place[0])}/{place[1]}"


class DiskCache(Peer):
    """A Cache that evicts nothing; `synchronous` is a documented setting, 1 by default."""

    package = "diskcache"
    requires = ("diskcache",)

    def __init__(self, synchronous: int) -> None:
        self._synchronous = synchronous

    def open(self, room: Room) -> None:
        from diskcache import Cache

        self._cache = Cache(
            str(room.path), eviction_policy="none", sqlite_synchronous=self._synchronous
        )

    def close(self) -> None:
        self._cache.close()

    def facts(self) -> dict[str, Any]:
        ask = self._cache._con.execute
        return {
            "sqlite": sqlite3.sqlite_version,
            "journal_mode": ask("PRAGMA journal_mode").fetchone()[0],
            "synchronous": SYNCHRONOUS[ask("PRAGMA synchronous").fetchone()[0]],
            "files": "values of 32 KiB and more are files of their own, never fsynced",
        }

    def set(self, place: Place, value: Any) -> None:
        self._cache.set(_key(place), value)

    def get(self, place: Place) -> Any:
        return self._cache[_key(place)]

    def set_many(self, items: Sequence[Item]) -> None:
        with self._cache.transact():
            for place, value in items:
                self._cache.set(_key(place), value)

    def keys(self, owner: int) -> list[str]:
        """Only all keys of the cache can be walked."""
        start = f"{agent(owner)}/"
        return [key[len(start) :] for key in self._cache.iterkeys() if key.startswith(start)]

    def increment(self, place: Place) -> None:
        self._cache.incr(_key(place))

    def modify(self, place: Place) -> None:
        with self._cache.transact():
            self._cache.set(_key(place), self._cache[_key(place)] + 1)

    def number(self, place: Place) -> int:
        return int(self._cache[_key(place)])

    def start(self, place: Place) -> None:
        self._cache.set(_key(place), 0)

    def tidy(self) -> None:
        self._cache.cull()
