"""The only import of rocksdict: what it offers, how it is set up, what its errors mean.

rocksdict raises plain `Exception` with the text of a RocksDB status, which begins with the name
of its code (``Corruption: …``); that beginning is all there is to decide by.
"""

from __future__ import annotations

import difflib
import importlib.metadata
from pathlib import Path

from holdfast.engines.base import Batch
from holdfast.engines.rocksdb.settings import RocksDBSettings
from holdfast.errors import (
    BusyError,
    ConfigurationError,
    CorruptionError,
    EngineError,
    MissingExtraError,
    StateError,
)

try:
    import rocksdict
except ImportError as error:
    raise MissingExtraError(
        "the RocksDB engine needs rocksdict", hint="pip install 'holdfast[rocksdb]'"
    ) from error

Database = rocksdict.Rdict
Snapshot = rocksdict.Snapshot
Iterator = rocksdict.RdictIter

#: What `Snapshot.__getitem__` says of an absent key; a status never has this text.
ABSENT = ("key not found",)


def version() -> str:
    """Return the version of rocksdict (it does not tell RocksDB's)."""
    return importlib.metadata.version("rocksdict")


def build_batch(batch: Batch) -> rocksdict.WriteBatch | None:
    """Return RocksDB's batch, None for an empty one.

    It is in the contract's order: in RocksDB the later entry wins.
    """
    if not (batch.puts or batch.deletes or batch.delete_ranges):
        return None
    made = rocksdict.WriteBatch(raw_mode=True)
    for start, stop in batch.delete_ranges:
        if start < stop:  # RocksDB would take one that is upside down and then fail for good
            made.delete_range(start, stop)
    for key in batch.deletes:
        made.delete(key)
    put = made.put
    for key, value in batch.puts:
        put(key, value)
    return made


def bounded(stop: bytes) -> rocksdict.ReadOptions:
    """Return options for an iterator that ends before `stop`.

    There is no lower one: `set_iterate_lower_bound` of rocksdict 0.3.29 sets the upper bound.
    """
    options = rocksdict.ReadOptions()
    options.set_iterate_upper_bound(stop)
    return options


def build_options(settings: RocksDBSettings, cache: rocksdict.Cache) -> rocksdict.Options:
    """Return RocksDB options for `settings`.

    Raises:
        ConfigurationError: A passed-through setter does not exist or refuses its value.
    """
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(False)
    options.set_max_open_files(settings.max_open_files)
    options.set_write_buffer_size(settings.write_buffer_size)
    zstd, none = rocksdict.DBCompressionType.zstd, rocksdict.DBCompressionType.none
    options.set_compression_type(zstd() if settings.compression else none())
    # RocksDB's default opens a log with a flipped bit without a word, up to the last sound record
    # (781 of 2,000 synced keys in our trial). This mode forgives a torn tail only.
    options.set_wal_recovery_mode(rocksdict.DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_keep_log_file_num(4)
    options.set_max_log_file_size(4 << 20)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_block_size(settings.block_size)
    if settings.bloom_filter_bits:
        blocks.set_bloom_filter(settings.bloom_filter_bits, False)
    options.set_block_based_table_factory(blocks)
    for name, value in settings.options.items():
        _set(options, name, value)
    return options


#: Setters that would break the engine's promises.
_REFUSED = {"create_if_missing", "set_error_if_exists", "set_wal_recovery_mode"}
_REFUSED |= {"set_wal_dir", "set_db_paths", "set_env", "set_unordered_write", "set_db_log_dir"}
_REFUSED |= {
    "set_inplace_update_support",
    "set_allow_mmap_writes",
    "create_missing_column_families",
}


def _set(options: rocksdict.Options, name: str, value: bool | float) -> None:
    setters = {
        n for n in dir(rocksdict.Options) if n.startswith(("set_", "optimize_", "increase_"))
    }
    setters -= _REFUSED
    if name not in setters:
        near = difflib.get_close_matches(name, sorted(setters), 1)
        raise ConfigurationError(
            f"rocksdict.Options has no setter {name!r} that can be used here",
            hint=f"did you mean {near[0]!r}?" if near else "see the options of rocksdict",
        )
    try:
        getattr(options, name)(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"rocksdb option {name!r} refuses its value: {error}") from None


def new_cache(capacity: int) -> rocksdict.Cache:
    """Return a block cache of `capacity` bytes."""
    return rocksdict.Cache(capacity)


def open_writer(path: Path, options: rocksdict.Options, *, create: bool) -> rocksdict.Rdict:
    """Open for reading and writing.

    Raises:
        BusyError: Another handle has it open.
        CorruptionError: It is damaged.
    """
    options.create_if_missing(create)
    try:
        return rocksdict.Rdict(str(path), options)
    except Exception as error:  # noqa: BLE001 - rocksdict's own class
        raise translate(error, f"open {path}") from None


def open_reader(path: Path, own: Path, options: rocksdict.Options) -> rocksdict.Rdict:
    """Open for reading beside a writer; `own` is a directory for this handle's log."""
    # Every file is held open from the beginning: the writer may delete it.
    options.set_max_open_files(-1)
    options.set_db_log_dir(str(own))
    access = rocksdict.AccessType.read_only(False)
    try:
        return rocksdict.Rdict(str(path), options, access_type=access)
    except Exception as error:  # noqa: BLE001 - rocksdict's own class
        raise translate(error, f"open {path} for reading") from None


def compact(database: rocksdict.Rdict, start: bytes | None, stop: bytes | None) -> None:
    """Compact a range, the bottommost files too, so that what was deleted leaves the disk."""
    options = rocksdict.CompactOptions()
    options.set_bottommost_level_compaction(rocksdict.BottommostLevelCompaction.force_optimized())
    database.compact_range(start, stop, options)


def translate(error: BaseException, what: str) -> BaseException:
    """Return the Holdfast error that says what `error` says; ours and foreign ones as they are."""
    if isinstance(error, StateError) or not isinstance(error, Exception):
        return error
    text = str(error)
    if isinstance(error, OSError):  # rocksdict keeps a file of its own beside RocksDB's
        return EngineError(f"cannot {what}: {text}")
    if type(error) is not Exception and not isinstance(error, rocksdict.DbClosedError):
        return error
    if text.startswith("Corruption"):
        return CorruptionError(f"RocksDB found damage ({what}): {text}", where=text)
    if "lock hold by current process" in text:
        return BusyError(
            f"cannot {what}: this process has it open already",
            hint="share one handle per process, or close the other one first",
        )
    if "While lock file" in text:
        return BusyError(
            f"cannot {what}: another process has it open for writing",
            hint="close it there, or open it here with read_only=True",
        )
    return EngineError(f"RocksDB failed ({what}): {text}")
