"""The checker of transaction histories finds known anomalies, and none in sound histories."""

from __future__ import annotations

import random
from typing import Any

import pytest

from proof.histories import Op, Txn, anomalies, cycles


def txn(name: str, at: tuple[int, int], *ops: Op, committed: bool | None = True) -> Txn:
    """Return a transaction of a name, a time and what it did."""
    return Txn(name, at[0], at[1], committed, list(ops))


FINAL = {"x": ["a"], "y": ["b"]}
SAME = (0, 10)  # everything at once: no real-time order


def test_a_serial_history_is_sound() -> None:
    """Nothing is found where one ran after the other."""
    history = [
        txn("1", (0, 1), ("append", "x", "a"), ("read", "x", ["a"])),
        txn("2", (2, 3), ("read", "x", ["a"]), ("append", "y", "b"), ("insert", "p1", 1)),
        txn("3", (4, 5), ("read", "y", ["b"]), ("list", "p", ["p1"])),
        txn("4", (4, 5), ("append", "x", "z"), committed=False),
    ]
    assert anomalies(history, FINAL) == []


BAD: dict[str, tuple[list[Txn], dict[str, list[Any]], str]] = {
    "G0": (
        [
            txn("1", SAME, ("append", "x", "a1"), ("append", "y", "b1")),
            txn("2", SAME, ("append", "x", "a2"), ("append", "y", "b2")),
        ],
        {"x": ["a1", "a2"], "y": ["b2", "b1"]},
        "ww",
    ),
    "G1c": (
        [
            txn("1", SAME, ("append", "x", "a"), ("read", "y", ["b"])),
            txn("2", SAME, ("append", "y", "b"), ("read", "x", ["a"])),
        ],
        FINAL,
        "wr",
    ),
    "write skew": (
        [
            txn("1", SAME, ("append", "x", "a"), ("read", "y", [])),
            txn("2", SAME, ("append", "y", "b"), ("read", "x", [])),
        ],
        FINAL,
        "rw",
    ),
    "read skew": (
        [
            txn("1", SAME, ("append", "x", "a"), ("append", "y", "b")),
            txn("2", SAME, ("read", "x", []), ("read", "y", ["b"])),
        ],
        FINAL,
        "rw",
    ),
    "lost update": (
        [
            txn("1", SAME, ("read", "x", []), ("append", "x", "a")),
            txn("2", SAME, ("read", "x", []), ("append", "x", "c")),
        ],
        {"x": ["a", "c"]},
        "rw",
    ),
    "phantom": (
        [
            txn("1", SAME, ("list", "p", []), ("insert", "p1", 1)),
            txn("2", SAME, ("list", "p", []), ("insert", "p2", 1)),
        ],
        {},
        "rw",
    ),
    "stale read": (
        [txn("1", (0, 1), ("append", "x", "a")), txn("2", (2, 3), ("read", "x", []))],
        {"x": ["a"]},
        "rt",
    ),
    "aborted read": (
        [
            txn("1", SAME, ("append", "x", "a"), committed=False),
            txn("2", SAME, ("read", "x", ["a"])),
        ],
        {"x": []},
        "aborted read",
    ),
    "aborted listing": (
        [
            txn("1", SAME, ("insert", "p1", 1), committed=False),
            txn("2", SAME, ("list", "p", ["p1"])),
        ],
        {},
        "aborted read",
    ),
    "intermediate read": (
        [
            txn("1", SAME, ("append", "x", "a"), ("append", "x", "c")),
            txn("2", SAME, ("read", "x", ["a"])),
        ],
        {"x": ["a", "c"]},
        "intermediate read",
    ),
    "lost": ([txn("1", SAME, ("append", "x", "a"))], {"x": []}, "lost"),
    "duplicate": ([txn("1", SAME, ("append", "x", "a"))], {"x": ["a", "a"]}, "duplicate"),
    "aborted write": (
        [txn("1", SAME, ("append", "x", "a"), committed=False)],
        {"x": ["a"]},
        "nobody committed",
    ),
    "own write": (
        [txn("1", SAME, ("append", "x", "a"), ("read", "x", []))],
        {"x": ["a"]},
        "its own",
    ),
    "own insert": ([txn("1", SAME, ("insert", "p1", 1), ("list", "p", []))], {}, "its own"),
    "no prefix": (
        [
            txn("1", SAME, ("append", "x", "a")),
            txn("2", SAME, ("append", "x", "c")),
            txn("3", SAME, ("read", "x", ["c"])),
        ],
        {"x": ["a", "c"]},
        "no prefix",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_known_anomalies_are_found(name: str) -> None:
    """Each anomaly is found, and called what it is."""
    history, final, word = BAD[name]
    found = anomalies(history, final)
    assert any(word in each for each in found), found


def test_an_unknown_outcome_may_be_either() -> None:
    """A transaction of unknown outcome may have happened, or not."""
    unknown = txn("1", SAME, ("append", "x", "a"), committed=None)
    assert anomalies([unknown], {"x": []}) == []
    assert anomalies([unknown, txn("2", SAME, ("read", "x", ["a"]))], {"x": ["a"]}) == []


@pytest.mark.parametrize("seed", range(20))
def test_random_serial_histories_are_sound_until_disturbed(seed: int) -> None:
    """A serial history of 200 is sound; two of its reads moved back past a write are not."""
    rng = random.Random(seed)
    lists: dict[str, list[Any]] = {key: [] for key in "xyz"}
    history: list[Txn] = []
    for n in range(200):
        one = Txn(f"{n}", n * 2, n * 2 + 1, True)
        for at in range(rng.randint(1, 4)):
            key = rng.choice("xyz")
            if rng.random() < 0.5:
                lists[key].append(f"{n}.{at}")
                one.ops.append(("append", key, f"{n}.{at}"))
            else:
                one.ops.append(("read", key, list(lists[key])))
        history.append(one)
    assert anomalies(history, lists) == []
    late = next(t for t in reversed(history) if any(k == "read" and v for k, _, v in t.ops))
    at = next(i for i, (kind, _, value) in enumerate(late.ops) if kind == "read" and value)
    kind, key, value = late.ops[at]
    gone = value[-1].split(".")[0]
    late.ops[at] = (kind, key, [e for e in value if e.split(".")[0] != gone])
    late.ops[:at] = []
    late.ops[1:] = []
    if gone != late.name:
        assert cycles(history, lists)
