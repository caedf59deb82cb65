"""The case ``hermitage``: every interleaving of the shapes, in transactions and without them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from holdfast import AsyncStateManager, ConflictError, SetOperation, StateManager, StateTransaction
from proof.case import Case, Counts, Trial
from proof.shapes import SHAPES, START, Ran, Shape, Step, explained, overlapping, turns
from proof.stores import ENGINES, open_store, require, some_partitions, sound, unable

INTERLEAVINGS = 10
REMOTE_INTERLEAVINGS = 3  # every turn there is a round trip


def _scope(base: str, key: str) -> str:
    """Return the scope of a key: the shapes span two, in a store of several partitions too."""
    return f"{base}-{'odd' if key in '13x' else 'even'}"


def _scopes(base: str) -> tuple[str, str]:
    return f"{base}-odd", f"{base}-even"


class InTransaction:
    """The verbs inside a transaction."""

    def __init__(self, tx: StateTransaction, scope: str) -> None:
        self._tx, self._base = tx, scope

    def get(self, key: str) -> Any:
        """Read."""
        return self._tx.get(_scope(self._base, key), key)

    def set(self, key: str, value: Any) -> None:
        """Write."""
        self._tx.set(_scope(self._base, key), key, value)

    def delete(self, key: str) -> None:
        """Delete."""
        self._tx.delete(_scope(self._base, key), key)

    def scan(self) -> dict[str, Any]:
        """Read everything."""
        return {k: v for s in _scopes(self._base) for k, v in self._tx.scan(s)}


class Plain:
    """The same verbs without any transaction: the control that must show the anomalies."""

    def __init__(self, state: StateManager, scope: str) -> None:
        self._state, self._base = state, scope

    def get(self, key: str) -> Any:
        """Read."""
        return self._state.get(_scope(self._base, key), key)

    def set(self, key: str, value: Any) -> None:
        """Write."""
        self._state.set(_scope(self._base, key), key, value)

    def delete(self, key: str) -> None:
        """Delete."""
        self._state.delete(_scope(self._base, key), key)

    def scan(self) -> dict[str, Any]:
        """Read everything."""
        return {k: v.value for s in _scopes(self._base) for k, v in self._state.scan(s)}


class RolledBackError(Exception):
    """Leaves a transaction's block without a commit."""


class Session:
    """One script of a shape, driven turn by turn; a conflict ends it."""

    def __init__(self, script: Sequence[Step | None], scope: str) -> None:
        self.ran = Ran()
        self._steps: Iterator[Step] = iter([s for s in script if s is not None])
        self._aborts = None in script
        self._scope = scope
        self._verbs: Any = None
        self._ended = False

    async def turn(self, number: int, manager: Any) -> None:
        """Take the next turn: begin, one step, or the end."""
        if self._ended:
            return
        self.ran.ended = number
        if self._verbs is None:
            self.ran.began = number
            self._verbs = await self._begin(manager)
            return
        step = next(self._steps, None)
        if step is None:
            self._ended = True
            self.ran.committed = await self._end(RolledBackError() if self._aborts else None)
            return
        try:
            self.ran.steps.append((step, step(self._verbs)))
        except ConflictError as error:
            self._ended = True
            await self._end(error)

    async def _begin(self, manager: Any) -> Any:
        self._context = manager.transaction()
        if isinstance(manager, StateManager):
            return InTransaction(self._context.__enter__(), self._scope)
        return InTransaction(await self._context.__aenter__(), self._scope)

    async def _end(self, error: Exception | None) -> bool:
        facts = (None, None, None) if error is None else (type(error), error, None)
        try:
            if hasattr(self._context, "__aexit__"):
                await self._context.__aexit__(*facts)
            else:
                self._context.__exit__(*facts)
        except (ConflictError, RolledBackError):
            return False
        return error is None


class PlainSession(Session):
    """The same script without a transaction: nothing conflicts and nothing is rolled back."""

    async def _begin(self, manager: Any) -> Any:
        return Plain(getattr(manager, "sync", manager), self._scope)

    async def _end(self, error: Exception | None) -> bool:
        return error is None


def interleaving(shape: Shape, rng: random.Random) -> list[int]:
    """Return a random order of the turns."""
    order = [which for which, count in enumerate(turns(shape)) for _ in range(count)]
    rng.shuffle(order)
    return order


async def play(
    shape: Shape, order: Sequence[int], manager: Any, scope: str, kind: type[Session]
) -> tuple[list[Ran], dict[str, Any]]:
    """Run one interleaving in a fresh scope; return what each did and what is there after it."""
    state = getattr(manager, "sync", manager)
    state.set_batch(
        [SetOperation(_scope(scope, key), key, value) for key, value in START.items()], atomic=True
    )
    sessions = [kind(script, scope) for script in shape.scripts]
    ordered = [*order, *(i for i, count in enumerate(turns(shape)) for _ in range(count))]
    for number, which in enumerate(ordered):
        await sessions[which].turn(number, manager)
    return [s.ran for s in sessions], Plain(state, scope).scan()


def run(trial: Trial) -> Counts:
    """Attack with one shape: Hermitage's own interleaving and random ones; then the control."""
    return asyncio.run(_run(trial))


async def _run(trial: Trial) -> Counts:
    shape, rng, counts = SHAPES[trial.index % len(SHAPES)], trial.random(), Counter[str]()
    partitions = some_partitions(rng)
    state = open_store(trial.engine, trial.directory, partitions=partitions)
    async with AsyncStateManager(state) as aio:
        count = REMOTE_INTERLEAVINGS if trial.engine == "postgres" else INTERLEAVINGS
        orders = [[int(turn) for turn in shape.order]]
        orders += [interleaving(shape, rng) for _ in range(count - 1)]
        for manager in (state, aio):
            for number, order in enumerate(orders):
                scope = f"agent:{type(manager).__name__}{number}"
                runs, final = await play(shape, order, manager, scope, Session)
                facts = (shape.name, scope, order, runs, final)
                require(explained(runs, final), "no serial order explains", *facts)
                if not number:
                    require(overlapping(runs), "the transactions did not overlap", *facts)
                    require(tuple(r.committed for r in runs) == shape.commits, "commits", *facts)
                    require(final == dict(shape.final), "the end", *facts)
                counts["interleavings"] += 1
                counts["overlapping"] += overlapping(runs)
        require(await _control(shape, state, rng), "the control shows no anomaly", shape.name)
        counts["anomalies of the control"] += 1
        sound(state)
    return counts


async def _control(shape: Shape, state: StateManager, rng: random.Random) -> bool:
    """Say whether the shape shows its anomaly without transactions."""
    order = [int(turn) for turn in shape.order]
    for number in range(100):
        runs, final = await play(shape, order, state, f"session:{number}", PlainSession)
        for ran, script in zip(runs, shape.scripts, strict=True):
            ran.committed = None not in script
        if not explained(runs, final):
            return True
        order = interleaving(shape, rng)
    return False


CASE = Case(
    name="hermitage",
    claim="transactions, sync and async, show none of Hermitage's anomalies",
    run=run,
    engines=ENGINES,
    quick=len(SHAPES),
    long=len(SHAPES) * 60,
    unable=unable,
)
