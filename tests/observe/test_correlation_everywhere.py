"""Every verb takes ``correlation=``, works inside of it, and its failure belongs to it."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import (
    AsyncStateManager,
    CorrelationContext,
    HistoryPolicy,
    HorizonError,
    StateError,
    StateManager,
    open_async,
)
from holdfast.aio.consumers import AsyncConsumer, AsyncConsumers
from holdfast.aio.events import AsyncEvents
from holdfast.correlation import current
from holdfast.errors import InvalidArgumentError
from holdfast.events import Events
from holdfast.store import layout
from holdfast.store.value import Operation
from holdfast.streams.consumer import Consumer
from holdfast.streams.consumers import Consumers
from holdfast.testing import FakeClock

#: Verbs without it, and why.
WITHOUT = {
    "close": "what it finishes belongs to whoever queued it",
    "scope": "a mapping, whose methods are those of a dict",
    "poll": "the consumer has its own: state.consumer(..., correlation=...)",
    "run": "the consumer has its own",
    "stop": "it does nothing to the store",
    "intent": "not for users: what emit is made of",
    "desk": "not for users: what state.consumer is made of",
    "judged": "not for users: a part of health",
    "samples": "not for users: a part of metrics",
}


@pytest.fixture
def state() -> Iterator[StateManager]:
    """A store with a clock of its own."""
    with holdfast.open("memory://", clock=FakeClock()) as opened:
        yield opened


def failures(state: StateManager, correlation: str, since: int = 0) -> list[str]:
    """Return the operations that failed in a piece of work."""
    state.events.emit("mark")  # a commit comes after what was recorded before it
    found = state.events.read(since, name="state.failed", correlation=correlation)
    return [event.data["operation"] for event in found]


@pytest.mark.parametrize(
    "face",
    [
        StateManager,
        AsyncStateManager,
        Events,
        AsyncEvents,
        Consumer,
        AsyncConsumer,
        Consumers,
        AsyncConsumers,
    ],
)
def test_every_verb_takes_it(face: type) -> None:
    """No public verb lacks it, but those that have a reason."""
    lacking = set()
    for name, verb in inspect.getmembers(face, inspect.isfunction):
        taken = inspect.signature(verb).parameters
        open_ended = any(each.kind is each.VAR_KEYWORD for each in taken.values())
        if not name.startswith("_") and "correlation" not in taken and not open_ended:
            lacking.add(name)
    assert lacking <= WITHOUT.keys()


def calls(state: StateManager, tmp_path: Path) -> dict[str, Callable[..., Any]]:
    """Return the verbs on a whole store, each as a call that takes the correlation."""
    return {
        "info": state.info,
        "health": state.health,
        "retention": state.retention,
        "sweep": state.sweep,
        "compact": state.compact,
        "verify": state.verify,
        "set_retention": lambda **belongs: state.set_retention([], **belongs),
        "copy_to": lambda **belongs: state.copy_to(tmp_path / "copy", **belongs),
        "repair": lambda **belongs: state.repair(tmp_path / "sound", **belongs),
        "watch": lambda **belongs: list(state.watch(timeout=0, **belongs)),
        "consumer": lambda **belongs: state.consumer("c", **belongs),
        "consumers.list": state.consumers.list,
        "consumers.status": lambda **belongs: state.consumers.status("c", **belongs),
        "consumers.dead_letters": lambda **belongs: list(
            state.consumers.dead_letters("c", **belongs)
        ),
        "consumers.reset": lambda **belongs: state.consumers.reset("c", "now", **belongs),
        "consumers.replay": lambda **belongs: state.consumers.replay("c", **belongs),
        "consumers.delete": lambda **belongs: state.consumers.delete("c", **belongs),
    }


def test_an_id_and_a_context_are_taken(state: StateManager, tmp_path: Path) -> None:
    """Each of them does its work, with an id as with a context; afterwards there is none."""
    context = CorrelationContext.new("run-8")
    for number, given in enumerate(("run-7", context)):
        for call in calls(state, tmp_path / str(number)).values():
            (tmp_path / str(number)).mkdir(exist_ok=True)
            call(correlation=given)
            assert current() is None
    assert failures(state, "run-7") == failures(state, "run-8") == []


@pytest.mark.parametrize("wrong", ["", "x" * 256, 7, b"run"])
def test_what_is_none_is_refused(state: StateManager, tmp_path: Path, wrong: Any) -> None:
    """No verb takes what is neither an id nor a context, and none does anything then."""
    state.consumer("c")
    for name, call in calls(state, tmp_path).items():
        with pytest.raises(InvalidArgumentError):
            call(correlation=wrong)
        assert current() is None, name
    assert not list(tmp_path.iterdir())
    assert [each.name for each in state.consumers.list()] == ["c"]


def test_what_a_verb_commits_belongs_to_it() -> None:
    """The trims of a compaction and the expiries of a sweep are commits of their work."""
    clock = FakeClock()
    with holdfast.open("memory://", clock=clock) as state:
        state.set("agent:a", "k", 1)
        state.set("agent:a", "k", 2)
        state.set("agent:a", "brief", 1, expires_in=1)
        clock.advance(5)
        state.sweep(correlation="tidy")
        clock.advance(86400)
        state.compact([HistoryPolicy(max_versions=1)], correlation="tidy")
        (expired,) = [each for each in state.changes() if each.correlation_id == "tidy"]
        assert (expired.operation, expired.key) == (Operation.EXPIRE, "brief")
        assert expired.context is not None and expired.context.operation == "sweep"
        # Trims are no changes of a key, and no reader shows them: look where their commit is.
        rows = layout.correlation_range(0, "tidy", 0, state.revision)
        with state._kernel.engine.read() as view:
            found = view.scan(*rows, limit=9)
            headers = [layout.correlation_revision(key) for key, _ in found]
        assert headers[0] == expired.revision and len(headers) == 2


def test_a_failure_belongs_to_it(state: StateManager, tmp_path: Path) -> None:
    """A verb that fails leaves the event of its failure in the piece of work."""
    (tmp_path / "there").write_text("no store")
    wrong: dict[str, Callable[..., Any]] = {
        "copy_to": lambda **belongs: state.copy_to(tmp_path / "there", **belongs),
        "repair": lambda **belongs: state.repair(tmp_path / "there", **belongs),
        "stats": state.stats,
        "watch": lambda **belongs: state.watch("no scope", **belongs),
        "consumer": lambda **belongs: state.consumer("c", start="sometime", **belongs),
        "consumers.status": lambda **belongs: state.consumers.status("none", **belongs),
        "consumers.dead_letters": lambda **belongs: list(
            state.consumers.dead_letters("none", **belongs)
        ),
        "consumers.reset": lambda **belongs: state.consumers.reset("none", 0, **belongs),
        "consumers.replay": lambda **belongs: state.consumers.replay("none", **belongs),
        "consumers.discard": lambda **belongs: state.consumers.discard("none", "1.0", **belongs),
    }
    for name, call in wrong.items():
        with pytest.raises(StateError):
            call(correlation=f"of {name}")
        assert failures(state, f"of {name}") == [name]


def test_a_watch_that_fails_later(state: StateManager) -> None:
    """What fails while iterating belongs to what the watch belongs to."""
    for number in range(5):
        state.set("agent:a", "k", number)
    state.compact([HistoryPolicy(max_age=timedelta(0))])
    since = state.set("agent:a", "k", 9)
    watch = state.watch(since=1, timeout=0, correlation="follow")
    with pytest.raises(HorizonError):
        list(watch)
    assert failures(state, "follow", since) == ["watch"]


def test_handlers_run_inside_of_it(state: StateManager) -> None:
    """What the handler of a consumer writes belongs to what the consumer belongs to."""
    consumer = state.consumer("c", "agent:a", start="earliest", correlation="index-1")
    state.set("agent:a", "k", 1)
    consumer.run(lambda change: state.set("agent:b", "seen", change.key), timeout=0)
    assert current() is None
    found = state.get_with_metadata("agent:b", "seen")
    assert found is not None and found.metadata.correlation_id == "index-1"


def test_a_run_that_fails_belongs_to_it(state: StateManager) -> None:
    """A consumer whose cursor lies before the horizon says so in its piece of work."""
    consumer = state.consumer("c", start="earliest", correlation="index-2")
    for number in range(5):
        state.set("agent:a", "k", number)
    state.compact([HistoryPolicy(max_age=timedelta(0))])
    since = state.set("agent:a", "k", 9)
    with pytest.raises(HorizonError):
        consumer.run(lambda change: None, timeout=0)
    with pytest.raises(HorizonError):
        consumer.poll(0)
    assert failures(state, "index-2", since) == ["consume", "consume"]


def test_awaited(tmp_path: Path) -> None:
    """The same of the asynchronous face, also across its threads."""

    async def work() -> None:
        async with await open_async("memory://") as state:
            for name in ("info", "health", "retention", "sweep", "compact", "verify"):
                await getattr(state, name)(correlation="run-7")
            await state.set_retention([], correlation="run-7")
            await state.copy_to(tmp_path / "copy", correlation="run-7")
            await state.repair(tmp_path / "sound", correlation="run-7")
            assert failures(state.sync, "run-7") == []
            with pytest.raises(InvalidArgumentError):
                await state.compact(correlation="")
            with pytest.raises(StateError):
                await state.copy_to(tmp_path / "copy", correlation="again")
            with pytest.raises(StateError):
                state.watch("no scope", correlation="again")
            with pytest.raises(StateError):
                await state.consumer("c", start="sometime", correlation="again")
            assert failures(state.sync, "again") == ["copy_to", "watch", "consumer"]

            async def index(change: Any) -> None:
                await state.set("agent:b", "seen", change.key)

            consumer = await state.consumer("c", "agent:a", start="earliest", correlation="index-1")
            await state.set("agent:a", "k", 1)
            await consumer.run(index, timeout=0)
            assert current() is None
            found = await state.get_with_metadata("agent:b", "seen")
            assert found is not None and found.metadata.correlation_id == "index-1"

    asyncio.run(work())


def test_threads_do_not_share_it(state: StateManager) -> None:
    """What a verb belongs to is known in its own thread only."""
    seen: list[object] = []

    def look(_: int) -> None:
        other = threading.Thread(target=lambda: seen.append(current()))
        other.start()
        other.join()
        seen.append(None if current() is None else current().id)  # type: ignore[union-attr]

    state.set("agent:a", "k", 1)
    state.verify(progress=look, correlation="run-7")
    assert seen[:2] == [None, "run-7"]
