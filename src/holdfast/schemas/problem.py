"""What is wrong with a value: where, by which rule, and of what shape it is. Never the value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a value.

    Attributes:
        path: Where: ``$.items[0].price``.
        rule: What it breaks: ``type``, ``required``, ``unknown``, ``minimum``, ``maximum``,
            ``min_length``, ``max_length``, ``pattern``, ``min_items``, ``max_items``, ``variants``,
            ``format``, ``validator``, or ``rule:NAME`` of the schema's own.
        expected: What the schema wants there.
        shape: What is there instead, by type and size.
    """

    path: str
    rule: str
    expected: str
    shape: str

    def __str__(self) -> str:
        return f"{self.path} breaks {self.rule}: wants {self.expected}, has {self.shape}"


def path_text(steps: Iterable[str | int]) -> str:
    """Return a path as text: names that are no plain words stand in brackets."""
    parts = ["$"]
    for step in steps:
        if isinstance(step, str) and _PLAIN.fullmatch(step):
            parts.append(f".{step}")
        else:
            parts.append(f"[{step!r}]")
    return "".join(parts)


def shape(value: Any) -> str:
    """Return the type and the size of a value, and nothing of what it holds."""
    if value is None:
        return "null"
    name = type(value).__name__
    if isinstance(value, bool):
        return name
    if isinstance(value, str):
        return f"str of {len(value)} characters"
    if isinstance(value, (bytes, bytearray)):
        return f"{name} of {len(value)} bytes"
    if isinstance(value, dict):
        return f"dict of {len(value)} keys"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"{name} of {len(value)} items"
    if isinstance(value, float) and not math.isfinite(value):
        return "float that is not finite"
    return name
