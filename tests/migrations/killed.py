"""A migration in a process of its own, which the test kills."""

from __future__ import annotations

import sys

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


def main(url: str, command: str) -> None:
    """Run `command`, telling each batch on standard output."""

    def tell(done: int, total: int) -> None:
        sys.stdout.write(f"{done}/{total}\n")
        sys.stdout.flush()

    with holdfast.open(url) as state:
        engine = MigrationEngine(state, [STEP])
        if command == "apply":
            settings = RunSettings(
                batch_size=20, workers=2, durability=Durability.OS, progress=tell
            )
            engine.apply("item", 2, scope="agent:*", settings=settings)
        else:
            sys.stdout.write("0/0\n")
            sys.stdout.flush()
            engine.rollback(command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
