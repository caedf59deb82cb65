"""The options of the RocksDB engine, as a frozen dataclass. It knows no RocksDB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from holdfast.config import EngineURL, settings_from
from holdfast.errors import ConfigurationError

_PREFIX = "opt."


@dataclass(frozen=True, slots=True)
class RocksDBSettings:
    """How to open a RocksDB store.

    Attributes:
        path: The directory.
        max_open_files: The most files that RocksDB keeps open; -1 for all.
        cache_capacity: Bytes of the cache of uncompressed blocks. RocksDB's own 32 MB make reads
            of a store of a few hundred MB twenty times slower.
        compression: Compress blocks with zstd.
        bloom_filter_bits: Bits per key of the Bloom filters, 0 for none.
        block_size: Bytes of a block before compression.
        write_buffer_size: Bytes of new data kept in memory before it becomes a file.
        flush_every_ms: A RELAXED write is on disk within this time.
        reader_lag_ms: How long a read-only handle may go without looking for news of the writer.
            Each look that finds some replays the writer's log.
        options: More setters of `rocksdict.Options` by name, e.g.
            ``{"set_max_background_jobs": 4}``; in a URL ``opt.set_max_background_jobs=4``.
    """

    scheme: ClassVar[str] = "rocksdb"

    path: Path
    max_open_files: int = 1000
    cache_capacity: int = 256 * 1024 * 1024
    compression: bool = True
    bloom_filter_bits: int = 10
    block_size: int = 32 * 1024
    write_buffer_size: int = 64 * 1024 * 1024
    flush_every_ms: int = 100
    reader_lag_ms: int = 0
    options: Mapping[str, bool | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least = {
            "max_open_files": -1,
            "cache_capacity": 0,
            "bloom_filter_bits": 0,
            "block_size": 1024,
            "write_buffer_size": 64 * 1024,
            "flush_every_ms": 1,
            "reader_lag_ms": 0,
        }
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigurationError(f"rocksdb option {name!r} must be at least {low}")
        if self.max_open_files == 0:
            raise ConfigurationError("rocksdb option 'max_open_files' must be -1 or more than 0")

    @classmethod
    def from_url(cls, url: EngineURL) -> RocksDBSettings:
        """Read the settings from a URL.

        Raises:
            ConfigurationError: No path, an unknown option, or a value of another type.
        """
        if not url.location:
            raise ConfigurationError(
                "a RocksDB store needs a directory", hint='for example "rocksdb:./state"'
            )
        values: dict[str, Any] = {"path": Path(url.location)}
        more: dict[str, bool | int | float] = {}
        for name, text in url.params.items():
            if name.startswith(_PREFIX):
                more[name.removeprefix(_PREFIX)] = _scalar(name, text)
            elif name in ("path", "options"):
                raise ConfigurationError(f"rocksdb option {name!r} cannot stand in a URL")
            else:
                values[name] = text
        return settings_from(cls, values | {"options": more}, what="rocksdb")


@dataclass(frozen=True, slots=True)
class _Scalar:
    value: int | bool


def _scalar(name: str, text: Any) -> bool | int | float:
    """Read a number, a size or a boolean, in this order ("1" is a number)."""
    if isinstance(text, bool | int | float):
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    try:
        return settings_from(_Scalar, {"value": text}, what=name).value
    except ConfigurationError:
        raise ConfigurationError(
            f"rocksdb option {name!r} must be a number, a size or true/false"
        ) from None
