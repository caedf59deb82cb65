"""The same verbs, awaited: `AsyncStateReader` and `AsyncStateManager`.

No hidden event loop, no generated twin; a test compares the two faces.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from holdfast.aio.manager import AsyncStateManager
from holdfast.aio.reading import AsyncStateReader
from holdfast.clock import Clock
from holdfast.failover.settings import FailoverSettings
from holdfast.opening import open as open_sync
from holdfast.store.policy import ScopePolicy

__all__ = ["AsyncStateManager", "AsyncStateReader", "open_async"]


async def open_async(
    target: str | os.PathLike[str] | Any | None = None,
    *,
    tenant: str = "",
    policies: Sequence[ScopePolicy] = (),
    read_only: bool = False,
    clock: Clock | None = None,
    config: str | os.PathLike[str] | None = None,
    failover: FailoverSettings | None = None,
    hooks: Sequence[str | Callable[[Any], Any]] = (),
    workers: int = 8,
    **options: Any,
) -> AsyncStateManager:
    """Open a store for asynchronous use.

    Args:
        target, tenant, policies, read_only, clock, config, failover, hooks: See `holdfast.open`.
        **options: See there, too.
        workers: Threads for long work and for remote engines.
    """
    opening = partial(
        open_sync,
        target,
        tenant=tenant,
        policies=policies,
        read_only=read_only,
        clock=clock,
        config=config,
        failover=failover,
        hooks=hooks,
        **options,
    )
    manager = await asyncio.get_running_loop().run_in_executor(None, opening)
    return AsyncStateManager(manager, workers=workers)
