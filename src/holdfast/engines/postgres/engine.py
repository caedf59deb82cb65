"""The engine over a Postgres server. It does not know how one is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from holdfast.engines.base import Body, Durability, EngineTraits, View
from holdfast.engines.postgres import forks, upkeep
from holdfast.engines.postgres.calls import Calls
from holdfast.engines.postgres.commit import Writer
from holdfast.engines.postgres.failure import Flavour
from holdfast.engines.postgres.gets import Gets
from holdfast.engines.postgres.schema import Server
from holdfast.engines.postgres.statements import Statements
from holdfast.engines.postgres.talk import Talk
from holdfast.engines.postgres.views import ReaderView
from holdfast.errors import ReadOnlyError, StateError

TRAITS = EngineTraits(
    name="postgres",
    persistent=True,
    shared=True,
    remote=True,
    max_key_bytes=2500,  # an entry of a btree takes 2,704
    max_batch_bytes=256 * 1024 * 1024,
    clocked=True,
    partitioned=True,
)


class PostgresEngine:
    """One handle on a store in a Postgres database; any number of threads use it.

    Args:
        calls: Runs calls over the handle's connections.
        statements: For the store's schema.
        server: What answers.
        read_only: Refuse writes.
        clocked: The server's clock is the store's.
    """

    def __init__(
        self,
        calls: Calls,
        statements: Statements,
        server: Server,
        *,
        read_only: bool,
        clocked: bool = True,
    ) -> None:
        # YugabyteDB's connections, or servers, draw numbers in advance: one writer at a time there.
        partitioned = server.flavour is not Flavour.YUGABYTE
        self.traits = dataclasses.replace(TRAITS, clocked=clocked, partitioned=partitioned)
        self._calls, self._sql, self._server = calls, statements, server
        self._connections = calls.connections
        self._read_only = read_only
        self._gets = Gets(calls, statements)
        self._writer = Writer(calls, statements, server.flavour)
        forks.watch(self)

    def get(self, key: bytes) -> bytes | None:
        """Return the committed value of `key`, or None; reads of many threads share queries."""
        if self._connections.dead:
            self._connections.refuse()
        return self._gets.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the committed values of `keys`, all of one statement's snapshot."""
        self._connections.refuse()
        if not keys:
            return []

        def ask(talk: Talk) -> dict[bytes, bytes]:
            rows = talk.rows(self._sql.get_many, (list(set(keys)),))
            return {row[0]: row[1] for row in rows}

        found = self._calls.ask("get_many", ask)
        return [found.get(key) for key in keys]

    def read(self) -> AbstractContextManager[View]:
        """Open a consistent view, of the moment of its first read."""
        return ReaderView(self._calls, self._sql)

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Run `body` under the row locks of `partitions` and commit the batch that it returns."""
        self._refuse()
        self._writer.write(durability, body, partitions)

    def flush(self) -> None:
        """Bring everything acknowledged so far to the server's disk."""
        self._connections.refuse()
        if not self._read_only:
            self._writer.flush()

    def reclaim(self, budget: int | None = None) -> int:
        """Vacuum; return how many bytes the disk got back."""
        self._refuse()
        return upkeep.reclaim(self._calls, self._sql, self._server)

    def stats(self) -> Mapping[str, int | float | str]:
        """Return sizes, what the server tells of itself, and figures of the pool."""
        self._connections.refuse()
        return upkeep.stats(self._calls, self._sql, self._server)

    def close(self) -> None:
        """Flush, let calls under way end, and disconnect."""
        if self._connections.dead:
            return
        try:
            if not self._read_only:
                self._writer.flush_rest()
        except StateError:
            self._connections.close()
            raise
        self._connections.close()

    def _refuse(self) -> None:
        self._connections.refuse()
        if self._read_only:
            raise ReadOnlyError("the Postgres store is open for reading only")

    def disown(self) -> list[object]:
        """Make the handle useless: this process is a child of the one that opened it."""
        return self._connections.disown()
