"""Settings and errors: what cannot be is refused when it is said; errors travel and tell."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import holdfast
from holdfast import GetRequest, SetOperation, errors
from holdfast.errors import (
    ConfigurationError,
    ConflictError,
    InvalidArgumentError,
    ReadOnlyError,
    StateError,
)

A = "agent:a"


@pytest.mark.parametrize(
    "options",
    [
        {"compression_level": 0}, {"compression_level": 23}, {"max_value_bytes": 0},
        {"max_value_bytes": "much"}, {"max_commit_changes": 0}, {"sweep_every": -1},
        {"chain_key": "text"}, {"compresion": True}, {"read_only": "perhaps"},
    ],
    ids=range(9),
)  # fmt: skip
def test_settings_that_cannot_be(options: dict[str, Any]) -> None:
    """A value out of range, of another type, or under an unknown name: an error with a hint."""
    with pytest.raises(ConfigurationError):
        holdfast.open("memory:", **options)


@pytest.mark.parametrize(
    "target", ["", "nothing:x", "memory:somewhere", "memory:?x=1", "a\0b", "sqlite:x?a=1&a=2", 5]
)
def test_targets_that_are_none(target: Any) -> None:
    """A URL that nothing serves is refused."""
    with pytest.raises(ConfigurationError):
        holdfast.open(target)


def test_limits_of_a_commit(open_store: Any) -> None:
    """Atomic batches and transactions are bounded; others are split."""
    state = open_store(max_commit_changes=10)
    items = [SetOperation(A, f"k{n}", n) for n in range(11)]
    with pytest.raises(errors.LimitExceededError) as caught:
        state.set_batch(items, atomic=True)
    assert (caught.value.limit, caught.value.actual) == (10, 11)
    with pytest.raises(errors.LimitExceededError), state.transaction() as tx:
        for n in range(11):
            tx.set(A, f"k{n}", n)
    assert state.revision == 0
    assert state.set_batch(items[:10], atomic=True) == [1] * 10


@pytest.mark.parametrize("open_store", ["sqlite", "rocksdb"], indirect=True)
def test_read_only(open_store: Any) -> None:
    """A store open for reading answers every question, however long, and takes no write."""
    state = open_store()
    state.set_batch([SetOperation(A, f"k{n:04}", n) for n in range(1500)])
    state.close()
    state = open_store(read_only=True)
    assert len(state.list_keys(A)) == len(list(state.scan(A))) == 1500
    assert len(list(state.changes())) == 1500
    assert [c.value for c in state.history(A, "k0007")] == [7]
    assert state.get(A, "k0007", as_of=1) == 7
    with state.snapshot() as snapshot:
        assert snapshot.count(A) == 1500
    for call in (
        lambda: state.set(A, "k", 1),
        lambda: state.delete(A, "k0000"),
        lambda: state.increment(A, "n"),
        lambda: state.set_batch([SetOperation(A, "k", 1)]),
        lambda: state.delete_scope(A),
        lambda: state.compact([]),
        lambda: state.transaction().__enter__(),
    ):
        with pytest.raises(ReadOnlyError):
            call()


def test_requests_that_are_none(memory_store: Any) -> None:
    """Items of batches and kinds of scopes are checked; an item's error stands in its place."""
    state = memory_store()
    for call in (
        lambda: state.get_batch([42]),
        lambda: state.get_batch([("a", "b", "c")]),
        lambda: state.scopes("agent"),
        lambda: state.scopes(99),
        lambda: state.set_batch([(A, "k", 1)], atomic=True),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    results = state.set_batch([(A, "k", 1), SetOperation(A, "", 1), SetOperation(A, "k", 1)])
    assert [getattr(r, "code", r) for r in results] == ["invalid_argument", "invalid_key", 1]
    found = state.get_batch([GetRequest(A, "k"), ("nobody", "k"), (A, "")])
    assert [getattr(r, "code", r) for r in found] == [1, "invalid_scope", "invalid_key"]


def every_error() -> list[type[StateError]]:
    """Return all classes of errors."""
    found, waiting = [], [StateError]
    while waiting:
        cls = waiting.pop()
        found.append(cls)
        waiting += [c for c in cls.__subclasses__() if c.__module__ == "holdfast.errors"]
    return found


def test_codes_are_unique() -> None:
    """Each class has its own code, and one of the three branches above it."""
    classes = every_error()
    codes = [cls.code for cls in classes]
    assert len(codes) == len(set(codes)) > 20
    branches = (errors.UsageError, errors.RejectedError, errors.EngineError)
    assert all(cls is StateError or issubclass(cls, branches) for cls in classes)
    tree = errors.__doc__ or ""
    assert all(cls.__name__ in tree for cls in classes)


@pytest.mark.parametrize("cls", every_error(), ids=lambda c: c.__name__)
def test_errors_travel(cls: type[StateError]) -> None:
    """An error survives pickling with its message, its hint and its facts."""
    error = cls("what happened", hint="what to do", where="here", expected=3)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (str(again), again.hint) == ("what happened (what to do)", "what to do")
    assert (again.where, again.expected) == ("here", 3)
    assert str(cls("only this", hint="")) == "only this"


def test_a_real_error_travels(memory_store: Any) -> None:
    """A conflict raised by a store carries its facts through a pickle."""
    state = memory_store()
    state.set(A, "k", 1)
    with pytest.raises(ConflictError) as caught:
        state.set(A, "k", 2, if_absent=True)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.scope, again.key, again.expected, again.actual) == (A, "k", 0, 1)
    assert (again.reason, again.retryable, again.code) == ("exists", True, "conflict")
