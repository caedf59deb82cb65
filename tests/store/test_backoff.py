"""Waiting after conflicts: before the value is read again, never between that and the commit.

The first try again needs no wait: it has its turn.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import holdfast

_KEY = ("agent:a", "n")


def test_an_update_reads_after_it_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others commit during the wait after a conflict costs no further attempt."""
    seen: list[int] = []
    with holdfast.open("memory:") as state:
        state.set(*_KEY, 0)
        monkeypatch.setattr(
            "holdfast.manager.time.sleep", lambda _: state.increment(*_KEY, 10), raising=True
        )

        def change(n: int) -> int:
            seen.append(n)
            if len(seen) <= 2:
                state.increment(*_KEY, 1)
            return n + 100

        assert state.update(*_KEY, change) == 112
    assert seen == [0, 1, 12]


def test_an_awaited_update_reads_after_it_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The asynchronous face waits at the same point."""
    seen: list[int] = []

    async def scenario() -> Any:
        async with await holdfast.open_async("memory:") as state:
            await state.set(*_KEY, 0)

            async def others(_: float) -> None:
                await state.increment(*_KEY, 10)

            monkeypatch.setattr("holdfast.aio.manager.asyncio.sleep", others)

            def change(n: int) -> int:
                seen.append(n)
                if len(seen) <= 2:
                    state.sync.increment(*_KEY, 1)
                return n + 100

            return await state.update(*_KEY, change)

    assert asyncio.run(scenario()) == 112
    assert seen == [0, 1, 12]
