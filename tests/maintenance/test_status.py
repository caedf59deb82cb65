"""info() tells facts in JSON types; health() tells the state of each component, and the truth."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast import OutcomeUnknownError, StateManager
from holdfast.clock import SystemClock
from holdfast.engines.base import Engine
from holdfast.engines.memory import MemoryEngine
from holdfast.errors import DiskFullError, PoisonedError
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.testing import Fault, FaultPlan, FaultyEngine
from tests.conftest import Stores
from tests.maintenance.conftest import fill


def test_info(open_store: Stores) -> None:
    """info() is JSON, counts what is there, and holds no value and no key."""
    state = open_store()
    expected = fill(state)
    info = state.info()
    assert json.loads(json.dumps(info)) == info
    assert info["records"] == len(expected)
    assert info["scopes"] == len(state.scopes())
    assert info["revision"] == state.revision
    assert info["engine"] == open_store.engine
    assert info["lane"]["intents"] == state.revision
    text = json.dumps(info)
    assert "turn 1" not in text
    assert "agent:a1" not in text


def test_healthy(open_store: Stores) -> None:
    """A store at ease is ok in every component."""
    state = open_store()
    fill(state)
    health = state.health()
    assert {name: c.status for name, c in health.components.items()} == dict.fromkeys(
        ("engine", "lane", "disk", "wal", "sweeper", "ephemeral"), "ok"
    )
    assert health.status == "ok"


def test_poisoned_engine_is_failed() -> None:
    """After an unknown outcome health() says failed; reads go on, writes are refused."""
    plan = FaultPlan({("commit", 3): Fault.LOST})
    engine: Engine = FaultyEngine(MemoryEngine(), plan)
    state = StateManager(Kernel(engine, StoreSettings(), SystemClock()))
    state.set("agent:a", "k", 1)
    with pytest.raises(OutcomeUnknownError) as caught:
        for at in range(5):
            state.set("agent:a", "k", at + 2)
    assert caught.value.commit_id is not None
    assert state.health().status == "failed"
    assert state.health().components["engine"].status == "failed"
    before = state.get("agent:a", "k")
    with pytest.raises(PoisonedError):
        state.set("agent:a", "k", 99)
    assert state.get("agent:a", "k") == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of six megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_disk(small_disk: Path) -> None:
    """On a full disk reads go on, writes fail cleanly, health() says so; then all is well again."""
    with holdfast.open(small_disk / "state.db") as state:
        state.set("agent:a", "kept", "value")
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 3_000_000)
        written = 0
        with pytest.raises(DiskFullError):
            for at in range(2000):
                state.set("agent:a", f"k{at}", bytes([at % 256]) * 9000 + at.to_bytes(4) * 500)
                written = at + 1
        assert written > 10
        health = state.health()
        assert health.status == "degraded"
        assert health.components["disk"].status == "degraded"
        assert state.get("agent:a", "kept") == "value"
        assert state.count("agent:a") == written + 1
        ballast.unlink()
        state.set("agent:a", "after", 1)
        assert state.health().components["engine"].status == "ok"
        assert state.count("agent:a") == written + 2
        assert state.verify() == []


def test_full_disk_under_rocksdb(small_disk: Path) -> None:
    """Before a full disk can leave an outcome unknown, RocksDB's writes are refused cleanly."""
    with holdfast.open(f"rocksdb:{small_disk / 'store'}?write_buffer_size=1MiB") as state:
        state.set("agent:a", "kept", "value")
        written = 0
        with pytest.raises(DiskFullError):
            for at in range(2000):
                state.set("agent:a", f"k{at}", os.urandom(9000))
                written = at + 1
        assert written > 10
        assert state.health().status == "degraded"
        assert state.get("agent:a", "kept") == "value"
        assert state.count("agent:a") == written + 1
        assert state.verify() == []


def test_rocksdb_closes_on_a_full_disk(small_disk: Path) -> None:
    """The log holds what was acknowledged, even where memory can no longer become a file."""
    url = f"rocksdb:{small_disk / 'store'}?write_buffer_size=1MiB"
    ballast = small_disk / "ballast"
    with holdfast.open(url) as state:
        state.set("agent:a", "kept", os.urandom(300_000))
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    ballast.unlink()
    with holdfast.open(url) as state:
        assert len(state.get("agent:a", "kept")) == 300_000
        assert state.verify() == []
