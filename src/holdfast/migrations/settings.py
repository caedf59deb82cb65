"""How a run works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.engines.base import Durability
from holdfast.errors import InvalidArgumentError

ON_FAILURE = ("value", "batch", "all")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run works.

    Attributes:
        on_failure: What a value that fails takes with it. ``value``: it stays as it was and is
            recorded in quarantine, the others go on. ``batch``: nothing of its batch is written,
            and the run stops there, to be resumed. ``all``: everything that the run has written
            is restored.
        allow_loss: Go on although the plan loses data.
        batch_size: Values of one commit.
        workers: Threads that work on batches.
        rate: Values per second, at most.
        unversioned: The version of values that say none.
        durability: Of the commits; by default that of scope and class.
        actor: Who writes, for the history.
        progress: Called with (values done, values in all) after each batch.
    """

    on_failure: str = "all"
    allow_loss: bool = False
    batch_size: int = 1000
    workers: int = 2
    rate: float | None = None
    unversioned: int = 1
    durability: Durability | str | None = None
    actor: str | None = None
    progress: Callable[[int, int], Any] | None = None

    def __post_init__(self) -> None:
        if self.on_failure not in ON_FAILURE:
            raise InvalidArgumentError(
                f"on_failure {self.on_failure!r} is not known", hint="use value, batch or all"
            )
        if not 1 <= self.batch_size <= 10_000 or not 1 <= self.workers <= 64:
            raise InvalidArgumentError("batch_size is 1 to 10,000, and workers are 1 to 64")
        if self.rate is not None and not self.rate > 0:
            raise InvalidArgumentError("rate must be more than 0 values per second")
