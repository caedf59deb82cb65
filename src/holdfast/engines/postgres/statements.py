"""Every SQL text of the engine, composed once, and batches as statements.

Only what PostgreSQL, CockroachDB and YugabyteDB all take: no advisory locks, no notifications.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.engines.base import Batch, Durability
from holdfast.engines.postgres.library import sql

Statement = tuple[bytes, tuple[Any, ...]]

#: Bytes of keys and values in one statement, about.
CHUNK = 16 * 1024 * 1024
#: The partition row that `flush` updates; no writer locks it.
_FLUSH = -1

COMMIT, ROLLBACK = b"COMMIT", b"ROLLBACK"
BEGIN_READ = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Statements:
    """The texts for one schema.

    Args:
        schema: Name of the Postgres schema.
        timeout: Seconds that a call may wait for the server.
        tunable: The server has Postgres's settings of durability and of TCP.
    """

    def __init__(self, schema: str, timeout: float, *, tunable: bool = True) -> None:
        self._names = _names(schema)
        # psycopg reads a text that has arguments for placeholders, a name in it as well
        self._doubled = _names(schema.replace("%", "%%"))
        make = self.compose
        self.get = make("SELECT v FROM {rows} WHERE k = %b")
        self.get_many = make("SELECT k, v FROM {rows} WHERE k = ANY(%b)")
        self._scans = {
            (reverse, keys_only): make(
                "SELECT k, {value} FROM {rows} WHERE k >= %b AND k < %b ORDER BY k {order}",
                value=sql.SQL("''::bytea" if keys_only else "v"),
                order=sql.SQL("DESC" if reverse else "ASC"),
            )
            for reverse in (False, True)
            for keys_only in (False, True)
        }
        self.clock = make("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        self._ticket = make(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
            " nextval({sequence_text})"
        )
        self._lock = make("SELECT p FROM {partitions} WHERE p IN ")
        self._delete_range = make("DELETE FROM {rows} WHERE k >= %b AND k < %b")
        self._deletes = make("DELETE FROM {rows} WHERE k = ANY(%b)")
        self._puts = make(
            "INSERT INTO {rows} (k, v)"
            " SELECT k, v FROM unnest(%b::bytea[], %b::bytea[]) AS n (k, v)"
            " ON CONFLICT (k) DO UPDATE SET v = excluded.v"
        )
        self._touch = make("UPDATE {partitions} SET p = p WHERE p = ANY(%b)")
        self._add_partitions = make(
            "INSERT INTO {partitions} (p) SELECT unnest(%b::int[]) ON CONFLICT (p) DO NOTHING"
        )
        # A lock that is not to be had ends before the watchdog cuts the connection; and whoever
        # vanished with a lock in hand loses it. The limit for idle transactions does not see one
        # that vanished within a pipeline, for the server awaits the rest of it: TCP has to ask.
        asks = math.ceil(timeout / 2)
        limits = (
            f"SET LOCAL lock_timeout = {int(timeout * 900)}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {int(timeout * 2000)}; "
        )
        if tunable:
            limits += (
                f"SET LOCAL tcp_keepalives_idle = {asks}; "
                f"SET LOCAL tcp_keepalives_interval = {asks}; "
                "SET LOCAL tcp_keepalives_count = 2; "
            )
        self._begins = {}
        for synced in (False, True):
            wait = (
                f"SET LOCAL synchronous_commit = {'on' if synced else 'off'}; " if tunable else ""
            )
            self._begins[synced] = f"BEGIN ISOLATION LEVEL READ COMMITTED; {wait}{limits}".encode()
        self.flush = (
            self._begins[True]
            + make(
                "INSERT INTO {partitions} (p) VALUES ({flush})"
                " ON CONFLICT (p) DO UPDATE SET p = excluded.p; ",
                flush=sql.Literal(_FLUSH),
            )
            + COMMIT
        )
        self.size = make(
            "SELECT pg_total_relation_size(c.oid), c.reltuples::bigint FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = {name} AND c.relname = 'holdfast_rows'",
            name=sql.Literal(schema),
        )
        self.vacuum = make("VACUUM {rows}")
        self._begun: dict[tuple[bool, tuple[int, ...]], bytes] = {}

    def compose(self, text: str, **more: sql.Composable) -> bytes:
        """Return `text` with the names of the schema's things put in, quoted."""
        names = self._doubled if "%b" in text else self._names
        return sql.SQL(text).format(**names, **more).as_bytes()

    def begin(self, durability: Durability, partitions: tuple[int, ...]) -> bytes:
        """Return what begins a write: the locks, then (for they are held now) clock and number."""
        synced = durability >= Durability.SYNC
        text = self._begun.get((synced, partitions))
        if text is None:
            numbers = ", ".join(str(int(each)) for each in partitions)
            lock = self._lock + f"({numbers}) ORDER BY p FOR UPDATE; ".encode()
            text = self._begins[synced] + lock + self._ticket
            if len(self._begun) < 1000:
                self._begun[synced, partitions] = text
        return text

    def add_partitions(self, partitions: Sequence[int]) -> Statement:
        """Return what makes the rows that are locked."""
        return self._add_partitions, (list(partitions),)

    def touch(self, partitions: Sequence[int]) -> Statement:
        """Return a write that changes nothing, so that a commit reaches the disk."""
        return self._touch, (list(partitions),)

    def scan(
        self, start: bytes, stop: bytes, *, reverse: bool, limit: int | None, keys_only: bool
    ) -> Statement:
        """Return the statement of a scan."""
        text = self._scans[reverse, keys_only]
        if limit is None:
            return text, (start, stop)
        return text + b" LIMIT %b", (start, stop, limit)

    def batch(self, batch: Batch) -> Iterator[Statement]:
        """Yield a batch's statements, in the contract's order."""
        ranges = [(a, b) for a, b in batch.delete_ranges if a < b]
        for start, stop in ranges:
            yield self._delete_range, (start, stop)
        for keys in _chunks([(key, b"") for key in sorted(batch.deletes)]):
            yield self._deletes, ([key for key, _ in keys],)
        # In the order of keys: two transactions that put the same ones do not wait for each other
        # in a circle.
        for pairs in _chunks(sorted(batch.puts)):
            yield self._puts, ([key for key, _ in pairs], [value for _, value in pairs])


def _names(schema: str) -> dict[str, sql.Composable]:
    made: dict[str, sql.Composable] = {
        "schema": sql.Identifier(schema),
        "rows": sql.Identifier(schema, "holdfast_rows"),
        "partitions": sql.Identifier(schema, "holdfast_partitions"),
        "version": sql.Identifier(schema, "holdfast_schema"),
        "sequence": sql.Identifier(schema, "holdfast_sequence"),
    }
    made["sequence_text"] = sql.Literal(made["sequence"].as_string())
    return made


def _chunks(pairs: list[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Cut `pairs` into lists of about `CHUNK` bytes."""
    chunk: list[tuple[bytes, bytes]] = []
    size = 0
    for pair in pairs:
        size += len(pair[0]) + len(pair[1])
        if chunk and size > CHUNK:
            yield chunk
            chunk, size = [], len(pair[0]) + len(pair[1])
        chunk.append(pair)
    if chunk:
        yield chunk
