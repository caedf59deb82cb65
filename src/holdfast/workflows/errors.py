"""What can be wrong with a run. A lost lease is `holdfast.errors.LeaseLostError`."""

from __future__ import annotations

from holdfast.errors import RejectedError


class WorkflowNotFoundError(RejectedError):
    """There is no run of this id.

    Attributes:
        workflow: The id.
    """

    code = "workflow_not_found"
    default_hint = "start it first; workflows.list() tells which there are"
    workflow: str | None = None


class WorkflowExistsError(RejectedError):
    """A run of this id has been started before."""

    code = "workflow_exists"
    default_hint = "resume it, or choose another id"
    workflow: str | None = None


class WorkflowHeldError(RejectedError):
    """Somebody else works on the run: its lease has not ended.

    Attributes:
        workflow: The id.
        epoch: Under which the other one works.
    """

    code = "workflow_held"
    retryable = True
    default_hint = "leave it to the other one; its lease ends by itself where it has died"
    workflow: str | None = None
    epoch: int | None = None


class WorkflowEndedError(RejectedError):
    """The run, or the step, has ended: nothing more can be written to it.

    Attributes:
        workflow: The id.
        status: ``"completed"`` or ``"failed"``.
    """

    code = "workflow_ended"
    default_hint = "read its result with workflows.get(id)"
    workflow: str | None = None
    status: str | None = None
