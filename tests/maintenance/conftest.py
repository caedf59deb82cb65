"""Stores with something of everything in them, and ways to damage what they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast import StateManager
from holdfast.engines.base import Batch, Durability

Damage = Callable[..., None]


def fill(state: StateManager) -> dict[tuple[str, str], Any]:
    """Write values of many sizes and versions; return what `state` now holds."""
    expected: dict[tuple[str, str], Any] = {}
    growing = [f"turn {i} " * 12 for i in range(60)]
    for at in range(40):
        growing.append(f"turn {at + 60} " * 12)
        state.set("session:s", "turns", list(growing))
        state.set(f"agent:a{at % 5}", f"k{at}", {"n": at}, actor="tester")
    expected["session:s", "turns"] = growing
    for at in range(40):
        expected[f"agent:a{at % 5}", f"k{at}"] = {"n": at}
    for at in range(5):
        state.set("workflow:w", "step", at)
    expected["workflow:w", "step"] = 4
    state.set("workflow:w:step:one", "out", b"bytes", correlation="c-1")
    expected["workflow:w:step:one", "out"] = b"bytes"
    state.delete("agent:a0", "k0")
    del expected["agent:a0", "k0"]
    state.set("user:u", "token", "t", expires_in=10_000, commit_id=b"0123456789abcdef")
    expected["user:u", "token"] = "t"
    return expected


def contents(state: StateManager) -> dict[tuple[str, str], Any]:
    """Return everything a store holds."""
    return {
        (str(scope), key): item.value for scope in state.scopes() for key, item in state.scan(scope)
    }


@pytest.fixture
def damage() -> Damage:
    """Write rows behind the kernel's back: ``damage(state, key, value)``, None to delete."""

    def write(state: StateManager, key: bytes, value: bytes | None) -> None:
        batch = Batch(deletes=[key]) if value is None else Batch(puts=[(key, value)])
        state._kernel.engine.write(Durability.OS, lambda _: batch)

    return write
