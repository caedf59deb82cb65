"""A program that mypy --strict checks against the installed wheel (`test_typing.py`); never run.

`assert_type` fails the check where an inferred type is another; an unneeded ``type: ignore``
fails it too, so each one below states that mypy refuses the line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

import msgspec

import holdfast
from holdfast import (
    AsyncStateManager,
    Change,
    Difference,
    Durability,
    SetOperation,
    StateError,
    StateManager,
    StateScope,
    StateTransaction,
    StateValue,
)


class Profile(msgspec.Struct):
    name: str


@dataclass
class Budget:
    tokens: int


scope = StateScope.agent("a")
state = holdfast.open("memory:")
assert_type(state, StateManager)

# reading
assert_type(state.get(scope, "k"), Any)
assert_type(state.get(scope, "k", type=Profile), Profile | None)
assert_type(state.get(scope, "k", None, type=Budget), Budget | None)
assert_type(state.get(scope, "k", Budget(1), type=Budget), Budget)
assert_type(state.get(scope, "k", type=list[int]), list[int] | None)
assert_type(state.get(scope, "k", 0, type=int, as_of=7), int)
state.get(scope, "k", type=Profile).name  # type: ignore[union-attr]
assert_type(state.get_with_metadata(scope, "k"), StateValue | None)
assert_type(state.exists("agent:a", "k"), bool)
assert_type(state.list_keys(scope, prefix="p", limit=3), list[str])
assert_type(state.scan(scope), Iterator[tuple[str, StateValue]])
assert_type(state.scopes(), list[StateScope])

# writing
assert_type(state.set(scope, "k", 1, expires_in=timedelta(hours=1)), int)
assert_type(state.set(scope, "k", 1, durability=Durability.OS, actor="me"), int)
assert_type(state.set(scope, "k", 1, durability="os"), int)
assert_type(state.delete(scope, "k", if_revision=3), bool)
assert_type(state.set_batch([SetOperation(scope, "k", 1)]), list[int | StateError])
state.set(scope, "k", 1, if_revison=3)  # type: ignore[call-arg]
state.set(7, "k", 1)  # type: ignore[arg-type]

# transactions


def spend(tx: StateTransaction) -> int:
    budget = tx.get(scope, "budget", Budget(0), type=Budget)
    assert_type(budget, Budget)
    return budget.tokens


assert_type(state.transact(spend), int)
with state.transaction(actor="me") as tx:
    assert_type(tx, StateTransaction)
    assert_type(tx.get(scope, "k", type=Profile), Profile | None)
with state.snapshot() as snapshot:
    assert_type(snapshot.revision, int)
    assert_type(snapshot.get(scope, "k", type=Profile), Profile | None)

# the past
assert_type(state.history(scope, "k"), Iterator[Change])
assert_type(state.changes(since=1), Iterator[Change])
assert_type(state.diff(1, 2), Iterator[Difference])
assert_type(state.rewind(scope, "k", to=1), int)

# a scope as a mapping
view = state.scope(scope)
view["k"] = 1
assert_type(view["k"], Any)
assert_type(len(view), int)


async def main() -> None:
    async with await holdfast.open_async("memory:") as astate:
        assert_type(astate, AsyncStateManager)
        assert_type(await astate.get(scope, "k", type=Profile), Profile | None)
        assert_type(await astate.get(scope, "k", 0, type=int), int)
        assert_type(await astate.set(scope, "k", 1), int)
        assert_type(await astate.transact(spend), int)
        async for change in astate.changes():
            assert_type(change, Change)
        async with astate.transaction() as tx:
            assert_type(tx, StateTransaction)
