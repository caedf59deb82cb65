"""The Postgres engine keeps the contract, on a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.config import parse_url
from holdfast.engines import postgres
from holdfast.engines.base import Engine
from holdfast.testing import EngineConformance
from tests.servers import store_url


class TestPostgres(EngineConformance):
    many = 5000
    examples = 15

    def open(self, path: Path, **options: Any) -> Engine:
        """Open the engine under test."""
        return postgres.open_engine(parse_url(store_url(path)), **options)
