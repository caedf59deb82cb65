"""The short life into which faults are injected: open, commit, compact, commit, close, reopen."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import holdfast
from holdfast import HistoryPolicy, StateError
from proof.writer import Say, Writer


def run(order: dict[str, Any], say: Say, listen: Callable[[], None]) -> None:
    """Live once where nobody looks, so that all is imported; then wait, and live again."""
    with tempfile.TemporaryDirectory() as scratch:
        scheme, _, options = order["url"].partition(":")
        options = options.partition("?")[2]
        _live(f"{scheme}:{scratch}/store?{options}", "warm", 1, lambda *_: None)
    say("ready")
    listen()
    _live(order["url"], order["seed"], order["partitions"], say)


def _live(url: str, seed: str, partitions: int, say: Say) -> None:
    unknown: list[str] = []

    def heard(*word: Any) -> None:
        if word[0] == "unknown":
            unknown.append(word[2])
        say(*word)

    for life, steps in enumerate((8, 2)):
        try:
            state = holdfast.open(url, partitions=partitions)
        except StateError as error:
            say("unopened", type(error).__name__, str(error)[:300])
            continue
        say("open")
        for commit_id in unknown:
            say("resolved", commit_id, state.find_commit(commit_id) is not None)
        unknown.clear()
        writer = Writer(state, 0, f"{seed}-{life}", heard, sizes=(0, 192, 1024))
        for _ in range(steps):
            writer.step()
        try:
            state.compact([HistoryPolicy(max_versions=1)])
            say("compacted")
        except StateError as error:
            say("upkeep", type(error).__name__, str(error)[:300])
        for _ in range(steps // 2):
            writer.step()
        try:
            state.close()
            say("closed")
        except StateError as error:
            say("unclosed", type(error).__name__, str(error)[:300])
