"""Before-hooks: what they see, change and refuse, through every verb that writes."""

from __future__ import annotations

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import holdfast
from holdfast import AsyncStateManager, ConflictError, SetOperation, StateManager
from holdfast.errors import HookFailedError, HookRecursionError, InvalidArgumentError, VetoError
from holdfast.hooks import BreakerState, HookEvent
from holdfast.testing import FakeClock
from tests.conftest import Stores

A = "agent:a"


def no_thirteen(event: HookEvent) -> None:
    """Refuse 13 and deletes, and write other numbers tenfold."""
    if event.operation.name == "DELETE":
        event.veto("stays")
    if event.new == 13:
        event.veto("unlucky")
    if isinstance(event.new, int):
        event.replace(event.new * 10)


def test_a_hook_sees_what_stands_there_and_what_is_to_be_written(state: StateManager) -> None:
    """Old and new value, revisions, version, actor and correlation are exact."""
    seen: list[tuple[Any, ...]] = []

    def look(event: HookEvent) -> None:
        seen.append(
            (
                event.phase,
                str(event.scope),
                event.key,
                event.operation.name,
                event.old,
                event.new,
                event.version,
                event.revision,
                event.seen_revision,
                event.actor,
                event.correlation_id,
                event.replayed,
                event.dry_run,
                event.idempotency_key,
            )
        )

    state.hooks.before(look)
    first = state.set(A, "k", {"n": 1}, actor="ada", correlation="c1")
    second = state.set(A, "k", {"n": 2})
    state.touch(A, "k", expires_in=60)
    third = state.get_with_metadata(A, "k").metadata.revision
    state.delete(A, "k")
    rest = (False, False, None)
    one, two = {"n": 1}, {"n": 2}
    assert seen == [
        ("before", A, "k", "SET", None, one, 1, None, 0, "ada", "c1", *rest),
        ("before", A, "k", "SET", one, two, 2, None, first, None, None, *rest),
        ("before", A, "k", "TOUCH", two, two, 3, None, second, None, None, *rest),
        ("before", A, "k", "DELETE", two, None, 3, None, third, None, None, *rest),
    ]


def test_a_veto_raises_and_nothing_is_written(state: StateManager) -> None:
    """The caller gets a typed error with the hook's name and its reason."""
    hook = state.hooks.before(no_thirteen, scope="agent:*", key="k*")
    before = state.revision
    with pytest.raises(VetoError) as caught:
        state.set(A, "k", 13)
    error = caught.value
    assert (error.code, error.hook, error.reason) == ("vetoed", "no_thirteen", "unlucky")
    assert (error.scope, error.key) == (A, "k")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.reason, str(copy)) == ("unlucky", str(error))
    assert state.revision == before
    assert state.get(A, "k") is None
    assert (hook.metrics.calls, hook.metrics.vetoes, hook.metrics.failures) == (1, 1, 0)


def test_every_verb_goes_through_the_hooks(state: StateManager) -> None:
    """Values are changed, and refused, whatever verb writes them."""
    state.set("user:u", "k1", 13)
    state.set("user:u", "k2", 2)
    state.set(A, "rewound", 5)
    at = state.revision
    state.set(A, "rewound", 6)
    exported = ["\n"]
    exported = list(state.export_lines())
    state.hooks.before(no_thirteen, scope="agent:*")
    state.set(A, "set", 1)
    assert state.get(A, "set") == 10
    assert state.increment(A, "set") == 110  # 11 was to be written
    assert state.get(A, "set") == 110
    assert state.update(A, "set", lambda n: n + 1) == 111
    assert state.get(A, "set") == 1110
    assert state.append(A, "list", 1, 2) == 2
    assert state.merge_patch(A, "patched", {"a": 1}) == {"a": 1}
    assert state.transact(lambda tx: tx.increment(A, "set")) == 1111
    assert state.get(A, "set") == 11110
    with pytest.raises(VetoError), state.transaction() as tx:
        tx.set("user:u", "other", 1)
        tx.set(A, "set", 13)
    assert state.get("user:u", "other") is None
    with pytest.raises(VetoError):
        state.delete(A, "set")
    with pytest.raises(VetoError):
        state.delete_scope(A)
    with pytest.raises(VetoError):
        state.move_scope(A, "agent:b")
    with pytest.raises(VetoError):
        state.copy_scope("user:u", "agent:b")
    assert state.list_keys("agent:b") == []
    assert state.rewind(A, "rewound", to=at) == 1
    assert state.get(A, "rewound") == 50
    with pytest.raises(VetoError):
        state.set_batch([SetOperation(A, "x", 1), SetOperation(A, "y", 13)], atomic=True)
    assert state.get(A, "x") is None
    text = [line.replace("user:u", "agent:imported") for line in exported]
    with pytest.raises(VetoError):
        state.import_lines(text, overwrite=True)


def test_a_veto_of_one_item_of_a_loose_batch_is_its_error_alone(state: StateManager) -> None:
    """The other items are stored, each with the commit's revision."""
    state.hooks.before(no_thirteen)
    state.set("user:u", "there", 1)
    items = [
        SetOperation(A, "a", 1),
        SetOperation(A, "b", 13),
        SetOperation("user:u", "there", 1, if_absent=True),
        SetOperation(A, "c", 2),
    ]
    first, veto, conflict, last = state.set_batch(items)
    assert first == last == state.revision
    assert isinstance(veto, VetoError)
    assert isinstance(conflict, ConflictError)
    assert (state.get(A, "a"), state.get(A, "b"), state.get(A, "c")) == (10, None, 20)
    (alone,) = state.set_batch([SetOperation(A, "b", 13)])
    assert isinstance(alone, VetoError)


def test_hooks_chain_by_priority_then_registration(state: StateManager) -> None:
    """Each sees what the one before left."""
    seen = []

    def adds(letter: str) -> Any:
        def add(event: HookEvent) -> None:
            seen.append((letter, event.new))
            event.replace(event.new + letter)

        return add

    state.hooks.before(adds("c"))
    state.hooks.before(adds("d"))
    state.hooks.before(adds("b"), priority=1)
    removed = state.hooks.before(adds("x"), priority=5)
    state.hooks.before(adds("a"), priority=2)
    removed.remove()
    removed.remove()
    state.set(A, "k", "")
    assert state.get(A, "k") == "abcd"
    assert seen == [("a", ""), ("b", "a"), ("c", "ab"), ("d", "abc")]


def test_a_hook_runs_again_when_the_value_moved_on(open_store: Stores) -> None:
    """What is committed was decided on the value that stood there, in every interleaving."""
    state = open_store()
    state.set(A, "k", 0)
    moved = []

    def counts(event: HookEvent) -> None:
        if not moved:
            moved.append(state._kernel)
            with_hooks, state._kernel.before = state._kernel.before, None
            state.set(A, "k", 7)
            state._kernel.before = with_hooks
        event.replace([event.old, event.new])

    state.hooks.before(counts)
    state.set(A, "k", 1)
    assert state.get(A, "k") == [7, 1]
    moved.clear()
    (result,) = state.set_batch([SetOperation(A, "k", 2)])
    assert result == state.revision
    assert state.get(A, "k") == [7, 2]


def test_a_hook_that_never_sees_a_still_value_gives_up(memory_store: Stores) -> None:
    """After 64 attempts the write is a conflict with the reason exhausted."""
    state = memory_store()
    calls = []

    def disturb(event: HookEvent) -> None:
        calls.append(1)
        with_hooks, state._kernel.before = state._kernel.before, None
        state.increment(A, "k")
        state._kernel.before = with_hooks

    state.hooks.before(disturb)
    with pytest.raises(ConflictError) as caught:
        state.set(A, "k", 1)
    assert caught.value.reason == "exhausted"
    assert len(calls) == 64


def test_a_range_that_was_scanned_is_the_callers_own(state: StateManager) -> None:
    """Where it has changed, asking hooks again helps nobody: the transaction conflicts at once."""
    state.set(A, "k", 0)

    def disturb(event: HookEvent) -> None:
        with_hooks, state._kernel.before = state._kernel.before, None
        state.increment(A, "k")
        state._kernel.before = with_hooks

    hook = state.hooks.before(disturb)
    with pytest.raises(ConflictError) as caught, state.transaction() as tx:
        assert list(tx.list_keys(A)) == ["k"]
        tx.set(A, "k", 1)
    assert caught.value.reason == "range"
    assert hook.metrics.calls == 1


def test_the_callers_own_condition_is_its_own(state: StateManager) -> None:
    """A precondition that fails is the caller's conflict, and no hook is asked."""
    hook = state.hooks.before(lambda event: None)
    revision = state.set(A, "k", 1)
    for condition in ({"if_revision": revision + 1}, {"if_version": 5}, {"if_absent": True}):
        with pytest.raises(ConflictError):
            state.set(A, "k", 2, **condition)
    assert hook.metrics.calls == 1
    assert state.set(A, "k", 2, if_revision=revision) > revision
    assert state.set(A, "k", 3, if_version=2) > revision


def test_concurrent_increments_with_a_hook_are_exact(open_store: Stores) -> None:
    """8 threads with 25 increments end at 200, with every one seen by the hook."""
    state = open_store()

    def one_more(event: HookEvent) -> None:
        if event.new != (event.old or 0) + 1:
            event.veto("not one more")

    state.hooks.before(one_more)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [state.increment(A, "n") for _ in range(25)], range(8)))
    assert state.get(A, "n") == 200


def test_a_retry_under_the_same_commit_id_asks_nobody(state: StateManager) -> None:
    """What has happened cannot be vetoed any more."""
    hook = state.hooks.before(lambda event: event.veto("again") if event.old else None)
    first = state.set(A, "k", 1, commit_id=b"0123456789abcdef")
    assert state.set(A, "k", 1, commit_id=b"0123456789abcdef") == first
    assert state.increment(A, "n", commit_id=b"1123456789abcdef") == 1
    assert state.increment(A, "n", commit_id=b"1123456789abcdef") == 1
    assert hook.metrics.calls == 2


def test_an_id_that_another_partition_knows_is_no_repeat(memory_store: Stores) -> None:
    """Where the lane will commit, hooks are asked: an id counts in the partitions of its commit."""
    state = memory_store(partitions=4)
    hook = state.hooks.before(lambda event: event.veto("no") if event.new == 13 else None)
    partitions, address = state._kernel.partitions, state._address

    def part(scope: str) -> int:
        return partitions.of(address.owner(holdfast.StateScope.parse(scope)))

    other = next(f"agent:{n}" for n in range(100) if part(f"agent:{n}") != part(A))
    state.set(A, "k", 1, commit_id=b"0123456789abcdef")
    with pytest.raises(VetoError):
        state.set(other, "k", 13, commit_id=b"0123456789abcdef")
    assert state.get(other, "k") is None
    assert hook.metrics.calls == 2


def test_a_transaction_that_found_nothing_is_tried_again(state: StateManager) -> None:
    """A key that somebody else made meanwhile is interference, with hooks as without."""
    state.hooks.before(lambda event: None)
    tries = []

    def make(tx: holdfast.StateTransaction) -> None:
        tries.append(tx.get(A, "k"))
        if len(tries) == 1:
            state.set(A, "k", 1)
        tx.set(A, "k", (tries[-1] or 0) + 10)

    state.transact(make)
    assert tries == [None, 1]
    assert state.get(A, "k") == 11


def test_what_fails_refuses_the_write(state: StateManager) -> None:
    """A hook that raises is a HookFailedError without the value; `allow` lets the write pass."""

    def breaks(event: HookEvent) -> None:
        raise ValueError(f"secret {event.new}")

    hook = state.hooks.before(breaks)
    with pytest.raises(HookFailedError) as caught:
        state.set(A, "k", "hunter2")
    assert "hunter2" not in str(caught.value)
    assert (caught.value.hook, caught.value.reason) == ("breaks", "raised")
    assert isinstance(caught.value.__cause__, ValueError)
    assert state.get(A, "k") is None
    hook.remove()
    lenient = state.hooks.before(breaks, on_error="allow")
    state.set(A, "k", 1)
    assert state.get(A, "k") == 1
    assert lenient.metrics.failures == 1


def test_a_hook_that_returns_something_is_misused(state: StateManager) -> None:
    """A returned value is no way to change what is written, and says so."""
    state.hooks.before(lambda event: event.new)
    with pytest.raises(HookFailedError) as caught:
        state.set(A, "k", 1)
    assert caught.value.reason == "misused"
    state.set(A, "nothing", None)


def test_a_value_that_cannot_be_stored_is_the_hooks_failure(state: StateManager) -> None:
    """So is replacing what a delete does not write."""
    hook = state.hooks.before(lambda event: event.replace(object()))
    with pytest.raises(HookFailedError):
        state.set(A, "k", 1)
    hook.remove()
    state.set(A, "k", 1)
    state.hooks.before(lambda event: event.replace(1), operations="delete")
    with pytest.raises(HookFailedError) as caught:
        state.delete(A, "k")
    assert isinstance(caught.value.__cause__, InvalidArgumentError)


def test_values_are_the_hooks_own(state: StateManager) -> None:
    """Changing what `new` returned changes nothing."""
    state.hooks.before(lambda event: event.new.append(1))
    state.hooks.before(lambda event: event.veto("changed") if event.new else None)
    state.set(A, "k", [])
    assert state.get(A, "k") == []


def test_a_class_filter_goes_by_the_class_that_stands_there(state: StateManager) -> None:
    """A write without a class keeps that of the key, and is heard of as such."""
    seen = []
    state.hooks.before(lambda event: seen.append(event.key), classes=["trusted"])
    state.set(A, "k", 1)
    state.set(A, "t", 1, state_class=holdfast.StateClass.TRUSTED)
    state.set(A, "t", 2)
    state.increment(A, "t")
    assert seen == ["t", "t", "t"]


def test_the_breaker_opens_and_refuses_then_tries_again(
    memory_store: Stores, clock: FakeClock
) -> None:
    """After its threshold a hook is not called; after a while one call decides."""
    state = memory_store(clock=clock, sweep_every=0)
    state.hooks.configure(failure_threshold=2, reset_after=10)
    broken = [True]

    def sometimes(event: HookEvent) -> None:
        if broken[0]:
            raise OSError

    hook = state.hooks.before(sometimes)
    for _ in range(2):
        with pytest.raises(HookFailedError):
            state.set(A, "k", 1)
    assert hook.breaker.state is BreakerState.OPEN
    assert state.health().status == "degraded"
    with pytest.raises(HookFailedError) as caught:
        state.set(A, "k", 1)
    assert (caught.value.reason, hook.metrics.skipped, hook.metrics.calls) == ("breaker", 1, 2)
    clock.advance(10)
    with pytest.raises(HookFailedError):
        state.set(A, "k", 1)  # the trial fails
    assert hook.breaker.state is BreakerState.OPEN
    clock.advance(10)
    broken[0] = False
    state.set(A, "k", 1)
    assert hook.breaker.state is BreakerState.CLOSED
    assert state.health().components["hooks"].status == "ok"


def test_an_open_breaker_skips_a_hook_that_allows(memory_store: Stores, clock: FakeClock) -> None:
    """The same setting decides: the write passes."""
    state = memory_store(clock=clock, sweep_every=0)
    state.hooks.configure(failure_threshold=1)
    hook = state.hooks.before(lambda event: 1 / 0, on_error="allow")
    state.set(A, "k", 1)
    state.set(A, "k", 2)
    assert (hook.metrics.calls, hook.metrics.skipped) == (1, 1)


def test_paused_hooks_are_left_out(state: StateManager) -> None:
    """`pause` and `resume` by name; an unknown name is an error that lists the known."""
    hook = state.hooks.before(no_thirteen)
    state.hooks.pause("no_thirteen")
    state.set(A, "k", 13)
    assert hook.paused
    state.hooks.resume("no_thirteen")
    with pytest.raises(VetoError):
        state.set(A, "k", 13)
    with pytest.raises(InvalidArgumentError, match="no_thirteen"):
        state.hooks.pause("thirteen")


def test_a_plain_function_that_takes_too_long_refuses(
    memory_store: Stores, clock: FakeClock
) -> None:
    """The caller goes on without it; what it does later changes nothing."""
    state = memory_store(clock=clock, sweep_every=0)
    began, release = threading.Event(), threading.Event()
    ended = threading.Event()

    def hangs(event: HookEvent) -> None:
        began.set()
        release.wait()
        event.replace("too late")
        ended.set()

    hook = state.hooks.before(hangs, timeout=5, on_error="allow")

    def set_it() -> int:
        return state.set(A, "k", "in time")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(set_it)
        began.wait()
        clock.advance(5)
        assert writing.result() == 1
        release.set()
        ended.wait()
    assert state.get(A, "k") == "in time"
    assert (hook.metrics.timeouts, hook.metrics.failures) == (1, 1)


def test_coroutines_serve_both_faces(memory_store: Stores) -> None:
    """A coroutine function is a hook of sync and async code, and is cancelled when it is late."""
    state = memory_store()

    async def tenfold(event: HookEvent) -> None:
        await asyncio.sleep(0)
        event.replace(event.new * 10)

    state.hooks.before(tenfold)
    state.set(A, "k", 1)
    assert state.get(A, "k") == 10
    cancelled = []

    async def hangs(event: HookEvent) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(event.key)
            raise

    async def use() -> None:
        face = AsyncStateManager(state)
        assert face.hooks is state.hooks
        await face.set(A, "k", 2)
        assert await face.get(A, "k") == 20
        assert await face.increment(A, "k") == 210
        state.hooks.before(hangs, timeout=0.001)
        with pytest.raises(HookFailedError) as caught:
            await face.set(A, "k", 3)
        assert caught.value.reason == "timeout"

    asyncio.run(use())
    with pytest.raises(HookFailedError):
        state.set(A, "k", 3)
    state.hooks.remove("hangs")
    state.close()
    assert cancelled == ["k", "k"]


def test_a_coroutine_that_is_cancelled_by_itself_refuses(memory_store: Stores) -> None:
    """Its caller is not cancelled: that gets an error. One that is cancelled stays so."""
    state = memory_store()
    began = []

    async def fails(event: HookEvent) -> None:
        if event.new == 2:
            began.append(1)
            await asyncio.Event().wait()
        raise asyncio.CancelledError

    hook = state.hooks.before(fails)
    with pytest.raises(HookFailedError) as caught:
        state.set(A, "k", 1)
    assert caught.value.reason == "raised"

    async def use() -> None:
        face = AsyncStateManager(state)
        with pytest.raises(HookFailedError):
            await face.set(A, "k", 1)
        task = asyncio.create_task(face.set(A, "k", 2))
        while not began:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(use())
    assert hook.metrics.failures == 2
    assert state.get(A, "k") is None


def test_a_plain_function_with_a_limit_does_not_hold_up_the_loop(memory_store: Stores) -> None:
    """The loop goes on while the function runs in a thread."""
    state = memory_store()
    release = threading.Event()

    def waits(event: HookEvent) -> None:
        release.wait()

    state.hooks.before(waits, timeout=60)

    async def use() -> None:
        face = AsyncStateManager(state)
        writing = asyncio.create_task(face.set(A, "k", 1))
        await asyncio.sleep(0)
        release.set()  # would never be reached if the loop waited
        await writing

    asyncio.run(use())
    assert state.get(A, "k") == 1


def test_a_coroutine_may_call_the_blocking_verbs(memory_store: Stores) -> None:
    """Even where what it writes has a coroutine for a hook."""
    state = memory_store()

    async def logs(event: HookEvent) -> None:
        state.set("user:log", event.key, event.new)

    async def checks(event: HookEvent) -> None:
        await asyncio.sleep(0)

    state.hooks.before(logs, scope="agent:*")
    state.hooks.before(checks, scope="user:*")
    state.set(A, "k", 1)
    assert state.get("user:log", "k") == 1


def test_endless_recursion_is_an_error(state: StateManager) -> None:
    """A hook that sets off itself ends at the limit, with nothing written."""
    calls = []

    def again(event: HookEvent) -> None:
        calls.append(1)
        state.set(A, event.key, 0)

    state.hooks.before(again)
    with pytest.raises(HookRecursionError):
        state.set(A, "k", 1)
    assert len(calls) == state.hooks.settings.max_depth
    assert state.get(A, "k") is None


def test_tenants_have_their_own_hooks(tmp_path: Any) -> None:
    """A hook hears of its manager's tenant only."""
    seen = []
    url = str(tmp_path / "t.db")
    with holdfast.open(url, tenant="one") as one, holdfast.open(url, tenant="two") as two:
        one.hooks.before(lambda event: seen.append(event.key))
        one.set(A, "mine", 1)
        two.set(A, "theirs", 1)
    assert seen == ["mine"]


def test_hooks_do_not_hear_of_ephemeral_values(memory_store: Stores) -> None:
    """They live in the process, and have no revision to rely on."""
    state = memory_store()
    hook = state.hooks.before(lambda event: event.veto("no"))
    state.set(A, "k", 1, state_class=holdfast.StateClass.EPHEMERAL)
    assert state.get(A, "k") == 1
    assert hook.metrics.calls == 0
