"""Space: what a store takes, and how it is given back in steps that writers hardly notice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import apsw

from holdfast.engines.sqlite.failure import translate

if TYPE_CHECKING:
    from holdfast.engines.sqlite.engine import SqliteEngine
    from holdfast.engines.sqlite.session import Session

VACUUM_STEP = 256  #: pages moved while writers wait


def size_of(path: str) -> int:
    """Return the size of a file, 0 where there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def identity_of(path: str) -> tuple[int, int] | None:
    """Return what tells the file at `path` from any other, None where there is none."""
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def disk_bytes(path: str) -> int:
    """Return what the store at `path` takes on disk."""
    return size_of(path) + size_of(path + "-wal")


def vacuum(session: Session, pages: int) -> bool:
    """Free at most `pages` pages inside the open write transaction; False if there were none."""
    try:
        if not session.pragma("freelist_count"):
            return False
        session.execute(f"PRAGMA incremental_vacuum({pages})", can_cache=False).fetchall()
        return True
    except apsw.Error as error:
        raise translate(error, session.path) from error


def facts(session: Session, engine: SqliteEngine) -> dict[str, int | float | str]:
    """Collect the numbers of `Engine.stats` that a connection and the filesystem tell."""
    path = session.path
    disk = os.statvfs(os.path.dirname(os.path.abspath(path)))
    return {
        "page_size": session.pragma("page_size"),
        "pages": session.pragma("page_count"),
        "free_pages": session.pragma("freelist_count"),
        "disk_bytes": disk_bytes(path),
        "wal_bytes": size_of(path + "-wal"),
        "free_bytes": disk.f_bavail * disk.f_frsize,
        "path": os.path.abspath(path),
        "version": apsw.sqlite_lib_version(),
        "cache_capacity": engine.settings.cache_capacity,
    }
