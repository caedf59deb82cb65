"""Durable consumers: at least once, in order, by one worker at a time."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import (
    Batch,
    Change,
    Consumer,
    DivergedError,
    HistoryPolicy,
    HorizonError,
    LeaseLostError,
    Retry,
    StateError,
    StateEvent,
    StateManager,
)
from holdfast.errors import InvalidArgumentError, LimitExceededError, ReadOnlyError
from holdfast.testing import FakeClock
from tests.conftest import Stores

AT_ONCE = Retry(first=0, most=0)


def drain(consumer: Consumer) -> list[Any]:
    """Take and acknowledge all that there is."""
    found: list[Any] = []
    while (batch := consumer.poll(0)) is not None:
        found += batch
        batch.ack()
    return found


def keys(found: Any) -> list[str]:
    """Return the keys of changes."""
    return [each.key for each in found]


def fill(state: StateManager, count: int, scope: str = "agent:a") -> None:
    """Set so many keys, each in its own commit."""
    for at in range(count):
        state.set(scope, f"k{at}", at)


# --- delivery ---------------------------------------------------------------------------------


def test_batches_in_order(state: StateManager) -> None:
    """Every change behind the start comes once, in batches, and is done when it is acked."""
    state.set("agent:a", "before", 0)
    consumer = state.consumer("indexer", batch=4)
    fill(state, 10)
    sizes, found = [], []
    while (batch := consumer.poll(0)) is not None:
        sizes.append(len(batch))
        found += batch
        batch.ack()
    assert [c.value for c in found] == list(range(10))
    assert sizes == [4, 4, 2]
    status = state.consumers.status("indexer")
    assert (status.lag, status.position.revision) == (0, state.revision)
    assert status.behind == 0
    consumer.close()
    assert drain(state.consumer("indexer", start="earliest")) == []


def test_a_commit_may_be_torn_between_batches(state: StateManager) -> None:
    """A batch is never larger than asked, and the cursor remembers the part that is done."""
    consumer = state.consumer("c", batch=3)
    with state.transaction() as tx:
        for n in range(8):
            tx.set("agent:a", f"k{n}", n)
        tx.emit("done")
    batch = consumer.poll(0)
    assert batch is not None
    assert keys(batch) == ["k0", "k1", "k2"]
    batch.ack(batch.changes[1])
    consumer.close()
    again = state.consumer("c", batch=100)
    assert keys(drain(again)) == [f"k{n}" for n in range(2, 8)]


def test_starts(state: StateManager) -> None:
    """A consumer begins now, at the earliest, or at a revision; once made it goes on."""
    fill(state, 3)
    third = state.revision
    assert keys(drain(state.consumer("all", start="earliest"))) == ["k0", "k1", "k2"]
    assert drain(state.consumer("new")) == []
    since = list(state.changes())[1].revision
    assert keys(drain(state.consumer("two", start=since))) == ["k2"]
    for start in ("soon", -1, True, 1.5):
        with pytest.raises(InvalidArgumentError):
            state.consumer("bad", start=start)  # type: ignore[arg-type]
    with pytest.raises(DivergedError):
        state.consumer("bad", start=third + 100)
    assert [each.name for each in state.consumers.list()] == ["all", "new", "two"]


def test_filters_move_the_cursor_too(state: StateManager) -> None:
    """A consumer skips what it does not want; two with different filters do not disturb."""
    one = state.consumer("one", "agent:a", "x/")
    two = state.consumer("two", events=True)
    with state.transaction() as tx:
        tx.set("agent:a", "x/1", 1)
        tx.set("agent:a", "y", 1)
        tx.emit("happened", scope="agent:a")
    fill(state, 5, "agent:b")
    assert keys(drain(one)) == ["x/1"]
    found = drain(two)
    assert keys(found[:2]) == ["x/1", "y"]
    assert isinstance(found[2], StateEvent)
    assert len(found) == 8
    one.close()
    status = state.consumers.status("one")
    assert status.lag == 0
    assert (str(status.scope), status.prefix, status.events) == ("agent:a", "x/", False)


def test_unacked_comes_again(state: StateManager) -> None:
    """What was not acknowledged is delivered again, by the same worker and by the next."""
    fill(state, 4)
    consumer = state.consumer("c", start="earliest", batch=2)
    first = consumer.poll(0)
    again = consumer.poll(0)
    assert first is not None
    assert again is not None
    assert list(first) == list(again)
    with pytest.raises(LeaseLostError):
        first.ack()
    again.ack()
    again.ack()
    consumer.poll(0)
    consumer.close()
    assert keys(drain(state.consumer("c"))) == ["k2", "k3"]


def test_what_is_acked_cannot_fail(state: StateManager) -> None:
    """Blaming it would blame the one behind it."""
    fill(state, 3)
    consumer = state.consumer("c", start="earliest", max_attempts=1)
    batch = consumer.poll(0)
    assert batch is not None
    batch.ack(batch.changes[1])
    with pytest.raises(InvalidArgumentError):
        batch.nack(batch.changes[0])
    assert consumer.counts.failed == 0
    batch.ack()
    assert consumer.counts.acked == 3
    assert list(consumer.dead_letters()) == []


def test_waiting_and_stopping(state: StateManager) -> None:
    """A loop waits for work, gets it, and ends when it is told to, from another thread."""
    consumer = state.consumer("c")
    got: list[str] = []
    thread = threading.Thread(target=lambda: _loop(consumer, got), daemon=True)
    thread.start()
    fill(state, 5)
    for _ in range(3000):
        if len(got) == 5:
            break
        thread.join(0.01)
    consumer.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert got == [f"k{n}" for n in range(5)]
    assert not state.consumers.status("c").worked_on


def test_stopping_acknowledges_the_change_under_way(state: StateManager) -> None:
    """Nobody else gets it while its handler runs, and nobody gets it again."""
    fill(state, 5)
    consumer, got = state.consumer("c", start="earliest"), []

    def handler(change: Change) -> None:
        got.append(change.key)
        if change.key == "k2":
            consumer.stop()
            assert state.consumers.status("c").worked_on

    consumer.run(handler)
    assert got == ["k0", "k1", "k2"]
    assert not state.consumers.status("c").worked_on
    assert keys(drain(state.consumer("c"))) == ["k3", "k4"]


def _loop(consumer: Consumer, got: list[str]) -> None:
    for batch in consumer:
        got += keys(batch)
        batch.ack()


def test_closing_the_store_ends_a_loop(open_store: Stores) -> None:
    """A worker that waits when the store is closed ends, and has given its lease back."""
    state = open_store()
    consumer = state.consumer("c")
    thread = threading.Thread(target=consumer.run, args=(print,), daemon=True)
    thread.start()
    state.close()
    thread.join(30)
    assert not thread.is_alive()
    if open_store.persistent:
        assert not open_store().consumers.status("c").worked_on


# --- failures ---------------------------------------------------------------------------------


def test_a_poison_change_becomes_a_dead_letter(state: StateManager) -> None:
    """After the last attempt it is put aside, the rest goes on, and no key's order is mixed."""
    fill(state, 6)
    consumer = state.consumer("c", start="earliest", batch=4, retry=AT_ONCE, max_attempts=3)
    tried: list[str] = []

    def handler(change: Change) -> None:
        tried.append(change.key)
        if change.key == "k2":
            raise ValueError("a secret")

    consumer.run(handler, timeout=0)
    assert tried == ["k0", "k1", "k2", "k2", "k2", "k3", "k4", "k5"]
    (letter,) = consumer.dead_letters()
    assert isinstance(letter.change, Change)
    assert (letter.change.key, letter.change.value) == ("k2", 2)
    assert (letter.attempts, letter.error, letter.replaying) == (3, "ValueError", False)
    assert state.consumers.status("c").dead_letters == 1
    assert consumer.counts.dead == 1


def test_replaying_dead_letters(state: StateManager) -> None:
    """A dead letter that is replayed comes before what is new; acked, it is gone."""
    with state.transaction() as tx:
        tx.set("agent:a", "x", 1)
        tx.set("agent:a", "y", 2)
        tx.emit("z", {"n": 3}, scope="agent:a")
    consumer = state.consumer("c", start="earliest", events=True, retry=AT_ONCE, max_attempts=1)
    consumer.run(_fail, timeout=0)
    letters = list(consumer.dead_letters())
    revision = state.revision
    assert [each.id for each in letters] == [f"{revision}-{n}" for n in range(3)]
    assert isinstance(letters[2].change, StateEvent)
    assert letters[2].change.data == {"n": 3}
    assert consumer.replay(letters[1].id) == 1
    batch = consumer.poll(0)
    assert batch is not None
    assert batch.replayed
    assert keys(batch) == ["y"]
    batch.nack(error="broken")
    assert [each.error for each in consumer.dead_letters()] == [
        "ValueError",
        "broken",
        "ValueError",
    ]
    assert consumer.replay() == 3
    state.set("agent:a", "new", 1)
    found = drain(consumer)
    assert len(found) == 4
    assert found[3].key == "new"
    assert list(consumer.dead_letters()) == []
    with pytest.raises(InvalidArgumentError):
        consumer.replay("1-7")
    for bad in ("x", "1", "-1-1", ""):
        with pytest.raises(InvalidArgumentError):
            consumer.discard(bad)


def _fail(_: Any) -> None:
    raise ValueError


def test_backoff(memory_store: Stores, clock: FakeClock) -> None:
    """A change that failed waits, longer each time, and what is behind it waits with it."""
    state = memory_store(clock=clock)
    fill(state, 2)
    retry = Retry(first=2, factor=3, most=10, jitter=0)
    consumer = state.consumer("c", start="earliest", retry=retry)
    for seconds in (2, 6, 10, 10):
        batch = consumer.poll(0)
        assert batch is not None
        assert batch.changes[0].key == "k0"  # type: ignore[union-attr]
        batch.nack(batch.changes[0])
        clock.advance(seconds - 0.01)
        assert consumer.poll(0) is None
        clock.advance(0.02)
    assert state.consumers.status("c").attempts == 4
    assert keys(drain(consumer)) == ["k0", "k1"]
    assert state.consumers.status("c").attempts == 0


def test_a_clock_put_back_holds_nobody_up(memory_store: Stores, clock: FakeClock) -> None:
    """No change and no dead letter waits longer than a retry may, and a lease is right again."""
    state = memory_store(clock=clock, sweep_every=0)
    fill(state, 2)
    retry = Retry(first=5, most=10, jitter=0)
    consumer = state.consumer("c", start="earliest", retry=retry, max_attempts=2, lease=30)
    batch = consumer.poll(0)
    assert batch is not None
    batch.nack(batch.changes[0])
    clock.set(clock.now_ns() - 3600 * 10**9)
    batch = consumer.poll(0)  # its time is an hour away now
    assert batch is not None
    batch.nack(batch.changes[0])
    assert keys(drain(consumer)) == ["k1"]
    consumer.replay()
    letter = consumer.poll(0)
    assert letter is not None
    letter.nack()
    clock.set(clock.now_ns() - 3600 * 10**9)
    assert keys(drain(consumer)) == ["k0"]
    other = state.consumer("c")
    assert other.poll(0) is None
    state.set("agent:a", "new", 1)
    assert consumer.poll(0) is not None  # and dies
    consumer._desk.renew()
    clock.advance(31)
    assert keys(drain(other)) == ["new"]


def test_a_coroutine_that_nobody_awaits_is_not_acknowledged(state: StateManager) -> None:
    """A thread cannot run one: it is refused, or, where only the call shows it, has failed."""
    fill(state, 1)
    consumer = state.consumer("c", start="earliest", retry=AT_ONCE, max_attempts=2)

    async def handler(change: Change) -> None:
        raise AssertionError

    with pytest.raises(InvalidArgumentError):
        consumer.run(handler, timeout=0)
    assert state.consumers.status("c").lag == 1
    consumer.run(lambda change: handler(change), timeout=0)
    assert [each.error for each in consumer.dead_letters()] == ["TypeError"]


@given(st.integers(1, 100), st.floats(0, 1))
def test_how_long_a_retry_waits(failures: int, chance: float) -> None:
    """Never longer than the bound, never less than the jitter leaves, and never overflowing."""
    retry = Retry(first=0.5, factor=2, most=60, jitter=0.25)
    whole = min(60, 0.5 * 2 ** min(failures - 1, 64))
    assert whole * 0.75 <= retry.wait(failures, chance) <= whole


@pytest.mark.parametrize(
    "bad", [{"first": -1}, {"factor": 0.5}, {"first": 9, "most": 8}, {"jitter": 2}]
)
def test_bad_retries(bad: dict[str, float]) -> None:
    """A retry that cannot be is refused."""
    with pytest.raises(InvalidArgumentError):
        Retry(**bad)


def test_a_failed_batch_is_taken_apart(state: StateManager) -> None:
    """A handler of batches blames nobody; then changes come one by one, and the poison shows."""
    fill(state, 10)
    consumer = state.consumer("c", start="earliest", batch=5, retry=AT_ONCE, max_attempts=2)
    sizes: list[int] = []

    def handler(batch: Batch) -> None:
        sizes.append(len(batch))
        if "k3" in keys(batch):
            raise RuntimeError

    consumer.run(handler, by="batch", timeout=0)
    assert sizes == [5, 1, 1, 1, 1, 1, 1, 5]
    assert [
        each.change.key for each in consumer.dead_letters() if isinstance(each.change, Change)
    ] == ["k3"]


# --- leases -----------------------------------------------------------------------------------


def test_one_works_the_other_stands_by(state: StateManager) -> None:
    """Of two workers of one name one has the lease; when it ends, the other goes on."""
    fill(state, 4)
    one = state.consumer("c", start="earliest", batch=2)
    two = state.consumer("c", batch=2)
    batch = one.poll(0)
    assert batch is not None
    assert two.poll(0) is None
    batch.ack()
    one.close()
    assert keys(drain(two)) == ["k2", "k3"]


def test_a_late_ack_is_refused(tmp_path: Path) -> None:
    """A worker that stood still past its lease is fenced: its ack is refused and moves nothing."""
    slow, fast = FakeClock(), FakeClock()
    with (
        holdfast.open(tmp_path / "s.db", clock=slow) as first,
        holdfast.open(tmp_path / "s.db", clock=fast) as second,
    ):
        fill(first, 4)
        one = first.consumer("c", start="earliest", batch=2, lease=30)
        late = one.poll(0)
        assert late is not None
        two = second.consumer("c", batch=2, lease=30)
        assert two.poll(0) is None
        fast.advance(31)
        batch = two.poll(0)
        assert batch is not None
        assert list(batch) == list(late)
        with pytest.raises(LeaseLostError):
            late.ack()
        assert second.consumers.status("c").position.revision == 0
        batch.ack()
        with pytest.raises(LeaseLostError):
            late.nack()
        assert second.consumers.status("c").position.revision == 2
        assert one.counts.lost == 1
        assert one.poll(0) is None
        slow.advance(31)
        fast.advance(31)


def test_leases_are_renewed_while_working(memory_store: Stores, clock: FakeClock) -> None:
    """A handler that takes longer than the lease keeps it, and its ack counts."""
    state = memory_store(clock=clock, sweep_every=0)
    fill(state, 1)
    one = state.consumer("c", start="earliest", lease=30)
    batch = one.poll(0)
    assert batch is not None
    two = state.consumer("c")
    for _ in range(20):
        clock.await_waiters(1)
        known = one._desk._renewed_ns
        clock.advance(10)
        for _ in range(3000):
            if one._desk._renewed_ns > known:
                break
            threading.Event().wait(0.001)
        assert two.poll(0) is None
    batch.ack()
    assert one.counts.acked == 1


def test_a_thousand_consumers(memory_store: Stores) -> None:
    """Thousands of names are listed, measured and worked off, each on its own."""
    state = memory_store()
    for n in range(2000):
        state.consumer(f"c{n:04}", durability="os")
    fill(state, 2)
    listed = state.consumers.list()
    assert [each.name for each in listed] == [f"c{n:04}" for n in range(2000)]
    assert {each.lag for each in listed} == {2}
    assert keys(drain(state.consumer("c0007"))) == ["k0", "k1"]
    assert state.consumers.status("c0007").lag == 0
    assert state.health().components["consumers"].detail["consumers"] == 2000


# --- moving, deleting, being told -------------------------------------------------------------


def test_reset_and_delete(state: StateManager) -> None:
    """A reset moves a cursor either way and takes the lease away; a deleted consumer is gone."""
    fill(state, 3)
    consumer = state.consumer("c", start="earliest")
    batch = consumer.poll(0)
    assert batch is not None
    state.consumers.reset("c", "now")
    with pytest.raises(LeaseLostError):
        batch.ack()
    assert drain(consumer) == []
    assert state.consumers.reset("c", "earliest").lag > 0
    assert len(drain(consumer)) == 3
    assert state.consumers.delete("c")
    assert not state.consumers.delete("c")
    with pytest.raises(InvalidArgumentError):
        consumer.poll(0)
    for call in (state.consumers.status, state.consumers.replay):
        with pytest.raises(InvalidArgumentError):
            call("c")
    assert len(drain(state.consumer("c", start="earliest"))) == 3


def test_behind_the_horizon(state: StateManager) -> None:
    """A cursor holds back nothing; where it was left behind it says so, and a reset helps."""
    fill(state, 3)
    consumer = state.consumer("c", start="earliest")
    state.compact([HistoryPolicy(max_age=timedelta(0))])
    with pytest.raises(HorizonError):
        consumer.poll(0)
    assert state.consumers.status("c").before_horizon
    health = state.health()
    assert health.components["consumers"].status == "degraded"
    assert health.components["consumers"].detail["before_horizon"] == ["c"]
    with pytest.raises(HorizonError):
        state.consumers.reset("c", 1)
    state.consumers.reset("c", "earliest")
    found = drain(consumer)
    assert all(each.revision > state.info()["horizon"] for each in found)
    consumer.close()
    assert state.consumers.status("c").lag == 0


def test_bad_consumers(open_store: Stores) -> None:
    """Names, numbers and stores that cannot have a consumer are refused at once."""
    state = open_store()
    for name in ("", "a\n", None, 7):
        with pytest.raises(InvalidArgumentError):
            state.consumer(name)  # type: ignore[arg-type]
    with pytest.raises(LimitExceededError):
        state.consumer("n" * 256)
    for bad in (
        {"batch": 0},
        {"max_attempts": 0},
        {"lease": 0},
        {"durability": "x"},
        {"batch": 1.5},
    ):
        with pytest.raises(InvalidArgumentError):
            state.consumer("c", **bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        state.consumer("c").run(print, by="key")  # type: ignore[arg-type]
    if open_store.persistent:
        if open_store.engine == "rocksdb":
            state.close()
        with holdfast.open(open_store.url(), read_only=True) as reader:
            with pytest.raises(ReadOnlyError):
                reader.consumer("c")
            with pytest.raises(ReadOnlyError):
                reader.consumers.delete("c")
            assert [each.name for each in reader.consumers.list()] == ["c"]


def test_tenants_have_their_own(open_store: Stores) -> None:
    """A tenant sees its own consumers, and they see its changes only."""
    state = open_store()
    other = StateManager(state._kernel, tenant="t")
    mine, theirs = state.consumer("c"), other.consumer("c")
    state.set("agent:a", "mine", 1)
    other.set("agent:a", "theirs", 1)
    assert keys(drain(mine)) == ["mine"]
    assert keys(drain(theirs)) == ["theirs"]
    assert other.consumers.delete("c")
    assert [each.name for each in state.consumers.list()] == ["c"]
    assert other.consumers.list() == []


def test_acks_are_no_commits(state: StateManager) -> None:
    """Nothing that a consumer does has a revision, or is seen by another."""
    fill(state, 2)
    revision = state.revision
    drain(state.consumer("c", start="earliest"))
    state.consumers.reset("c", "now")
    state.consumers.delete("c")
    assert state.revision == revision


# --- asyncio and forks ------------------------------------------------------------------------


def test_async(open_store: Stores) -> None:
    """Tasks pull and are pushed as threads are; a cancelled one leaves what it had not acked."""

    async def main() -> None:
        state = holdfast.AsyncStateManager(open_store())
        consumer = await state.consumer("c", batch=2, retry=AT_ONCE, max_attempts=2)
        for at in range(6):
            await state.set("agent:a", f"k{at}", at)
        got: list[str] = []
        async for batch in consumer:
            got += keys(batch)
            await batch.ack()
            if len(got) == 4:
                break

        async def handler(change: Change) -> None:
            got.append(change.key)
            if change.key == "k5":
                raise ValueError

        await consumer.run(handler, timeout=0)
        assert got == ["k0", "k1", "k2", "k3", "k4", "k5", "k5"]
        assert [each.error async for each in consumer.dead_letters()] == ["ValueError"]
        assert (await state.consumers.status("c")).dead_letters == 1
        task = asyncio.create_task(consumer.run(handler))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        waiting = asyncio.create_task(consumer.run(handler))
        await state.set("agent:a", "last", 1)
        while got[-1] != "last":
            await asyncio.sleep(0)
        await consumer.close()
        await waiting
        assert [each.name for each in await state.consumers.list()] == ["c"]
        assert await state.consumers.delete("c")
        await state.close()

    asyncio.run(main())


def test_closing_acknowledges_the_change_that_a_task_works_on(memory_store: Stores) -> None:
    """As in a thread; and closing again, also behind the store, is no error."""

    async def main() -> None:
        state = holdfast.AsyncStateManager(memory_store())
        consumer, got = await state.consumer("c", start="earliest"), []
        for at in range(3):
            await state.set("agent:a", f"k{at}", at)

        async def handler(change: Change) -> None:
            got.append(change.key)
            if change.key == "k1":
                await consumer.close()
                assert (await state.consumers.status("c")).worked_on

        await consumer.run(handler)
        assert got == ["k0", "k1"]
        status = await state.consumers.status("c")
        assert (status.position.revision, status.worked_on) == (2, False)
        await state.close()
        await consumer.close()

    asyncio.run(main())


def test_closing_the_store_ends_slow_tasks(memory_store: Stores) -> None:
    """Who comes back after it is closed meets an end, and no error, as threads do."""

    async def main() -> None:
        state = holdfast.AsyncStateManager(memory_store())
        watch, consumer = state.watch(), await state.consumer("c", start="earliest")
        await state.set("agent:a", "k", 1)
        assert (await anext(watch)).key == "k"

        async def handler(change: Change) -> None:
            await state.close()

        await consumer.run(handler)
        assert await consumer.poll() is None
        assert [each async for each in watch] == []

    asyncio.run(main())


def test_fork(tmp_path: Path) -> None:
    """A child that inherits a worker is another worker: it stands by until the lease is free."""
    with holdfast.open(tmp_path / "s.db") as state:
        fill(state, 2)
        consumer = state.consumer("c", start="earliest")
        batch = consumer.poll(0)
        assert batch is not None
        pid = os.fork()
        if pid == 0:
            refused = False
            try:
                batch.ack()
            except LeaseLostError:
                refused = consumer.poll(0) is None
            os._exit(0 if refused else 1)
        assert os.waitpid(pid, 0)[1] == 0
        batch.ack()
        assert state.consumers.status("c").lag == 0


# --- a model ----------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 4)),
        st.tuples(st.just("poll"), st.integers(0, 5)),
        st.tuples(st.just("fail"), st.integers(0, 5)),
        st.tuples(st.just("crash"), st.just(0)),
        st.tuples(st.just("replay"), st.just(0)),
    ),
    max_size=25,
)


@given(STEPS, st.integers(1, 6), st.sampled_from([1, 4]))
@settings(max_examples=60, deadline=None)
def test_at_least_once(steps: list[tuple[str, int]], size: int, partitions: int) -> None:
    """Whatever happens, all is handled or a dead letter, and the cursor never goes back."""
    with holdfast.open("memory:", partitions=partitions) as state:

        def worker() -> Consumer:
            return state.consumer(
                "c", start="earliest", batch=size, retry=AT_ONCE, max_attempts=2, durability="os"
            )

        consumer, handled, count = worker(), set[str](), 0
        position = 0
        for step, number in steps:
            if step == "write":
                with state.transaction() as tx:
                    for n in range(number):
                        tx.set(f"agent:{n}", f"k{count}", count)
                        count += 1
            elif step == "crash":
                consumer.close()
                consumer = worker()
            elif step == "replay":
                consumer.replay()
            else:
                batch = consumer.poll(0)
                if batch is None:
                    continue
                at = min(number, len(batch) - 1)
                if step == "fail":
                    handled |= set(keys(batch.changes[:at]))
                    batch.nack(batch.changes[at])
                elif number < 5:
                    handled |= set(keys(batch.changes[: at + 1]))
                    batch.ack(batch.changes[at])
            now = state.consumers.status("c").position.revision
            assert now >= position
            position = now
        dead = {
            each.change.key for each in consumer.dead_letters() if isinstance(each.change, Change)
        }
        handled |= set(keys(drain(consumer)))
        dead = {
            each.change.key for each in consumer.dead_letters() if isinstance(each.change, Change)
        }
        assert handled | dead == {f"k{n}" for n in range(count)}
        assert state.consumers.status("c").lag == 0
        assert state.verify() == []


def test_errors_have_codes() -> None:
    """A lost lease is a rejection with a code of its own."""
    assert issubclass(LeaseLostError, StateError)
    assert LeaseLostError.code == "lease_lost"
