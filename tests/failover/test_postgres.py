"""A real server: killed, and stopped, under a store that goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast import FailoverSettings, StateManager
from proof.servers import PostgresServer

A = "agent:a"
pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """Start a server of the test's own."""
    with PostgresServer(tmp_path / "server") as made:
        yield made


def opened(server: PostgresServer, tmp_path: Path, **options: object) -> StateManager:
    """Open a store with failover that probes when it is told to."""
    failover = FailoverSettings(spill=tmp_path / "spill.db", probe_every=3600, probe_most=3600)
    return holdfast.open(server.url(timeout=1), failover=failover, **options)


@pytest.mark.parametrize("partitions", [1, 4])
def test_a_server_that_is_killed(server: PostgresServer, tmp_path: Path, partitions: int) -> None:
    """Writes go on while it is down, and are there when it is up again, in order."""
    with opened(server, tmp_path, partitions=partitions) as state:
        state.set(A, "n", 0)
        server.kill9()
        for number in range(1, 20):
            state.set(A, "n", number)
            state.set(f"agent:b{number}", "n", number)
        assert state.increment(A, "n", provisional=True) == 20
        assert not state.failover.probe()
        server.start()
        assert state.failover.probe()
        values = [c.value for c in state.history(A, "n", newest_first=False)]
        assert values == list(range(21))
        assert all(state.get(f"agent:b{number}", "n") == number for number in range(1, 20))
        assert [told.status for told in state.failover.provisional()] == ["confirmed"]
        assert state.failover.conflicts() == []
        assert state.verify() == []


def test_a_server_that_is_stopped(server: PostgresServer, tmp_path: Path) -> None:
    """A write that hangs in it is given up, acknowledged by the spill, and there once."""
    with opened(server, tmp_path) as state:
        state.set(A, "n", 0)
        server.pause()
        try:
            assert state.set(A, "n", 1) < 0
            assert state.get(A, "n") == 1
            state.set(A, "n", 2)
        finally:
            server.resume()
        assert state.failover.probe()
        assert [c.value for c in state.history(A, "n", newest_first=False)] == [0, 1, 2]
        assert state.verify() == []


def test_others_who_write_meanwhile(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stores with failover on one server: each meets what the other wrote as a conflict."""
    settings: Callable[[str], FailoverSettings] = lambda name: FailoverSettings(  # noqa: E731
        spill=tmp_path / name, probe_every=3600, probe_most=3600
    )
    url = server.url(timeout=1)
    with (
        holdfast.open(url, failover=settings("one.db")) as one,
        holdfast.open(url, failover=settings("two.db")) as two,
    ):
        one.set(A, "k", "before")
        assert two.get(A, "k") == "before"
        one.failover.leave()
        two.failover.leave()
        one.set(A, "k", "one")
        two.set(A, "k", "two")
        assert one.failover.probe()
        assert one.failover.conflicts() == []
        assert two.failover.probe()
        (conflict,) = two.failover.conflicts()
        assert conflict.theirs is not None
        assert conflict.theirs.value == "one"
        assert one.get(A, "k") == "two"
