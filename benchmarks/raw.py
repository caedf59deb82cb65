"""The yardsticks: each engine without Holdfast, driven as well as we know how.

Files are made with the same layout, page size, checksums and options as Holdfast's, so that the
ratios show what Holdfast adds and not what another setting would change.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import apsw
import rocksdict

from holdfast.engines.rocksdb import library
from holdfast.engines.rocksdb.settings import RocksDBSettings
from holdfast.engines.sqlite.layout import TABLES, create
from holdfast.engines.sqlite.platform import CHECKSUM_VFS, require_checksums
from holdfast.engines.sqlite.settings import SqliteSettings

Pairs = Sequence[tuple[bytes, bytes]]


class Raw(Protocol):
    """A bare engine. Writes are on disk when they return."""

    def put(self, key: bytes, value: bytes) -> None: ...

    def put_many(self, rows: Pairs) -> None: ...

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]: ...

    def settle(self) -> None:
        """Do the upkeep that Holdfast does in the background; not timed."""

    def close(self) -> None: ...


class RawMemory:
    """A dict, and its keys sorted when a scan asks for them."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self._order: list[bytes] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.rows[key] = value

    def put_many(self, rows: Pairs) -> None:
        self.rows.update(rows)

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        order, rows = self._order, self.rows
        low = bisect_left(order, start)
        high = min(low + limit, bisect_left(order, stop))
        return [(key, rows[key]) for key in order[low:high]]

    def settle(self) -> None:
        if len(self._order) != len(self.rows):
            self._order = sorted(self.rows)

    def close(self) -> None:
        self.rows.clear()


_CHUNKS = (256, 64, 8, 1)


class RawSqlite:
    """apsw on a file like Holdfast's: WAL, synchronous=FULL, checksummed pages of 4 KiB."""

    def __init__(self, path: Path) -> None:
        settings = SqliteSettings(path)
        self._settings = settings
        require_checksums()
        create(settings)
        self._db = self._connect()
        self._execute = self._db.cursor().execute
        self._log = Path(f"{path}-wal")
        self._upserts = {
            (table, size): f"INSERT INTO {table}(k,v) VALUES{','.join(['(?,?)'] * size)}"
            " ON CONFLICT(k) DO UPDATE SET v=excluded.v"
            for table in set(TABLES)
            for size in _CHUNKS
        }
        self._get = {table: f"SELECT v FROM {table} WHERE k=?" for table in set(TABLES)}

    def _connect(self) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE
        db = apsw.Connection(
            str(self._settings.path), flags=flags, vfs=CHECKSUM_VFS, statementcachesize=128
        )
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA cache_size={-self._settings.cache_capacity // 1024}")
        db.wal_autocheckpoint(0)
        return db

    def put(self, key: bytes, value: bytes) -> None:
        self._execute(self._upserts[TABLES[key[0]], 1], (key, value))

    def put_many(self, rows: Pairs) -> None:
        tables: dict[str, list[bytes]] = {}
        for key, value in rows:
            tables.setdefault(TABLES[key[0]], []).extend((key, value))
        self._execute("BEGIN IMMEDIATE")
        for table, flat in tables.items():
            at = 0
            for size in _CHUNKS:
                while len(flat) - at >= 2 * size:
                    self._execute(self._upserts[table, size], flat[at : at + 2 * size])
                    at += 2 * size
        self._execute("COMMIT")

    def get(self, key: bytes) -> bytes | None:
        value: Any = self._execute(self._get[TABLES[key[0]]], (key,)).get
        return value  # type: ignore[no-any-return]

    def scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        sql = f"SELECT k,v FROM {TABLES[start[0]]} WHERE k>=? AND k<? ORDER BY k LIMIT ?"
        rows: Any = self._execute(sql, (start, stop, limit)).fetchall()
        return rows  # type: ignore[no-any-return]

    def settle(self) -> None:
        mode = apsw.SQLITE_CHECKPOINT_PASSIVE
        if self._log.stat().st_size > self._settings.wal_limit:
            mode = apsw.SQLITE_CHECKPOINT_TRUNCATE
        self._db.wal_checkpoint(mode=mode)

    def close(self) -> None:
        self._db.close()


class RawRocksdb:
    """rocksdict with Holdfast's options: a WriteBatch, then `flush_wal` with fsync."""

    def __init__(self, path: Path) -> None:
        settings = RocksDBSettings(path)
        options = library.build_options(settings, library.new_cache(settings.cache_capacity))
        self._db = library.open_writer(path, options, create=True)
        self._lock = threading.Lock()

    def put(self, key: bytes, value: bytes) -> None:
        batch = rocksdict.WriteBatch(raw_mode=True)
        batch.put(key, value)
        self._db.write(batch)
        self._db.flush_wal(True)

    def put_many(self, rows: Pairs) -> None:
        batch = rocksdict.WriteBatch(raw_mode=True)
        put = batch.put
        for key, value in rows:
            put(key, value)
        self._db.write(batch)
        self._db.flush_wal(True)

    def get(self, key: bytes) -> bytes | None:
        value: Any = self._db.get(key)
        return value  # type: ignore[no-any-return]

    def scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        found: Any = self._db.items(from_key=start, read_opt=library.bounded(stop))
        return list(islice(found, limit))

    def settle(self) -> None:
        """RocksDB does its own upkeep in the background, here and under Holdfast."""

    def close(self) -> None:
        self._db.close()


def open_raw(engine: str, path: Path) -> Raw:
    """Open a bare engine at a path where nothing is."""
    if engine == "sqlite":
        return RawSqlite(path)
    if engine == "rocksdb":
        return RawRocksdb(path)
    return RawMemory()


def url_of(engine: str, path: Path) -> str:
    """Return the URL of a Holdfast store."""
    return "memory:" if engine == "memory" else f"{engine}:{path}"
