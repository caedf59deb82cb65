"""Workers that are killed: everything is handled at least once, and no cursor goes back."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

import holdfast
from holdfast import Change

#: Notes what it handled in a file that survives it, before it acknowledges.
_WORKER = """
import os, sys, holdfast
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
with holdfast.open(sys.argv[1]) as state:
    consumer = state.consumer("c", start="earliest", batch=7, lease=0.3)
    print("ready", flush=True)
    for batch in consumer:
        for change in batch:
            os.write(log, f"{change.revision}\\n".encode())
        try:
            batch.ack()
        except holdfast.LeaseLostError:
            continue
"""


@pytest.mark.slow
def test_killed_workers_miss_nothing(tmp_path: Path) -> None:
    """Two processes share a name and are killed at random while others write: all is handled."""
    path, log = tmp_path / "s.db", tmp_path / "handled"
    chance = random.Random(7)
    command = [sys.executable, "-c", _WORKER, str(path), str(log)]
    workers: list[subprocess.Popen[str]] = []
    with holdfast.open(path) as state:
        state.consumer("c", start="earliest").close()
        acked = 0
        try:
            for at in range(400):
                if at % 40 == 0:
                    for worker in workers:
                        worker.send_signal(signal.SIGKILL)
                        worker.wait()
                    workers = [
                        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                        for _ in range(2)
                    ]
                    for worker in workers:
                        assert worker.stdout is not None
                        assert worker.stdout.readline() == "ready\n"
                state.set(f"agent:{chance.randrange(5)}", f"k{at % 9}", at, durability="os")
                if chance.random() < 0.02:
                    chance.choice(workers).send_signal(signal.SIGKILL)
                now = state.consumers.status("c").position.revision
                assert now >= acked
                acked = now
            _until_done(state, command, workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
                assert worker.stdout is not None
                worker.stdout.close()
        handled = Counter(map(int, log.read_text().split()))
        assert set(handled) == {each.revision for each in state.changes()}
        assert state.verify() == []


def _until_done(
    state: holdfast.StateManager, command: list[str], workers: list[subprocess.Popen[str]]
) -> None:
    """Let one more worker, which nobody kills, work off what the others left."""
    workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    pause = threading.Event()
    for _ in range(3000):
        if not state.consumers.status("c").lag:
            break
        pause.wait(0.02)
    assert state.consumers.status("c").lag == 0


def test_what_a_killed_worker_had_not_acked(tmp_path: Path) -> None:
    """A worker killed between its work and its ack leaves a change that the next one gets."""
    path, log = tmp_path / "s.db", tmp_path / "handled"
    program = _WORKER.replace("batch.ack()", "os.kill(os.getpid(), 9)")
    with holdfast.open(path) as state:
        state.set("agent:a", "k", 1)
        subprocess.run([sys.executable, "-c", program, str(path), str(log)], check=False)
        assert log.read_text() == "1\n"
        assert state.consumers.status("c").lag == 1
        consumer = state.consumer("c", lease=0.3)
        batch = consumer.poll()
        assert batch is not None
        assert [c.value for c in batch if isinstance(c, Change)] == [1]
        batch.ack()
        assert state.consumers.status("c").lag == 0
