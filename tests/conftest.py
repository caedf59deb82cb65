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
STORES = (*ENGINES, "memory/4")  # the last one has four partitions

#: Most tests are about what is stored, not about the disk: `os` saves them the fsyncs.
QUICK = (ScopePolicy("*", durability=Durability.OS),)


class Stores:
    """Opens stores of one engine in one directory.

    Attributes:
        engine: The engine's name.
        partitions: How many each of its stores has.
        directory: Where its stores are.
    """

    def __init__(self, engine: str, directory: Path) -> None:
        self.engine, _, partitions = engine.partition("/")
        self.partitions = int(partitions or 1)
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
        options.setdefault("partitions", self.partitions)
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


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """Open stores of each engine in turn, and one of several partitions; all are verified."""
    stores = Stores(str(request.param), tmp_path)
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
def one_partition(open_store: Stores) -> None:
    """Skip where a test names rows of the only partition."""
    if open_store.partitions > 1:
        pytest.skip("the test names rows of a store of one partition")


@pytest.fixture
def clock() -> FakeClock:
    """Stop the time until the test moves it."""
    return FakeClock()
