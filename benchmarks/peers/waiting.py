"""Calling blocking and awaited contenders alike, without adding a coroutine to a blocking call."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.peer import NotOfferedError


async def call(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a contender's method once."""
    result = work(*arguments)
    return await result if inspect.isawaitable(result) else result


async def each(work: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[float]:
    """Make calls one after the other; return the seconds of each."""
    spent: list[float] = []
    clock = time.perf_counter
    if not calls:
        return spent
    begun = clock()
    first = work(*calls[0])
    if inspect.isawaitable(first):
        await first
        spent.append(clock() - begun)
        for arguments in calls[1:]:
            begun = clock()
            await work(*arguments)
            spent.append(clock() - begun)
        return spent
    spent.append(clock() - begun)
    for arguments in calls[1:]:
        begun = clock()
        work(*arguments)
        spent.append(clock() - begun)
    return spent


async def at_once(
    work: Callable[..., Any], calls: Sequence[tuple[Any, ...]]
) -> tuple[float, list[float], list[Exception]]:
    """Make every call in an asyncio task of its own; return seconds in all, of each, and errors."""
    clock = time.perf_counter
    spent: list[float] = []
    errors: list[Exception] = []

    async def one(arguments: tuple[Any, ...]) -> None:
        begun = clock()
        try:
            await call(work, *arguments)
        except NotOfferedError:
            raise
        except Exception as error:  # noqa: BLE001 - a peer's failure is a result
            errors.append(error)
        else:
            spent.append(clock() - begun)

    begun = clock()
    await asyncio.gather(*(one(arguments) for arguments in calls))
    return clock() - begun, spent, errors
