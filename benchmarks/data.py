"""The values and keys of benchmarks: different on every write, and alike on every machine.

SQLite skips the fsync of a page that a write leaves as it was, and compression loves repetition,
so no value is written twice and texts are words, not one letter.
"""

from __future__ import annotations

import random
from typing import Any

from holdfast.store.address import Addressing
from holdfast.store.scope import StateScope

_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


class Values:
    """Makes documents of about a given size, each different from all before."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)
        words = ["".join(self._random.choices(_LETTERS, k=2 + n % 9)) for n in range(3000)]
        chosen = self._random.choices(words, weights=[1 / (n + 3) for n in range(3000)], k=120_000)
        self._text = " ".join(chosen)
        self._made = 0

    def text(self, size: int) -> str:
        """Return words of `size` characters in all."""
        at = self._random.randrange(len(self._text) - size)
        return self._text[at : at + size]

    def document(self, size: int = 200) -> dict[str, Any]:
        """Return a document whose encoding is about `size` bytes (at least 100)."""
        self._made += 1
        return {
            "id": self._made,
            "role": "assistant",
            "status": "running",
            "score": self._random.random(),
            "tags": ["plan", "step"],
            "done": False,
            "text": self.text(max(1, size - 80)),
        }

    def documents(self, count: int, size: int = 200) -> list[dict[str, Any]]:
        """Return `count` documents."""
        return [self.document(size) for _ in range(count)]

    def shuffled(self, count: int, below: int) -> list[int]:
        """Return `count` numbers below `below`, in no order."""
        return [self._random.randrange(below) for _ in range(count)]


def scope_of(number: int) -> StateScope:
    """Return one of many scopes."""
    return StateScope.agent(f"agent-{number:04d}")


def keys(count: int) -> list[str]:
    """Return keys in their order."""
    return [f"task/{number:06d}" for number in range(count)]


def packed(scope: StateScope, key: str) -> bytes:
    """Return the bytes under which a bare engine stores the same key."""
    address = Addressing("", 2500)
    return b"\x03" + address.place(address.owner(scope), key)
