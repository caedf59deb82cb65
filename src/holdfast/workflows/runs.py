"""`Workflows`: runs made of steps, each of which is done once, however often the process dies."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from holdfast.clock import Clock, SystemClock
from holdfast.correlation import CorrelationContext, correlate
from holdfast.driving import drive
from holdfast.errors import LeaseLostError, StateError
from holdfast.manager import StateManager
from holdfast.streams.keeper import Keeper
from holdfast.workflows import core, model
from holdfast.workflows.core import RunCore, Tenure
from holdfast.workflows.errors import WorkflowExistsError
from holdfast.workflows.model import RunInfo, StepInfo, StepRecord


class Step:
    """One step of a run, begun.

    Attributes:
        name: Its name; attempt: how often it has been begun.
        completed: It was done before: `result` is what it came to then.
        last: The checkpoint of an attempt that did not end, or None.
        context: The step of work that its commits belong to.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        found: tuple[StepRecord, Any, Any, CorrelationContext],
    ) -> None:
        record, self.last, self.result, self.context = found
        self._run, self.name, self.attempt = run, name, record.attempt
        self.completed = record.status == model.COMPLETED

    def checkpoint(self, value: Any) -> None:
        """Store how far it has come; durable when this returns.

        Raises:
            LeaseLostError: Another worker has taken the run over.
        """
        self._run._do(self._run._core.checkpoint(self.name, self.attempt, value, self.context))

    def complete(self, result: Any = None) -> Any:
        """End it, and return the result as it is stored."""
        self.result = self._finish(model.COMPLETED, result=result)
        self.completed = True
        return self.result

    def fail(self, error: str | BaseException) -> None:
        """End this attempt; of an exception, only the type is stored."""
        self._finish(model.FAILED, error=core.reason(error))

    def _finish(self, status: str, result: Any = None, error: str | None = None) -> Any:
        finish = self._run._core.finish
        return self._run._do(
            finish(self.name, self.attempt, status, self.context, result=result, error=error)
        )


class Run:
    """A run that this process works on; leaving its block without an end gives it back.

    An exception that leaves the block fails the run; `KeyboardInterrupt` and the like give it back.

    Attributes:
        id: Of the workflow; epoch: how often it has been taken.
        correlation: What its commits and events belong to: ``state.timeline(run.correlation)``.
    """

    def __init__(self, state: StateManager, inner: RunCore, keeper: Keeper, clock: Clock) -> None:
        self._state, self._core = state, inner
        self.id, self.epoch = inner.claim.id, inner.claim.epoch
        self.correlation, self.context = inner.context.id, inner.context
        self._tenure = Tenure(state, inner, clock)
        keeper.keep(self._tenure)

    def begin(self, name: str) -> Step:
        """Begin a step, or look at one that is completed (`Step.completed`)."""
        return Step(self, name, self._do(self._core.begin(name)))

    def step(self, name: str, fn: Callable[[Step], Any]) -> Any:
        """Return what ``fn(step)`` came to; it is not called where that is stored already.

        What `fn` commits and emits belongs to the step. Where it raises, the attempt has failed.
        A crash between what `fn` does and the end of the step runs it again: `fn` is to be
        idempotent, or to write with ``commit_id``.
        """
        step = self.begin(name)
        if step.completed:
            return step.result
        try:
            with correlate(step.context):
                result = fn(step)
        except LeaseLostError:
            raise
        except Exception as error:
            step.fail(error)
            raise
        return step.complete(result)

    def complete(self, result: Any = None) -> Any:
        """End the run, and return the result as it is stored."""
        return self._do(self._core.end(model.COMPLETED, result))

    def fail(self, error: str | BaseException) -> None:
        """End the run; it may be resumed. Of an exception, only the type is stored."""
        self._do(self._core.end(model.FAILED, error=core.reason(error)))

    def renew(self) -> None:
        """Renew the lease; the run does so by itself while the process lives."""
        self._do(self._core.renew())

    def release(self) -> None:
        """Leave the run to whoever resumes it."""
        self._do(self._core.release())

    def steps(self) -> list[StepInfo]:
        """Return its steps, in order."""
        return drive(self._state, core.steps(self.id))

    def _do(self, steps: Any) -> Any:
        return drive(self._state, steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._core.over:
            return
        try:
            if isinstance(error, Exception) and not isinstance(error, LeaseLostError):
                self.fail(error)
            else:
                self.release()
        except StateError:
            if error is None:
                raise
        finally:
            self._core.over = True


class Workflows:
    """The runs of a store.

    Args:
        state: The store.
        lease: Seconds after which the run of a dead process can be taken over, by the store's
            time. Living processes renew it.
        clock: When to renew; for tests.
    """

    def __init__(
        self, state: StateManager, *, lease: float = core.LEASE, clock: Clock | None = None
    ) -> None:
        self._state, self._lease = state, lease
        self._clock = clock or SystemClock()
        self._keeper = Keeper(self._clock)

    def start(
        self, id: str, *, kind: str = "workflow", input: Any = None, correlation: str | None = None
    ) -> Run:
        """Begin a run and take it.

        Raises:
            WorkflowExistsError: There is one of this id.
        """
        return self._run(core.start(id, kind, input, self._lease, correlation))

    def resume(self, id: str) -> Run:
        """Take over a run that nobody holds: of a process that died, gave it back, or failed.

        Raises:
            WorkflowNotFoundError: There is none.
            WorkflowHeldError: Somebody else works on it.
            WorkflowEndedError: It is completed.
        """
        return self._run(core.resume(id, self._lease))

    def run(
        self, id: str, fn: Callable[[Run], Any], *, kind: str = "workflow", input: Any = None
    ) -> Any:
        """Do a whole run: start or resume it, call ``fn(run)``, complete it; return its result.

        A completed run's result is returned without running anything.
        """
        try:
            run = self.start(id, kind=kind, input=input)
        except WorkflowExistsError:
            known = self.get(id)
            if known is not None and known.status == model.COMPLETED:
                return known.result
            run = self.resume(id)
        with run, correlate(run.context):
            return run.complete(fn(run))

    def get(self, id: str) -> RunInfo | None:
        """Return a run as it is now, or None."""
        return drive(self._state, core.info(id))

    def steps(self, id: str) -> list[StepInfo]:
        """Return the steps of a run, in the order in which they were begun."""
        return drive(self._state, core.steps(id))

    def list(self, status: str | None = None) -> list[RunInfo]:
        """Return all runs, or those of a status, without their values."""
        return drive(self._state, core.runs(status))

    def close(self) -> None:
        """Give back the runs that are not ended."""
        self._keeper.close()

    def _run(self, steps: Any) -> Run:
        return Run(self._state, drive(self._state, steps), self._keeper, self._clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
