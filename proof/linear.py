"""Is a history of one register linearisable? Pure.

Wing and Gong's search with Lowe's memory of configurations: an operation may be next if it began
before every other pending one ended; a set of operations done and a value are tried once only.

Source: Lowe, Testing for Linearizability, CCPE 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One operation of a client.

    Attributes:
        kind: ``set``, ``get``, ``cas`` or ``add``.
        began: When it was called.
        ended: When it returned; infinite if nobody learnt what became of it: then it may have
            happened at any later time, or never.
        argument: What was set or added; of a ``cas`` the pair (expected, new).
        result: What a ``get`` or an ``add`` returned (None: it is known that the ``add`` happened,
            and not what it returned), or whether a ``cas`` succeeded.
    """

    kind: str
    began: float
    ended: float
    argument: Any = None
    result: Any = None

    def apply(self, value: Any) -> tuple[bool, Any]:
        """Say whether a register of this value allows the call, and what it leaves."""
        open_ended = self.ended == math.inf
        if self.kind == "set":
            return True, self.argument
        if self.kind == "get":
            return open_ended or value == self.result, value
        if self.kind == "add":
            total = (value or 0) + self.argument
            return open_ended or self.result in (None, total), total
        expected, new = self.argument
        succeeds = value == expected
        return open_ended or succeeds == self.result, new if succeeds else value


def linearisable(calls: Sequence[Call], initial: Any = None) -> bool:
    """Say whether some order of the calls, true to real time, explains all results."""
    known = sorted(calls, key=lambda call: call.began)
    finished = sum(1 << at for at, call in enumerate(known) if call.ended < math.inf)
    tried: set[tuple[int, Any]] = set()
    stack: list[tuple[int, Any]] = [(0, initial)]
    while stack:
        done, value = stack.pop()
        if done & finished == finished:
            return True
        if (done, value) in tried:
            continue
        tried.add((done, value))
        stack.extend(_following(known, done, value))
    return False


def _following(known: Sequence[Call], done: int, value: Any) -> list[tuple[int, Any]]:
    out = []
    first_end = math.inf
    at = (~done & (done + 1)).bit_length() - 1  # all before it are done
    candidates = []
    for number in range(at, len(known)):
        call = known[number]
        if call.began > first_end:
            break
        if not done >> number & 1:
            candidates.append((number, call))
            first_end = min(first_end, call.ended)
    for number, call in reversed(candidates):
        if call.began <= first_end:
            fits, left = call.apply(value)
            if fits:
                out.append((done | 1 << number, left))
    return out
