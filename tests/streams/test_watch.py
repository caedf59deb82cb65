"""Watches: every change, once, in order, live; and an end that is clean."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import (
    Change,
    DivergedError,
    HistoryPolicy,
    HorizonError,
    Operation,
    Position,
    StateEvent,
    StateManager,
    StateScope,
    Watch,
)
from holdfast.errors import InvalidArgumentError, ReadOnlyError
from holdfast.streams.bell import Bell
from holdfast.testing import FakeClock
from tests.conftest import Stores


def keys(found: Any) -> list[str]:
    """Return the keys of changes."""
    return [each.key for each in found]


def collect(watch: Watch) -> tuple[threading.Thread, list[Any]]:
    """Iterate over a watch in a thread; return both, and what it gets."""
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend(watch), daemon=True)
    thread.start()
    return thread, got


# --- what is told -----------------------------------------------------------------------------


def test_a_watch_begins_at_the_call(state: StateManager) -> None:
    """What was committed before the call is not told, and all that comes behind is, in order."""
    state.set("agent:a", "before", 1)
    watch = state.watch(timeout=0)
    first = state.set("agent:a", "k", 1)
    state.delete("agent:a", "k")
    state.set("session:s", "other", 2)
    found = list(watch)
    assert [(c.key, c.operation, c.value) for c in found] == [
        ("k", Operation.SET, 1),
        ("k", Operation.DELETE, None),
        ("other", Operation.SET, 2),
    ]
    assert found[0].revision == first
    assert watch.position.revision == state.revision
    assert list(watch) == []


def test_filters_and_events(state: StateManager) -> None:
    """Scope, prefix, events and values select; the position moves past what is not wanted."""
    narrow = state.watch("agent:a", "x/", timeout=0)
    bare = state.watch("agent:a", values=False, timeout=0)
    whole = state.watch(events=True, timeout=0)
    with state.transaction() as tx:
        tx.set("agent:a", "x/1", 1)
        tx.set("agent:a", "y", 2)
        tx.emit("done", {"n": 1}, scope="agent:a")
    state.set("agent:b", "x/2", 3)
    assert keys(narrow) == ["x/1"]
    assert narrow.position.revision == state.revision
    assert [(c.key, c.value, c.readable) for c in bare if isinstance(c, Change)] == [
        ("x/1", None, True),
        ("y", None, True),
    ]
    told = list(whole)
    assert keys(told[:2]) == ["x/1", "y"]
    assert isinstance(told[2], StateEvent)
    assert (told[2].name, told[2].data) == ("done", {"n": 1})
    assert keys(told[3:]) == ["x/2"]


def test_live_in_one_process(state: StateManager) -> None:
    """A waiting watch gets every change of every thread, in the order of revisions."""
    watch = state.watch()
    thread, got = collect(watch)

    def write(n: int) -> None:
        for at in range(25):
            state.set(f"agent:{n}", f"k{at}", at)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    state.set("global", "end", 1)
    expected = list(state.changes())
    with state.watch(since=0) as other:
        assert [next(other) for _ in range(101)] == expected
    for _ in range(3000):
        if len(got) == 101:
            break
        thread.join(0.01)
    watch.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert got == expected


@given(st.lists(st.integers(1, 7), max_size=12), st.integers(0, 20), st.booleans())
@settings(max_examples=40, deadline=None)
def test_resuming_misses_nothing(sizes: list[int], stop: int, parts: bool) -> None:
    """From the position of a watch that ended anywhere, the rest comes; only a commit repeats."""
    with holdfast.open("memory:", partitions=4 if parts else 1) as state:
        for at, size in enumerate(sizes):
            with state.transaction() as tx:
                for n in range(size):
                    tx.set(f"agent:{n % 3}", f"{at}/{n}", at)
        expected = list(state.changes())
        watch = state.watch(since=0, timeout=0)
        told = [each for _, each in zip(range(stop), watch, strict=False)]
        assert told == expected[: len(told)]
        position = Position.parse(str(watch.position))
        rest = list(state.watch(since=position, timeout=0))
        assert rest == [each for each in expected if each.revision > position.revision]
        assert len(told) + len(rest) >= len(expected)
        assert all(each.revision <= position.revision + 1 or parts for each in told)


def test_expiry_is_told_when_it_is_swept(open_store: Stores, clock: FakeClock) -> None:
    """A key that expires comes as EXPIRE once it has been swept."""
    state = open_store(clock=clock, sweep_every=0)
    state.set("agent:a", "k", 1, expires_in=5)
    watch = state.watch(timeout=0)
    clock.advance(6)
    if open_store.engine == "postgres":
        pytest.skip("the server's clock cannot be moved")
    state.sweep()
    assert [(c.key, c.operation) for c in watch if isinstance(c, Change)] == [
        ("k", Operation.EXPIRE)
    ]


def test_a_tenant_sees_its_own(open_store: Stores) -> None:
    """Neither changes nor positions of another tenant's are told."""
    state = open_store()
    other = StateManager(state._kernel, tenant="t2")
    mine, theirs = state.watch(timeout=0), other.watch(timeout=0)
    state.set("agent:a", "mine", 1)
    other.set("agent:a", "theirs", 1)
    assert keys(mine) == ["mine"]
    assert keys(theirs) == ["theirs"]


# --- the end of a watch -----------------------------------------------------------------------


def test_closing_the_store_ends_it(open_store: Stores) -> None:
    """Whoever waits when the store is closed comes to a clean end."""
    state = open_store()
    thread, got = collect(state.watch())
    state.close()
    thread.join(30)
    assert not thread.is_alive()
    assert got == []


def test_a_timeout_ends_it(memory_store: Stores, clock: FakeClock) -> None:
    """It ends when nothing has come for so long by the store's clock."""
    state = memory_store(clock=clock)
    thread, _ = collect(state.watch(timeout=5))
    clock.await_waiters(1)
    clock.advance(4.9)
    assert thread.is_alive()
    clock.advance(0.2)
    thread.join(30)
    assert not thread.is_alive()


def test_stopping_in_the_moment_of_looking(
    memory_store: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends, whatever the watch was about to do."""
    watch = memory_store().watch()
    reset = Bell.reset

    def stopped(bell: Bell) -> None:
        watch.stop()
        reset(bell)

    monkeypatch.setattr(Bell, "reset", stopped)
    thread, got = collect(watch)
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert got == []


def test_nobody_is_told_by_an_abandoned_watch(memory_store: Stores) -> None:
    """A store without watches has no observers, also where they were only dropped."""
    state = memory_store()
    feed = state._kernel.feed
    watch = state.watch()
    assert len(feed.observers) == 1
    del watch
    state.set("agent:a", "k", 1)
    assert feed.observers == ()
    with state.watch(timeout=0) as watch:
        assert list(watch) == []
    assert feed.observers == ()


# --- bad starts -------------------------------------------------------------------------------


def test_before_the_horizon(state: StateManager) -> None:
    """A position that the journal no longer reaches back to says from where it can go on."""
    for at in range(5):
        state.set("agent:a", "k", at)
    state.compact([HistoryPolicy(max_age=timedelta(0))])
    horizon = state.info()["horizon"]
    assert horizon > 1
    with pytest.raises(HorizonError) as caught:
        list(state.watch(since=1, timeout=0))
    assert caught.value.horizon is not None
    assert list(state.watch(since=caught.value.horizon, timeout=0)) == list(
        state.changes(caught.value.horizon)
    )


def test_a_slow_reader_holds_nothing(state: StateManager) -> None:
    """Between two pages there is no pin: compaction goes on, and the reader hears of it."""
    for at in range(600):
        state.set("agent:a", f"k{at % 7}", at)
    watch = state.watch(since=0, timeout=0)
    next(watch)
    state.compact([HistoryPolicy(max_age=timedelta(0))])
    with pytest.raises(HorizonError):
        list(watch)


def test_another_history(tmp_path: Path) -> None:
    """A position of a history that was lost is refused, not taken for another commit's."""
    with holdfast.open(tmp_path / "a.db") as state:
        state.set("agent:a", "k", 1)
        state.copy_to(tmp_path / "b.db")
        state.set("agent:a", "k", 2)
        watch = state.watch(since=0, timeout=0)
        assert len(list(watch)) == 2
        position = watch.position
    with holdfast.open(tmp_path / "b.db") as state:
        with pytest.raises(DivergedError):
            list(state.watch(since=position, timeout=0))
        state.set("agent:a", "k", 3)
        assert state.revision == position.revision
        with pytest.raises(DivergedError):
            list(state.watch(since=position, timeout=0))
        assert len(list(state.watch(since=position.revision - 1, timeout=0))) == 1


@pytest.mark.parametrize("since", [-1, True, "1", 1.5])
def test_bad_positions(memory_store: Stores, since: Any) -> None:
    """What is no position is refused at once."""
    state = memory_store()
    with pytest.raises(InvalidArgumentError):
        state.watch(since=since)
    with pytest.raises(InvalidArgumentError):
        state.watch(timeout=-1)
    with pytest.raises(InvalidArgumentError):
        state.watch(prefix="x")
    for text in ("", "x", "1:zz", "1:00", "-1"):
        with pytest.raises(InvalidArgumentError):
            Position.parse(text)


def test_keyed_store_without_its_key(tmp_path: Path) -> None:
    """A reader without the chain's key has the same positions as one with it."""
    path = tmp_path / "s.db"
    with holdfast.open(path, chain_key=b"k" * 32) as state:
        for at in range(3):
            state.set("agent:a", "k", at)
        watch = state.watch(since=0, timeout=0)
        next(watch), next(watch)
        position = watch.position
        assert position.hash
        with holdfast.open(path, read_only=True) as reader:
            other = reader.watch(since=0, timeout=0)
            next(other), next(other)
            assert other.position == position
            assert len(list(reader.watch(since=position, timeout=0))) == 2


# --- asyncio ----------------------------------------------------------------------------------


def test_async_for(open_store: Stores) -> None:
    """Tasks get what threads get; cancelling one, and closing the store, end it cleanly."""

    async def main() -> None:
        state = holdfast.AsyncStateManager(open_store())
        got: list[Any] = []

        async def follow(watch: Any) -> str:
            async for change in watch:
                got.append(change.key)
            return "ended"

        first, second = state.watch(), state.watch()
        async with first, second:
            one = asyncio.create_task(follow(first))
            two = asyncio.create_task(follow(second))
            for at in range(5):
                await state.set("agent:a", f"k{at}", at)
            while len(got) < 10:
                await asyncio.sleep(0)
            two.cancel()
            with pytest.raises(asyncio.CancelledError):
                await two
            await state.set("agent:a", "last", 1)
            while len(got) < 11:
                await asyncio.sleep(0)
            await state.close()
            assert await one == "ended"
        assert sorted(got) == sorted([f"k{at}" for at in range(5)] * 2 + ["last"])
        assert first.position.revision == 6

    asyncio.run(main())


def test_an_await_that_was_given_up_loses_nothing(
    memory_store: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was reading is told by the next await, at once and once."""

    async def main() -> None:
        state = holdfast.AsyncStateManager(memory_store())
        watch = state.watch()
        await state.set("agent:a", "k", 1)
        tail = watch.begin()._tail
        read, begun, go = tail.read, threading.Event(), threading.Event()

        def held(most: int) -> Any:
            page = read(most)
            if not begun.is_set():
                begun.set()
                go.wait()
            return page

        monkeypatch.setattr(tail, "read", held)
        task = asyncio.create_task(anext(watch))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        again = asyncio.create_task(anext(watch))
        await asyncio.wait([again], timeout=0.05)  # one that did not wait for the other saw nothing
        go.set()
        got = [await asyncio.wait_for(again, 5)]
        await state.set("agent:a", "last", 1)
        got.append(await anext(watch))
        assert keys(got) == ["k", "last"]
        await state.close()

    asyncio.run(main())


def test_async_timeout(memory_store: Stores, clock: FakeClock) -> None:
    """An awaiting watch's timeout is by the store's clock, too."""

    async def main() -> None:
        state = holdfast.AsyncStateManager(memory_store(clock=clock))
        task = asyncio.create_task(_drain(state.watch(timeout=5)))
        await asyncio.to_thread(clock.await_waiters, 1)
        clock.advance(5.1)
        assert await task == []
        await state.close()

    asyncio.run(main())


async def _drain(watch: Any) -> list[Any]:
    return [each async for each in watch]


# --- other processes --------------------------------------------------------------------------

_WRITER = """
import sys, holdfast
with holdfast.open(sys.argv[1]) as state:
    for at in range(50):
        state.set("agent:w", f"k{at}", at)
"""


@pytest.mark.parametrize("read_only", [False, True])
def test_across_processes(tmp_path: Path, read_only: bool) -> None:
    """What another process writes to the same file is told, in order, without a word from it."""
    path = tmp_path / "s.db"
    with holdfast.open(path) as state:
        state.set("agent:a", "k", 1)
    with holdfast.open(path, read_only=read_only) as state:
        watch = state.watch()
        subprocess.run([sys.executable, "-c", _WRITER, str(path)], check=True)
        found = [next(watch) for _ in range(50)]
    assert [(c.key, c.value) for c in found if isinstance(c, Change)] == [
        (f"k{at}", at) for at in range(50)
    ]


def test_waiting_on_another_handle(open_store: Stores) -> None:
    """A thread that waits already is woken by a commit through another handle of the store."""
    if open_store.engine not in ("sqlite", "postgres"):
        pytest.skip("one process has the store")
    state, other = open_store(), open_store()
    watch = state.watch()
    thread, got = collect(watch)
    other.set("agent:a", "k", 1)
    for _ in range(3000):
        if got:
            break
        thread.join(0.01)
    watch.stop()
    thread.join(30)
    assert keys(got) == ["k"]


def test_looks_only_while_somebody_waits(tmp_path: Path, clock: FakeClock) -> None:
    """The heads of a shared store are looked at while a watch waits, and not otherwise."""
    with holdfast.open(tmp_path / "s.db", clock=clock, sweep_every=0) as state:
        ringer = state._streams.ringer
        thread, _ = collect(state.watch(timeout=1))
        clock.await_waiters(2)
        while thread.is_alive():
            clock.advance(0.025)
            thread.join(0.001)
        looked = ringer.looks
        assert looked > 0
        for _ in range(5):
            clock.advance(1)
        assert ringer.looks <= looked + 1


def test_fork(tmp_path: Path) -> None:
    """A child goes on with a watch of its own, and with one that it inherited."""
    with holdfast.open(tmp_path / "s.db") as state:
        inherited = state.watch(timeout=0)
        state.set("agent:a", "parent", 1)
        pid = os.fork()
        if pid == 0:
            ok = False
            try:
                own = state.watch(timeout=0)
                state.set("agent:a", "child", 1)
                ok = keys(own) == ["child"] and keys(inherited) == ["parent", "child"]
            finally:
                os._exit(0 if ok else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert keys(inherited) == ["parent", "child"]


def test_read_only_partitions_of_a_server(open_store: Stores) -> None:
    """Where nobody can say what is still under way, a watch is refused rather than misses it."""
    if open_store.engine != "postgres":
        pytest.skip("writers of several partitions take turns")
    open_store("parts", partitions=4).set("agent:a", "k", 1)
    reader = open_store("parts", partitions=4, read_only=True)
    with pytest.raises(ReadOnlyError):
        reader.watch()


def test_global_scope_and_odd_keys(state: StateManager) -> None:
    """Scopes and keys come back as they were written, whatever letters they have."""
    watch = state.watch(timeout=0)
    scopes = ["global", "agent:ä%3A1", "workflow:w:step:s", "custom:n", "user:ü"]
    names = ["a", "ключ", "é", "~", "x/y z", "\U0001f600"]
    for scope in scopes:
        for name in names:
            state.set(scope, name, [scope, name])
    found = [(c.scope, c.key, c.value) for c in watch if isinstance(c, Change)]
    assert found == [(StateScope.parse(s), n, [s, n]) for s in scopes for n in names]
