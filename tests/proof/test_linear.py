"""The checker of register histories: true to real time, exact, open about what is unknown."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from proof.linear import Call, linearisable

SOUND = {
    "nothing": [],
    "in a row": [Call("set", 0, 1, 5), Call("get", 2, 3, result=5)],
    "absent": [Call("get", 0, 1, result=None)],
    "at once, before": [Call("set", 0, 9, 5), Call("get", 1, 2, result=None)],
    "at once, behind": [Call("set", 0, 9, 5), Call("get", 1, 2, result=5)],
    "of two, the later": [
        Call("set", 0, 9, 5),
        Call("set", 0, 9, 6),
        Call("get", 10, 11, result=5),
    ],
    "cas": [
        Call("set", 0, 1, 5),
        Call("cas", 2, 9, (5, 6), True),
        Call("cas", 2, 9, (5, 7), False),
        Call("get", 10, 11, result=6),
    ],
    "adding": [Call("add", 0, 9, 1, 2), Call("add", 0, 9, 1, 1), Call("get", 10, 11, result=2)],
    "unknown, landed late": [
        Call("set", 0, math.inf, 5),
        Call("get", 1, 2, result=None),
        Call("get", 3, 4, result=5),
    ],
    "unknown, never": [Call("set", 0, math.inf, 5), Call("get", 1, 2, result=None)],
}

UNSOUND = {
    "stale": [Call("set", 0, 1, 5), Call("get", 2, 3, result=None)],
    "invented": [Call("get", 0, 1, result=5)],
    "there and back": [
        Call("set", 0, 20, 5),
        Call("get", 1, 2, result=5),
        Call("get", 3, 4, result=None),
    ],
    "two orders": [
        Call("set", 0, 1, 5),
        Call("set", 0, 1, 6),
        Call("get", 2, 3, result=5),
        Call("get", 4, 5, result=6),
    ],
    "both cas": [
        Call("set", 0, 1, 5),
        Call("cas", 2, 9, (5, 6), True),
        Call("cas", 2, 9, (5, 7), True),
    ],
    "cas refused without reason": [Call("set", 0, 1, 5), Call("cas", 2, 3, (5, 6), False)],
    "an add lost": [Call("add", 0, 9, 1, 1), Call("add", 0, 9, 1, 1)],
    "unknown, twice": [
        Call("set", 0, math.inf, 5),
        Call("get", 1, 2, result=5),
        Call("set", 3, 4, 6),
        Call("get", 5, 6, result=6),
        Call("get", 7, 8, result=5),
    ],
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_histories(name: str) -> None:
    """Histories that some order explains are linearisable."""
    assert linearisable(SOUND[name])


@pytest.mark.parametrize("name", UNSOUND)
def test_unsound_histories(name: str) -> None:
    """Histories that no order explains are not."""
    assert not linearisable(UNSOUND[name])


@pytest.mark.parametrize("seed", range(10))
def test_random_histories(seed: int) -> None:
    """A register's own history is linearisable; with one get changed it is not."""
    rng = random.Random(seed)
    value, calls = None, []
    for n in range(150):
        kind = rng.choice(["set", "get", "cas", "add"])
        argument = {"set": 1000 * n, "get": None, "add": 1}.get(kind)
        if kind == "cas":
            argument = (rng.choice([value, 7]), 1000 * n)
        result: object = None
        if kind == "get":
            result = value
        elif kind == "add":
            value = result = (value or 0) + 1
        elif kind == "set":
            value = argument
        else:
            result = argument[0] == value  # type: ignore[index]
            value = argument[1] if result else value  # type: ignore[index]
        at = n * 10 + 5
        calls.append(Call(kind, at - rng.randint(0, 30), at + rng.randint(0, 30), argument, result))
    assert linearisable(calls)
    changed = next(n for n, call in enumerate(calls) if call.kind == "get" and n > 20)
    calls[changed] = replace(calls[changed], result=-1)
    assert not linearisable(calls)
