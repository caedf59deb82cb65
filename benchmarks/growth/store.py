"""Filling a store of a size, and where its keys are. Everything goes through the public API."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holdfast
from benchmarks.data import Values
from benchmarks.growth.figure import Figure
from holdfast import SetOperation, StateManager, StateScope

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Shape:
    """A store that is measured.

    Attributes:
        engine: Its engine.
        url: Where it is.
        path: The file or directory, if it has one.
        keys, scopes: How many there are; every scope has as many keys as any other.
    """

    engine: str
    url: str
    path: Path | None
    keys: int
    scopes: int

    def open(self, **options: Any) -> StateManager:
        """Open it."""
        return holdfast.open(self.url, **options)

    def place(self, number: int) -> tuple[StateScope, str]:
        """Return the number-th place."""
        return scope(number % self.scopes), f"task/{number // self.scopes:07d}"

    def chosen(self, count: int, seed: int) -> list[tuple[StateScope, str]]:
        """Return `count` places in no order."""
        pick = random.Random(seed).randrange
        return [self.place(pick(self.keys)) for _ in range(count)]


def scope(number: int) -> StateScope:
    """Return the number-th scope."""
    return StateScope.agent(f"agent-{number:06d}")


def fill(shape: Shape, state: StateManager) -> list[Figure]:
    """Write every key once, in batches of 1,000 values of 200 B."""
    values = Values()
    spent = 0.0
    for at in range(0, shape.keys, _BATCH):
        count = min(_BATCH, shape.keys - at)
        batch = [SetOperation(*shape.place(at + n), values.document(200)) for n in range(count)]
        begun = time.perf_counter()
        done = state.set_batch(batch, durability="os")
        spent += time.perf_counter() - begun
        refused = [each for each in done if not isinstance(each, int)]
        if refused:
            raise refused[0]
    return [Figure("fill, a key", "µs", spent / shape.keys * 1e6)]


def fill_new(shape: Shape) -> list[Figure]:
    """Make the store and fill it."""
    with shape.open() as state:
        return fill(shape, state)
