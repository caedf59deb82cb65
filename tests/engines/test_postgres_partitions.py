"""Partitions on a Postgres server: who waits for whom, and one order in spite of kills."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import queue
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import holdfast
from holdfast import StateManager
from holdfast.engines.base import Batch, Durability, View
from tests.engines.partition_program import ACCOUNTS, BALANCE, TOTAL, follow, write
from tests.servers import shared_server, store_url

KILLS = 100 if os.environ.get("HOLDFAST_LONG") else 6


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Make a store of four partitions with a balance on each account."""
    url = store_url(tmp_path)
    with holdfast.open(url, partitions=4) as state:
        assert {of(state, account) for account in ACCOUNTS} == {0, 1, 2, 3}
        for account in ACCOUNTS:
            state.set(account, "balance", BALANCE)
    return url


@pytest.fixture
def state(url: str) -> Iterator[StateManager]:
    """Open the store; it is verified at the end."""
    with holdfast.open(url) as state:
        yield state
        assert state.verify() == []


def of(state: StateManager, scope: str) -> int:
    """Return the partition of a scope."""
    owner = b"\0" + holdfast.StateScope.parse(scope).packed
    return state._kernel.partitions.of(owner)


def scope_in(state: StateManager, partition: int) -> str:
    """Return an account of a partition."""
    return next(account for account in ACCOUNTS if of(state, account) == partition)


class Holding(threading.Thread):
    """A write that stays inside its body, with the locks of its partitions, until released."""

    def __init__(self, state: StateManager, *partitions: int) -> None:
        super().__init__(daemon=True)
        self._engine, self._partitions = state._kernel.engine, partitions
        self._inside, self._leave = threading.Event(), threading.Event()

    def __enter__(self) -> Holding:
        self.start()
        assert self._inside.wait(20)
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def run(self) -> None:
        """Write nothing, slowly."""

        def body(view: View) -> Batch:
            self._inside.set()
            assert self._leave.wait(20)
            return Batch()

        self._engine.write(Durability.OS, body, self._partitions)

    def release(self) -> None:
        """Let it end."""
        self._leave.set()
        self.join(20)
        assert not self.is_alive()


class Doing(threading.Thread):
    """A call in a thread of its own, and what it returned."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.result: Any = None
        self.start()

    def run(self) -> None:
        """Call."""
        self.result = self._call()

    def done(self) -> Any:
        """Wait for the end, and return the result."""
        self.join(20)
        assert not self.is_alive()
        return self.result


def wait_for_waiters(count: int) -> None:
    """Return when so many sessions wait for a lock of another one."""
    with psycopg.connect(shared_server().url(), autocommit=True) as link:
        for _ in range(20_000):
            found = link.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            if found is not None and found[0] >= count:
                return
    raise AssertionError("nobody waits")


# --- who waits --------------------------------------------------------------------------------


def test_writers_of_two_partitions_overlap(state: StateManager) -> None:
    """While a write of one partition stands in its body, sets of every other one complete."""
    with Holding(state, 1):
        others = [state.set(scope_in(state, part), "k", part) for part in (0, 2, 3)]
        waiting = Doing(lambda: state.set(scope_in(state, 1), "k", 1))
        wait_for_waiters(1)
        assert [state.get(scope_in(state, part), "k") for part in range(4)] == [0, None, 2, 3]
    assert waiting.done() > max(others)
    assert state.get(scope_in(state, 1), "k") == 1


def test_writers_of_two_partitions_overlap_across_processes(url: str, state: StateManager) -> None:
    """A handle of another process's waits for the partition that is held, and for no other."""
    with holdfast.open(url) as other, Holding(state, 0):
        other.set(scope_in(state, 3), "k", "free")
        waiting = Doing(lambda: other.set(scope_in(state, 0), "k", "held"))
        wait_for_waiters(1)
    waiting.done()
    assert [state.get(scope_in(state, part), "k") for part in (3, 0)] == ["free", "held"]


def test_a_transaction_waits_for_what_it_touches_only(state: StateManager) -> None:
    """A transaction over two partitions passes a writer of a third and waits for its own."""

    def transfer(first: int, second: int) -> None:
        with state.transaction() as tx:
            tx.increment(scope_in(state, first), "balance", -5)
            tx.increment(scope_in(state, second), "balance", 5)

    with Holding(state, 1):
        transfer(0, 2)
        waiting = Doing(lambda: transfer(0, 1))
        wait_for_waiters(1)
    waiting.done()
    assert sum(state.get(account, "balance") for account in ACCOUNTS) == TOTAL


def test_readers_wait_for_nobody(state: StateManager) -> None:
    """Gets, lists, scans and snapshots of the present pass a writer that holds every partition."""
    with Holding(state, 0, 1, 2, 3), state.snapshot() as shown:
        assert sum(shown.get(account, "balance") for account in ACCOUNTS) == TOTAL
        assert sum(state.get(account, "balance") for account in ACCOUNTS) == TOTAL
        assert [key for key, _ in state.scan(ACCOUNTS[0])] == ["balance"]


def test_changes_wait_for_a_lower_revision_under_way(state: StateManager) -> None:
    """A commit that drew its number first and ends last is listed first, and never too late."""
    committer = state._kernel.committer
    inside, leave = threading.Event(), threading.Event()
    write = committer._engine.write

    class Slow:
        """Passes writes of partition 0 on to the engine, and holds them in their body."""

        traits = committer._engine.traits

        def write(self, durability: Durability, body: Any, partitions: Any) -> None:
            def slowly(view: View) -> Batch:
                inside.set()
                assert leave.wait(20)
                return body(view)

            write(durability, slowly if 0 in partitions else body, partitions)

    before = state.revision
    committer._engine = Slow()  # type: ignore[assignment]
    low = Doing(lambda: state.set(scope_in(state, 0), "k", "low"))
    assert inside.wait(20)
    high = state.set(scope_in(state, 1), "k", "high")
    listing = Doing(lambda: [(c.revision, c.value) for c in state.changes(before)])
    wait_for_waiters(1)
    assert listing.result is None
    leave.set()
    assert low.done() < high
    assert listing.done() == [(low.done(), "low"), (high, "high")]


# --- kills ------------------------------------------------------------------------------------


#: Children come from a process that has imported everything and opened nothing.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.engines.partition_program", "holdfast.engines.postgres"])


class Program:
    """A child process whose messages are read as they come.

    Attributes:
        lines: What it has said; None at its end.
    """

    def __init__(self, target: Callable[..., None], *arguments: str) -> None:
        self._pipe, theirs = _processes.Pipe()
        self._process = _processes.Process(target=target, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()
        self.lines: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):  # its end, perhaps amid a message
            while True:
                self.lines.put(json.loads(self._pipe.recv_bytes()))
        self.lines.put(None)

    def tell(self, text: str) -> None:
        """Send it a message."""
        self._pipe.send_bytes(text.encode())

    def take(self, count: int) -> list[list[Any]]:
        """Return its next lines; it must live for so long."""
        lines = [self.lines.get(timeout=20) for _ in range(count)]
        assert None not in lines, "the process died"
        return [line for line in lines if line is not None]

    def rest(self) -> list[list[Any]]:
        """Return its lines up to its end."""
        return list(iter(lambda: self.lines.get(timeout=20), None))

    def kill(self) -> None:
        """Kill it at once."""
        self._process.kill()
        self._process.join(20)

    def end(self) -> int | None:
        """Wait until it ends; return its exit status."""
        self._process.join(20)
        return self._process.exitcode


def test_one_order_whoever_is_killed(url: str) -> None:
    """Writers of all partitions are killed at random, and the order stays one.

    Every acknowledged commit is listed once, revisions ascend strictly, a follower saw exactly
    what is listed in the end, and every snapshot shows the sum of all balances.
    """
    rng = random.Random(7)
    follower = Program(follow, url)
    writers = [Program(write, url, f"w{number}") for number in range(3)]
    acknowledged: list[list[Any]] = []
    try:
        for number in range(KILLS):
            victim = writers.pop(rng.randrange(3))
            acknowledged += victim.take(rng.randrange(5, 25))
            victim.kill()
            writers.append(Program(write, url, f"w{number + 3}"))
            acknowledged += victim.rest()
        for writer in writers:
            acknowledged += writer.take(5)
            writer.kill()
            acknowledged += writer.rest()
        with holdfast.open(url) as state:
            final = list(state.changes())
            assert state.verify() == []
            assert sum(state.get(account, "balance") for account in ACCOUNTS) == TOTAL
        follower.tell(str(final[-1].revision))
        seen = follower.rest()
        assert follower.end() == 0
    finally:
        for program in (follower, *writers):
            program.kill()

    commits: dict[int, set[str]] = {}
    for change in final:
        commits.setdefault(change.revision, set()).add(change.commit_id)
    assert list(commits) == sorted(commits)  # in the order in which they are listed
    assert all(len(ids) == 1 for ids in commits.values())
    assert len({next(iter(ids)) for ids in commits.values()}) == len(commits)
    places = [(c.revision, str(c.scope), c.key) for c in final]
    assert len(set(places)) == len(places)
    notes = {c.revision: (str(c.scope), c.value) for c in final if c.key.startswith("note")}
    for revision, scope, text in acknowledged:
        if text is None:
            moved = [place for place in places if place[0] == revision]
            assert len(moved) == 2, revision
            assert scope in {place[1] for place in moved}
        else:
            assert notes[revision] == (scope, text)
    assert len({revision for revision, _, _ in acknowledged}) == len(acknowledged)
    told = [line[1:] for line in seen if line[0] == "change"]
    assert told == [[c.revision, c.commit_id, str(c.scope), c.key] for c in final]
    sums = [line[1] for line in seen if line[0] == "sum"]
    assert len(sums) >= 4
    assert set(sums) == {TOTAL}
