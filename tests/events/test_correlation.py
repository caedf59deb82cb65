"""Correlation contexts: how they flow, what they refuse, how they look to other processes."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast import CorrelationContext, StateManager, carried, correlate
from holdfast.correlation import MAX_ATTRIBUTES, MAX_CAUSES, current
from holdfast.errors import InvalidArgumentError

A = "agent:a"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def written(state: StateManager) -> list[tuple[str | None, str | None]]:
    """Return correlation id and span of each change."""
    return [
        (c.correlation_id, c.context.span if c.context is not None else None)
        for c in state.changes()
    ]


def test_every_write_inside_belongs_to_the_step(state: StateManager) -> None:
    """Whatever the verb, a commit inside a block carries the whole step; outside, none."""
    with correlate(
        "run-1",
        component="planner",
        operation="plan",
        causes=["c1"],
        attributes={"model": "large", "tries": 2, "share": 0.5, "dry": False},
    ) as step:
        state.set(A, "k", 1)
        state.update(A, "k", lambda n: n + 1)
        state.increment(A, "n")
        state.set_batch([holdfast.SetOperation(A, "b", 1)])
        with state.transaction() as tx:
            tx.set(A, "t", 1)
        state.delete(A, "b")
    state.set(A, "k", 3)
    *inside, outside = state.changes()
    assert len(inside) == 6
    for change in inside:
        assert change.correlation_id == "run-1"
        assert change.context == step
    assert (outside.correlation_id, outside.context) == (None, None)
    assert current() is None


def test_nested_steps(state: StateManager) -> None:
    """A block inside another keeps the id, names its parent, and gives it back at the end."""
    with correlate("run-1", component="planner") as outer:
        with correlate(operation="write") as inner:
            state.set(A, "k", 1)
            with correlate("run-2") as other:
                pass
        assert current() is outer
    assert (inner.id, inner.parent, inner.component) == ("run-1", outer.span, "planner")
    assert inner.operation == "write"
    assert inner.span != outer.span
    assert (other.id, other.parent) == ("run-2", None)
    assert written(state) == [("run-1", inner.span)]


def test_a_block_that_raises_gives_the_context_back() -> None:
    """An error leaves no context behind."""
    with pytest.raises(ZeroDivisionError), correlate("run-1"):
        1 / 0
    assert current() is None


def test_a_call_wins_over_the_block(state: StateManager) -> None:
    """correlation= at a verb, an id or a context, is taken instead of the one around."""
    context = CorrelationContext.new("run-3", component="writer")
    with correlate("run-1") as step:
        state.set(A, "k", 1, correlation="run-2")
        state.set(A, "k", 2, correlation=context)
        state.set(A, "k", 3, correlation="run-1")
    assert [c for c, _ in written(state)] == ["run-2", "run-3", "run-1"]
    assert written(state)[1] == ("run-3", context.span)
    assert written(state)[0] == ("run-2", None)
    assert step.span != context.span


def test_a_context_is_taken_as_it_is() -> None:
    """correlate(context) runs the block as that very step; further arguments are refused."""
    context = CorrelationContext.new("run-1")
    with correlate(context) as step:
        assert step is context is current()
    with pytest.raises(InvalidArgumentError), correlate(context, component="x"):
        pass


def test_threads_start_without_one(state: StateManager) -> None:
    """A plain thread has no context; a function carried into it has the one it was carried from."""
    with correlate("run-1") as step:
        plain = threading.Thread(target=state.set, args=(A, "plain", 1))
        taken = threading.Thread(target=carried(state.set), args=(A, "taken", 1))
        for thread in (plain, taken):
            thread.start()
            thread.join()
    assert written(state) == [(None, None), ("run-1", step.span)]


def test_carried_restores_what_the_thread_had() -> None:
    """A pool's thread is left as it was, and a carried function may run in many at once."""
    with correlate("run-1"):
        call = carried(lambda: current())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: (call(), current()), range(20)))
    assert {inside.id for inside, _ in found if inside is not None} == {"run-1"}
    assert {outside for _, outside in found} == {None}
    with correlate("run-2") as here:
        assert call() is not None
        assert current() is here


def test_carried_passes_arguments_and_errors() -> None:
    """Arguments, results and exceptions go through."""

    def divide(a: int, *, by: int) -> float:
        return a / by

    assert carried(divide)(6, by=3) == 2
    with pytest.raises(ZeroDivisionError):
        carried(divide)(6, by=0)


def test_tasks_have_their_own() -> None:
    """Concurrent tasks do not see each other's steps; what they write carries their own."""

    async def main() -> list[tuple[str | None, str | None]]:
        async with await holdfast.open_async("memory:") as state:

            async def work(number: int) -> str:
                with correlate(f"run-{number}") as step:
                    await asyncio.sleep(0)
                    await state.set(A, f"k{number}", number)
                    await asyncio.sleep(0)
                    await state.events.emit("done", number)
                    assert current() is step
                return step.span

            with correlate("around") as around:
                spans = await asyncio.gather(*(work(number) for number in range(20)))
                assert current() is around
            found = written(state.sync)
            expected = [(f"run-{n}", span) for n, span in enumerate(spans)]
            assert sorted(found, key=str) == sorted(expected, key=str)
            events = [e async for e in state.events.read()]
            assert {(e.correlation_id, e.data) for e in events} == {
                (f"run-{n}", n) for n in range(20)
            }
            return found

    assert len(asyncio.run(main())) == 20


def test_the_pool_of_the_async_face(engine: str, tmp_path: Any) -> None:
    """What the asynchronous face runs in its threads carries the caller's step."""
    from tests.conftest import Stores

    async def main() -> None:
        stores = Stores(engine, tmp_path)
        async with await holdfast.open_async(stores.url()) as state:
            with correlate("run-1") as step:
                await state.set(A, "k", 1)
                await state.update(A, "k", lambda n: n + 1)
                await state.copy_scope(A, "agent:b")
                async with state.transaction() as tx:
                    tx.set(A, "t", 1)
                    tx.emit("done")
            changes = [c async for c in state.changes()]
            assert {c.context.span for c in changes if c.context is not None} == {step.span}
            assert all(c.correlation_id == "run-1" for c in changes)
            assert [e.correlation_id async for e in state.events.read()] == ["run-1"]

    asyncio.run(main())


# --- traceparent ------------------------------------------------------------------------------

# https://www.w3.org/TR/trace-context/#examples-of-http-traceparent-headers, and the cases of its
# test suite (https://github.com/w3c/trace-context/blob/main/test/test.py).
VALID = [
    f"00-{TRACE}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-00",
    f"00-{TRACE}-{SPAN}-ff",
    f" 00-{TRACE}-{SPAN}-01\t",
    f"cc-{TRACE}-{SPAN}-01",
    f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
    f"01-{TRACE}-{SPAN}-01-",
]
INVALID: list[Any] = [
    "",
    "00",
    f"00-{TRACE}-{SPAN}",
    f"00-{TRACE}-{SPAN}-01-",
    f"00-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
    f"00-{TRACE}-{SPAN}-01.",
    f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like",
    f"ff-{TRACE}-{SPAN}-01",
    f"0-{TRACE}-{SPAN}-01",
    f".0-{TRACE}-{SPAN}-01",
    f"000-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE.upper()}-{SPAN}-01",
    f"00-{TRACE}-{SPAN.upper()}-01",
    f"00-.{TRACE[1:]}-{SPAN}-01",
    f"00-{TRACE}-.{SPAN[1:]}-01",
    f"00-{TRACE[:-1]}-{SPAN}-01",
    f"00-{TRACE}a-{SPAN}-01",
    f"00-{TRACE}-{SPAN[:-1]}-01",
    f"00-{TRACE}-{SPAN}a-01",
    f"00-{TRACE}-{SPAN}-.0",
    f"00-{TRACE}-{SPAN}-1",
    f"00-{TRACE}-{SPAN}-001",
    f"00-{TRACE}-{SPAN}-0A",
    f"00_{TRACE}_{SPAN}_01",
    None,
    7,
    b"00",
]


@pytest.mark.parametrize("header", VALID)
def test_a_traceparent_is_taken_over(header: str) -> None:
    """The trace id becomes the correlation id, the parent id the parent of a new step."""
    context = CorrelationContext.from_traceparent(header, component="api")
    assert (context.id, context.parent, context.component) == (TRACE, SPAN, "api")
    assert context.span != SPAN
    flag = "01" if int(header.strip()[53:55], 16) & 1 else "00"
    assert context.traceparent() == f"00-{TRACE}-{context.span}-{flag}"
    with correlate(traceparent=header, operation="serve") as step:
        assert (step.id, step.parent, step.operation) == (TRACE, SPAN, "serve")
        with correlate(component="inner") as inner:
            assert inner.traceparent() == f"00-{TRACE}-{inner.span}-{flag}"


@pytest.mark.parametrize("header", INVALID)
def test_what_is_no_traceparent_is_refused(header: Any) -> None:
    """Nothing is guessed from a malformed header; the error does not repeat it."""
    with pytest.raises(InvalidArgumentError) as caught:
        CorrelationContext.from_traceparent(header)
    assert TRACE not in str(caught.value)


def test_an_id_and_a_traceparent_exclude_each_other() -> None:
    """Two names for the piece of work are one too many."""
    with pytest.raises(InvalidArgumentError), correlate("run-1", traceparent=VALID[0]):
        pass


@given(
    st.text(min_size=1, max_size=60).filter(lambda text: len(text.encode("utf-8", "replace")) < 99)
)
def test_every_id_can_be_told(text: str) -> None:
    """Any id makes a sound header, the same each time, which reads back as that trace."""
    try:
        context = CorrelationContext.new(text)
    except InvalidArgumentError:
        assert any(0xD800 <= ord(letter) < 0xE000 for letter in text)
        return
    header = context.traceparent()
    there = CorrelationContext.from_traceparent(header)
    assert there.parent == context.span
    assert context.traceparent() == header
    assert there.traceparent()[3:35] == header[3:35]


def test_ids_are_random_and_sound() -> None:
    """A new piece of work has an id of 32 hex digits, a step a span of 16, none twice."""
    made = [CorrelationContext.new() for _ in range(1000)]
    assert len({each.id for each in made}) == len({each.span for each in made}) == 1000
    assert all(len(each.id) == 32 and int(each.id, 16) for each in made)
    assert all(len(each.span) == 16 and int(each.span, 16) for each in made)


# --- limits -----------------------------------------------------------------------------------

BAD: list[Callable[[], Any]] = [
    lambda: CorrelationContext.new(""),
    lambda: CorrelationContext.new("x" * 256),
    lambda: CorrelationContext.new("é" * 128),
    lambda: CorrelationContext.new("\ud800"),
    lambda: CorrelationContext.new(7),  # type: ignore[arg-type]
    lambda: CorrelationContext.new(b"run"),  # type: ignore[arg-type]
    lambda: CorrelationContext.new("r", component=""),
    lambda: CorrelationContext.new("r", operation="x" * 256),
    lambda: CorrelationContext.new("r", causes=["c"] * (MAX_CAUSES + 1)),
    lambda: CorrelationContext.new("r", causes=[""]),
    lambda: CorrelationContext.new("r", causes=[7]),  # type: ignore[list-item]
    lambda: CorrelationContext.new("r", causes=7),  # type: ignore[arg-type]
    lambda: CorrelationContext.new("r", attributes={"a": [1]}),  # type: ignore[dict-item]
    lambda: CorrelationContext.new("r", attributes={"a": None}),  # type: ignore[dict-item]
    lambda: CorrelationContext.new("r", attributes={"a": 1 << 64}),
    lambda: CorrelationContext.new("r", attributes={"a": "x" * 256}),
    lambda: CorrelationContext.new("r", attributes={"": 1}),
    lambda: CorrelationContext.new("r", attributes={7: 1}),  # type: ignore[dict-item]
    lambda: CorrelationContext.new("r", attributes=[("a", 1)]),  # type: ignore[arg-type]
    lambda: CorrelationContext.new("r", attributes={f"a{n}": n for n in range(MAX_ATTRIBUTES + 1)}),
    lambda: CorrelationContext(id="r", span=""),
    lambda: CorrelationContext(id="r", span="s", parent="x" * 256),
]


@pytest.mark.parametrize("make", BAD)
def test_what_is_no_context_is_refused(make: Callable[[], Any]) -> None:
    """Texts that are empty or too long, too many causes, attributes that are no small facts."""
    with pytest.raises(InvalidArgumentError) as caught:
        make()
    assert caught.value.code == "invalid_argument"


def test_the_largest_context_fits(state: StateManager) -> None:
    """Everything at its limit is written and reads back equal."""
    context = CorrelationContext.new(
        "i" * 255,
        component="c" * 255,
        operation="o" * 255,
        causes=[f"{n:0255}" for n in range(MAX_CAUSES)],
        attributes={f"{n:0255}": "v" * 255 for n in range(MAX_ATTRIBUTES)},
    )
    state.set(A, "k", 1, correlation=context)
    (change,) = state.changes()
    assert change.context == context


@pytest.mark.parametrize("bad", ["", "x" * 256, 7, b"run", "\ud800"])
def test_a_bad_correlation_at_a_verb_is_refused(memory_store: Any, bad: Any) -> None:
    """A write with a correlation that is none writes nothing; neither does an event."""
    state = memory_store()
    with pytest.raises(InvalidArgumentError):
        state.set(A, "k", 1, correlation=bad)
    with pytest.raises(InvalidArgumentError):
        state.events.emit("e", correlation=bad)
    with pytest.raises(InvalidArgumentError):
        state.timeline(bad)
    assert state.revision == 0


class Id(str):
    """A text of a type of its own, as some libraries have."""


@pytest.mark.parametrize(
    "wrong",
    [
        {"span": None},
        {"span": 7},
        {"started_ns": "now"},
        {"started_ns": None},
        {"started_ns": 1.5},
        {"started_ns": 1 << 70},
        {"attributes": {"a": b"x"}},
        {"attributes": {"a": None}},
    ],
)
def test_a_context_that_could_not_be_read_back_is_refused(wrong: dict[str, Any]) -> None:
    """No header of the journal holds what does not decode."""
    with pytest.raises(InvalidArgumentError):
        CorrelationContext(**{"id": "run", "span": "s", **wrong})


def test_a_context_holds_plain_values_of_its_own() -> None:
    """What is written is of plain types, and nobody changes it after it was checked."""
    given: dict[str, Any] = {"a": 1, "b": Id("x")}
    causes = [Id("one")]
    step = CorrelationContext(
        id=Id("run"),
        span=Id("s"),
        component=Id("c"),
        causes=causes,  # type: ignore[arg-type]
        attributes=given,
    )
    given["c"] = object()
    causes.append(Id("two"))
    assert dict(step.attributes) == {"a": 1, "b": "x"}
    assert step.causes == ("one",)
    texts = (step.id, step.span, step.component, *step.causes, step.attributes["b"])
    assert {type(text) for text in texts} == {str}


def test_texts_of_other_types_fail_nobody(state: StateManager) -> None:
    """An actor, a cause, a correlation and a commit id of a derived type are written as plain."""

    class Bytes(bytes):
        pass

    options = {"actor": Id("ada"), "cause": Id("why"), "correlation": Id("run")}
    state.set("global", "k", 1, commit_id=Bytes(b"x" * 16), **options)
    state.events.emit(Id("done"), scope="global", causes=[Id("why")])
    (change,) = state.changes()
    assert (change.actor, change.cause, change.correlation_id) == ("ada", "why", "run")
    assert [(e.name, e.causes) for e in state.events.read()] == [("done", ("why",))]


def test_what_carries_a_context_can_be_copied(memory_store: Any) -> None:
    """Steps, changes and events go to other processes by pickle, and into plain data."""
    state = memory_store()
    with correlate("run", attributes={"a": 1}) as step:
        state.set(A, "k", 1)
    (change,) = state.changes()
    for each in (step, change):
        assert pickle.loads(pickle.dumps(each)) == copy.deepcopy(each) == each
    assert asdict(step)["attributes"] == asdict(change)["context"]["attributes"] == {"a": 1}
