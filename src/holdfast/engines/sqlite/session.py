"""One connection: its settings, and the engine's reads and writes as prepared statements.

It knows no pool, lock or thread; whoever holds a session is its only user. Statements come in
a few fixed shapes so that apsw's cache always has them, and each is one call into SQLite for
many rows: a call gives the GIL away, and getting it back can cost milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import apsw

from holdfast.engines.base import Batch
from holdfast.engines.sqlite.failure import translate
from holdfast.engines.sqlite.layout import TABLES, segments
from holdfast.engines.sqlite.platform import CHECKSUM_VFS
from holdfast.engines.sqlite.settings import SqliteSettings
from holdfast.errors import CorruptionError

#: Rows of one statement, largest first; 1 comes last so that any number divides.
CHUNKS = (512, 128, 32, 8, 1)

# The only texts put into SQL are names of tables from `TABLES`.
_GET = tuple(f"SELECT v FROM {table} WHERE k=?" for table in TABLES)


def _upsert(table: str, rows: int) -> str:
    marks = ",".join(["(?,?)"] * rows)
    return f"INSERT INTO {table}(k,v) VALUES{marks} ON CONFLICT(k) DO UPDATE SET v=excluded.v"


def _among(verb: str, table: str, rows: int) -> str:
    return f"{verb} FROM {table} WHERE k IN ({','.join('?' * rows)})"


_NAMES = sorted(set(TABLES))
_UPSERT = {t: tuple((n, _upsert(t, n)) for n in CHUNKS) for t in _NAMES}
_DELETE = {t: tuple((n, _among("DELETE", t, n)) for n in CHUNKS) for t in _NAMES}
_SELECT = {t: tuple((n, _among("SELECT k,v", t, n)) for n in CHUNKS) for t in _NAMES}
_CLEAR = {table: f"DELETE FROM {table} WHERE k>=? AND k<?" for table in _NAMES}
_SCAN = {
    (table, reverse, keys_only): (
        f"SELECT k,{'zeroblob(0)' if keys_only else 'v'} FROM {table}"
        f" WHERE k>=? AND k<? ORDER BY k{' DESC' if reverse else ''} LIMIT ?"
    )
    for table in _NAMES
    for reverse in (False, True)
    for keys_only in (False, True)
}


class Session:
    """A connection and its reads (the `View` of the contract) and writes.

    Attributes:
        db: The connection.
        execute: Its one cursor's `execute`; every result is read to its end at once, so that no
            statement stays open and holds a read lock.
    """

    __slots__ = ("__weakref__", "_level", "db", "execute", "path")

    def __init__(
        self,
        settings: SqliteSettings,
        *,
        filename: str | None = None,
        read_only: bool = False,
        cache: int | None = None,
        timeout_ms: int | None = None,
    ) -> None:
        """Open a connection (`filename` may be a URI; the settings' path by default)."""
        self.path = str(settings.path)
        self._level = ""
        mode = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
        try:
            self.db = apsw.Connection(
                filename or self.path,
                flags=mode | (apsw.SQLITE_OPEN_URI if filename else 0),
                vfs=CHECKSUM_VFS,
                statementcachesize=128,
            )
            self.execute = self.db.cursor().execute
            self._configure(
                settings,
                settings.cache_capacity if cache is None else cache,
                settings.busy_timeout_ms if timeout_ms is None else timeout_ms,
            )
        except apsw.Error as error:
            raise translate(error, self.path) from error

    def _configure(self, settings: SqliteSettings, cache: int, timeout_ms: int) -> None:
        # Closing must never checkpoint by itself: a forked child closes what it inherited, and
        # must leave the parent's log alone. The engine's own close turns this off again.
        self.db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        self.db.set_busy_timeout(timeout_ms)
        # The locking mode comes first: others read the schema and would make shared memory.
        pragmas = ["locking_mode=EXCLUSIVE"] if settings.exclusive else []
        pragmas.append(f"cache_size={-max(1, cache // 1024)}")
        if settings.mmap_size:
            pragmas.append(f"mmap_size={settings.mmap_size}")
        if settings.temp_store != "default":
            pragmas.append(f"temp_store={settings.temp_store}")
        for pragma in pragmas:
            self.execute(f"PRAGMA {pragma}", can_cache=False).fetchall()
        self.db.wal_autocheckpoint(0)

    def pragma(self, text: str) -> int:
        """Run a pragma that answers with a number."""
        try:
            answer = self.execute(f"PRAGMA {text}", can_cache=False).get
        except apsw.Error as error:
            raise translate(error, self.path) from error
        return int(answer) if isinstance(answer, int | str) else 0

    def close(self) -> None:
        """Close the connection; without a checkpoint unless its configuration was changed."""
        self.db.close(True)

    # --- the view ---------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        try:
            value: bytes | None = self.execute(_GET[key[0]], (key,)).get
            return value
        except apsw.Error as error:
            raise translate(error, self.path) from error

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        if len(keys) <= 2:  # a head and a record: each is in a table of its own anyway
            return [self.get(key) for key in keys]
        found: dict[bytes, bytes] = {}
        try:
            for table, group in _by_table(keys).items():
                at, total = 0, len(group)
                for size, sql in _SELECT[table]:
                    while total - at >= size:
                        found.update(self._pairs(sql, group[at : at + size]))
                        at += size
        except apsw.Error as error:
            raise translate(error, self.path) from error
        return [found.get(key) for key in keys]

    def scan(
        self,
        start: bytes,
        stop: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Return the pairs of a range; see the contract."""
        rows: list[tuple[bytes, bytes]] = []
        parts = segments(start, stop)
        try:
            for table, low, high in reversed(parts) if reverse else parts:
                left = -1 if limit is None else limit - len(rows)
                if left == 0:
                    break
                sql = _SCAN[table, reverse, keys_only]
                rows += self._pairs(sql, (low, high, left))
        except apsw.Error as error:
            raise translate(error, self.path) from error
        return rows

    def _pairs(self, sql: str, values: Sequence[bytes | int]) -> list[tuple[bytes, bytes]]:
        # Both columns only ever hold blobs.
        return cast("list[tuple[bytes, bytes]]", self.execute(sql, values).fetchall())

    # --- transactions -----------------------------------------------------------------------

    def begin_read(self) -> None:
        """Start a read transaction and take its snapshot now, not at the first read."""
        try:
            self.execute("BEGIN")
            self.execute("SELECT 1 FROM s1 LIMIT 1").fetchall()
        except apsw.Error as error:
            raise translate(error, self.path) from error

    def begin_write(self, *, sync: bool) -> None:
        """Start a write transaction whose commit is on disk when it returns, if `sync`."""
        level = "FULL" if sync else "NORMAL"
        try:
            if level != self._level:
                # It cannot change inside a transaction, and takes effect when it is compiled.
                self.execute(f"PRAGMA synchronous={level}", can_cache=False)
                self._level = level
            self.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            raise translate(error, self.path) from error

    def end(self) -> None:
        """End whatever transaction is open, writing nothing."""
        if self.db.in_transaction:
            self.execute("ROLLBACK")

    def apply(self, batch: Batch) -> None:
        """Write `batch` inside the open transaction, in the contract's order.

        Raises `apsw.Error` as it is: the caller decides what the failure means.
        """
        for start, stop in batch.delete_ranges:
            for table, low, high in segments(start, stop):
                self.execute(_CLEAR[table], (low, high))
        for table, group in _by_table(batch.deletes).items():
            self._chunked(_DELETE[table], group, 1)
        rows: dict[str, list[bytes]] = {}
        for pair in batch.puts:
            table = TABLES[pair[0][0]]
            if table in rows:
                rows[table] += pair
            else:
                rows[table] = [*pair]
        for table, flat in rows.items():
            self._chunked(_UPSERT[table], flat, 2)

    def _chunked(
        self, statements: tuple[tuple[int, str], ...], flat: list[bytes], width: int
    ) -> None:
        at, total = 0, len(flat)
        if total == width:
            self.execute(statements[-1][1], flat)
            return
        for size, sql in statements:
            size *= width
            while total - at >= size:
                self.execute(sql, flat[at : at + size] if size < total else flat)
                at += size

    # --- facts ------------------------------------------------------------------------------

    def verify_identity(self, *, writable: bool) -> None:
        """Check what only an open connection can tell.

        Raises:
            CorruptionError: Pages are not being verified, or the file cannot be in WAL mode.
        """
        mode = "wal"
        try:
            if writable:
                # Changes nothing unless another tool has turned the log off meanwhile.
                mode = str(self.execute("PRAGMA journal_mode=WAL", can_cache=False).get)
            self.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except apsw.Error as error:
            raise translate(error, self.path) from error
        if not self.pragma("checksum_verification") or mode != "wal":
            raise CorruptionError(
                f"{self.path}: the header does not say what a store's says", where="page 1"
            )


def _by_table(keys: Sequence[bytes]) -> dict[str, list[bytes]]:
    groups: dict[str, list[bytes]] = {}
    for key in keys:
        table = TABLES[key[0]]
        if table in groups:
            groups[table].append(key)
        else:
            groups[table] = [key]
    return groups
