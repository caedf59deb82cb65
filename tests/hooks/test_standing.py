"""How hooks stand, seen from other handles and processes, through the store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import holdfast
from holdfast import StateManager
from holdfast.engines.base import Batch, Durability
from holdfast.engines.memory import MemoryEngine
from holdfast.hooks import HookEvent, HookStanding, standing
from holdfast.keys import after
from holdfast.store import layout
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.testing import FakeClock, Fault, FaultPlan, FaultyEngine
from tests.cli.conftest import Holdfast, holdfast_command
from tests.conftest import Stores

__all__ = ["holdfast_command"]
A = "agent:a"
SECRET = "swordfish-71"


def fail(event: HookEvent) -> None:
    """Raise, with a value in the message."""
    raise KeyError(f"{SECRET} {event.new}")


def told(state: StateManager, wanted: Callable[[list[HookStanding]], Any]) -> list[HookStanding]:
    """Wait until what is told of hooks is as wanted, and return it."""
    while not wanted(found := state.hooks.standings()):
        time.sleep(0.002)
    return found


def rows(state: StateManager) -> list[bytes]:
    """Return what is stored of hooks."""
    with state._kernel.engine.read() as view:
        return [row for _, row in view.scan(layout.HOOKS, after(layout.HOOKS))]


def test_nothing_before_a_failure(open_store: Stores) -> None:
    """Hooks that do well leave no row in the store, and no thread."""
    state = open_store()
    state.hooks.after(lambda event: None, name="fine", mode="inline")
    state.set(A, "k", 1)
    assert state.hooks.standings() == rows(state) == []
    assert "holdfast-hooks-reporter" not in [each.name for each in threading.enumerate()]


def test_failures_and_the_breaker_are_told(open_store: Stores) -> None:
    """The first failure is told, then the open breaker, then that it closed; no revision goes."""
    clock = FakeClock()
    state = open_store(clock=clock)
    state.hooks.configure(failure_threshold=3, reset_after=60.0)
    broken = [True]

    @state.hooks.after(name="indexer", mode="inline")
    def indexer(event: HookEvent) -> None:
        if broken[0]:
            fail(event)

    state.hooks.before(lambda event: None, name="fine", scope="user:*")
    state.set(A, "k", SECRET)
    fine, first = told(state, bool)
    assert (fine.name, fine.phase, fine.mode, fine.breaker) == (
        "fine",
        "before",
        "before",
        "closed",
    )
    assert (first.name, first.phase, first.mode) == ("indexer", "after", "inline")
    assert (first.breaker, first.failures, first.in_a_row) == ("closed", 1, 1)
    assert (first.last_error, first.pid, first.alive) == ("KeyError", os.getpid(), True)
    assert first.failed_at is not None and first.failed_at <= first.told_at

    for number in range(4):
        state.set(A, "k", number)
    assert state.hooks.standings()[1].failures == 1  # at most once a second
    clock.advance(1)
    last = told(state, lambda found: found[1].breaker == "open")[1]
    assert (last.failures, last.in_a_row) == (3, 3)
    broken[0] = False
    clock.advance(61)
    state.set(A, "k", 9)
    clock.advance(1)
    last = told(state, lambda found: found[1].breaker == "closed")[1]
    assert (last.failures, last.in_a_row, last.skipped) == (3, 0, 2)

    assert state.revision == 6  # and nobody who watches sees a thing
    assert SECRET.encode() not in b"".join(rows(state))
    assert state.verify() == []
    assert state.health().status == "ok"


def test_other_handles_see_it_and_closing_takes_it_back(tmp_path: Path) -> None:
    """Another handle of the same file sees it; a tenant sees its own; a closed store tells none."""
    path = tmp_path / "s.db"
    with holdfast.open(path) as other, holdfast.open(path, tenant="t") as tenant:
        with holdfast.open(path) as state:
            state.hooks.after(fail, name="indexer", mode="inline")
            state.set(A, "k", 1)
            assert [each.name for each in told(other, bool)] == ["indexer"]
            assert tenant.hooks.standings() == []
        assert other.hooks.standings() == rows(other) == []


def test_a_copy_is_without(tmp_path: Path) -> None:
    """What the processes of one store say is not copied to another."""
    with holdfast.open(tmp_path / "s.db") as state:
        state.hooks.after(fail, mode="inline")
        state.set(A, "k", 1)
        told(state, bool)
        state.copy_to(tmp_path / "copy.db")
    with holdfast.open(tmp_path / "copy.db") as copy:
        assert copy.get(A, "k") == 1
        assert rows(copy) == []


def test_a_store_that_cannot_be_told(caplog: pytest.LogCaptureFixture) -> None:
    """A report that fails fails nobody; the next one is written."""
    clock = FakeClock()
    plan = FaultPlan()
    engine = FaultyEngine(MemoryEngine(), plan)
    state = StateManager(Kernel(engine, StoreSettings(sweep_every=0), clock))
    state.set(A, "k", 1)
    state.hooks.after(fail, name="indexer", mode="inline")
    plan.at("commit", engine.counts["commit"] + 1, Fault.DISK_FULL)  # behind the set's own
    state.set(A, "k", 2)
    while "telling the store" not in caplog.text:
        time.sleep(0.002)
    assert SECRET not in caplog.text
    clock.advance(1)
    state.set(A, "k", 3)
    assert [each.failures for each in told(state, bool)] == [2]
    state.close()


_FAILING = """
import sys, holdfast
state = holdfast.open(sys.argv[1])
state.hooks.configure(failure_threshold=2)
@state.hooks.after(name="mailer", mode="inline")
def mailer(event):
    raise TimeoutError
for n in range(3):
    state.set("agent:a", "k", n)
while not any(each.breaker == "open" for each in state.hooks.standings()):
    pass
print("ready", flush=True)
sys.stdin.read()
"""


def test_another_process_alive_and_killed(tmp_path: Path, holdfast_command: Holdfast) -> None:
    """The command line shows a hook of another process, and that the process is gone once it is."""
    path = tmp_path / "s.db"
    command = [sys.executable, "-c", _FAILING, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        shown = holdfast_command("--store", str(path), "hooks", "status", "--json")
        assert shown.status == 0
        (line,) = map(json.loads, shown.out.splitlines())
        assert line["failed_at"] is not None
        wanted = {
            "name": "mailer",
            "phase": "after",
            "mode": "inline",
            "breaker": "open",
            "paused": False,
            "failures": 2,
            "in_a_row": 2,
            "last_error": "TimeoutError",
            "pid": process.pid,
            "alive": True,
        }
        assert {name: line[name] for name in wanted} == wanted
        process.send_signal(signal.SIGKILL)
        process.wait()
    shown = holdfast_command("--store", str(path), "hooks", "status", "--json")
    assert json.loads(shown.out)["alive"] is False
    shown = holdfast_command("--store", str(path), "hooks", "status")
    assert f":{process.pid} (gone)" in shown.out and "TimeoutError" in shown.out


def row_of(process: standing.Process, told_ns: int) -> standing.Row:
    """Return a row of a process."""
    line = standing.Line("h", "after", "inline", "open", False, 5, 5, 5, 0, 0, "KeyError", 1)
    return standing.Row(tenant="", process=process, told_ns=told_ns, hooks=[line])


def test_who_lives() -> None:
    """A process id that somebody else has now is not the same process; others lapse by age."""
    own = standing.this_process()
    now = 10**18
    assert standing.lives(row_of(own, 0), now)
    again = msgspec.structs.replace(own, began=own.began + 1)
    assert own.began == 0 or not standing.lives(row_of(again, now), now)
    away = msgspec.structs.replace(own, host=own.host + "-2")
    assert standing.lives(row_of(away, now - standing.REFRESH_NS), now)
    assert not standing.lives(row_of(away, now - 4 * standing.REFRESH_NS), now)


def test_the_dead_are_cleared_away_in_the_end() -> None:
    """A week later the row of a dead process goes; what cannot be read is left out, and stays."""
    clock = FakeClock()
    with holdfast.open("memory:", clock=clock) as state:
        own = standing.this_process()
        away = msgspec.structs.replace(own, host=own.host + "-2")
        rows_ = [msgspec.msgpack.encode(row_of(away, clock.now_ns())), b"\xc1", b"\x91\x07"]
        puts = [(layout.HOOKS + bytes([n]) * 16, row) for n, row in enumerate(rows_)]
        state._kernel.engine.write(Durability.OS, lambda _: Batch(puts=puts))
        assert [each.name for each in state.hooks.standings()] == ["h"]
        state.hooks.after(fail, name="indexer", mode="inline")
        clock.advance(6 * 86400)
        state.set(A, "k", 1)
        assert [each.alive for each in told(state, lambda found: len(found) == 2)] == [False, True]
        clock.advance(2 * 86400)
        state.set(A, "k", 2)
        assert [each.name for each in told(state, lambda found: len(found) == 1)] == ["indexer"]
        assert len(rows(state)) == 3
