"""The same sessions, awaited: `AsyncSessions`. The decisions are those of `Sessions`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from holdfast.aio import AsyncStateManager
from holdfast.driving import drive_async
from holdfast.sessions import core, decisions, model
from holdfast.sessions.core import CHUNK_BYTES, Source
from holdfast.sessions.model import Artifact, SessionInfo
from holdfast.sessions.sessions import Sessions


class AsyncSessions:
    """See `Sessions`."""

    def __init__(self, state: AsyncStateManager, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._sync = Sessions(state.sync, chunk_bytes=chunk_bytes)
        self._state, self._size = state, chunk_bytes

    async def start(
        self,
        id: str,
        *,
        owner: str | None = None,
        metadata: dict[str, Any] | None = None,
        expires_in: float | None = None,
        previous: str | None = None,
        correlation: str | None = None,
    ) -> SessionInfo:
        """See `Sessions.start`."""
        begun = core.start(id, owner, metadata, expires_in, previous, correlation)
        await drive_async(self._state, begun)
        return await drive_async(self._state, core.known(id))

    async def suspend(self, id: str) -> None:
        """See `Sessions.suspend`."""
        await self._move(id, (model.ACTIVE,), model.SUSPENDED, "suspended")

    async def resume(self, id: str) -> None:
        """See `Sessions.resume`."""
        await self._move(id, (model.SUSPENDED,), model.ACTIVE, "resumed")

    async def end(self, id: str) -> None:
        """See `Sessions.end`."""
        await self._move(id, (model.ACTIVE, model.SUSPENDED), model.ENDED, "ended")

    async def _move(self, id: str, before: tuple[str, ...], after: str, word: str) -> None:
        def plan(tx: Any) -> None:
            decisions.moved(tx, id, before, after, f"session.{word}")

        await drive_async(self._state, core.act(id, word, plan))

    async def touch(self, id: str) -> None:
        """See `Sessions.touch`."""
        touched = core.act(id, "touch", lambda tx: decisions.touched(tx, id))
        await drive_async(self._state, touched)

    async def describe(self, id: str, metadata: dict[str, Any]) -> None:
        """See `Sessions.describe`."""
        described = core.act(id, "describe", lambda tx: decisions.described(tx, id, metadata))
        await drive_async(self._state, described)

    async def get(self, id: str) -> SessionInfo | None:
        """See `Sessions.get`."""
        return await drive_async(self._state, core.info(id))

    async def list(self, status: str | None = None) -> list[SessionInfo]:
        """See `Sessions.list`."""
        return await drive_async(self._state, core.listed(status))

    async def put(
        self,
        id: str,
        name: str,
        source: Source | AsyncIterable[bytes],
        *,
        type: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Artifact:
        """See `Sessions.put`; the source may be an asynchronous iterable of bytes, too."""
        pull = core.puller(source, self._size)  # type: ignore[arg-type]
        put = core.put(id, name, pull, self._size, type, metadata)
        return await drive_async(self._state, put)

    async def read(self, id: str, name: str) -> AsyncIterator[bytes]:
        """See `Sessions.read`; iterate with ``async for``."""
        reading = await drive_async(self._state, core.reading(id, name))
        for number in range(reading.blob.chunks):
            yield await drive_async(self._state, reading.chunk(number))

    async def artifact(self, id: str, name: str) -> Artifact:
        """See `Sessions.artifact`."""
        return (await drive_async(self._state, core.reading(id, name))).item

    async def artifacts(self, id: str) -> dict[str, Artifact]:
        """See `Sessions.artifacts`."""
        return await drive_async(self._state, core.artifacts(id))

    async def remove(self, id: str, name: str) -> None:
        """See `Sessions.remove`."""
        await drive_async(self._state, core.remove(id, name))

    async def export(self, id: str, path: str | os.PathLike[str]) -> None:
        """See `Sessions.export`."""
        await asyncio.to_thread(self._sync.export, id, path)

    async def load(
        self, path: str | os.PathLike[str], *, id: str | None = None, owner: str | None = None
    ) -> str:
        """See `Sessions.load`."""
        return await asyncio.to_thread(self._sync.load, path, id=id, owner=owner)

    async def delete(self, id: str) -> bool:
        """See `Sessions.delete`."""
        return await drive_async(self._state, core.delete(id))

    async def sweep(self) -> tuple[int, int]:
        """See `Sessions.sweep`."""
        return await drive_async(self._state, core.sweep())
