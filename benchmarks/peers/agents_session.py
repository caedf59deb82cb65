"""The OpenAI Agents SDK's SQLiteSession: messages appended to a conversation, read back as a list.

It has no keys. A "set" appends a message, a "get" reads the last one; an agent is a session.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import AwaitedPeer, Item, NotOfferedError, Place, Room, agent
from benchmarks.peers.sqlite_facts import SYNCHRONOUS


class AgentsSession(AwaitedPeer):
    """SQLiteSession on a file: WAL, synchronous=FULL; each call runs in a thread."""

    package = "openai-agents"
    requires = ("agents.memory",)
    last_only = True

    async def open(self, room: Room) -> None:  # type: ignore[override]
        self._path: Path = room.path
        self._sessions: dict[int, Any] = {}

    async def close(self) -> None:  # type: ignore[override]
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    async def facts(self) -> dict[str, Any]:  # type: ignore[override]
        session = self._session(0)
        with session._locked_connection() as connection:
            return {
                "sqlite": sqlite3.sqlite_version,
                "journal_mode": connection.execute("PRAGMA journal_mode").fetchone()[0],
                "synchronous": SYNCHRONOUS[connection.execute("PRAGMA synchronous").fetchone()[0]],
            }

    def _session(self, owner: int) -> Any:
        if owner not in self._sessions:
            from agents.memory import SQLiteSession

            self._sessions[owner] = SQLiteSession(agent(owner), self._path)
        return self._sessions[owner]

    async def set(self, place: Place, value: Any) -> None:  # type: ignore[override]
        await self._session(place[0]).add_items([value])

    async def get(self, place: Place) -> Any:
        return (await self._session(place[0]).get_items(limit=1))[0]

    async def set_many(self, items: Sequence[Item]) -> None:  # type: ignore[override]
        """A session a place; closed at once, for each keeps connections open."""
        for (owner, _), value in items:
            await self._session(owner).add_items([value])
            self._sessions.pop(owner).close()

    async def modify(self, place: Place) -> None:  # type: ignore[override]
        raise NotOfferedError("messages are appended, never changed")

    async def start(self, place: Place) -> None:  # type: ignore[override]
        raise NotOfferedError("messages are appended, never changed")

    async def say(self, conversation: list[Any]) -> None:  # type: ignore[override]
        await self._session(0).add_items(conversation[-1:])

    async def said(self) -> list[Any]:  # type: ignore[override]
        found: list[Any] = await self._session(0).get_items()
        return found
