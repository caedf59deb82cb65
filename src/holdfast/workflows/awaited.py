"""The same runs, awaited: `AsyncWorkflows`. The decisions are those of `Workflows`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from holdfast.aio import AsyncStateManager
from holdfast.clock import Clock, SystemClock
from holdfast.correlation import CorrelationContext, correlate
from holdfast.driving import drive_async
from holdfast.errors import LeaseLostError, StateError
from holdfast.streams.keeper import Keeper
from holdfast.workflows import core, model
from holdfast.workflows.core import RunCore, Tenure
from holdfast.workflows.errors import WorkflowExistsError
from holdfast.workflows.model import RunInfo, StepInfo, StepRecord


class AsyncStep:
    """See `Step`."""

    def __init__(
        self,
        run: AsyncRun,
        name: str,
        found: tuple[StepRecord, Any, Any, CorrelationContext],
    ) -> None:
        record, self.last, self.result, self.context = found
        self._run, self.name, self.attempt = run, name, record.attempt
        self.completed = record.status == model.COMPLETED

    async def checkpoint(self, value: Any) -> None:
        """See `Step.checkpoint`."""
        inner = self._run._core
        await self._run._do(inner.checkpoint(self.name, self.attempt, value, self.context))

    async def complete(self, result: Any = None) -> Any:
        """See `Step.complete`."""
        self.result = await self._finish(model.COMPLETED, result=result)
        self.completed = True
        return self.result

    async def fail(self, error: str | BaseException) -> None:
        """See `Step.fail`."""
        await self._finish(model.FAILED, error=core.reason(error))

    async def _finish(self, status: str, result: Any = None, error: str | None = None) -> Any:
        finish = self._run._core.finish
        return await self._run._do(
            finish(self.name, self.attempt, status, self.context, result=result, error=error)
        )


class AsyncRun:
    """See `Run`; its block is an ``async with``, which a cancelled task leaves by giving back."""

    def __init__(
        self, state: AsyncStateManager, inner: RunCore, keeper: Keeper, clock: Clock
    ) -> None:
        self._state, self._core = state, inner
        self.id, self.epoch = inner.claim.id, inner.claim.epoch
        self.correlation, self.context = inner.context.id, inner.context
        self._tenure = Tenure(state.sync, inner, clock)
        keeper.keep(self._tenure)

    async def begin(self, name: str) -> AsyncStep:
        """See `Run.begin`."""
        return AsyncStep(self, name, await self._do(self._core.begin(name)))

    async def step(self, name: str, fn: Callable[[AsyncStep], Any]) -> Any:
        """See `Run.step`; `fn` may be a coroutine function."""
        step = await self.begin(name)
        if step.completed:
            return step.result
        try:
            with correlate(step.context):
                result = fn(step)
                if inspect.isawaitable(result):
                    result = await result
        except LeaseLostError:
            raise
        except Exception as error:
            await step.fail(error)
            raise
        return await step.complete(result)

    async def complete(self, result: Any = None) -> Any:
        """See `Run.complete`."""
        return await self._do(self._core.end(model.COMPLETED, result))

    async def fail(self, error: str | BaseException) -> None:
        """See `Run.fail`."""
        await self._do(self._core.end(model.FAILED, error=core.reason(error)))

    async def renew(self) -> None:
        """See `Run.renew`."""
        await self._do(self._core.renew())

    async def release(self) -> None:
        """See `Run.release`."""
        await self._do(self._core.release())

    async def steps(self) -> list[StepInfo]:
        """See `Run.steps`."""
        return await drive_async(self._state, core.steps(self.id))

    async def _do(self, steps: Any) -> Any:
        return await drive_async(self._state, steps)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._core.over:
            return
        try:
            if isinstance(error, Exception) and not isinstance(error, LeaseLostError):
                await self.fail(error)
            else:
                await self.release()
        except StateError:
            if error is None:
                raise
        finally:
            self._core.over = True


class AsyncWorkflows:
    """See `Workflows`."""

    def __init__(
        self, state: AsyncStateManager, *, lease: float = core.LEASE, clock: Clock | None = None
    ) -> None:
        self._state, self._lease = state, lease
        self._clock = clock or SystemClock()
        self._keeper = Keeper(self._clock)

    async def start(
        self, id: str, *, kind: str = "workflow", input: Any = None, correlation: str | None = None
    ) -> AsyncRun:
        """See `Workflows.start`."""
        return await self._run(core.start(id, kind, input, self._lease, correlation))

    async def resume(self, id: str) -> AsyncRun:
        """See `Workflows.resume`."""
        return await self._run(core.resume(id, self._lease))

    async def run(
        self, id: str, fn: Callable[[AsyncRun], Any], *, kind: str = "workflow", input: Any = None
    ) -> Any:
        """See `Workflows.run`; `fn` may be a coroutine function."""
        try:
            run = await self.start(id, kind=kind, input=input)
        except WorkflowExistsError:
            known = await self.get(id)
            if known is not None and known.status == model.COMPLETED:
                return known.result
            run = await self.resume(id)
        async with run:
            with correlate(run.context):
                result = fn(run)
                if inspect.isawaitable(result):
                    result = await result
                return await run.complete(result)

    async def get(self, id: str) -> RunInfo | None:
        """See `Workflows.get`."""
        return await drive_async(self._state, core.info(id))

    async def steps(self, id: str) -> list[StepInfo]:
        """See `Workflows.steps`."""
        return await drive_async(self._state, core.steps(id))

    async def list(self, status: str | None = None) -> list[RunInfo]:
        """See `Workflows.list`."""
        return await drive_async(self._state, core.runs(status))

    async def close(self) -> None:
        """See `Workflows.close`."""
        await asyncio.get_running_loop().run_in_executor(None, self._keeper.close)

    async def _run(self, steps: Any) -> AsyncRun:
        inner = await drive_async(self._state, steps)
        return AsyncRun(self._state, inner, self._keeper, self._clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
