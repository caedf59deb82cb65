"""Workers that are killed at any point: every step is completed once, by one worker at a time."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import holdfast
from holdfast.workflows import WorkflowHeldError, Workflows

#: Each step notes in the store, under its commit, who did it; the worker waits in between.
_WORKER = """
import sys, time, holdfast
from holdfast.workflows import *
with holdfast.open(sys.argv[1]) as state, Workflows(state, lease=0.3) as flows:
    def work(run):
        total = 0
        for n in range(12):
            def step(step, n=n):
                for page in range(step.last or 0, 3):
                    step.checkpoint(page + 1)
                time.sleep(0.05)
                return n * 10
            total += run.step(f"s{n}", step)
        return total
    while True:
        try:
            print(flows.run("w", work), flush=True)
            break
        except (WorkflowHeldError, holdfast.LeaseLostError):
            time.sleep(0.02)
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite"])
def test_killed_workers_finish_once(tmp_path: Path, engine: str) -> None:
    """Two processes run one workflow and are killed at random; it completes, each step once."""
    url = f"{engine}:{tmp_path / 'store'}"
    chance = random.Random(5)
    command = [sys.executable, "-c", _WORKER, url]
    holdfast.open(url).close()

    def worker() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    workers = [worker(), worker()]
    try:
        with holdfast.open(url) as state, Workflows(state) as flows:
            for epoch in (1, 2, 3):
                while (info := flows.get("w")) is None or info.epoch < epoch:
                    time.sleep(0.01)
                time.sleep(chance.random() * 0.2)
                for process in workers:
                    process.send_signal(signal.SIGKILL)
                    process.communicate()
                workers = [worker(), worker()]
            said = {process.communicate(timeout=60)[0] for process in workers}
            info = flows.get("w")
            assert info is not None
            assert info.epoch >= 4
            assert info.status == "completed"
            assert said == {f"{sum(range(12)) * 10}\n"}
            steps = flows.steps("w")
            assert [(s.name, s.result) for s in steps] == [(f"s{n}", n * 10) for n in range(12)]
            done = [
                event.data["step"]
                for event in state.events.read(scope="workflow:w")
                if event.name == "workflow.step.completed"
            ]
            assert sorted(done) == sorted(f"s{n}" for n in range(12))
            ended = list(state.events.read(scope="workflow:w", name="workflow.completed"))
            assert len(ended) == 1
            assert state.verify() == []
    finally:
        for process in workers:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


_HOLDER = """
import sys, time, holdfast
from holdfast.workflows import *
state = holdfast.open(sys.argv[1])
flows = Workflows(state, lease=0.5)
run = flows.start("w")
step = run.begin("s")
step.checkpoint(1)
print("holding", flush=True)
time.sleep(3600)
"""


@pytest.mark.slow
def test_a_dead_process_is_waited_for_no_longer_than_its_lease(tmp_path: Path) -> None:
    """While it lives nobody gets the run, far beyond one lease; killed, its lease ends."""
    path = tmp_path / "s.db"
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "holding\n"
        with holdfast.open(path) as state, Workflows(state) as flows:
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                with pytest.raises(WorkflowHeldError):
                    flows.resume("w")
                time.sleep(0.05)
            process.kill()
            process.wait()
            while True:
                try:
                    run = flows.resume("w")
                    break
                except WorkflowHeldError:
                    time.sleep(0.02)
            step = run.begin("s")
            assert (run.epoch, step.attempt, step.last) == (2, 2, 1)
            run.release()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
