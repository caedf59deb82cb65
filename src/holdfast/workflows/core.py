"""What a run does, without waiting: steps for `drive` and `drive_async`, and the lease's tenure."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

from holdfast.clock import Clock
from holdfast.correlation import CorrelationContext, current
from holdfast.driving import Steps, drive
from holdfast.errors import InvalidArgumentError, StateError
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.workflows import decisions, model
from holdfast.workflows.decisions import Claim
from holdfast.workflows.model import RunInfo, RunRecord, StepInfo, StepRecord

LEASE = 30.0


class Tenure:
    """Keeps one run's lease (see `holdfast.streams.keeper`)."""

    def __init__(self, state: Any, core: RunCore, clock: Clock) -> None:
        self._state, self._core, self._clock = state, core, clock
        self._every_ns = int(core.claim.lease * 1e9 / 3)
        self._next_ns = clock.now_ns() + self._every_ns

    def due(self) -> float | None:
        """Return the seconds until the lease is to be renewed; None where it is over."""
        if self._core.over:
            return None
        return (self._next_ns - self._clock.now_ns()) / 1e9

    def renew(self) -> None:
        """Renew the lease; where it is lost, stop."""
        try:
            drive(self._state, self._core.renew())
        except StateError as error:
            self._core.over = not error.retryable
        self._next_ns = self._clock.now_ns() + self._every_ns

    def end(self) -> None:
        """Give the lease back."""
        if not self._core.over:
            self._core.over = True
            try:
                drive(self._state, self._core.release())
            except StateError:
                pass  # it ends by itself


class RunCore:
    """One taken run.

    Attributes:
        claim: Whose it is; context: the step of work that its commits belong to.
        over: It has ended, or was given back, or lost.
    """

    def __init__(self, claim: Claim, run: RunRecord, context: CorrelationContext, at: int) -> None:
        self.claim, self.run, self.context = claim, run, context
        self.over = False
        self._numbers = itertools.count(at)

    def act(self, plan: Callable[..., Any], *args: Any, **options: Any) -> Steps[Any]:
        """Commit one decision as part of the run."""
        context, claim = options.pop("context", self.context), self.claim

        def decide(tx: Any) -> Any:
            return plan(tx, claim, *args, **options)

        return (yield lambda state: state.transact(decide, correlation=context))

    def renew(self) -> Steps[None]:
        """Renew the lease."""
        yield from self.act(decisions.renewed)

    def release(self) -> Steps[None]:
        """Leave the run to whoever resumes it."""
        yield from self.act(decisions.released)
        self.over = True

    def end(self, status: str, result: Any = None, error: str | None = None) -> Steps[Any]:
        """End the run, and return its result as it is stored."""
        yield from self.act(decisions.ended, status, result=result, error=error)
        self.over = True
        scope = self.claim.scope
        return (yield lambda state: state.get(scope, model.RESULT)) if result is not None else None

    def begin(self, name: str) -> Steps[tuple[StepRecord, Any, Any, CorrelationContext]]:
        """Begin a step."""
        context = self.context.child(operation=name)
        found = yield from self.act(decisions.begun, name, next(self._numbers), context=context)
        return (*found, context)

    def checkpoint(
        self, name: str, attempt: int, value: Any, context: CorrelationContext
    ) -> Steps[None]:
        """Store how far a step has come."""
        if value is None:
            raise InvalidArgumentError("a checkpoint is a value, not None")
        yield from self.act(decisions.checkpointed, name, attempt, value, context=context)

    def finish(
        self,
        name: str,
        attempt: int,
        status: str,
        context: CorrelationContext,
        *,
        result: Any = None,
        error: str | None = None,
    ) -> Steps[Any]:
        """End a step, and return its result as it is stored: what a later run will see."""
        yield from self.act(
            decisions.finished,
            name,
            attempt,
            status,
            result=result,
            error=error,
            context=context,
        )
        scope = self.claim.step(name)
        return (yield lambda state: state.get(scope, model.RESULT)) if result is not None else None


def start(id: str, kind: str, given: Any, lease: float, correlation: str | None) -> Steps[RunCore]:
    """Begin a run."""
    claim = _claim(id, lease)
    around = current()
    if around is not None and correlation in (None, around.id):
        context = around.child(component="workflow", operation=kind)
    else:
        context = CorrelationContext.new(correlation, component="workflow", operation=kind)

    def plan(tx: Any) -> RunRecord:
        return decisions.started(tx, claim, kind, context.id, context.span, given)

    run: RunRecord = yield lambda state: state.transact(plan, correlation=context)
    claim.epoch = run.epoch
    return RunCore(claim, run, context, 0)


def resume(id: str, lease: float) -> Steps[RunCore]:
    """Take a run over, as a further step of the piece of work that it began."""
    claim = _claim(id, lease)
    scope = claim.scope
    known = yield lambda state: state.get(scope, model.RUN, type=RunRecord)
    context = CorrelationContext.new(
        None if known is None else known.correlation,
        component="workflow",
        operation="resume" if known is None else known.kind,
        parent=None if known is None else known.span,
    )

    def plan(tx: Any) -> RunRecord:
        return decisions.taken(tx, claim)

    run: RunRecord = yield lambda state: state.transact(plan, correlation=context)
    claim.epoch = run.epoch
    found = yield from steps(id, values=False)
    at = 1 + max((step.number for step in found), default=-1)
    return RunCore(claim, run, context, at)


def info(id: str, *, values: bool = True) -> Steps[RunInfo | None]:
    """Return a run as it is now."""
    scope = StateScope.workflow(id)
    found = yield lambda state: state.get_with_metadata(scope, model.RUN)
    if found is None:
        return None
    run = yield lambda state: state.get(scope, model.RUN, type=RunRecord)
    if run is None:
        return None
    held = yield lambda state: state.exists(scope, model.LEASE)
    given = result = None
    if values:
        given = yield lambda state: state.get(scope, model.INPUT)
        result = yield lambda state: state.get(scope, model.RESULT)
    return RunInfo(
        id=id,
        kind=run.kind,
        status=run.status,
        epoch=run.epoch,
        correlation=run.correlation,
        error=run.error,
        held=held,
        started_at=found.metadata.created_at,
        updated_at=found.metadata.updated_at,
        input=given,
        result=result,
    )


def steps(id: str, *, values: bool = True) -> Steps[list[StepInfo]]:
    """Return the steps of a run, in the order in which they were begun."""
    workflow, known = StateScope.workflow(id), []
    scopes = yield lambda state: state.scopes(ScopeKind.STEP, within=workflow)
    for scope in scopes:
        info = yield from _step(scope, values)
        if info is not None:
            known.append(info)
    return sorted(known, key=lambda step: (step.number, step.name))


def _step(scope: StateScope, values: bool) -> Steps[StepInfo | None]:
    found = yield lambda state: state.get_with_metadata(scope, model.STEP)
    if found is None:
        return None
    step = yield lambda state: state.get(scope, model.STEP, type=StepRecord)
    if step is None:
        return None
    checkpoint = result = None
    if values:
        checkpoint = yield lambda state: state.get(scope, model.CHECKPOINT)
        result = yield lambda state: state.get(scope, model.RESULT)
    return StepInfo(
        name=scope.ids[1],
        status=step.status,
        number=step.number,
        attempt=step.attempt,
        error=step.error,
        started_at=found.metadata.created_at,
        updated_at=found.metadata.updated_at,
        checkpoint=checkpoint,
        result=result,
    )


def runs(status: str | None) -> Steps[list[RunInfo]]:
    """Return all runs, without their values."""
    if status not in (None, model.RUNNING, model.COMPLETED, model.FAILED):
        raise InvalidArgumentError("status is running, completed or failed")
    scopes, known = (yield lambda state: state.scopes(ScopeKind.WORKFLOW)), []
    for scope in scopes:
        found = yield from info(scope.ids[0], values=False)
        if found is not None and status in (None, found.status):
            known.append(found)
    return known


def reason(error: str | BaseException) -> str:
    """Return what is stored of a failure: words as given; of an exception its type only.

    What an exception says may hold what nobody meant to store.
    """
    return type(error).__name__ if isinstance(error, BaseException) else str(error)


def _claim(id: str, lease: float) -> Claim:
    if isinstance(lease, bool) or not isinstance(lease, int | float) or not 0 < lease < 1e9:
        raise InvalidArgumentError("lease must be seconds of more than 0")
    return Claim(id, os.urandom(16).hex(), float(lease))
