"""What becomes of a run and its steps. Decisions over a transaction; no waiting, no clock.

A run is one process's at a time. Who takes it gets an epoch, which is in the run's record: each
commit of a run reads that record, so whoever has been overtaken is refused, however late its
commit comes. The lease is a key that expires by the store's time: it says only when somebody else
may take over.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.errors import LeaseLostError
from holdfast.store.scope import StateScope
from holdfast.transaction import StateTransaction
from holdfast.workflows import model
from holdfast.workflows.errors import (
    WorkflowEndedError,
    WorkflowExistsError,
    WorkflowHeldError,
    WorkflowNotFoundError,
)
from holdfast.workflows.model import RunRecord, StepRecord


class Claim:
    """Whose run it is.

    Attributes:
        id: The workflow's id; scope: its scope.
        holder: Who works on it; epoch: the one given to it.
        lease: Seconds without renewal after which others may take it.
    """

    __slots__ = ("epoch", "holder", "id", "lease", "scope")

    def __init__(self, id: str, holder: str, lease: float, epoch: int = 0) -> None:
        self.id, self.holder, self.lease, self.epoch = id, holder, lease, epoch
        self.scope = StateScope.workflow(id)

    def step(self, name: str) -> StateScope:
        """Return the scope of a step."""
        return StateScope.step(self.id, name)


def started(
    tx: StateTransaction, claim: Claim, kind: str, correlation: str, span: str, given: Any
) -> RunRecord:
    """Begin a run and take it.

    Raises:
        WorkflowExistsError: It has been started before.
    """
    if tx.exists(claim.scope, model.RUN):
        raise WorkflowExistsError(f"workflow {claim.id!r} exists already", workflow=claim.id)
    run = RunRecord(
        kind=kind,
        status=model.RUNNING,
        epoch=1,
        holder=claim.holder,
        correlation=correlation,
        span=span,
    )
    tx.set(claim.scope, model.RUN, run)
    _put(tx, claim.scope, model.INPUT, given)
    _lease(tx, claim, run.epoch)
    tx.emit("workflow.started", {"kind": kind}, scope=claim.scope)
    return run


def taken(tx: StateTransaction, claim: Claim) -> RunRecord:
    """Take a run that nobody holds, under a new epoch; a failed one runs again.

    Raises:
        WorkflowNotFoundError: There is none.
        WorkflowEndedError: It is completed.
        WorkflowHeldError: Somebody's lease has not ended.
    """
    run = read_run(tx, claim)
    if run.status == model.COMPLETED:
        raise WorkflowEndedError(
            f"workflow {claim.id!r} is completed", workflow=claim.id, status=run.status
        )
    if tx.exists(claim.scope, model.LEASE):
        raise WorkflowHeldError(
            f"workflow {claim.id!r} is held by another worker, under epoch {run.epoch}",
            workflow=claim.id,
            epoch=run.epoch,
        )
    run = replace(run, status=model.RUNNING, epoch=run.epoch + 1, holder=claim.holder, error=None)
    tx.set(claim.scope, model.RUN, run)
    _lease(tx, claim, run.epoch)
    tx.emit("workflow.resumed", {"epoch": run.epoch}, scope=claim.scope)
    return run


def read_run(tx: StateTransaction, claim: Claim) -> RunRecord:
    """Return a run's record.

    Raises:
        WorkflowNotFoundError: There is none.
    """
    run = tx.get(claim.scope, model.RUN, type=RunRecord)
    if run is None:
        raise WorkflowNotFoundError(f"there is no workflow {claim.id!r}", workflow=claim.id)
    return run


def held(tx: StateTransaction, claim: Claim) -> RunRecord:
    """Return the run's record if it is still the claim's, and running.

    Raises:
        LeaseLostError: Another worker has taken it since.
        WorkflowEndedError: It has ended.
    """
    run = read_run(tx, claim)
    if (run.holder, run.epoch) != (claim.holder, claim.epoch):
        raise LeaseLostError(
            f"workflow {claim.id!r} was taken over: epoch {claim.epoch} is over, "
            f"{run.epoch} has begun",
            hint="stop: what the other worker does counts",
        )
    if run.status != model.RUNNING:
        raise WorkflowEndedError(
            f"workflow {claim.id!r} is {run.status}", workflow=claim.id, status=run.status
        )
    return run


def renewed(tx: StateTransaction, claim: Claim) -> None:
    """Give the claim a lease from now."""
    held(tx, claim)
    _lease(tx, claim, claim.epoch)


def released(tx: StateTransaction, claim: Claim) -> None:
    """Leave the run to whoever resumes it."""
    held(tx, claim)
    tx.delete(claim.scope, model.LEASE)


def ended(
    tx: StateTransaction, claim: Claim, status: str, *, result: Any = None, error: str | None = None
) -> None:
    """End the run: completed with a result, or failed with a reason."""
    run = held(tx, claim)
    tx.set(claim.scope, model.RUN, replace(run, status=status, error=error))
    _put(tx, claim.scope, model.RESULT, result)
    tx.delete(claim.scope, model.LEASE)
    tx.emit(f"workflow.{status}", {"error": error} if error else None, scope=claim.scope)


def begun(
    tx: StateTransaction, claim: Claim, name: str, number: int
) -> tuple[StepRecord, Any, Any]:
    """Begin a step, or go on with it; a completed one is left as it is.

    Returns:
        The step, its last checkpoint, and its result.
    """
    held(tx, claim)
    scope = claim.step(name)
    step = tx.get(scope, model.STEP, type=StepRecord)
    if step is not None and step.status == model.COMPLETED:
        return step, None, tx.get(scope, model.RESULT)
    if step is None:
        step = StepRecord(status=model.RUNNING, number=number, attempt=1, epoch=claim.epoch)
    else:
        step = replace(
            step,
            status=model.RUNNING,
            attempt=step.attempt + 1,
            epoch=claim.epoch,
            error=None,
        )
    tx.set(scope, model.STEP, step)
    data = {"step": name, "attempt": step.attempt}
    tx.emit("workflow.step.started", data, scope=claim.scope)
    return step, tx.get(scope, model.CHECKPOINT), None


def checkpointed(tx: StateTransaction, claim: Claim, name: str, attempt: int, value: Any) -> None:
    """Store how far a step has come."""
    held(tx, claim)
    _running(tx, claim, name, attempt)
    tx.set(claim.step(name), model.CHECKPOINT, value)


def finished(
    tx: StateTransaction,
    claim: Claim,
    name: str,
    attempt: int,
    status: str,
    *,
    result: Any = None,
    error: str | None = None,
) -> None:
    """End a step: completed with a result (its checkpoint goes), or failed with a reason."""
    held(tx, claim)
    step, scope = _running(tx, claim, name, attempt), claim.step(name)
    tx.set(scope, model.STEP, replace(step, status=status, epoch=claim.epoch, error=error))
    if status == model.COMPLETED:
        _put(tx, scope, model.RESULT, result)
        tx.delete(scope, model.CHECKPOINT)
    data = {"step": name, "attempt": attempt} | ({"error": error} if error else {})
    tx.emit(f"workflow.step.{status}", data, scope=claim.scope)


def _running(tx: StateTransaction, claim: Claim, name: str, attempt: int) -> StepRecord:
    step = tx.get(claim.step(name), model.STEP, type=StepRecord)
    if step is None or step.status != model.RUNNING or step.attempt != attempt:
        status = "not begun" if step is None else step.status
        raise WorkflowEndedError(
            f"attempt {attempt} of step {name!r} of workflow {claim.id!r} is over "
            f"(the step is {status})",
            hint="begin the step again",
            workflow=claim.id,
            status=status,
        )
    return step


def _lease(tx: StateTransaction, claim: Claim, epoch: int) -> None:
    value = {"holder": claim.holder, "epoch": epoch}
    tx.set(claim.scope, model.LEASE, value, expires_in=claim.lease)


def _put(tx: StateTransaction, scope: StateScope, key: str, value: Any) -> None:
    if value is None:
        tx.delete(scope, key)
    else:
        tx.set(scope, key, value)
