"""sqlitedict: a dict of pickles in SQLite, behind one thread, never fsynced."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.peer import Item, Peer, Place, Room, agent
from benchmarks.peers.sqlite_facts import SYNCHRONOUS


def _key(place: Place) -> str:
    return f"{agent(place[0])}/{place[1]}"


class SqliteDictPeer(Peer):
    """A SqliteDict whose `commit` is awaited after each set."""

    package = "sqlitedict"
    requires = ("sqlitedict",)

    def open(self, room: Room) -> None:
        from sqlitedict import SqliteDict

        logging.getLogger("sqlitedict").setLevel(logging.CRITICAL)
        self._dict = SqliteDict(str(room.path), outer_stack=False)

    def close(self) -> None:
        self._dict.close()

    def facts(self) -> dict[str, Any]:
        ask = self._dict.conn.select_one
        return {
            "sqlite": sqlite3.sqlite_version,
            "journal_mode": ask("PRAGMA journal_mode")[0],
            "synchronous": SYNCHRONOUS[ask("PRAGMA synchronous")[0]],
        }

    def set(self, place: Place, value: Any) -> None:
        self._dict[_key(place)] = value
        self._dict.commit()

    def get(self, place: Place) -> Any:
        return self._dict[_key(place)]

    def set_many(self, items: Sequence[Item]) -> None:
        self._dict.update([(_key(place), value) for place, value in items])
        self._dict.commit()

    def keys(self, owner: int) -> list[str]:
        """Only all keys of the dict can be walked."""
        start = f"{agent(owner)}/"
        return [key[len(start) :] for key in self._dict if key.startswith(start)]
