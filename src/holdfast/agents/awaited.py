"""The same agents, awaited: `AsyncAgentManager`. Decisions are those of `AgentManager`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from holdfast.agents import decisions
from holdfast.agents.conversation import Measure
from holdfast.agents.manager import AgentManager, Messages, Numbered, Summarise
from holdfast.agents.model import (
    AgentInfo,
    Message,
    PersistentAgentState,
    ToolPerformance,
)
from holdfast.aio import AsyncStateManager

T = TypeVar("T")


class AsyncAgentManager:
    """See `AgentManager`. What reads or copies whole conversations runs in a thread."""

    def __init__(self, state: AsyncStateManager) -> None:
        self._state = state
        self._sync = AgentManager(state.sync)

    async def create(self, agent: PersistentAgentState | str) -> PersistentAgentState:
        """See `AgentManager.create`."""
        return await asyncio.to_thread(self._sync.create, agent)

    async def load(self, id: str, *, tail: int | None = None) -> PersistentAgentState:
        """See `AgentManager.load`."""
        return await asyncio.to_thread(self._sync.load, id, tail=tail)

    async def save(self, state: PersistentAgentState, *, trigger: str = "manual") -> None:
        """See `AgentManager.save`."""
        new = decisions.unsaved(state)
        await self._transact(lambda tx, now: decisions.saved(tx, state, new, trigger, now))
        decisions.mark_saved(state, new)

    async def update_agent_state(self, id: str, fn: Callable[[PersistentAgentState], T]) -> T:
        """See `AgentManager.update_agent_state`; `fn` is a plain function."""
        return await self._transact(lambda tx, now: decisions.updated(tx, id, fn, now))

    async def list(self) -> list[AgentInfo]:
        """See `AgentManager.list`."""
        return await asyncio.to_thread(self._sync.list)

    async def get(self, id: str) -> AgentInfo | None:
        """See `AgentManager.get`."""
        return await asyncio.to_thread(self._sync.get, id)

    async def delete(self, id: str) -> None:
        """See `AgentManager.delete`."""
        await asyncio.to_thread(self._sync.delete, id)

    async def append(self, id: str, *messages: Message) -> int:
        """See `AgentManager.append`."""
        return await self._transact(lambda tx, now: decisions.appended(tx, id, messages, now))

    async def history(self, id: str, *, start: int = 0, limit: int | None = None) -> Numbered:
        """See `AgentManager.history`."""
        return await asyncio.to_thread(self._sync.history, id, start=start, limit=limit)

    async def tail(
        self,
        id: str,
        *,
        count: int | None = None,
        tokens: int | None = None,
        measure: Measure | None = None,
    ) -> Messages:
        """See `AgentManager.tail`."""
        return await asyncio.to_thread(
            self._sync.tail, id, count=count, tokens=tokens, measure=measure
        )

    async def trim(self, id: str, *, keep: int, summarise: Summarise | None = None) -> int:
        """See `AgentManager.trim`."""
        return await asyncio.to_thread(self._sync.trim, id, keep=keep, summarise=summarise)

    async def tool_used(
        self, id: str, name: str, seconds: float, *, ok: bool = True
    ) -> ToolPerformance:
        """See `AgentManager.tool_used`."""
        return await self._transact(lambda tx, _: decisions.tool_used(tx, id, name, seconds, ok))

    async def tools(self, id: str) -> dict[str, ToolPerformance]:
        """See `AgentManager.tools`."""
        return await asyncio.to_thread(self._sync.tools, id)

    async def fork(self, id: str, new_id: str, *, as_of: int | datetime | None = None) -> None:
        """See `AgentManager.fork`."""
        await asyncio.to_thread(self._sync.fork, id, new_id, as_of=as_of)

    async def diff(self, one: str, other: str) -> dict[str, Any]:
        """See `AgentManager.diff`."""
        return await asyncio.to_thread(self._sync.diff, one, other)

    async def export(self, id: str, file: str | os.PathLike[str]) -> None:
        """See `AgentManager.export`."""
        await asyncio.to_thread(self._sync.export, id, file)

    async def to_data(self, id: str) -> dict[str, Any]:
        """See `AgentManager.to_data`."""
        return await asyncio.to_thread(self._sync.to_data, id)

    async def import_(self, file: str | os.PathLike[str], *, id: str | None = None) -> str:
        """See `AgentManager.import_`."""
        return await asyncio.to_thread(self._sync.import_, file, id=id)

    async def _transact(self, plan: Callable[[Any, datetime], T]) -> T:
        now = self._sync._now()

        def steps(tx: Any) -> Any:
            return plan(tx, now)

        return await self._state.transact(steps)
