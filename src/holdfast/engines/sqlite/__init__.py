"""The SQLite engine: one file, many threads and processes, driven by apsw.

What an embedder should know:

- Beside ``NAME`` stand ``NAME-turn`` and ``NAME-lock`` (the queue of writers; empty, kept) and,
  while the store is open or after a crash, ``NAME-wal`` and ``NAME-shm``. Move or copy them
  together, and only while the store is closed. A read-only handle may leave the latter two.
- POSIX locks belong to a process and a file: if *anything* in this process opens and closes
  ``NAME`` (a second SQLite library such as the standard ``sqlite3``, but also ``open()`` or
  ``shutil.copy``) all locks that this engine holds on it are silently dropped. A second
  library cannot be detected from here: leave the file to Holdfast while it is open, and read
  backups, never the live file. Other processes are free to use any SQLite 3.51.3 or later, with
  the checksum VFS loaded if they write.
- Pages carry checksums (SQLite's cksumvfs). Loading it leaves apsw's default VFS as it was.
- Network filesystems are refused unless ``exclusive=true``, which lets in one process only.
- After a fork both processes go on; see `holdfast.engines.sqlite.fork`.
"""

from __future__ import annotations

import os

from holdfast.clock import Clock
from holdfast.config import EngineURL
from holdfast.engines.base import Engine
from holdfast.engines.sqlite.engine import SqliteEngine
from holdfast.engines.sqlite.platform import wal_reset_bug
from holdfast.engines.sqlite.settings import SqliteSettings
from holdfast.errors import NotAStoreError

__all__ = ["SqliteEngine", "SqliteSettings", "open_engine", "wal_reset_bug"]


def open_engine(
    target: EngineURL | SqliteSettings, *, read_only: bool = False, clock: Clock | None = None
) -> Engine:
    """Open the store of ``sqlite:PATH?name=value``, making it if it does not exist.

    Args:
        target: The settings, or a URL: the path, and the settings as options.
        read_only: Write nothing; the store must exist.
        clock: Used to wait between checkpoints.

    Raises:
        ConfigurationError: A bad option, or the directory does not exist.
        NotAStoreError: The path is something else, or `read_only` and missing.
        FormatVersionError: A later version made it.
        UnsupportedPlatformError: The library or the filesystem cannot keep the promises.
        ReadOnlyError: It cannot be written, and `read_only` was not given.
        BusyError: Another process has it open exclusively.
        CorruptionError: It is damaged.
    """
    settings = target if isinstance(target, SqliteSettings) else SqliteSettings.from_url(target)
    if os.path.islink(settings.path) and not settings.path.exists():
        raise NotAStoreError(f"{settings.path} is a link to nothing")
    return SqliteEngine(settings, read_only=read_only, clock=clock)
