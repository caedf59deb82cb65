"""The run: case by case, round by round, each contender in turn, each in a new and empty store."""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.cases import Case
from benchmarks.peers.contenders import Contender
from benchmarks.peers.figure import Found, Line, merged, text_of
from benchmarks.peers.peer import NotOfferedError, Peer, Room
from benchmarks.peers.waiting import call
from benchmarks.server import Server

_LIMIT = 60  # seconds; a contender that hangs is an error of its own, not of the run


@dataclass(slots=True)
class Run:
    """One run.

    Attributes:
        directory: Where stores are made.
        server: For those who want one.
        factor: Share of the full work.
        rounds: Rounds of each case, at most.
        progress: Told what is going on.
    """

    directory: Path
    server: Server | None
    factor: float
    rounds: int
    progress: Callable[[str], None]
    facts: dict[str, dict[str, Any]]
    _made: int = 0

    def measure(self, name: str, case: Case, contenders: Sequence[Contender]) -> list[Line]:
        """Run a case; return the lines of all contenders, in their order."""
        rounds: dict[int, list[Found]] = {n: [] for n in range(len(contenders))}
        for number in range(min(self.rounds, case.rounds)):
            for at, contender in enumerate(contenders):
                self.progress(f"{name} {number + 1}: {contender.name} ({contender.durability})")
                rounds[at].append(self._one(case, contender))
        return [
            line
            for at, contender in enumerate(contenders)
            for line in merged(
                name, case.units, (contender.name, contender.durability, contender.kind), rounds[at]
            )
        ]

    def _one(self, case: Case, contender: Contender) -> Found:
        peer, found = contender.make(), Found()
        self._made += 1
        directory = self.directory / f"{self._made}"
        directory.mkdir()
        postgres = ""
        if peer.server:
            assert self.server is not None
            postgres = self.server.database()
        gc.collect()
        try:
            asyncio.run(_visit(peer, Room(directory / "store", postgres), case, self.factor, found))
            if case.disk and found.figures:
                size = self.server.grown() if peer.server and self.server else _bytes(directory)
                found.figures["on disk"] = size / 1e6
        finally:
            if peer.server and self.server:
                self.server.drop()
            shutil.rmtree(directory)
        if contender.durability == "memory":
            found.figures.pop("on disk", None)
            found.absent["on disk"] = "in memory"
        self.facts.setdefault(f"{contender.name} ({contender.durability})", found.facts)
        return found


async def _visit(peer: Peer, room: Room, case: Case, factor: float, found: Found) -> None:
    await call(peer.open, room)
    try:
        found.facts = await call(peer.facts)
        async with asyncio.timeout(_LIMIT):
            await case.run(peer, factor, found)
    except NotOfferedError as error:
        found.absent.update(dict.fromkeys(case.units, f"not offered: {error}"))
    except Exception as error:  # noqa: BLE001 - a peer's failure is a result
        found.errors[text_of(error)] += 1
    try:
        await call(peer.close)
    except Exception as error:  # noqa: BLE001 - likewise
        found.errors[text_of(error)] += 1


def _bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
