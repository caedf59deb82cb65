"""A flipped bit anywhere in a store's files is never a wrong value and never a missing key."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import holdfast
from holdfast import StateError
from tests.maintenance.conftest import contents, fill

FLIPS = 60


def files(store: Path) -> list[Path]:
    """Return the files of a closed store that hold anything, its own logs of events left out."""
    found = [store] if store.is_file() else sorted(store.rglob("*"))
    # RocksDB's LOG and rocksdict's settings are not data: nothing is read back from the first,
    # and the second only names options.
    return [f for f in found if f.is_file() and f.stat().st_size and f.name[:3] != "LOG"]


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_flips(engine: str, tmp_path: Path) -> None:
    """Each flip shows as an error, or changes nothing that can be read."""
    store = tmp_path / "store"
    with holdfast.open(f"{engine}:{store}") as state:
        expected = fill(state)
        history = [c.value for c in state.history("session:s", "turns")]
    chance = random.Random(7)
    noticed = 0
    for at in range(FLIPS):
        copy = tmp_path / f"copy{at}"
        (shutil.copytree if store.is_dir() else shutil.copy)(store, copy)
        # Weighted by size, so that every byte of the store is as likely as another.
        there = files(copy)
        victim = chance.choices(there, [f.stat().st_size for f in there])[0]
        raw = bytearray(victim.read_bytes())
        where = chance.randrange(len(raw))
        raw[where] ^= 1 << chance.randrange(8)
        victim.write_bytes(raw)
        what = f"{victim.relative_to(tmp_path)} byte {where}"
        try:
            state = holdfast.open(f"{engine}:{copy}")
        except StateError:
            noticed += 1
            continue
        try:
            damaged = False
            for (scope, key), value in expected.items():
                try:
                    assert state.get(scope, key) == value, what
                except StateError:
                    damaged = True
            try:
                assert contents(state) == expected, what
            except StateError:
                damaged = True
            try:
                assert [c.value for c in state.history("session:s", "turns")] == history, what
            except StateError:
                damaged = True
            problems = state.verify()
            assert problems or not damaged, what
            noticed += bool(problems)
        finally:
            state.close()
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink()
    assert noticed > FLIPS // 2
