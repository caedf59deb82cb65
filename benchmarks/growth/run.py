"""The run: fills and measures stores of growing sizes, each step in a process of its own."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.growth import size, tails
from benchmarks.growth.figure import Figure
from benchmarks.growth.store import Shape, fill_new
from benchmarks.server import Server

_MEMORY_MOST = 1_000_000
_PER_SCOPE = 1000


@dataclass(slots=True)
class Run:
    """One run.

    Attributes:
        directory: Where stores are made.
        server: For Postgres; None leaves it out.
        progress: Told what is going on.
    """

    directory: Path
    server: Server | None
    progress: Callable[[str], None]
    _made: int = 0

    def sizes(self, engine: str, keys: int) -> list[dict[str, Any]]:
        """Return the rows of an engine at a size, with 1,000 keys a scope."""
        if engine == "memory" and keys > _MEMORY_MOST:
            return []
        return self._store("size", engine, keys, max(1, keys // _PER_SCOPE), size.measure)

    def scopes(self, engine: str, keys: int, scopes: int) -> list[dict[str, Any]]:
        """Return the rows of an engine whose keys lie in more or fewer scopes."""
        return self._store("scopes", engine, keys, scopes, size.measure_calls)

    def tails(self, engine: str, keys: int) -> list[dict[str, Any]]:
        """Return the rows of single calls beside other work."""
        return self._store("tails", engine, keys, max(1, keys // _PER_SCOPE), tails.measure)

    def _store(
        self,
        case: str,
        engine: str,
        keys: int,
        scopes: int,
        measure: Callable[[Shape], list[Figure]],
    ) -> list[dict[str, Any]]:
        begun = time.monotonic()
        self._made += 1
        directory = self.directory / f"{self._made}"
        directory.mkdir()
        path = None if engine in ("memory", "postgres") else directory / "store"
        url = "memory:" if engine == "memory" else f"{engine}:{path}"
        if engine == "postgres":
            assert self.server is not None
            url = self.server.database()
        shape = Shape(engine, url, path, keys, scopes)
        try:
            filled = [] if engine == "memory" else _apart(fill_new, shape)
            figures = filled + _apart(measure, shape)
            if engine == "postgres" and self.server is not None:
                figures.append(Figure("on disk, a key", "B", self.server.grown() / keys))
        finally:
            if engine == "postgres" and self.server is not None:
                self.server.drop()
            shutil.rmtree(directory)
        spent = time.monotonic() - begun
        self.progress(f"{case}: {engine}, {keys:,} keys in {scopes:,} scopes: {spent:.0f} s")
        about = {"case": case, "engine": engine, "keys": keys, "scopes": scopes}
        return [{**about, **figure.to_data()} for figure in figures]


def _apart(work: Callable[[Shape], list[Figure]], shape: Shape) -> list[Figure]:
    """Call `work` in a new process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, shape).result()
