"""What a store's file looks like: its header, its tables, and how a new one is made.

Format 1: application id ``HOLD``, user_version 1, WAL, ``auto_vacuum=INCREMENTAL``, eight
reserved bytes a page for SQLite's checksum VFS, and one table for each of the spaces 1 to 15
(``s1`` … ``s15``) plus ``s0`` for all others. Every table has the columns ``k`` and ``v``.
Spaces 4 and 5 (journal headers, versions) are rowid tables with a unique index on the key, the
others are clustered on it: decision 0003 has the figures.
"""

from __future__ import annotations

import ctypes
import os
import stat
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import apsw

from holdfast.engines.sqlite.failure import translate
from holdfast.engines.sqlite.platform import CHECKSUM_VFS
from holdfast.engines.sqlite.settings import SqliteSettings
from holdfast.errors import CorruptionError, FormatVersionError, NotAStoreError

APPLICATION_ID = 0x484F4C44  #: "HOLD"
FORMAT = 1
RESERVED = 8  #: bytes a page that the checksum VFS uses
NAMED_SPACES = range(1, 16)
ROWID_SPACES = frozenset({4, 5})

#: The table of each space.
TABLES = tuple(f"s{space}" if space in NAMED_SPACES else "s0" for space in range(256))

_CLUSTERED = "CREATE TABLE {}(k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL) WITHOUT ROWID"
_ROWID = "CREATE TABLE {}(k BLOB NOT NULL UNIQUE, v BLOB NOT NULL)"


@dataclass(frozen=True, slots=True)
class Header:
    """The facts of the first 100 bytes of a file (https://sqlite.org/fileformat2.html#database_header)."""

    page_size: int
    reserved: int
    pages: int
    application_id: int
    version: int


def parse_header(data: bytes) -> Header | None:
    """Read a SQLite header; None if `data` is not one."""
    if len(data) < 100 or not data.startswith(b"SQLite format 3\0"):
        return None

    def number(at: int, size: int = 4) -> int:
        return int.from_bytes(data[at : at + size], "big")

    page_size = 65536 if number(16, 2) == 1 else number(16, 2)
    return Header(page_size, data[20], number(28), number(68), number(60))


def segments(start: bytes, stop: bytes) -> list[tuple[str, bytes, bytes]]:
    """Cut a range of keys at the borders of tables: (table, start, stop), ascending."""
    parts = []
    for first in (0, *NAMED_SPACES, 16):
        low = bytes((first,))
        high = bytes((first + 1,)) if first < 16 else stop
        begin, end = max(start, low), min(stop, high)
        if begin < end:
            parts.append((TABLES[first], begin, end))
    return parts


def immutable_uri(path: str) -> str:
    """Return the URI that reads `path` without locks, journals or shared memory."""
    return f"file:{quote(path)}?immutable=1&mode=ro"


def inspect(path: str) -> Header:
    """Check that `path` is a store of a format we know, without touching anything.

    The file is read through SQLite: opening and closing it ourselves would drop the POSIX locks
    of every SQLite connection that this process has on it.

    Raises:
        NotAStoreError: It is something else, or cut short.
        FormatVersionError: A later version of Holdfast made it.
        CorruptionError: It is a store, and its header is damaged.
    """
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        raise NotAStoreError(f"there is no store at {path}") from None
    if not stat.S_ISREG(facts.st_mode):
        kind = "a directory" if stat.S_ISDIR(facts.st_mode) else "not a regular file"
        raise NotAStoreError(f"{path} is {kind}")
    if facts.st_size < 512:
        raise NotAStoreError(f"{path} has {facts.st_size} bytes: it is no SQLite file")
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        with closing(apsw.Connection(immutable_uri(path), flags=flags, vfs="unix")) as db:
            header = parse_header(db.read("main", 0, 0, 512)[1])
    except apsw.Error as error:
        raise translate(error, path) from error
    if header is None:
        raise NotAStoreError(f"{path} is not a SQLite file")
    if header.application_id != APPLICATION_ID:
        raise NotAStoreError(f"{path} is a SQLite file of another application")
    if header.version > FORMAT:
        raise FormatVersionError(
            f"{path} has the SQLite layout {header.version}; this version reads up to {FORMAT}"
        )
    if header.version < 1:
        raise NotAStoreError(f"{path} has no layout version: it is no complete store")
    if header.reserved != RESERVED or header.page_size < 512:
        raise CorruptionError(f"the header of {path} is damaged", where="page 1")
    # With a log beside it, the file may rightly be shorter than its header says.
    if not _has_content(path + "-wal") and facts.st_size < header.pages * header.page_size:
        raise NotAStoreError(
            f"{path} is cut short: {facts.st_size} of {header.pages * header.page_size} bytes",
            hint="restore it from a backup",
        )
    return header


def ends_inside_page(path: str, page_size: int) -> bool:
    """Tell whether a file at rest ends inside a page. SQLite reads the missing rest as zeros.

    A checkpoint of another process may be about to write the rest: that is waited for.
    """
    for _ in range(3):
        if os.stat(path).st_size % page_size == 0:
            return False
        time.sleep(0.02)
    return True


def _has_content(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def create(settings: SqliteSettings) -> None:
    """Make an empty store and publish it under its name, complete and on disk.

    The caller holds the turnstile, so nobody else makes the same store.
    """
    path = str(settings.path)
    fresh = path + "-new"
    for leftover in (fresh, fresh + "-wal", fresh + "-shm", fresh + "-journal"):
        Path(leftover).unlink(missing_ok=True)
    try:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        with closing(apsw.Connection(fresh, flags=flags, vfs=CHECKSUM_VFS)) as db:
            reserve_checksums(db)
            db.execute(f"PRAGMA page_size={settings.page_size}")
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
            db.execute("BEGIN")
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={FORMAT}")
            for space in (0, *NAMED_SPACES):
                ddl = _ROWID if space in ROWID_SPACES else _CLUSTERED
                db.execute(ddl.format(f"s{space}"))
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode=WAL").fetchall()
        _sync(fresh)
        os.rename(fresh, path)
        _sync(os.path.dirname(os.path.abspath(path)))
    except apsw.Error as error:
        raise translate(error, path) from error
    finally:
        Path(fresh).unlink(missing_ok=True)


def reserve_checksums(db: apsw.Connection) -> None:
    """Ask for the bytes at the end of each page that the checksum VFS needs (new files only)."""
    wanted = ctypes.c_int(RESERVED)
    db.file_control("main", apsw.SQLITE_FCNTL_RESERVE_BYTES, ctypes.addressof(wanted))


def _sync(path: str) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
