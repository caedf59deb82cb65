"""Migrations: values per second, from the first read to the last durable commit.

Move, Default and Convert over values of about 300 bytes; the count of what is to be done, the
journal of the run and its events are part of it.
"""

from __future__ import annotations

import statistics
from typing import Any, Final

import holdfast
from benchmarks.measure import Bench, Row, Target, settle
from benchmarks.raw import url_of
from holdfast import SetOperation, StateManager
from holdfast.migrations import Convert, Default, MigrationEngine, MigrationStep, Move

_VALUES: Final = 100_000
_RATE: Final = Target(20_000, "values/s", at_least=True)
_STEP: Final = MigrationStep(
    schema="item",
    from_version=1,
    to_version=2,
    transformations=(
        Move(from_field="price", to_field="cost.amount"),
        Default(field="cost.currency", value="EUR"),
        Convert(field="quantity", to="integer"),
    ),
)


def item(number: int) -> dict[str, Any]:
    """Return a value of version 1."""
    return {
        "id": number,
        "name": f"Item {number}",
        "price": number / 4,
        "quantity": str(number % 100),
        "metadata": {
            "created": "2026-01-01T00:00:00Z",
            "updated": "2026-01-02T00:00:00Z",
            "tags": ["new", "sale"],
            "attributes": {"colour": "red", "size": number % 10, "weight": 1.5},
        },
    }


def fill(state: StateManager, count: int) -> None:
    """Store values, over ten scopes."""
    for part in range(10):
        state.set_batch(
            SetOperation(f"agent:{part}", f"item-{number:07}", item(number))
            for number in range(part, count, 10)
        )


def run(bench: Bench) -> list[Row]:
    """Migrate a store on each engine."""
    rows = []
    for engine in bench.engines("sqlite", "rocksdb"):
        count, rates = bench.count(_VALUES, 500), []
        for _ in range(bench.rounds):
            with holdfast.open(url_of(engine, bench.place("migrations"))) as state:
                fill(state, count)
                settle()
                migration = MigrationEngine(state, [_STEP])
                with bench.watched():
                    done = migration.apply("item", 2, scope="agent:*")
                assert done.migrated == count
                rates.append(count / done.duration)
        rate = statistics.median(rates)
        rows.append(
            Row("migrations", engine, "Move + Default + Convert", "values/s", rate,
                figure=rate, target=_RATE)
        )  # fmt: skip
    return rows
