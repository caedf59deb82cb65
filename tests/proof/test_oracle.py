"""The oracle of the crash cases notices each way in which a store can break its word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import holdfast
from holdfast import StateManager
from proof.case import Refuted
from proof.oracle import TOTAL, Oracle, text

A, B = ["agent:a", "k", "one:64"], ["agent:b", "k", "two:64"]


def told(*words: list[Any]) -> Oracle:
    """Return an oracle that has heard some words."""
    oracle = Oracle()
    for word in words:
        assert oracle.hear(word)
    return oracle


def put(state: StateManager, effect: list[Any]) -> int:
    """Do what a writer announced."""
    return state.set(effect[0], effect[1], text(effect[2]))


def test_what_happened_as_told() -> None:
    """Acknowledged and undecided commits that are there whole, or not at all, are no refutation."""
    with holdfast.open("memory:") as state:
        put(state, A)
        state.increment(*TOTAL)
        words: list[list[Any]] = [["try", 0, [A], False], ["done", 0, 1, None, True]]
        words += [["try", 1, [], True], ["try", 2, [B], False]]
        oracle = told(*words)
        assert oracle.check(state) == 1  # the increment happened, B did not
        assert oracle.check(state) == 0


@pytest.mark.parametrize(
    ("words", "act"),
    [
        ([["try", 0, [A], False], ["done", 0, 1, None, True]], lambda s: None),
        ([["try", 0, [A, B], False]], lambda s: put(s, A)),
        ([["try", 0, [A], False], ["failed", 0]], lambda s: put(s, A)),
        ([["try", 0, [A], False], ["done", 0, 7, None, True]], lambda s: put(s, A)),
        (
            [["try", 0, [A], False], ["done", 0, 1, None, True]],
            lambda s: (put(s, A), put(s, B), put(s, A)),
        ),
        ([["try", 0, [], True], ["done", 0, None, 1, True]], lambda s: None),
        ([["try", 0, [], True]], lambda s: (s.increment(*TOTAL), s.increment(*TOTAL))),
    ],
    ids=["lost", "torn", "failed, but there", "revision", "history", "sum lost", "sum twice"],
)
def test_what_did_not(words: list[list[Any]], act: Callable[[StateManager], Any]) -> None:
    """A commit that is lost, torn, there against its word or there twice is refuted."""
    with holdfast.open("memory:") as state:
        act(state)
        with pytest.raises(Refuted):
            told(*words).check(state)


def test_a_commit_behind_what_it_followed() -> None:
    """What began after an acknowledgement must have a higher revision, in another partition too."""
    oracle = told(["try", 0, [A], False], ["done", 0, 5, None, True], ["try", 1, [B], False])
    with pytest.raises(Refuted, match="behind"):
        oracle.hear(["done", 1, 4, None, True])


@pytest.mark.parametrize("more", [False, True])
def test_the_journal_of_several_partitions(more: bool) -> None:
    """Every commit is in the journal once: one that nobody announced is found."""
    with holdfast.open("memory:", partitions=4) as state:
        words: list[list[Any]] = []
        for number in range(12):
            scope = f"agent:{number}"
            effect = [scope, "k", f"v{number}:64"]
            words += [["try", 0, [effect], False], ["done", 0, put(state, effect), None, True]]
        if more:
            state.touch("agent:3", "k", expires_in=None)  # a commit that no value shows
            with pytest.raises(Refuted):
                told(*words).check(state)
        else:
            assert told(*words).check(state) == 0
