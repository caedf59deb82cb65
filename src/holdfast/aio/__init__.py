"""The same verbs, awaited: `AsyncStateReader` and `AsyncStateManager`.

No hidden event loop, no generated twin; a test compares the two faces.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from holdfast.aio.manager import AsyncStateManager
from holdfast.aio.reading import AsyncStateReader
from holdfast.opening import open as open_sync

__all__ = ["AsyncStateManager", "AsyncStateReader", "open_async"]


async def open_async(*args: Any, workers: int = 8, **options: Any) -> AsyncStateManager:
    """Open a store for asynchronous use; the arguments are those of `holdfast.open`.

    Args:
        *args, **options: See `holdfast.open`.
        workers: Threads for long work and for remote engines.
    """
    loop = asyncio.get_running_loop()
    manager = await loop.run_in_executor(None, partial(open_sync, *args, **options))
    return AsyncStateManager(manager, workers=workers)
