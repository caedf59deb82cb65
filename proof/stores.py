"""Stores of every engine, opened in one line in a trial's directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import holdfast
from holdfast import Durability, ScopePolicy, StateManager
from proof.case import Refuted

LOCAL = ("memory", "sqlite", "rocksdb")
SHARED = ("sqlite",)

#: What is attacked here is order and wholeness, not the disk: `os` saves the fsyncs.
QUICK = (ScopePolicy("*", durability=Durability.OS),)


def url_of(engine: str, directory: Path, name: str = "store") -> str:
    """Return the URL of a store in a trial's directory; the same arguments, the same store."""
    return "memory:" if engine == "memory" else f"{engine}:{directory / name}"


def open_store(engine: str, directory: Path, name: str = "store", **options: Any) -> StateManager:
    """Open a store; the options are those of `holdfast.open`."""
    options.setdefault("policies", QUICK)
    return holdfast.open(url_of(engine, directory, name), **options)


def require(holds: bool, *facts: object) -> None:
    """Refute the claim unless `holds`; the facts say what was seen.

    Raises:
        Refuted: It does not hold.
    """
    if not holds:
        raise Refuted("; ".join(str(fact) for fact in facts))


def sound(state: StateManager) -> None:
    """Refute the claim if `verify` finds anything.

    Raises:
        Refuted: It does.
    """
    problems = state.verify()
    require(not problems, "verify", problems[:3])
