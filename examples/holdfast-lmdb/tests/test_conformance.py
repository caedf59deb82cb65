"""The engine keeps the contract: the published kit, and how to open the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.testing import EngineConformance
from holdfast_lmdb import LmdbEngine, LmdbSettings, open_engine


class TestLmdb(EngineConformance):
    def open(self, path: Path, **options: Any) -> LmdbEngine:
        """Open the engine under test."""
        return open_engine(LmdbSettings(path, **options))
