"""The RocksDB engine: for stores that are written much and by one process.

`open_engine` opens a directory. Parts: `settings` (options), `directory` (what may be opened),
`library` (the only import of rocksdict, and the meaning of its errors), `engine` (the writer),
`state` (consistent reads), `upkeep`, `reader` (read-only beside a writer).
"""

from __future__ import annotations

from holdfast.engines.rocksdb.opening import open_engine
from holdfast.engines.rocksdb.settings import RocksDBSettings

__all__ = ["RocksDBSettings", "open_engine"]
