"""Hermitage's shapes on transactions: every anomaly is prevented, on every engine.

Each test interleaves two or three transactions by hand, as https://github.com/ept/hermitage does,
over two keys that hold 10 and 20. A transaction may fail with a conflict; what commits must be as
if they had run one after another.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import StateManager, StateTransaction
from holdfast.errors import ConflictError

A = "agent:a"


class Session:
    """One transaction, driven step by step; a conflict ends it and is remembered."""

    def __init__(self, state: StateManager) -> None:
        self._context = state.transaction(durability="os")
        self.tx: StateTransaction = self._context.__enter__()
        self.conflict = False

    def __call__(self, step: Callable[[StateTransaction], Any]) -> Any:
        """Run one step; None once there was a conflict."""
        if self.conflict:
            return None
        try:
            return step(self.tx)
        except ConflictError as error:
            self.conflict = True
            self._context.__exit__(type(error), error, None)
            return None

    def get(self, key: str) -> Any:
        """Read one key."""
        return self(lambda tx: tx.get(A, key))

    def set(self, key: str, value: Any) -> None:
        """Write one key."""
        self(lambda tx: tx.set(A, key, value))

    def scan(self) -> Any:
        """Read all keys."""
        return self(lambda tx: dict(tx.scan(A)))

    def commit(self) -> bool:
        """Commit; say whether it did."""
        if not self.conflict:
            try:
                self._context.__exit__(None, None, None)
            except ConflictError:
                self.conflict = True
        return not self.conflict

    def abort(self) -> None:
        """Roll back."""
        if not self.conflict:
            self.conflict = True
            self._context.__exit__(KeyError, KeyError("abort"), None)


@pytest.fixture
def store(state: StateManager) -> StateManager:
    """Fill a store with the two keys."""
    state.set(A, "1", 10)
    state.set(A, "2", 20)
    return state


def values(state: StateManager) -> dict[str, Any]:
    """Return what is there now."""
    return {key: value.value for key, value in state.scan(A)}


def test_g0_write_cycles(store: StateManager) -> None:
    """Two that write both keys: both keys are of the same one."""
    one, two = Session(store), Session(store)
    one.set("1", 11)
    two.set("1", 12)
    one.set("2", 21)
    assert one.commit()
    assert values(store) == {"1": 11, "2": 21}
    two.set("2", 22)
    assert two.commit()
    assert values(store) == {"1": 12, "2": 22}


def test_g1a_aborted_reads(store: StateManager) -> None:
    """What was rolled back is never read."""
    one, two = Session(store), Session(store)
    one.set("1", 101)
    assert two.get("1") == 10
    one.abort()
    assert two.get("1") == 10
    assert two.commit()


def test_g1b_intermediate_reads(store: StateManager) -> None:
    """What was overwritten inside a transaction is never read by another."""
    one, two = Session(store), Session(store)
    one.set("1", 101)
    assert two.get("1") == 10
    one.set("1", 11)
    assert one.commit()
    assert two.get("1") is None
    assert two.conflict, "the read meets something newer than its start"


def test_g1c_circular_information_flow(store: StateManager) -> None:
    """Two that write one key and read the other's: not both commit."""
    one, two = Session(store), Session(store)
    one.set("1", 11)
    two.set("2", 22)
    assert (one.get("2"), two.get("1")) == (20, 10)
    assert [one.commit(), two.commit()] == [True, False]
    assert values(store) == {"1": 11, "2": 20}


def test_otv_observed_transaction_vanishes(store: StateManager) -> None:
    """A reader never sees one transaction's first write and then the other's second."""
    one, two, three = Session(store), Session(store), Session(store)
    one.set("1", 11)
    one.set("2", 19)
    two.set("1", 12)
    assert one.commit()
    assert three.get("1") is None
    two.set("2", 18)
    three.get("2")
    assert two.commit()
    assert three.conflict
    assert values(store) == {"1": 12, "2": 18}
    again = Session(store)
    assert [again.get("1"), again.get("2"), again.commit()] == [12, 18, True]


def test_pmp_predicate_many_preceders_read(store: StateManager) -> None:
    """A scan repeated never shows what came in between."""
    one, two = Session(store), Session(store)
    assert one.scan() == {"1": 10, "2": 20}
    two.set("3", 30)
    assert two.commit()
    assert one.scan() is None
    assert one.conflict


def test_pmp_predicate_many_preceders_write(store: StateManager) -> None:
    """A write by a predicate does not act on what another committed in between."""
    one, two = Session(store), Session(store)
    found = one.scan()
    for key, value in found.items():
        one.set(key, value + 10)
    for key, value in (two.scan() or {}).items():
        if value == 20:
            two(lambda tx, key=key: tx.delete(A, key))
    assert [one.commit(), two.commit()] == [True, False]
    assert values(store) == {"1": 20, "2": 30}


def test_p4_lost_update(store: StateManager) -> None:
    """Two that read one key and write it: the second conflicts."""
    one, two = Session(store), Session(store)
    assert (one.get("1"), two.get("1")) == (10, 10)
    one.set("1", 11)
    two.set("1", 11)
    assert [one.commit(), two.commit()] == [True, False]
    assert store.get_with_metadata(A, "1").metadata.version == 2  # type: ignore[union-attr]


def test_g_single_read_skew(store: StateManager) -> None:
    """A reader never sees one key before and another after somebody's commit."""
    one, two = Session(store), Session(store)
    assert one.get("1") == 10
    assert (two.get("1"), two.get("2")) == (10, 20)
    two.set("1", 12)
    two.set("2", 18)
    assert two.commit()
    assert one.get("2") is None
    assert one.conflict


def test_g_single_with_predicates(store: StateManager) -> None:
    """The same where the reader asks by scanning."""
    one, two = Session(store), Session(store)
    assert one.get("1") == 10
    two.set("3", 30)
    two.set("1", 12)
    assert two.commit()
    assert one.scan() is None
    assert one.conflict


def test_g_single_with_a_delete(store: StateManager) -> None:
    """The same where the other deleted the second key: absence is newer too."""
    one, two = Session(store), Session(store)
    assert one.get("1") == 10
    two.set("1", 12)
    two(lambda tx: tx.delete(A, "2"))
    assert two.commit()
    assert one.get("2") is None
    assert one.conflict


def test_g_single_write(store: StateManager) -> None:
    """A writer that read before another's commit does not commit after it."""
    one, two = Session(store), Session(store)
    assert one.get("1") == 10
    assert two.scan() == {"1": 10, "2": 20}
    two.set("1", 12)
    two.set("2", 18)
    assert two.commit()
    one(lambda tx: tx.delete(A, "2"))
    assert not one.commit()
    assert values(store) == {"1": 12, "2": 18}


def test_g2_item_write_skew(store: StateManager) -> None:
    """Two that read both keys and write one each: not both commit."""
    one, two = Session(store), Session(store)
    for session in (one, two):
        assert (session.get("1"), session.get("2")) == (10, 20)
    one.set("1", 11)
    two.set("2", 21)
    assert [one.commit(), two.commit()] == [True, False]
    assert values(store) == {"1": 11, "2": 20}


def test_g2_item_with_absent_keys(store: StateManager) -> None:
    """The same where each reads that the other's key is absent."""
    one, two = Session(store), Session(store)
    assert one(lambda tx: tx.exists(A, "x")) is False
    assert two(lambda tx: tx.exists(A, "y")) is False
    one.set("y", 1)
    two.set("x", 1)
    assert [one.commit(), two.commit()] == [True, False]
    assert values(store) == {"1": 10, "2": 20, "y": 1}


def test_g2_anti_dependency_cycles(store: StateManager) -> None:
    """Two that scan a range and insert into it: not both commit (no phantoms)."""
    one, two = Session(store), Session(store)
    assert one.scan() == two.scan() == {"1": 10, "2": 20}
    one.set("3", 30)
    two.set("4", 42)
    assert [one.commit(), two.commit()] == [True, False]
    assert values(store) == {"1": 10, "2": 20, "3": 30}


def test_g2_two_edges(store: StateManager) -> None:
    """Fekete's: two anti-dependencies with a reader between them."""
    one = Session(store)
    assert one.scan() == {"1": 10, "2": 20}
    two = Session(store)
    two(lambda tx: tx.update(A, "2", lambda v: v + 5))
    assert two.commit()
    three = Session(store)
    assert three.scan() == {"1": 10, "2": 25}
    assert three.commit()
    one.set("1", 0)
    assert not one.commit()
    assert values(store) == {"1": 10, "2": 25}


def test_a_conflict_tells_both_revisions(store: StateManager) -> None:
    """A conflict carries what was relied on and what is there, and can be retried."""
    with pytest.raises(ConflictError) as caught, store.transaction() as tx:
        tx.get(A, "1")
        store.set(A, "1", 11)
        tx.set(A, "2", 0)
    error = caught.value
    assert (error.scope, error.key, error.expected, error.actual) == (A, "1", 1, 3)
    assert (error.reason, error.retryable) == ("revision", True)
    attempts = []

    def twice(tx: StateTransaction) -> str:
        attempts.append(tx.get(A, "1"))
        if len(attempts) == 1:
            store.set(A, "1", 12)
        tx.set(A, "2", attempts[-1])
        return "done"

    assert store.transact(twice) == "done"
    assert attempts == [11, 12]
    assert store.get(A, "2") == 12


def test_transactions_end(store: StateManager) -> None:
    """An exception rolls back, an ended transaction refuses, one that wrote nothing commits not."""
    from holdfast.errors import RejectedError

    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.set(A, "1", 99)
        raise ZeroDivisionError
    with pytest.raises(RejectedError):
        tx.get(A, "1")
    with pytest.raises(RejectedError):
        tx.set(A, "1", 1)
    with pytest.raises(RejectedError):
        list(tx.scan(A))
    with store.transaction() as tx:
        assert tx.get(A, "1") == 10
    assert (tx.revision, store.revision) == (None, 2)
    with store.transaction() as tx:
        tx.set(A, "1", 11)
        tx.set("workflow:w:step:s", "k", 1)
    assert (tx.revision, store.revision) == (3, 3)


# --- random histories -------------------------------------------------------------------------


def test_random_list_appends_have_no_cycle(state: StateManager) -> None:
    """Threads append to lists and read them in transactions: the dependencies have no cycle."""
    keys = ["a", "b", "c"]
    history: list[tuple[int, list[tuple[str, str, Any]]]] = []
    lock = threading.Lock()

    def work(thread: int) -> None:
        rng = random.Random(thread)
        for n in range(25):
            name = thread * 1000 + n
            did: list[tuple[str, str, Any]] = []
            try:
                with state.transaction(durability="os") as tx:
                    for _ in range(rng.randint(1, 4)):
                        key = rng.choice(keys)
                        if rng.random() < 0.5:
                            tx.append(A, key, name)
                            did.append(("append", key, name))
                        else:
                            did.append(("read", key, list(tx.get(A, key, []))))
            except ConflictError:
                continue
            with lock:
                history.append((name, did))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    final = {key: state.get(A, key, []) for key in keys}
    edges: dict[int, set[int]] = {name: set() for name, _ in history}
    appended: dict[str, list[int]] = {
        key: list(dict.fromkeys(final[key])) for key in keys
    }  # in the order of commits
    committed = {n for _, did in history for op, _, n in did if op == "append"}
    assert committed == {n for order in appended.values() for n in order}
    for order in appended.values():
        for before, behind in zip(order, order[1:], strict=False):
            edges[before].add(behind)
    for name, did in history:
        for op, key, seen in did:
            if op != "read":
                continue
            others = [n for n in seen if n != name]
            assert final[key][: len(others)] == others, "a read is a prefix of what became"
            seen_names = list(dict.fromkeys(others))
            if seen_names:
                edges[seen_names[-1]].add(name)
            following = [n for n in appended[key][len(seen_names) :] if n != name]
            if following:
                edges[name].add(following[0])
    assert not _cycle(edges)


def _cycle(edges: dict[int, set[int]]) -> bool:
    """Say whether a graph has a cycle (Kahn's algorithm)."""
    degree = dict.fromkeys(edges, 0)
    for targets in edges.values():
        for target in targets:
            degree[target] += 1
    free = [node for node, count in degree.items() if count == 0]
    gone = 0
    while free:
        gone += 1
        for target in edges[free.pop()]:
            degree[target] -= 1
            if degree[target] == 0:
                free.append(target)
    return gone != len(edges)


def test_the_checker_finds_cycles() -> None:
    """The checker of the test above is not blind."""
    assert _cycle({1: {2}, 2: {3}, 3: {1}})
    assert not _cycle({1: {2, 3}, 2: {3}, 3: set()})
