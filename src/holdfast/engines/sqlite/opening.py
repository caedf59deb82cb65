"""Opening a store: what must hold of the path, and in which way its connections are made.

Nothing is created or changed beside a file that is not a store of ours.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.engines.sqlite import layout
from holdfast.engines.sqlite.platform import (
    require_checksums,
    require_filesystem,
    require_library,
)
from holdfast.engines.sqlite.session import Session
from holdfast.engines.sqlite.settings import SqliteSettings
from holdfast.engines.sqlite.turnstile import Turnstile
from holdfast.errors import BusyError, ConfigurationError, EngineError, ReadOnlyError


class Opening:
    """A path that was found to be a store (made now, if need be), and how to connect to it.

    Attributes:
        turnstile: The queue of its writers.
        page_size: Of the file, in bytes.
    """

    def __init__(self, settings: SqliteSettings, *, read_only: bool) -> None:
        self._settings, self._read_only = settings, read_only
        self._path = str(settings.path)
        self._uri: str | None = None
        self._stamp: tuple[int, int] | None = None
        folder = Path(os.path.abspath(self._path)).parent
        if not folder.is_dir():
            raise ConfigurationError(
                f"there is no directory {folder}", hint="make it first, or check the path"
            )
        require_library()
        require_checksums()
        require_filesystem(folder, exclusive=settings.exclusive)
        exists = os.path.lexists(self._path)
        if exists or read_only:
            self.page_size = layout.inspect(self._path).page_size
        if read_only:
            self.turnstile = Turnstile(self._path, 1.0, shared=False)
            self._choose_read_only()
        else:
            self.turnstile = self._queue(folder, exists=exists)

    def _queue(self, folder: Path, *, exists: bool) -> Turnstile:
        hint = "open it with read_only=True, or make it writable"
        if exists and not os.access(self._path, os.W_OK):
            raise ReadOnlyError(f"{self._path} cannot be written", hint=hint)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ReadOnlyError(f"{folder} cannot be written", hint=hint)
        timeout = self._settings.busy_timeout_ms / 1000
        try:
            # Exclusive stores too: two that are made at once must not make one file.
            turnstile = Turnstile(self._path, timeout, shared=True)
            if not exists:
                with turnstile:
                    if not os.path.lexists(self._path):
                        layout.create(self._settings)
        except PermissionError as error:
            raise ReadOnlyError(
                f"{self._path} cannot be written: {error.strerror}", hint=hint
            ) from None
        except OSError as error:
            raise EngineError(f"cannot make {self._path}: {error.strerror}") from error
        if not exists:
            self.page_size = layout.inspect(self._path).page_size
        return turnstile

    def session(self, *, cache: int | None = None, timeout_ms: int | None = None) -> Session:
        """Open a connection."""
        return Session(
            self._settings,
            filename=self._uri,
            read_only=self._read_only,
            cache=cache,
            timeout_ms=timeout_ms,
        )

    def _choose_read_only(self) -> None:
        """Fall back to reading the file as one that cannot change, where SQLite needs to write.

        Reading a WAL file takes shared memory, which a read-only directory cannot hold. Without
        a log the file alone is the whole store.
        """
        try:
            session = self.session()
        except BusyError:
            raise
        except (EngineError, ReadOnlyError):
            self._become_immutable()
            return
        try:
            session.begin_read()
            session.end()
        except BusyError:
            raise
        except (EngineError, ReadOnlyError):
            self._become_immutable()
        finally:
            session.close()

    def _become_immutable(self) -> None:
        log = Path(self._path + "-wal")
        if log.exists() and log.stat().st_size:
            raise ReadOnlyError(
                f"{self._path} has a write-ahead log that cannot be read without writing",
                hint="copy the file and its -wal to a writable directory and open the copy",
            )
        self._uri = layout.immutable_uri(self._path)
        self._stamp = self._now()

    def _now(self) -> tuple[int, int]:
        facts = os.stat(self._path)
        return facts.st_mtime_ns, facts.st_size

    @property
    def immutable(self) -> bool:
        """Whether the file is read as one that cannot change, without locks."""
        return self._uri is not None

    def changed(self) -> bool:
        """Tell whether a file read as immutable has changed after all."""
        return self._stamp is not None and (
            self._now() != self._stamp or os.path.exists(self._path + "-wal")
        )
