"""How a RocksDB store is opened: settings, then what is in the directory, then RocksDB."""

from __future__ import annotations

from holdfast.clock import Clock, SystemClock
from holdfast.config import EngineURL
from holdfast.engines.base import Engine
from holdfast.engines.rocksdb import directory, library, manifest, reached, upkeep
from holdfast.engines.rocksdb.engine import RocksDBEngine
from holdfast.engines.rocksdb.reader import RocksDBReader
from holdfast.engines.rocksdb.settings import RocksDBSettings
from holdfast.errors import CorruptionError, EngineError, NotAStoreError


def open_engine(
    target: EngineURL | RocksDBSettings, *, read_only: bool = False, clock: Clock | None = None
) -> Engine:
    """Open the store in a directory, or make one there.

    One handle can write, over all processes. Readers (``read_only=True``) work beside it: they
    see what it has handed to the operating system, which is a moment before a SYNC write is
    acknowledged.

    Args:
        target: The settings, or a URL: the directory, and the settings as options.
        read_only: Refuse writes, and leave the store to another process's writer.
        clock: For the background flush, and for what a reader may lag.

    Raises:
        ConfigurationError: The parent directory is missing, or an option is wrong.
        NotAStoreError: Something else is there; with `read_only`, or nothing is.
        FormatVersionError: The store is of a newer layout.
        BusyError: Another handle writes.
        CorruptionError: The store is damaged.
    """
    settings = target if isinstance(target, RocksDBSettings) else RocksDBSettings.from_url(target)
    cache = library.new_cache(settings.cache_capacity)
    options = library.build_options(settings, cache)
    path = settings.path
    exists = directory.inspect(path)
    if exists:
        manifest.check(path)
    if read_only:
        if not exists:
            raise NotAStoreError(f"there is no store at {path} to read")
        return RocksDBReader(
            path,
            lambda own: library.open_reader(path, own, options),
            cache=cache,
            lag_ns=settings.reader_lag_ms * 1_000_000,
            clock=clock or SystemClock(),
        )
    if not exists:
        directory.begin(path)
    try:
        database = library.open_writer(path, options, create=not exists)
    except EngineError as error:
        if exists and "does not exist (create_if_missing is false)" in error.message:
            raise CorruptionError(
                f"{path} is marked as a store, but its database is gone", where="CURRENT"
            ) from None
        raise
    try:
        sequence = database.latest_sequence_number()
        reached.check(path, sequence)
        if not exists:
            directory.finish(path)
    except BaseException:
        upkeep.let_go(database, path)
        raise
    reached.note(path, sequence)  # what RocksDB recovers from its logs, it writes to files first
    return RocksDBEngine(
        database,
        path,
        cache=cache,
        reserve=2 * settings.write_buffer_size,  # one being flushed, one being filled
        flush_every=settings.flush_every_ms / 1000,
        clock=clock or SystemClock(),
    )
