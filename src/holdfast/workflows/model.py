"""What is stored of a run and its steps, and how it is told.

In ``workflow:ID``: ``run`` (`RunRecord`), ``lease`` (with the store's own expiry), ``input`` and
``result``. In ``workflow:ID:step:NAME``: ``step`` (`StepRecord`), ``checkpoint`` and ``result``.
Other keys of these scopes are the user's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

RUN: Final = "run"
LEASE: Final = "lease"
INPUT: Final = "input"
RESULT: Final = "result"
STEP: Final = "step"
CHECKPOINT: Final = "checkpoint"

RUNNING: Final = "running"
COMPLETED: Final = "completed"
FAILED: Final = "failed"


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run as stored.

    Attributes:
        kind: What sort of work it is; the caller's word.
        status: ``"running"``, ``"completed"`` or ``"failed"``.
        epoch: How often the run has been taken; who has an older one is fenced off.
        holder: Who took it last: 32 hex digits.
        correlation, span: Of the run; every commit of it belongs to them.
        error: Why it failed.
    """

    kind: str
    status: str
    epoch: int
    holder: str
    correlation: str
    span: str
    error: str | None = None


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A step as stored.

    Attributes:
        status: ``"running"``, ``"completed"`` or ``"failed"``.
        number: Its place in the order in which the steps were first begun, from 0.
        attempt: How often it has been begun.
        epoch: Of the run, when it was written last.
        error: Why it failed.
    """

    status: str
    number: int
    attempt: int
    epoch: int
    error: str | None = None


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is now.

    Attributes:
        id, kind, status, epoch, correlation, error: See `RunRecord`.
        held: Somebody's lease has not ended.
        started_at, updated_at: Of the run itself, not of its steps.
        input, result: The caller's values; None where there is none.
    """

    id: str
    kind: str
    status: str
    epoch: int
    correlation: str
    error: str | None
    held: bool
    started_at: datetime
    updated_at: datetime
    input: Any = None
    result: Any = None


class StepInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A step as it is now.

    Attributes:
        name, status, number, attempt, error: See `StepRecord`.
        started_at, updated_at: Begun for the first time, and changed last.
        checkpoint, result: The caller's values; None where there is none.
    """

    name: str
    status: str
    number: int
    attempt: int
    error: str | None
    started_at: datetime
    updated_at: datetime
    checkpoint: Any = None
    result: Any = None
