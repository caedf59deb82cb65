"""The settings of the SQLite engine, and what its URL options become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from holdfast.config import EngineURL, settings_from
from holdfast.errors import ConfigurationError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """How one SQLite file is driven. URL options carry the same names.

    Attributes:
        path: The file.
        cache_capacity: Page cache of each connection, in bytes.
        use_compression: Data for the store above, which compresses records; unused here.
        flush_every_ms: `Durability.RELAXED` data is on disk within about this long.
        page_size: Of a new file; an existing one keeps its own.
        wal_limit: Bytes beyond which the write-ahead log is truncated.
        checkpoint_every_ms: How soon after a write, and how often under writing, the log is
            copied back.
        busy_timeout_ms: How long a write queues for other processes before `BusyError`.
        max_readers: Connections kept for readers; more are opened while more read at once.
        exclusive: One process only, without shared memory. The only way on network filesystems.
        mmap_size: Passed to SQLite. Checksummed pages are always read, never mapped, so this
            only helps files made without checksums.
        temp_store: ``"default"``, ``"file"`` or ``"memory"``, passed to SQLite.
    """

    scheme: ClassVar[str] = "sqlite"

    path: Path
    cache_capacity: int = 16 * MIB
    use_compression: bool = True
    flush_every_ms: int = 1000
    page_size: int = 4096
    wal_limit: int = 64 * MIB
    checkpoint_every_ms: int = 50
    busy_timeout_ms: int = 30_000
    max_readers: int = 16
    exclusive: bool = False
    mmap_size: int = 0
    temp_store: str = "default"

    def __post_init__(self) -> None:
        if self.page_size not in (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536):
            raise ConfigurationError(
                f"sqlite option 'page_size' cannot be {self.page_size}",
                hint="use a power of two from 512 to 65536",
            )
        if self.temp_store not in ("default", "file", "memory"):
            raise ConfigurationError(
                f"sqlite option 'temp_store' cannot be {self.temp_store!r}",
                hint="use default, file or memory",
            )
        least = {
            "cache_capacity": 0,
            "flush_every_ms": 1,
            "wal_limit": 64 * 1024,
            "checkpoint_every_ms": 1,
            "busy_timeout_ms": 1,
            "max_readers": 1,
            "mmap_size": 0,
        }
        for name, bound in least.items():
            if not bound <= getattr(self, name) < 1 << 62:
                raise ConfigurationError(f"sqlite option {name!r} must be at least {bound}")

    @classmethod
    def from_url(cls, url: EngineURL) -> SqliteSettings:
        """Read the settings of ``sqlite:PATH?name=value``.

        Raises:
            ConfigurationError: No path, an unknown option, a value out of range.
        """
        location = url.location
        if not location or location == ":memory:" or "\0" in location:
            raise ConfigurationError(
                "sqlite needs the path of a file", hint='use "memory:" for a store without one'
            )
        if "path" in url.params:
            raise ConfigurationError("the path stands before the '?', not in an option")
        return settings_from(cls, {"path": Path(location), **url.params}, what="sqlite")
