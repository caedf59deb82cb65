"""Turns: many who change one key all succeed; a turn is never lost and never binds anybody."""

from __future__ import annotations

import asyncio
import threading

import pytest

import holdfast
from holdfast import StateManager
from holdfast.errors import ConflictError
from holdfast.store import turns
from holdfast.store.turns import Turns
from tests.conftest import Stores
from tests.store.test_concurrency import together

_KEY = ("agent:a", "n")
_CONFLICT = ConflictError("changed", scope="agent:a", key="n")


def one_more(n: int | None) -> int:
    """Return the next number."""
    return (n or 0) + 1


@pytest.mark.parametrize("verb", ["update", "awaited", "transact"])
def test_a_thousand_tasks_update_one_key(verb: str, open_store: Stores) -> None:
    """None of them runs out of attempts; the sum and the history are exact."""
    state = open_store()
    calls = 1000 if verb == "update" else 200

    async def awaited(n: int | None) -> int:
        await asyncio.sleep(0)
        return one_more(n)

    async def scenario() -> None:
        many = holdfast.AsyncStateManager(state)
        if verb == "transact":
            await asyncio.gather(
                *[many.transact(lambda tx: tx.increment(*_KEY)) for _ in range(calls)]
            )
        else:
            change = awaited if verb == "awaited" else one_more
            await asyncio.gather(*[many.update(*_KEY, change) for _ in range(calls)])

    asyncio.run(scenario())
    assert state.get(*_KEY) == calls
    assert [c.value for c in state.history(*_KEY, newest_first=False)] == list(range(1, calls + 1))
    assert not state._kernel.turns._waiting


def test_a_hundred_threads_update_one_key(state: StateManager) -> None:
    """The same with threads."""
    together(*[lambda: state.update(*_KEY, one_more)] * 100)
    assert state.get(*_KEY) == 100
    assert not state._kernel.turns._waiting


def test_turns_come_in_order() -> None:
    """Who waits longest is next, and nobody waits for a free key."""
    queue, order = Turns(), []

    async def caller(name: str) -> None:
        key = await queue.wait_async(_CONFLICT)
        order.append(name)
        await asyncio.sleep(0)
        queue.leave(key)

    async def scenario() -> None:
        await asyncio.gather(*map(caller, "abcde"))

    asyncio.run(scenario())
    assert order == list("abcde")
    assert not queue._waiting


def test_a_cancelled_caller_gives_its_turn_on() -> None:
    """Cancelled while it waits, or in the moment in which its turn comes: the next one goes on."""

    async def scenario() -> list[str | None]:
        queue = Turns()
        key = await queue.wait_async(_CONFLICT)
        waiting = [asyncio.create_task(queue.wait_async(_CONFLICT)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # while it waits
        await asyncio.sleep(0)
        queue.leave(key)
        waiting[1].cancel()  # as its turn comes
        third = await asyncio.wait_for(waiting[2], 30)
        queue.leave(third)
        assert not queue._waiting
        return [key, third]

    assert asyncio.run(scenario()) == ["agent:a/n"] * 2


def test_a_turn_goes_past_a_closed_loop() -> None:
    """A caller whose event loop is gone does not keep the turn."""
    queue = Turns()
    key = queue.wait(_CONFLICT)

    async def abandoned() -> None:
        task = asyncio.ensure_future(queue.wait_async(_CONFLICT))
        await asyncio.sleep(0)
        queue._give_up = lambda *_: None  # type: ignore[method-assign] # as if it had no time to
        task.cancel()

    asyncio.run(abandoned())
    del queue._give_up
    got: list[str | None] = []
    thread = threading.Thread(target=lambda: got.append(queue.wait(_CONFLICT)))
    thread.start()
    while len(queue._waiting["agent:a/n"]) < 2:
        pass
    queue.leave(key)
    thread.join(30)
    assert got == ["agent:a/n"]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.0)


@pytest.mark.usefixtures("_impatient")
def test_nobody_waits_for_ever() -> None:
    """A turn whose holder does not end is gone without, in both faces."""
    queue = Turns()
    assert queue.wait(_CONFLICT) == "agent:a/n"
    assert queue.wait(_CONFLICT) is None
    assert asyncio.run(queue.wait_async(_CONFLICT)) is None
    queue.leave("agent:a/n")
    assert not queue._waiting


def test_a_conflict_about_no_key_has_no_turn() -> None:
    """A range that changed is nobody's turn."""
    queue = Turns()
    conflict = ConflictError("a range changed", reason="range")
    assert queue.wait(conflict) is None
    assert asyncio.run(queue.wait_async(conflict)) is None
    queue.leave(None)
    assert not queue._waiting
