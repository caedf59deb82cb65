"""The read cache: never a stale value, bounded in bytes and age, off unless asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import holdfast
from holdfast import StateManager
from holdfast.errors import ConfigurationError
from holdfast.testing import FakeClock


@pytest.fixture
def cached(tmp_path: Path, clock: FakeClock) -> StateManager:
    """Open a RocksDB store with a small cache."""
    return holdfast.open(
        f"rocksdb:{tmp_path / 'store'}", cache_bytes=4000, cache_age=10, clock=clock, sweep_every=0
    )


def figures(state: StateManager) -> dict[str, int]:
    """Return the cache's figures."""
    found: dict[str, int] = state.info()["cache"]
    return found


def test_hits_and_misses(cached: StateManager) -> None:
    """The second read of a key is a hit; what it returns is the caller's own."""
    cached.set("agent:a", "k", {"list": [1]})
    cached.get("agent:a", "k")["list"].append(2)
    assert cached.get("agent:a", "k") == {"list": [1]}
    assert cached.get("agent:a", "absent") is None
    assert (figures(cached)["hits"], figures(cached)["misses"]) == (1, 2)
    cached.close()


def test_every_write_is_seen(cached: StateManager) -> None:
    """Set, delete, increment, transaction, batch, rewind: the next read shows each."""
    for step in (
        lambda: cached.set("agent:a", "k", 1),
        lambda: cached.increment("agent:a", "k"),
        lambda: cached.set_batch([holdfast.SetOperation("agent:a", "k", 3)]),
        lambda: cached.transact(lambda tx: tx.set("agent:a", "k", 4)),
        lambda: cached.rewind("agent:a", "k", to=1),
        lambda: cached.delete("agent:a", "k"),
        lambda: cached.set("agent:a", "k", "x" * 9000),
        lambda: cached.move_scope("agent:a", "agent:b"),
    ):
        cached.get("agent:a", "k")
        cached.get("agent:b", "k")
        step()
        for scope in ("agent:a", "agent:b"):
            found = cached.get_with_metadata(scope, "k")
            assert cached.get(scope, "k") == (None if found is None else found.value)
    cached.close()


def test_age_and_bytes(cached: StateManager, clock: FakeClock) -> None:
    """An entry ends with its age, the least recently used go first, large values stay out."""
    cached.set("agent:a", "k", 1)
    cached.get("agent:a", "k")
    clock.advance(11)
    cached.get("agent:a", "k")
    assert figures(cached)["hits"] == 0
    for at in range(20):
        cached.set("agent:a", f"k{at}", "x" * 500)
        cached.get("agent:a", f"k{at}")
    assert figures(cached)["bytes"] <= 4000
    assert figures(cached)["evicted"] > 10
    cached.set("agent:a", "large", "x" * 5000)
    cached.get("agent:a", "large")
    before = figures(cached)["hits"]
    cached.get("agent:a", "large")
    assert figures(cached)["hits"] == before
    cached.close()


def test_expiry_is_exact(cached: StateManager, clock: FakeClock) -> None:
    """A value that expires is never cached."""
    cached.set("agent:a", "k", 1, expires_in=5)
    assert cached.get("agent:a", "k") == 1
    clock.advance(6)
    assert cached.get("agent:a", "k") is None
    cached.close()


def test_only_where_nobody_else_writes(tmp_path: Path) -> None:
    """A shared engine, or a reader beside a writer, refuses a cache."""
    with pytest.raises(ConfigurationError):
        holdfast.open(tmp_path / "state.db", cache_bytes=1000)
    with holdfast.open(f"rocksdb:{tmp_path / 'store'}"), pytest.raises(ConfigurationError):
        holdfast.open(f"rocksdb:{tmp_path / 'store'}", cache_bytes=1000, read_only=True)
    with holdfast.open("memory:") as state:
        assert state.info()["cache"] is None


def test_no_stale_read_beside_writers(tmp_path: Path) -> None:
    """After a write is acknowledged no thread reads an older value."""
    state = holdfast.open(
        f"rocksdb:{tmp_path / 'store'}",
        cache_bytes=1_000_000,
        policies=[holdfast.ScopePolicy("*", durability=holdfast.Durability.OS)],
    )
    acknowledged = [0]
    stale: list[tuple[int, int]] = []
    stop = threading.Event()
    state.set("agent:a", "k", 0)

    def read() -> None:
        while not stop.is_set():
            low = acknowledged[0]
            value = state.get("agent:a", "k")
            if value < low:
                stale.append((value, low))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for at in range(1, 3000):
        state.set("agent:a", "k", at)
        acknowledged[0] = at
    stop.set()
    for reader in readers:
        reader.join()
    assert stale == []
    assert figures(state)["hits"] > 0
    state.close()
