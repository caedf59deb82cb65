"""LangGraph's SqliteSaver: a checkpoint of the whole state at every step, all of them kept.

A thread holds one state, so a value by key is a thread of its own; a conversation is one thread
whose checkpoints each hold all messages so far, as graphs with a messages list write them. A graph
writes more rows a turn than the one checkpoint here, so this is the saver at its lightest.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from typing import Any

from benchmarks.peers.peer import Peer, Place, Room, agent
from benchmarks.peers.sqlite_facts import SYNCHRONOUS


def _config(place: Place) -> dict[str, Any]:
    thread = f"{agent(place[0])}/{place[1]}"
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


class LangGraphSaver(Peer):
    """SqliteSaver as `from_conn_string` makes it: WAL, synchronous=FULL."""

    package = "langgraph-checkpoint-sqlite"
    requires = ("langgraph.checkpoint.sqlite",)

    def open(self, room: Room) -> None:
        from langgraph.checkpoint.base import empty_checkpoint
        from langgraph.checkpoint.sqlite import SqliteSaver

        self._empty = empty_checkpoint
        self._stack = ExitStack()
        self._saver = self._stack.enter_context(SqliteSaver.from_conn_string(str(room.path)))
        self._saver.setup()
        self._parent: dict[str, Any] | None = None

    def close(self) -> None:
        self._stack.close()

    def facts(self) -> dict[str, Any]:
        ask = self._saver.conn.execute
        return {
            "sqlite": sqlite3.sqlite_version,
            "journal_mode": ask("PRAGMA journal_mode").fetchone()[0],
            "synchronous": SYNCHRONOUS[ask("PRAGMA synchronous").fetchone()[0]],
        }

    def _put(self, config: dict[str, Any], value: Any) -> dict[str, Any]:
        checkpoint = self._empty()
        checkpoint["channel_values"] = {"state": value}
        checkpoint["channel_versions"] = {"state": checkpoint["id"]}
        about = {"source": "loop", "step": 1, "parents": {}}
        kept: dict[str, Any] = self._saver.put(config, checkpoint, about, {})
        return kept

    def set(self, place: Place, value: Any) -> None:
        self._put(_config(place), value)

    def get(self, place: Place) -> Any:
        return self._saver.get_tuple(_config(place)).checkpoint["channel_values"]["state"]

    def say(self, conversation: list[Any]) -> None:
        self._parent = self._put(self._parent or _config((0, "conversation")), conversation)

    def versions(self) -> int:
        return sum(
            len(each.checkpoint["channel_values"]["state"]) > 0
            for each in self._saver.list(_config((0, "conversation")))
        )
