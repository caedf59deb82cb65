"""`AsyncStateManager.events`: emits and reads events, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, Unpack

from holdfast.events import EventReader, Events
from holdfast.observe.telling import telling
from holdfast.store.intent import Intent
from holdfast.store.options import WriteOptions
from holdfast.store.scope import StateScope
from holdfast.store.value import StateEvent

T = TypeVar("T")
Scope = StateScope | str
Iterate = Callable[[Callable[[], Iterator[StateEvent]]], AsyncIterator[StateEvent]]


class AsyncEventReader:
    """See `EventReader`."""

    def __init__(self, events: EventReader, iterate: Iterate) -> None:
        self._sync = events
        self._iterate = iterate

    def read(
        self,
        since: int = 0,
        *,
        until: int | None = None,
        scope: Scope | None = None,
        name: str = "*",
        correlation: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateEvent]:
        """See `EventReader.read`; iterate with ``async for``."""
        return self._iterate(
            partial(
                self._sync.read,
                since,
                until=until,
                scope=scope,
                name=name,
                correlation=correlation,
                limit=limit,
            )
        )


@telling
class AsyncEvents(AsyncEventReader):
    """See `Events`."""

    def __init__(
        self, events: Events, iterate: Iterate, commit: Callable[[Intent], Awaitable[Intent]]
    ) -> None:
        super().__init__(events, iterate)
        self._events = events
        self._commit = commit
        self._observation = events._observation

    async def emit(
        self,
        name: str,
        data: Any = None,
        *,
        scope: Scope = "global",
        causes: Sequence[str] = (),
        **options: Unpack[WriteOptions],
    ) -> str:
        """See `Events.emit`."""
        intent = self._events.intent(name, data, scope, causes, options)
        await self._commit(intent)
        return intent.events[0].id.hex()
