"""The write-ahead log as a file to sync: how relaxed data reaches the disk without a commit.

Everything acknowledged is either in the log or, synced by the checkpoint before the log
restarts, in the main file; so syncing the log syncs everything. Opening and closing the log
drops no lock (SQLite's POSIX locks are on the main file and the shared memory).
"""

from __future__ import annotations

import os
import threading

sync_data = getattr(os, "fdatasync", os.fsync)


class LogFile:
    """A descriptor of ``NAME-wal``, opened when first needed."""

    def __init__(self, path: str) -> None:
        self._path = path + "-wal"
        self._file = -1
        self._lock = threading.Lock()

    def sync(self) -> None:
        """Bring the log to disk, and the first time its directory entry as well.

        Raises:
            OSError: That failed; what was not on disk may never get there.
        """
        with self._lock:  # Also keeps `close` from closing the descriptor under us.
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                folder = os.open(os.path.dirname(os.path.abspath(self._path)), os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
            sync_data(self._file)

    def close(self) -> None:
        """Release the descriptor."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def reborn(self) -> None:
        """Start afresh in a forked child."""
        self._lock = threading.Lock()
        self.close()
