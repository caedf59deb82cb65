"""A migration in a process of its own, which kills itself before a commit of its journal."""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from typing import Any

import holdfast
from holdfast import Durability
from holdfast.migrations import Default, MigrationEngine, MigrationStep, Move, RunSettings

STEP = MigrationStep(
    schema="item",
    from_version=1,
    to_version=2,
    transformations=(
        Move(from_field="n", to_field="count.total"),
        Default(field="count.unit", value="piece"),
    ),
)


def main(url: str, command: str, last: int) -> None:
    """Apply, or roll back the run named, until commit number `last` would begin."""
    with holdfast.open(url) as state:
        engine = MigrationEngine(state, [STEP])
        commit, numbers = engine._ledger.commit, count()

        def killing(*args: Any, **options: Any) -> Any:
            if next(numbers) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return commit(*args, **options)

        engine._ledger.commit = killing  # type: ignore[method-assign]
        if command == "apply":
            settings = RunSettings(batch_size=20, workers=2, durability=Durability.OS)
            engine.apply("item", 2, scope="agent:*", settings=settings)
        else:
            engine.rollback(command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
