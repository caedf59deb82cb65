"""Cancelling an awaited write: withdrawn while it queues, finished first once it was taken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from holdfast import AsyncStateManager, StateManager, StateScope
from holdfast.engines.base import Body, Durability
from holdfast.engines.memory import MemoryEngine
from holdfast.store.kernel import Kernel, StoreSettings

SCOPE = StateScope.agent("a")


class Gate(MemoryEngine):
    """A memory engine whose writes wait at a gate, once it is closed."""

    traits = replace(MemoryEngine.traits, persistent=True)  # so that the lane's thread leads

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Wait for the gate, then write."""
        if not self.open.is_set():
            self.waiting.set()
            assert self.open.wait(30)
        super().write(durability, body, partitions)


def run(test: Callable[[AsyncStateManager, Gate], Awaitable[None]]) -> None:
    """Run a test with a store behind a gate, closed but for the store's making."""

    async def inside() -> None:
        gate = Gate()
        state = AsyncStateManager(StateManager(Kernel(gate, StoreSettings(sweep_every=0))))
        gate.open.clear()
        try:
            await test(state, gate)
        finally:
            gate.open.set()
            await state.close()

    asyncio.run(inside())


async def taken(gate: Gate) -> None:
    """Wait until the lane is inside an engine write."""
    await asyncio.get_running_loop().run_in_executor(None, gate.waiting.wait, 30)


def test_a_write_that_queues_is_withdrawn() -> None:
    """A cancelled write that waits behind another never happens."""

    async def test(state: AsyncStateManager, gate: Gate) -> None:
        first = asyncio.ensure_future(state.set(SCOPE, "first", 1))
        await taken(gate)
        second = asyncio.ensure_future(state.set(SCOPE, "second", 2))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.open.set()
        assert await first == 1
        assert await state.list_keys(SCOPE) == ["first"]
        assert state.revision == 1

    run(test)


@pytest.mark.parametrize("times", [1, 3])
def test_a_write_that_was_taken_finishes_first(times: int) -> None:
    """However often it is cancelled, the caller hears of it only when the commit is done."""

    async def test(state: AsyncStateManager, gate: Gate) -> None:
        write = asyncio.ensure_future(state.set(SCOPE, "k", 1))
        await taken(gate)
        for _ in range(times):
            write.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not write.done()
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await write
        assert await state.get(SCOPE, "k") == 1

    run(test)


def test_a_cancellation_that_comes_with_the_outcome_is_seen() -> None:
    """A write that is done when the cancellation arrives stays done; the caller is cancelled."""

    async def test(state: AsyncStateManager, gate: Gate) -> None:
        loop = asyncio.get_running_loop()
        write = asyncio.ensure_future(state.set(SCOPE, "k", 1))
        await taken(gate)
        waker = state._wakers[loop]
        drain = waker._drain

        def drain_and_cancel() -> None:
            drain()
            write.cancel()

        waker._drain = drain_and_cancel  # type: ignore[method-assign]
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await write
        assert state.sync.get(SCOPE, "k") == 1

    run(test)
