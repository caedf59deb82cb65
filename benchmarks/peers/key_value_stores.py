"""py-key-value: collections and keys, values as JSON, over diskcache, RocksDB or memory.

Its stores take a database that the caller has set up, which is how the durable forms are made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from benchmarks.peers.peer import AwaitedPeer, Item, Place, Room, agent
from benchmarks.peers.sqlite_facts import SYNCHRONOUS


class _KeyValue(AwaitedPeer):
    package = "py-key-value-aio"
    _store: Any

    async def set(self, place: Place, value: Any) -> None:  # type: ignore[override]
        await self._store.put(place[1], value, collection=agent(place[0]))

    async def get(self, place: Place) -> Any:
        return await self._store.get(place[1], collection=agent(place[0]))

    async def set_many(self, items: Sequence[Item]) -> None:  # type: ignore[override]
        """`put_many` writes to one collection, so one call an agent."""
        for owner, group in groupby(items, key=lambda item: item[0][0]):
            rows = list(group)
            await self._store.put_many(
                [place[1] for place, _ in rows],
                [value for _, value in rows],
                collection=agent(owner),
            )

    async def modify(self, place: Place) -> None:  # type: ignore[override]
        value = await self.get(place)
        await self.set(place, {"n": value["n"] + 1})

    async def number(self, place: Place) -> int:  # type: ignore[override]
        return int((await self.get(place))["n"])

    async def start(self, place: Place) -> None:  # type: ignore[override]
        await self.set(place, {"n": 0})

    async def say(self, conversation: list[Any]) -> None:  # type: ignore[override]
        await self.set((0, "conversation"), {"messages": conversation})

    async def said(self) -> list[Any]:  # type: ignore[override]
        found: list[Any] = (await self.get((0, "conversation")))["messages"]
        return found

    async def close(self) -> None:  # type: ignore[override]
        await self._store.close()


class KeyValueMemory(_KeyValue):
    """MemoryStore: JSON texts in a dict."""

    requires = ("key_value.aio.stores.memory",)

    async def open(self, room: Room) -> None:  # type: ignore[override]
        from key_value.aio.stores.memory import MemoryStore

        self._store = MemoryStore()

    async def close(self) -> None:  # type: ignore[override]
        """A dict has nothing to close."""

    async def keys(self, owner: int) -> list[str]:  # type: ignore[override]
        found: list[str] = await self._store.keys(agent(owner), limit=10_000)
        return found


class KeyValueDisk(_KeyValue):
    """DiskStore over a diskcache that evicts nothing."""

    requires = ("key_value.aio.stores.disk",)

    def __init__(self, synchronous: int) -> None:
        self._synchronous = synchronous

    async def open(self, room: Room) -> None:  # type: ignore[override]
        from diskcache import Cache
        from key_value.aio.stores.disk import DiskStore

        self._cache = Cache(
            str(room.path), eviction_policy="none", sqlite_synchronous=self._synchronous
        )
        self._store = DiskStore(disk_cache=self._cache)

    async def close(self) -> None:  # type: ignore[override]
        await super().close()
        self._cache.close()

    async def facts(self) -> dict[str, Any]:  # type: ignore[override]
        ask = self._cache._con.execute
        return {
            "sqlite": sqlite3.sqlite_version,
            "journal_mode": ask("PRAGMA journal_mode").fetchone()[0],
            "synchronous": SYNCHRONOUS[ask("PRAGMA synchronous").fetchone()[0]],
            "files": "values of 32 KiB and more are files of their own, never fsynced",
        }


class KeyValueRocks(_KeyValue):
    """RocksDBStore; with `sync`, over a database whose write options say so."""

    requires = ("key_value.aio.stores.rocksdb",)

    def __init__(self, *, sync: bool) -> None:
        self._sync = sync

    async def open(self, room: Room) -> None:  # type: ignore[override]
        from key_value.aio.stores.rocksdb import RocksDBStore
        from rocksdict import Options, Rdict, WriteOptions

        room.path.mkdir(parents=True)
        options = Options()
        options.create_if_missing(True)
        self._db = Rdict(str(room.path), options=options)
        if self._sync:
            durable = WriteOptions()
            durable.sync = True
            self._db.set_write_options(durable)
        self._store = RocksDBStore(db=self._db)

    async def close(self) -> None:  # type: ignore[override]
        await super().close()
        self._db.close()

    async def facts(self) -> dict[str, Any]:  # type: ignore[override]
        return {"write-ahead log": True, "sync": self._sync}

    async def tidy(self) -> None:  # type: ignore[override]
        """The library's own closing flushes; that of a database it was given is the caller's."""
        self._db.flush(wait=True)
