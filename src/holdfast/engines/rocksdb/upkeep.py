"""Space back to the disk, and facts about a store that is open for writing."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from holdfast.engines.base import Batch
from holdfast.engines.rocksdb import directory, library
from holdfast.errors import DiskFullError

_log = logging.getLogger("holdfast.engines.rocksdb")


def reclaim(database: library.Database, path: Path, budget: int | None) -> int:
    """Rewrite files without what was deleted; return the bytes that the disk got back.

    With a budget the files that hold most deletions go first, one by one, until about `budget`
    bytes are free.
    """
    before = directory.sizes(path)[0]
    try:
        database.flush()
        if budget is None:
            library.compact(database, None, None)
        else:
            for file in _with_deletions(database):
                library.compact(database, file["start_key"], file["end_key"] + b"\x00")
                if before - directory.sizes(path)[0] >= budget:
                    break
    except Exception as error:  # noqa: BLE001 - rocksdict's own class
        raise library.translate(error, "reclaim") from None
    return max(0, before - directory.sizes(path)[0])


def stats(database: library.Database, path: Path, cache: Any) -> dict[str, int | float | str]:
    """Return sizes in bytes and what RocksDB tells of itself."""
    disk, logs, free = directory.sizes(path)
    found: dict[str, int | float | str] = {
        "path": str(path),
        "version": f"rocksdict {library.version()}",
        "disk_bytes": disk,
        "wal_bytes": logs,
        "free_bytes": free,
        "block_cache_bytes": cache.get_usage(),
    }
    for name, of in (
        ("estimated_keys", "rocksdb.estimate-num-keys"),
        ("memtable_bytes", "rocksdb.cur-size-all-mem-tables"),
        ("background_errors", "rocksdb.background-errors"),
    ):
        found[name] = database.property_int_value(of) or 0
    return found


def _with_deletions(database: library.Database) -> list[dict[str, Any]]:
    files = [file for file in database.live_files() if file.get("num_deletions")]
    return sorted(files, key=lambda file: -int(file["num_deletions"]))


class Room:
    """Keeps a write from filling the disk.

    Once RocksDB has failed for want of space nobody can say what was written, so some is kept
    free: what a batch takes in the log, and write buffers that may have to become files.

    Looking costs as much as a tenth of a small write. Where there was a GiB more than is needed, it
    is not repeated for a moment, in which no disk takes that much.

    Args:
        path: The store.
        reserve: Bytes that writes leave free.
    """

    _AMPLE = 1 << 30
    _MOMENT = 0.01

    def __init__(self, path: Path, reserve: int) -> None:
        self._path, self._reserve = path, reserve
        self._left, self._until = 0, 0.0

    def refuse_full(self, batch: Batch) -> None:
        """Refuse a batch that the disk may have no room for, before anything of it is written.

        Raises:
            DiskFullError: There is less room than that.
        """
        size = 0
        for key, value in batch.puts:
            size += len(key) + len(value)
        self._left -= 2 * size
        now = time.monotonic()
        if self._left < self._AMPLE or now > self._until:
            facts = os.statvfs(self._path)
            self._left = facts.f_bavail * facts.f_frsize - 2 * size - self._reserve
            self._until = now + self._MOMENT
            if self._left < 0:
                raise DiskFullError(
                    f"rocksdb store {self._path}: too little space is left on the disk"
                )


def let_go(database: library.Database, path: Path) -> None:
    """Close RocksDB. What its memory holds is in the log, so that it may fail to become a file."""
    try:
        database.close()
    except Exception as error:  # noqa: BLE001 - rocksdict's own class
        _log.warning("rocksdb store %s closed with its memory unflushed: %s", path, error)
