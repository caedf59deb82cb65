"""What tests share: stores of every engine, opened in one line and verified at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Durability, ScopePolicy, StateManager
from holdfast.testing import FakeClock
from tests.servers import store_url

ENGINES = ("memory", "sqlite", "rocksdb", "postgres")

#: Most tests are about what is stored, not about the disk: `os` saves them the fsyncs.
QUICK = (ScopePolicy("*", durability=Durability.OS),)


class Stores:
    """Opens stores of one engine in one directory.

    Attributes:
        engine: The engine's name.
        directory: Where its stores are.
    """

    def __init__(self, engine: str, directory: Path) -> None:
        self.engine = engine
        self.directory = directory
        self.broken = False
        self._open: list[StateManager] = []
        self._urls: dict[str, dict[str, Any]] = {}

    @property
    def persistent(self) -> bool:
        """Say whether a store can be opened again."""
        return self.engine != "memory"

    def url(self, name: str = "store") -> str:
        """Return the URL of a store."""
        if self.engine == "postgres":
            return store_url(self.directory / name)
        return f"{self.engine}:{self.directory / name}" if self.persistent else "memory:"

    def __call__(self, name: str = "store", **options: Any) -> StateManager:
        """Open a store; the options are those of `holdfast.open`."""
        options.setdefault("policies", QUICK)
        state = holdfast.open(self.url(name), **options)
        self._open.append(state)
        if self.persistent:
            self._urls[self.url(name)] = {k: v for k, v in options.items() if k == "chain_key"}
        return state

    def reopen(self, state: StateManager, name: str = "store", **options: Any) -> StateManager:
        """Close a store and open it again."""
        state.close()
        return self(name, **options)

    def finish(self) -> None:
        """Close everything; every store MUST be sound, unless `broken` was set."""
        for state in self._open:
            if not self.persistent and not state._kernel.closed and not self.broken:
                assert state.verify() == []
            state.close()
        for url, options in self._urls.items():
            if not self.broken:
                with holdfast.open(url, **options) as state:
                    assert state.verify() == []


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Name each engine in turn."""
    return str(request.param)


@pytest.fixture
def open_store(engine: str, tmp_path: Path) -> Iterator[Stores]:
    """Open stores of each engine in turn; they are verified at the end."""
    stores = Stores(engine, tmp_path)
    yield stores
    stores.finish()


@pytest.fixture
def memory_store(tmp_path: Path) -> Iterator[Stores]:
    """Open stores in memory, for what does not depend on the engine."""
    stores = Stores("memory", tmp_path)
    yield stores
    stores.finish()


@pytest.fixture
def state(open_store: Stores) -> StateManager:
    """Open one store of each engine in turn."""
    return open_store()


@pytest.fixture
def clock() -> FakeClock:
    """Stop the time until the test moves it."""
    return FakeClock()
