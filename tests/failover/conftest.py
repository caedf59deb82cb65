"""A primary that can go away, others who write to it meanwhile, and a store that fails over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import FailoverSettings, StateManager
from holdfast.config import EngineURL
from holdfast.engines.base import Engine
from holdfast.engines.registry import open_engine
from holdfast.errors import EngineError
from holdfast.failover.kernel import FailoverKernel
from holdfast.store.kernel import StoreSettings
from holdfast.testing import FakeClock, FaultPlan, FaultyEngine

#: The background is not to act on its own: a test says when to look and when to probe.
SELDOM = 3600.0


class World:
    """One primary (an SQLite file behind a link that can be cut) and its clients.

    Attributes:
        clock: Everybody's clock.
        cut: Set while the primary is away.
        engines: The primary's engines that our client has opened, the newest last.
        plan: Faults of the next engine that is opened.
    """

    def __init__(self, directory: Path, partitions: int = 1) -> None:
        self.directory = directory
        self.settings = StoreSettings(partitions=partitions)
        self.clock = FakeClock()
        self.cut = threading.Event()
        self.engines: list[FaultyEngine] = []
        self.plan = FaultPlan()
        self._open: list[StateManager] = []

    def primary(self, create: bool) -> Engine:
        """Open the primary's engine behind the link."""
        if self.cut.is_set():
            raise EngineError("no route to the primary")
        url = EngineURL("sqlite", str(self.directory / "primary.db"))
        inner = open_engine(url, create=create, clock=self.clock)
        engine = FaultyEngine(_Link(inner, self.cut), self.plan)  # type: ignore[arg-type]
        self.plan = FaultPlan()
        self.engines.append(engine)
        return engine

    def open(self, name: str = "spill", *, tenant: str = "", **options: Any) -> StateManager:
        """Open the store with failover."""
        options = {"heartbeat": SELDOM, "probe_every": SELDOM, "probe_most": SELDOM} | options
        failover = FailoverSettings(spill=self.directory / f"{name}.db", **options)
        kernel = FailoverKernel(self.primary, self.settings, failover, self.clock)
        state = StateManager(kernel, tenant=tenant)
        self._open.append(state)
        return state

    def others(self, tenant: str = "") -> StateManager:
        """Open the primary as somebody else, whom our link does not concern."""
        state = holdfast.open(
            self.directory / "primary.db",
            clock=self.clock,
            tenant=tenant,
            partitions=self.settings.partitions,
        )
        self._open.append(state)
        return state

    def crash(self, state: StateManager) -> None:
        """Drop a store as a killed process does: nothing is finished, nothing flushed."""
        kernel = state._kernel
        assert isinstance(kernel, FailoverKernel)
        kernel._recovery.stop()
        kernel.closed = True
        if kernel.primary is not None:
            kernel.primary.engine.close()
        kernel.spill.engine.close()
        import os

        os.close(kernel.spill._lock)
        kernel.spill._lock = -1
        self._open.remove(state)

    def finish(self) -> None:
        """Close everything; the primary and every spill must be sound."""
        for state in self._open:
            state.close()
        for path in self.directory.glob("*.db"):
            with holdfast.open(path) as state:
                assert state.verify() == [], path


class _Link:
    def __init__(self, inner: Engine, cut: threading.Event) -> None:
        self._inner, self._cut = inner, cut
        self.traits = inner.traits

    def __getattr__(self, name: str) -> Any:
        if name != "close" and self._cut.is_set():
            raise EngineError("the primary does not answer")
        return getattr(self._inner, name)


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """Make a world; everything in it is verified at the end.

    Its parameter, where a test gives one, is the number of the primary's partitions.
    """
    made = World(tmp_path, getattr(request, "param", 1))
    yield made
    made.cut.clear()
    made.finish()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait for another thread to bring something about."""

    def wait(said: Callable[[], bool]) -> None:
        tick = threading.Event()
        for _ in range(3000):
            if said():
                return
            tick.wait(0.01)
        raise TimeoutError("it did not come about")

    return wait
