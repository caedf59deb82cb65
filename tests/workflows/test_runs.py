"""Runs and steps: done once, taken by one, and refused to whoever was overtaken."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import LeaseLostError, StateManager
from holdfast.testing import FakeClock
from holdfast.workflows import (
    AsyncWorkflows,
    WorkflowEndedError,
    WorkflowExistsError,
    WorkflowHeldError,
    WorkflowNotFoundError,
    Workflows,
)
from tests.conftest import Stores


def test_a_run_and_its_steps(state: StateManager) -> None:
    """A run's steps are done once, in order, and everything of it can be read."""
    calls: list[str] = []

    def charge(step: Any) -> dict[str, Any]:
        calls.append("charge")
        return {"ids": (1, 2)}

    with Workflows(state) as flows:
        with flows.start("o:7", kind="order", input={"amount": 3}) as run:
            assert run.step("charge", charge) == {"ids": [1, 2]}  # as it will be read back
            assert run.step("charge", charge) == {"ids": [1, 2]}
            assert run.step("mail", lambda step: None) is None
            assert run.complete([True]) == [True]
        assert calls == ["charge"]
        info = flows.get("o:7")
        assert info is not None
        assert (info.kind, info.status, info.epoch, info.held) == ("order", "completed", 1, False)
        assert (info.input, info.result, info.error) == ({"amount": 3}, [True], None)
        steps = flows.steps("o:7")
        assert [(s.name, s.number, s.status, s.attempt) for s in steps] == [
            ("charge", 0, "completed", 1),
            ("mail", 2, "completed", 1),
        ]
        assert [info.id for info in flows.list()] == ["o:7"]
        assert flows.list("failed") == []
        assert flows.get("absent") is None


def test_a_completed_run_is_not_run_again(state: StateManager) -> None:
    """`run` returns the stored result; the function is called once."""
    calls: list[int] = []
    flows = Workflows(state)
    for _ in range(3):
        assert flows.run("w", lambda run: calls.append(1) or 5) == 5
    assert calls == [1]
    flows.close()


def test_a_step_that_fails_is_tried_again_from_its_checkpoint(state: StateManager) -> None:
    """The next attempt sees the checkpoint; what a step before came to is not done again."""
    flows, seen = Workflows(state), []

    def work(step: Any) -> str:
        seen.append((step.attempt, step.last))
        step.checkpoint({"page": step.attempt})
        if step.attempt < 3:
            raise ValueError("secret 4711")
        return "done"

    for _ in range(2):
        with pytest.raises(ValueError, match="secret"):
            flows.run("w", lambda run: run.step("work", work))
        info = flows.get("w")
        assert info is not None
        assert (info.status, info.error) == ("failed", "ValueError")
        assert flows.steps("w")[0].error == "ValueError"
    assert flows.run("w", lambda run: run.step("work", work)) == "done"
    assert seen == [(1, None), (2, {"page": 1}), (3, {"page": 2})]
    assert flows.steps("w")[0].checkpoint is None
    assert b"4711" not in repr(list(state.changes())).encode()
    flows.close()


def test_what_cannot_be_is_refused(state: StateManager) -> None:
    """Each wrong move has its own error, and writes nothing."""
    flows = Workflows(state)
    with pytest.raises(WorkflowNotFoundError):
        flows.resume("w")
    run = flows.start("w")
    head = state.revision
    with pytest.raises(WorkflowExistsError):
        flows.start("w")
    with pytest.raises(WorkflowHeldError) as held:
        flows.resume("w")
    assert (held.value.workflow, held.value.epoch, held.value.retryable) == ("w", 1, True)
    assert list(state.changes(head)) == []  # the refusal itself is an event of the run
    step = run.begin("s")
    with pytest.raises(holdfast.UsageError):
        step.checkpoint(None)
    step.complete(1)
    with pytest.raises(WorkflowEndedError):
        step.complete(2)
    with pytest.raises(WorkflowEndedError):
        step.checkpoint(2)
    run.complete()
    with pytest.raises(WorkflowEndedError):
        run.begin("t")
    with pytest.raises(WorkflowEndedError):
        flows.resume("w")
    for lease in (0, -1, True, "1"):
        with pytest.raises(holdfast.UsageError):
            Workflows(state, lease=lease).start("x")  # type: ignore[arg-type]
    with pytest.raises(holdfast.UsageError):
        flows.list("gone")
    flows.close()


def test_a_lease_ends_by_the_time_of_the_store(open_store: Stores, clock: FakeClock) -> None:
    """The lease of a worker that says nothing ends exactly then; a zombie's commits are refused."""
    if open_store.engine == "postgres":
        pytest.skip("its time is the server's")
    state = open_store(clock=clock)
    first, second = Workflows(state, lease=10), Workflows(state, lease=10)
    zombie = first.start("w")
    step = zombie.begin("s")
    clock.advance(9.999)
    with pytest.raises(WorkflowHeldError):
        second.resume("w")
    zombie.renew()
    clock.advance(9.999)
    with pytest.raises(WorkflowHeldError):
        second.resume("w")
    clock.advance(0.001)
    step.checkpoint(1)  # nobody has taken it: it is still this worker's
    run = second.resume("w")
    assert run.epoch == 2
    again = run.begin("s")
    assert (again.attempt, again.last) == (2, 1)
    head = state.revision
    late: list[Any] = [
        lambda: step.checkpoint(2),
        lambda: step.complete(2),
        lambda: step.fail("late"),
        lambda: zombie.begin("t"),
        lambda: zombie.complete(2),
        lambda: zombie.fail("late"),
        zombie.renew,
        zombie.release,
    ]
    for act in late:
        with pytest.raises(LeaseLostError):
            act()
    assert list(state.changes(head)) == []  # the refusal itself is an event of the run
    assert again.complete("x") == "x"
    run.complete()
    zombie._core.over = True
    first.close()
    second.close()


def test_one_winner_among_threads(state: StateManager) -> None:
    """Of many that resume at once exactly one gets the run; the others are told who has it."""
    flows = Workflows(state)
    flows.start("w").release()
    won: list[int] = []
    lost: list[str] = []
    gate = threading.Barrier(8)

    def resume() -> None:
        gate.wait()
        try:
            won.append(flows.resume("w").epoch)
        except WorkflowHeldError as error:
            lost.append(error.code)

    threads = [threading.Thread(target=resume) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [2]
    assert lost == ["workflow_held"] * 7
    flows.close()


def test_a_living_worker_keeps_its_lease(memory_store: Stores, clock: FakeClock) -> None:
    """The lease is renewed while the process lives, and no more once the run has ended."""
    state = memory_store(clock=clock, sweep_every=0)
    flows = Workflows(state, lease=9, clock=clock)
    run = flows.start("w")
    for _ in range(10):
        clock.await_waiters()
        before = state.get_with_metadata("workflow:w", "lease")
        assert before is not None
        clock.advance(3.5)
        while True:  # until the keeper's thread has done it
            now = state.get_with_metadata("workflow:w", "lease")
            if now is not None and now.metadata.revision != before.metadata.revision:
                break
    run.complete()
    assert not state.exists("workflow:w", "lease")
    flows.close()


def test_closing_gives_runs_back(state: StateManager) -> None:
    """After `close`, or a block that is left, another one may resume at once."""
    flows = Workflows(state)
    held = flows.start("w")
    flows.close()
    with pytest.raises(LeaseLostError):
        Workflows(state).resume("w").release() or held.renew()
    other = Workflows(state)
    with other.resume("w") as run:
        assert run.epoch == 3
    with pytest.raises(KeyboardInterrupt), other.resume("w"):
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), other.resume("w"):
        raise ZeroDivisionError
    info = other.get("w")
    assert info is not None
    assert (info.status, info.error, info.held) == ("failed", "ZeroDivisionError", False)
    other.close()


def test_the_timeline_shows_the_run(state: StateManager) -> None:
    """What a run and its steps commit and emit is one piece of work, resumed or not."""
    flows = Workflows(state)
    with flows.start("w", correlation="job-1") as run:
        run.step("a", lambda step: state.set("agent:x", "k", 1))
    with flows.resume("w") as run:
        assert run.correlation == "job-1"
        run.step("b", lambda step: state.events.emit("noted"))
        run.complete()
    events = [e.name for e in state.events.read(correlation="job-1")]
    assert events == [
        "workflow.started",
        "workflow.step.started",
        "workflow.step.completed",
        "workflow.resumed",
        "workflow.step.started",
        "noted",
        "workflow.step.completed",
        "workflow.completed",
    ]
    shown = state.timeline("job-1").render("tree")
    assert "agent:x" in shown
    assert "workflow:w:step:b" in shown
    flows.close()


def test_workflows_do_not_meet(state: StateManager) -> None:
    """Ids with colons, and a run's own keys, stay apart; the user's keys are left alone."""
    flows = Workflows(state)
    state.set("workflow:a", "mine", 1)
    with flows.start("a") as one, flows.start("a:step:b") as two:
        one.step("b", lambda step: 1)
        two.step("b", lambda step: 2)
    assert [s.result for s in flows.steps("a")] == [1]
    assert [s.result for s in flows.steps("a:step:b")] == [2]
    assert state.get("workflow:a", "mine") == 1
    assert [info.id for info in flows.list()] == ["a", "a:step:b"]
    flows.close()


def test_the_awaited_face(tmp_path: Path) -> None:
    """`AsyncWorkflows` does the same, beside the synchronous one."""

    async def main() -> None:
        async with (
            await holdfast.open_async(tmp_path / "s.db") as state,
            AsyncWorkflows(state) as flows,
        ):
            calls: list[str] = []

            async def work(step: Any) -> int:
                calls.append(step.name)
                await step.checkpoint(1)
                await asyncio.sleep(0)
                if step.attempt == 1:
                    raise ValueError
                return 7

            with pytest.raises(ValueError):
                await flows.run("w", lambda run: run.step("s", work))
            assert await flows.run("w", lambda run: run.step("s", work), input=1) == 7
            assert await flows.run("w", lambda run: run.step("s", work)) == 7
            assert calls == ["s", "s"]
            assert [info.status for info in await flows.list()] == ["completed"]
            runs = await asyncio.gather(*(flows.start(f"r{n}") for n in range(50)))
            sums = await asyncio.gather(*(run.step("s", lambda step: 1) for run in runs))
            assert sums == [1] * 50
            with pytest.raises(WorkflowHeldError):
                Workflows(state.sync).resume("r0")
            async with runs[0] as run:
                with pytest.raises(WorkflowHeldError):
                    await flows.resume("r0")
                await run.fail("no more")
            assert [s.result for s in await runs[1].steps()] == [1]

            async def cancelled() -> None:
                async with runs[1]:
                    await asyncio.sleep(3600)

            task = asyncio.create_task(cancelled())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await flows.resume("r1")).epoch == 2

    asyncio.run(main())


def test_the_faces_agree() -> None:
    """What is on one face is on the other, under the same names and parameters."""
    import inspect

    from holdfast import workflows

    for name in ("Workflows", "Run", "Step"):
        one, other = getattr(workflows, name), getattr(workflows, f"Async{name}")
        public = {n for n in vars(one) if not n.startswith("_")}
        assert public == {n for n in vars(other) if not n.startswith("_")}
        for method in public:
            left = inspect.signature(getattr(one, method)).parameters
            right = inspect.signature(getattr(other, method)).parameters
            assert list(left) == list(right)
