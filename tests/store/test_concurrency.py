"""Many at once: no update lost, no batch torn, no reply of another, one moment per scan."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import AsyncStateManager, SetOperation, StateManager
from holdfast.errors import ConflictError, InvalidArgumentError

A = "agent:a"


def together(*actions: Callable[[], object]) -> None:
    """Run each action in a thread of its own; raise what any of them raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        try:
            start.wait(30)
            action()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(a,), daemon=True) for a in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a thread did not end"
    if errors:
        raise errors[0]


def increments(state: StateManager) -> dict[str, Callable[[], object]]:
    """Return every way to add one."""

    def by_revision() -> None:
        while True:
            found = state.get_with_metadata(A, "n")
            value, revision = (found.value, found.metadata.revision) if found else (0, 0)
            try:
                state.set(A, "n", value + 1, if_revision=revision)
            except ConflictError:
                continue
            return

    return {
        "increment": lambda: state.increment(A, "n"),
        "update": lambda: state.update(A, "n", lambda n: (n or 0) + 1),
        "transact": lambda: state.transact(lambda tx: tx.increment(A, "n"), durability="os"),
        "if_revision": by_revision,
    }


@pytest.mark.parametrize("verb", ["increment", "update", "transact", "if_revision"])
def test_ten_threads_add_one_a_hundred_times(verb: str, state: StateManager) -> None:
    """10 x 100 increments end at exactly 1000, one commit each."""
    rounds = 100 if verb == "increment" else 20
    action = increments(state)[verb]
    together(*[lambda: [action() for _ in range(rounds)]] * 10)
    assert state.get(A, "n") == state.revision == rounds * 10
    assert [c.value for c in state.history(A, "n", newest_first=False)] == [
        n + 1 for n in range(rounds * 10)
    ]


@pytest.mark.parametrize("verb", ["increment", "update", "transact"])
def test_ten_tasks_add_one_a_hundred_times(verb: str, open_store: Any) -> None:
    """The same in asyncio, also with coroutine functions that let others run in between."""

    async def slow(n: int | None) -> int:
        await asyncio.sleep(0)
        return (n or 0) + 1

    async def in_tx(tx: Any) -> None:
        n = tx.get(A, "n", 0)
        await asyncio.sleep(0)
        tx.set(A, "n", n + 1)

    async def main() -> None:
        state = AsyncStateManager(open_store())
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "increment": lambda: state.increment(A, "n"),
            "update": lambda: state.update(A, "n", slow),
            "transact": lambda: state.transact(in_tx, durability="os"),
        }
        rounds = 100 if verb == "increment" else 10

        async def task() -> None:
            for _ in range(rounds):
                await calls[verb]()

        await asyncio.gather(*[task() for _ in range(10)])
        assert await state.get(A, "n") == state.revision == rounds * 10
        await state.close()

    asyncio.run(main())


_PROCESS = """
import sys, holdfast
state = holdfast.open(sys.argv[1], policies=[
    holdfast.ScopePolicy("*", durability=holdfast.Durability.OS)])
for _ in range(250):
    if sys.argv[2] == "increment":
        state.increment("agent:a", "n")
    else:
        state.transact(lambda tx: tx.set("agent:a", "n", tx.get("agent:a", "n", 0) + 1),
                       durability="os")
state.close()
"""


@pytest.mark.parametrize("verb", ["increment", "transact"])
def test_four_processes_add_one_250_times(verb: str, tmp_path: Path) -> None:
    """4 processes x 250 on one SQLite file end at exactly 1000, and none fails."""
    path = tmp_path / "state.db"
    holdfast.open(path).close()
    command = [sys.executable, "-c", _PROCESS, str(path), verb]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert (child.returncode, errors) == (0, "")
    with holdfast.open(path) as state:
        assert state.get(A, "n") == state.revision == 1000
        assert state.verify() == []


def test_ten_threads_times_ten_keys(state: StateManager) -> None:
    """Exactly 100 entries; revisions and versions strictly increase."""
    seen: list[list[int]] = [[] for _ in range(10)]

    def write(thread: int) -> None:
        for n in range(10):
            seen[thread].append(state.set(A, f"t{thread}-k{n}", n))
            seen[thread].append(state.set(A, "shared", (thread, n)))

    together(*[lambda t=t: write(t) for t in range(10)])
    assert state.count(A, prefix="t") == 100
    assert all(revisions == sorted(set(revisions)) for revisions in seen)
    assert sorted(sum(seen, [])) == list(range(1, 201))
    versions = [c.version for c in state.history(A, "shared", newest_first=False)]
    assert versions == list(range(1, 101))


def test_only_one_creates(state: StateManager) -> None:
    """Of many that write if_absent, exactly one succeeds, and its value stays."""
    won: list[int] = []

    def create(n: int) -> None:
        try:
            state.set(A, "k", n, if_absent=True)
        except ConflictError as error:
            assert error.reason == "exists"
        else:
            won.append(n)

    together(*[lambda n=n: create(n) for n in range(10)])
    assert [state.get(A, "k")] == won
    assert state.revision == 1


def test_a_key_deleted_and_made_again_conflicts(state: StateManager) -> None:
    """Revisions are proof, versions are not: the conditional write must see another key."""
    revision = state.set(A, "k", 1)
    state.delete(A, "k")
    state.set(A, "k", 1)
    with pytest.raises(ConflictError) as caught:
        state.set(A, "k", 2, if_revision=revision)
    error = caught.value
    assert (error.expected, error.actual, error.scope, error.key) == (1, 3, A, "k")
    with pytest.raises(ConflictError):
        state.delete(A, "k", if_revision=revision)
    assert state.set(A, "k", 2, if_version=1) == 4


# --- readers beside writers -------------------------------------------------------------------


def test_readers_never_see_half_a_batch(state: StateManager) -> None:
    """Whatever a reader asks with, all keys of a batch are of one batch."""
    keys = [f"k{n}" for n in range(8)]
    state.set_batch([SetOperation(A, key, 0) for key in keys], atomic=True)
    stop = threading.Event()

    def write() -> None:
        try:
            for n in range(1, 120):
                state.set_batch([SetOperation(A, key, n) for key in keys], atomic=True)
                with state.transaction(durability="os") as tx:
                    for key in reversed(keys):
                        tx.set(A, key, n)
        finally:
            stop.set()

    def read(how: Callable[[], list[Any]]) -> None:
        while not stop.is_set():
            values = how()
            assert len(values) == 8
            assert len(set(values)) == 1, values

    def in_snapshot() -> list[Any]:
        with state.snapshot() as snapshot:
            return [snapshot.get(A, key) for key in keys]

    def in_transaction() -> list[Any]:
        try:
            with state.transaction() as tx:
                return [tx.get(A, key) for key in keys]
        except ConflictError:
            return [0] * 8

    together(
        write,
        lambda: read(lambda: state.get_batch([(A, key) for key in keys])),
        lambda: read(lambda: [v.value for _, v in state.scan(A)]),
        lambda: read(in_snapshot),
        lambda: read(in_transaction),
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_a_long_scan_shows_one_moment(reverse: bool, state: StateManager) -> None:
    """Page after page, a scan shows the moment of its first page, whatever is written meanwhile."""
    keys = [f"k{n:04}" for n in range(1300)]
    state.set_batch([SetOperation(A, key, 0) for key in keys])
    with state.snapshot() as snapshot:
        pages = state.scan(A, reverse=reverse)
        found = [next(pages)]
        for n, (key, value) in enumerate(pages):
            found.append((key, value))
            if n % 90 == 0:
                other = keys[(n * 7) % 1300]
                state.set(A, other, "new")
                state.delete(A, keys[(n * 11) % 1300])
                state.set(A, f"k{n:04}x", "added")
        assert [k for k, _ in found] == (keys[::-1] if reverse else keys)
        assert {v.value for _, v in found} == {0}
        assert snapshot.list_keys(A) == keys
        assert {v.value for _, v in snapshot.scan(A)} == {0}
    listed = state.list_keys(A)
    assert listed != keys
    assert listed == sorted(set(listed))


def test_what_a_scan_still_reads_is_not_trimmed(state: StateManager) -> None:
    """Compaction in the middle of a scan and of a snapshot takes nothing from them."""
    keys = [f"k{n:04}" for n in range(700)]
    state.set_batch([SetOperation(A, key, 0) for key in keys])
    with state.snapshot() as snapshot:
        pages = state.scan(A)
        next(pages)
        state.set_batch([SetOperation(A, key, 1) for key in keys])
        state.compact([holdfast.HistoryPolicy(max_versions=1)])
        assert [v.value for _, v in pages] == [0] * 699
        assert snapshot.get(A, "k0000") == 0
        assert [v.value for _, v in snapshot.scan(A)] == [0] * 700
    assert state.compact([holdfast.HistoryPolicy(max_versions=1)]).versions_trimmed >= 700


# --- asyncio ----------------------------------------------------------------------------------


def test_leaving_an_async_scan_early(open_store: Any) -> None:
    """Breaking off, and being cancelled in the middle of a page, raise nothing else."""

    async def main() -> None:
        sync = open_store()
        sync.set_batch([SetOperation(A, f"k{n:04}", n) for n in range(2000)])
        state = AsyncStateManager(sync)
        async for key, _ in state.scan(A):
            if key == "k0300":
                break

        async def walk() -> int:
            return len([key async for key, _ in state.scan(A)])

        for delay in range(8):
            task = asyncio.ensure_future(walk())
            for _ in range(delay):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await walk() == 2000
        changes = [c.value async for c in state.changes(limit=300)]
        assert changes == list(range(300))

    asyncio.run(main())


def test_several_loops_share_a_manager(memory_store: Any) -> None:
    """One asynchronous manager serves event loops in several threads."""
    state = AsyncStateManager(memory_store())

    async def task() -> None:
        for _ in range(50):
            await state.increment(A, "n")

    async def many() -> None:
        await asyncio.gather(*[task() for _ in range(4)])

    together(*[lambda: asyncio.run(many())] * 3)
    assert state.sync.get(A, "n") == 600


def test_a_batch_longer_than_one_commit(state: StateManager) -> None:
    """A batch that need not be atomic may be several commits; under one commit id it may not."""
    items = [SetOperation(A, f"k{n}", n) for n in range(5001)]
    with pytest.raises(InvalidArgumentError):
        state.set_batch(items, commit_id=bytes(16))
    assert state.revision == 0
    results = state.set_batch(items)
    assert results == [1] * 5000 + [2]
    assert state.count(A) == 5001
