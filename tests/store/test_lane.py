"""The commit lane: who goes with whom, and what a failing engine does to a group."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import ConflictError, Durability, OutcomeUnknownError, StateManager
from holdfast.config import EngineURL, parse_url
from holdfast.engines import postgres, rocksdb, sqlite
from holdfast.engines.memory import MemoryEngine
from holdfast.errors import (
    ClosedError,
    DiskFullError,
    EngineError,
    PoisonedError,
    StateError,
)
from holdfast.store.intent import SET, Intent, Op
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.store.lane import Lane, select
from holdfast.testing import Fault, FaultPlan, FaultyEngine
from tests.servers import store_url

A = "agent:a"
QUIET = StoreSettings(sweep_every=0)


# --- select -----------------------------------------------------------------------------------


@st.composite
def queues(draw: Any) -> list[Intent]:
    """Draw queued intents over few places, so that they meet."""
    out = []
    for _ in range(draw(st.integers(1, 14))):
        places = draw(st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=2, unique=True))
        intent = Intent([Op(SET, b"", p) for p in places], Durability.OS, draw(st.integers(0, 2)))
        intent.weight = draw(st.integers(0, 60))
        if draw(st.booleans()):
            intent.reads = dict.fromkeys(draw(st.lists(st.sampled_from([b"a", b"b"]))), 1)
        if draw(st.integers(0, 5)) == 0:
            intent.ranges = [(b"a", b"c")]
        out.append(intent)
    return out


def _places(intent: Intent) -> set[bytes]:
    return {op.place for op in intent.ops}


@given(queues(), st.integers(1, 8), st.integers(1, 100))
def test_select(queue: list[Intent], max_items: int, max_bytes: int) -> None:
    """The oldest goes; bounds hold; nobody overtakes an older one that shares a place."""
    chosen = select(queue, max_items, max_bytes)
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 0, "the oldest always goes"
    assert len(chosen) <= max_items
    assert len(chosen) == 1 or sum(queue[at].weight for at in chosen) <= max_bytes
    left = [at for at in range(len(queue)) if at not in chosen]
    for at in chosen:
        mine, reads = _places(queue[at]), set(queue[at].reads or ())
        for older in (i for i in left if i < at):
            theirs, theirs_read = _places(queue[older]), set(queue[older].reads or ())
            assert not mine & (theirs | theirs_read)
            assert not reads & theirs
            assert not (queue[at].ranges and theirs)
    if sum(i.weight for i in queue) <= max_bytes and len(queue) <= max_items:
        assert left == []


@given(queues(), st.integers(1, 4))
def test_nobody_starves(queue: list[Intent], max_items: int) -> None:
    """Repeated selection serves everybody, at most as many rounds as there are intents."""
    waiting, rounds = list(queue), 0
    while waiting:
        chosen = set(select(waiting, max_items, 50))
        waiting = [intent for at, intent in enumerate(waiting) if at not in chosen]
        rounds += 1
    assert rounds <= len(queue)


def test_priority_goes_first_and_a_quarter_by_age() -> None:
    """Beyond the quarter that goes by age, higher classes go first."""
    queue = [Intent([Op(SET, b"", bytes((n,)))], Durability.OS, 2) for n in range(20)]
    for at in (15, 16, 17):
        queue[at].priority = 0
    assert select(queue, 8, 1000) == [0, 1, 2, 3, 4, 15, 16, 17]


# --- groups -----------------------------------------------------------------------------------


class Held:
    """A store whose first write is held until several others queue behind it."""

    def __init__(self, plan: FaultPlan | None = None, settings: StoreSettings = QUIET) -> None:
        self.plan = plan or FaultPlan()
        self.faulty = FaultyEngine(MemoryEngine())
        self.state = StateManager(Kernel(self.faulty, settings))
        self.gate = threading.Event()
        self.inside = threading.Event()
        self.results: dict[int, Any] = {}

    def run(self, *actions: Any) -> list[Any]:
        """Run the actions as one group; return results or errors, in their order."""
        first = self.faulty.counts["body"]

        def wait() -> None:
            self.inside.set()
            assert self.gate.wait(30)

        self.faulty.plan = FaultPlan({("body", first): wait})
        lane = self.state._kernel.lane
        holder = threading.Thread(target=lambda: self.state.set("global", "held", 1))
        holder.start()
        assert self.inside.wait(30)
        threads = []
        for at, action in enumerate(actions):
            thread = threading.Thread(target=self._one, args=(at, action))
            thread.start()
            threads.append(thread)
            while lane.depth() < at + 1:
                threading.Event().wait(0.001)
        for (point, number), fault in self.plan._faults.items():
            behind = self.faulty.counts[point] + (point == "commit")  # the held write commits first
            self.faulty.plan.at(point, behind + number, fault)  # type: ignore[arg-type]
        self.gate.set()
        for thread in [holder, *threads]:
            thread.join(30)
            assert not thread.is_alive()
        return [self.results[at] for at in range(len(actions))]

    def _one(self, at: int, action: Any) -> None:
        try:
            self.results[at] = action(self.state)
        except StateError as error:
            self.results[at] = error


def test_a_group_is_one_write_with_a_revision_each() -> None:
    """What queued behind a write is committed together, in the order of arrival."""
    held = Held()
    results = held.run(*[lambda s, n=n: s.set(A, f"k{n}", n) for n in range(20)])
    assert results == list(range(2, 22))
    assert held.faulty.counts["body"] == 3, "the store's making, the held write, the group"
    assert held.state._kernel.lane.largest == 20
    assert held.state.verify() == []


def test_one_refused_item_leaves_the_others_alone() -> None:
    """Conflicts and wrong types of one item are its own; later items build on earlier ones."""
    held = Held()
    results = held.run(
        lambda s: s.set(A, "n", 1),
        lambda s: s.set(A, "n", 5, if_revision=77),
        lambda s: s.append(A, "n", 1),
        lambda s: s.increment(A, "n", 1),
        lambda s: s.delete(A, "absent"),
        lambda s: s.increment(A, "n", 1),
    )
    assert results[0] == 2
    assert isinstance(results[1], ConflictError)
    assert results[2].code == "wrong_type"
    assert results[3:] == [2, False, 3]
    assert held.state.get(A, "n") == 3
    assert held.state.revision == 4
    assert held.state.verify() == []


def test_a_definite_failure_is_rerun_item_by_item() -> None:
    """A group that the engine refuses is retried one by one; only the guilty one fails."""
    held = Held(FaultPlan({("commit", 0): Fault.ERROR, ("commit", 2): Fault.ERROR}))
    results = held.run(*[lambda s, n=n: s.set(A, f"k{n}", n) for n in range(4)])
    assert [type(r) for r in results] == [int, EngineError, int, int]
    assert [r for r in results if isinstance(r, int)] == [2, 3, 4]
    assert held.state.list_keys(A) == ["k0", "k2", "k3"]
    assert held.state.verify() == []


def test_a_full_disk_fails_cleanly() -> None:
    """On a full disk every item fails, reads go on, and a later write works."""
    held = Held(FaultPlan({("commit", 0): Fault.DISK_FULL}))
    results = held.run(*[lambda s, n=n: s.set(A, f"k{n}", n) for n in range(3)])
    assert [type(r) for r in results] == [DiskFullError] * 3
    assert held.state.health().status == "degraded"
    assert held.state.get("global", "held") == 1
    assert held.state.set(A, "k", 1) == 2
    assert held.state.health().status == "ok"
    assert held.state.verify() == []


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.LANDED])
def test_an_unknown_outcome_reaches_everybody(fault: Fault) -> None:
    """Each caller learns its own commit id; what was refused knows it; reopening resolves."""
    held = Held(FaultPlan({("commit", 0): fault}))
    results = held.run(
        lambda s: s.set(A, "k0", 0),
        lambda s: s.set(A, "k1", 1, if_revision=9),
        lambda s: s.increment(A, "k2", 2),
    )
    unknown = [results[0], results[2]]
    assert [type(r) for r in unknown] == [OutcomeUnknownError] * 2
    assert isinstance(results[1], ConflictError), "its refusal does not depend on the commit"
    ids = {r.commit_id for r in unknown}
    assert len(ids) == 2
    assert all(len(i) == 32 for i in ids)
    with pytest.raises(PoisonedError):
        held.state.set(A, "k", 1)
    assert held.state.health().status != "ok"
    held.faulty.reopen()
    landed = fault is Fault.LANDED
    for number, error in enumerate(unknown):
        expected = number + 2 if landed else None
        assert held.state.find_commit(error.commit_id, since=1) == expected
        assert held.state.find_commit(error.commit_id) == expected
    assert held.state.count(A) == (2 if landed else 0)
    assert held.state.set(A, "after", 1) == (4 if landed else 2)
    assert held.state.verify() == []


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.LANDED])
def test_a_refusal_that_rests_on_an_unknown_outcome_is_unknown(fault: Fault) -> None:
    """What the group's own changes refused was refused by something that may never have been."""
    held = Held(FaultPlan({("commit", 0): fault}))
    held.state.set(A, "n", 1)
    held.state.set(A, "m", 1)
    known = held.state.revision
    point, ranged = held.state.transaction(), held.state.transaction()
    with ExitStack() as never:
        one, other = never.enter_context(point), never.enter_context(ranged)
        one.set(A, "t", one.get(A, "n"))
        other.set(A, "r", len(other.list_keys(A)))
        never.pop_all()
    results = held.run(
        lambda s: s.increment(A, "n"),
        lambda s: s.set(A, "n", 5, if_revision=known - 1),
        lambda s: s.append(A, "n", 1),
        lambda _: point.__exit__(None, None, None),
        lambda _: ranged.__exit__(None, None, None),
        lambda s: s.set(A, "m", 5, if_revision=77),
    )
    assert [type(r) for r in results] == [OutcomeUnknownError] * 5 + [ConflictError]
    held.faulty.reopen()
    there = [held.state.find_commit(error.commit_id) is not None for error in results[:5]]
    assert there == [fault is Fault.LANDED] + [False] * 4
    assert held.state.get(A, "n") == (2 if fault is Fault.LANDED else 1)


def test_an_engine_may_run_the_body_twice() -> None:
    """A group that is decided again on another state gives each its one outcome."""
    held = Held(FaultPlan({("commit", 0): Fault.TWICE}))
    results = held.run(
        lambda s: s.increment(A, "n", 1),
        lambda s: s.increment(A, "n", 1),
        lambda s: s.set(A, "k", 1, if_absent=True),
    )
    assert results == [1, 2, 4]
    assert held.state.get(A, "n") == 2
    assert held.state.verify() == []


def test_a_closed_store_refuses(memory_store: Any) -> None:
    """After close every verb raises ClosedError; closing again does not."""
    state = memory_store()
    state.set(A, "k", 1)
    state.close()
    state.close()
    for call in (
        lambda: state.set(A, "k", 1),
        lambda: state.get(A, "k"),
        lambda: state.delete(A, "k"),
        lambda: list(state.scan(A)),
        lambda: state.transaction().__enter__(),
        lambda: state.increment(A, "k"),
        lambda: state.sweep(),
        lambda: list(state.changes()),
    ):
        with pytest.raises(ClosedError):
            call()


# --- faults at every call ---------------------------------------------------------------------


def _open(engine: str, path: Path) -> Any:
    if engine == "memory":
        return MemoryEngine()
    if engine == "postgres":
        return postgres.open_engine(parse_url(store_url(path)))
    module = {"sqlite": sqlite, "rocksdb": rocksdb}[engine]
    return module.open_engine(EngineURL(engine, str(path), {}))


def _workload(state: StateManager, done: list[tuple[str, Any]]) -> None:
    """Write in several ways; note what was acknowledged."""
    options: Any = {"durability": "os"}
    state.set(A, "k", "a" * 5000, **options)
    done.append(("k", "a" * 5000))
    state.set(A, "k", "a" * 5000 + "b", **options)
    done.append(("k", "a" * 5000 + "b"))
    state.increment(A, "n", 3, **options)
    done.append(("n", 3))
    with state.transaction(**options) as tx:
        tx.set(A, "t", tx.get(A, "n"))
        tx.delete(A, "n")
    done.append(("t", 3))
    done.append(("n", None))
    state.copy_scope(A, "agent:b", **options)
    state.delete_scope("agent:b", **options)
    done.append(("end", None))


@pytest.mark.parametrize("point", ["get", "scan", "body", "commit", "ack"])
def test_faults_at_every_call(engine: str, point: Any, tmp_path: Path) -> None:
    """Whatever call fails, nothing acknowledged is lost and the store stays sound."""
    faults = [Fault.ERROR] if point != "commit" else [Fault.ERROR, Fault.LOST, Fault.LANDED]
    for fault in faults:
        number = 0
        while True:
            path = tmp_path / f"{fault.name}{number}"
            faulty = FaultyEngine(_open(engine, path))
            kernel = Kernel(faulty, QUIET)
            state = StateManager(kernel)
            counted = faulty.counts[point]
            faulty.plan = FaultPlan({(point, counted + number): fault})
            done: list[tuple[str, Any]] = []
            try:
                _workload(state, done)
                failed = False
            except StateError:
                failed = True
            reached = faulty.counts[point] > counted + number
            faulty.plan = FaultPlan()
            faulty.poisoned = False
            if engine != "memory":
                state.close()
                state = StateManager(Kernel(_open(engine, path), QUIET))
            assert state.verify() == []
            for key, value in dict(done).items():
                if not failed or key not in ("k", "n"):
                    assert state.get(A, key) == value
            if failed and done:
                changes = {(c.key, str(c.value)) for c in state.changes(scope=A)}
                assert all((k, str(v)) in changes for k, v in done if k != "end")
            state.close()
            if not reached:
                assert not failed
                break
            number += 1
            assert number < 200


# --- a lane whose surroundings fail -----------------------------------------------------------


def test_a_listener_that_raises_fails_no_write() -> None:
    """Who hears of groups and raises changes no outcome, and the lane goes on."""

    def told(group: object, began: int, ended: int) -> None:
        raise RuntimeError("a listener")

    lane = Lane(lambda group: None, lead_inline=False)
    lane.told = told
    for _ in range(2):
        lane.submit(Intent([], Durability.OS))
    done = threading.Event()
    queued = Intent([], Durability.OS)
    queued.wake = done.set
    assert not lane.submit_waking(queued)
    assert done.wait(30)
    lane.close()
    assert lane.items == 3


def test_a_caller_that_cannot_be_woken_keeps_nobody_waiting() -> None:
    """Where waking one of a group raises, the others are woken, and the lane goes on."""
    begun, go = threading.Event(), threading.Event()

    def run(group: object) -> None:
        begun.set()
        go.wait(30)

    def refuse() -> None:
        raise RuntimeError("gone")

    lane = Lane(run, lead_inline=False)
    leader = threading.Thread(target=lane.submit, args=(Intent([], Durability.OS),))
    leader.start()
    assert begun.wait(30)
    intents = [Intent([], Durability.OS) for _ in range(3)]
    done = threading.Event()
    intents[0].wake = intents[1].wake = refuse
    intents[2].wake = done.set
    for intent in intents:
        assert not lane.submit_waking(intent)
    go.set()
    leader.join(30)
    assert done.wait(30)
    lane.submit(Intent([], Durability.OS))
    lane.close()
    assert (lane.groups, lane.items) == (3, 5)


def test_a_thread_that_does_not_start_leaves_nothing_queued(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where there is no thread to be had the caller is told, and the lane goes on without it."""
    lane = Lane(lambda group: None, lead_inline=False)
    intent = Intent([], Durability.OS)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            lane.submit_waking(intent)
    assert lane.depth() == 0
    lane.submit(Intent([], Durability.OS))
    done = threading.Event()
    intent.wake = done.set
    assert not lane.submit_waking(intent)
    assert done.wait(30)
    lane.close()
    assert lane.items == 2
