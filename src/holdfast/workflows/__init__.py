"""Workflows: runs with steps that outlive their process.

from holdfast.workflows import Workflows

workflows = Workflows(state)
with workflows.start("order-7", input={"amount": 30}) as run:
    receipt = run.step("charge", lambda step: charge(30))
    run.complete(receipt)
"""

from typing import TYPE_CHECKING, Any

from holdfast.workflows.errors import (
    WorkflowEndedError,
    WorkflowExistsError,
    WorkflowHeldError,
    WorkflowNotFoundError,
)
from holdfast.workflows.model import RunInfo, StepInfo
from holdfast.workflows.runs import Run, Step, Workflows

if TYPE_CHECKING:
    from holdfast.workflows.awaited import AsyncRun, AsyncStep, AsyncWorkflows

__all__ = [
    "AsyncRun",
    "AsyncStep",
    "AsyncWorkflows",
    "Run",
    "RunInfo",
    "Step",
    "StepInfo",
    "WorkflowEndedError",
    "WorkflowExistsError",
    "WorkflowHeldError",
    "WorkflowNotFoundError",
    "Workflows",
]


def __getattr__(name: str) -> Any:
    # asyncio takes a fifth of the import; who needs it asks for it.
    if name in ("AsyncRun", "AsyncStep", "AsyncWorkflows"):
        from holdfast.workflows import awaited

        return getattr(awaited, name)
    raise AttributeError(f"module 'holdfast.workflows' has no attribute {name!r}")
