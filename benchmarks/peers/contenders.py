"""Who takes part, and at which durability. Adapters are imported when one is asked for.

- ``sync``: a set that has returned is on disk, and survives a power cut.
- ``os``: the operating system has it; it survives a killed process, perhaps not a power cut.
- ``memory``: nothing survives.

The durability is that of each store's own documentation and code, and `facts` reads back what the
store itself says of it in the run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from benchmarks.peers.peer import Peer


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One line of the tables.

    Attributes:
        name: What the tables call it.
        durability: ``"sync"``, ``"os"`` or ``"memory"``.
        kind: ``"holdfast"``, ``"peer"`` or ``"raw"``.
        adapter: Module and class below `benchmarks.peers`.
        arguments: Of the class.
        how: How the durability comes about, for the page.
    """

    name: str
    durability: str
    kind: str
    adapter: str
    arguments: dict[str, Any] = field(default_factory=dict)
    how: str = ""

    def make(self) -> Peer:
        """Make the adapter; it opens nothing yet."""
        module, _, name = self.adapter.partition(":")
        made: Callable[..., Peer] = getattr(
            importlib.import_module(f"benchmarks.peers.{module}"), name
        )
        return made(**self.arguments)

    def missing(self) -> list[str]:
        """Return the modules that it needs and that are not installed."""
        return [name for name in self.make().requires if not _installed(name)]


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _holdfast(engine: str, durability: str, how: str) -> Contender:
    return Contender(
        f"Holdfast {engine}",
        durability,
        "holdfast",
        "own:Holdfast",
        {"engine": engine, "durability": durability},
        how,
    )


CONTENDERS = (
    _holdfast("sqlite", "sync", "WAL, synchronous=FULL for the commit"),
    _holdfast("rocksdb", "sync", "write-ahead log synced before the call returns"),
    _holdfast("postgres", "sync", "synchronous_commit=on"),
    Contender(
        "LangGraph SqliteSaver",
        "sync",
        "peer",
        "langgraph_saver:LangGraphSaver",
        how="its default: WAL, synchronous=FULL",
    ),
    Contender(
        "LangGraph SqliteStore",
        "sync",
        "peer",
        "langgraph_stores:LangGraphSqlite",
        how="its default: rollback journal, synchronous=FULL",
    ),
    Contender(
        "LangGraph AsyncSqliteStore",
        "sync",
        "peer",
        "langgraph_stores:LangGraphAsyncSqlite",
        how="its default: rollback journal, synchronous=FULL",
    ),
    Contender(
        "LangGraph AsyncPostgresStore",
        "sync",
        "peer",
        "langgraph_stores:LangGraphAsyncPostgres",
        how="the server's default: synchronous_commit=on",
    ),
    Contender(
        "Agents SQLiteSession",
        "sync",
        "peer",
        "agents_session:AgentsSession",
        how="its default: WAL, synchronous=FULL",
    ),
    Contender(
        "diskcache",
        "sync",
        "peer",
        "disk_cache:DiskCache",
        {"synchronous": 2},
        "set to sqlite_synchronous=2; values of 32 KiB and more are files without fsync",
    ),
    Contender(
        "py-key-value disk",
        "sync",
        "peer",
        "key_value_stores:KeyValueDisk",
        {"synchronous": 2},
        "given a diskcache set to sqlite_synchronous=2; large values as there",
    ),
    Contender(
        "py-key-value rocksdb",
        "sync",
        "peer",
        "key_value_stores:KeyValueRocks",
        {"sync": True},
        "given a database whose write options say sync",
    ),
    Contender("raw sqlite", "sync", "raw", "bare:BareSqlite", {"sync": True}, "as Holdfast's"),
    Contender("raw rocksdb", "sync", "raw", "bare:BareRocksdb", {"sync": True}, "as Holdfast's"),
    Contender("raw postgres", "sync", "raw", "bare:BarePostgres", {}, "synchronous_commit=on"),
    _holdfast("sqlite", "os", "WAL, synchronous=NORMAL for the commit"),
    _holdfast("rocksdb", "os", "write-ahead log given to the system"),
    Contender(
        "diskcache",
        "os",
        "peer",
        "disk_cache:DiskCache",
        {"synchronous": 1},
        "its default: WAL, synchronous=NORMAL",
    ),
    Contender(
        "py-key-value disk",
        "os",
        "peer",
        "key_value_stores:KeyValueDisk",
        {"synchronous": 1},
        "its default: a diskcache with synchronous=NORMAL",
    ),
    Contender(
        "py-key-value rocksdb",
        "os",
        "peer",
        "key_value_stores:KeyValueRocks",
        {"sync": False},
        "its default: the log is not synced",
    ),
    Contender(
        "sqlitedict",
        "os",
        "peer",
        "sqlite_dict:SqliteDictPeer",
        how="fixed: synchronous=OFF; a power cut can also damage the file",
    ),
    Contender("raw sqlite", "os", "raw", "bare:BareSqlite", {"sync": False}, "as Holdfast's"),
    Contender("raw rocksdb", "os", "raw", "bare:BareRocksdb", {"sync": False}, "as Holdfast's"),
    _holdfast("memory", "memory", "in the process"),
    Contender(
        "LangGraph InMemoryStore",
        "memory",
        "peer",
        "langgraph_stores:LangGraphMemory",
        how="in the process; stores the caller's own objects, without a copy",
    ),
    Contender(
        "py-key-value memory",
        "memory",
        "peer",
        "key_value_stores:KeyValueMemory",
        how="in the process, as JSON",
    ),
    Contender("raw dict", "memory", "raw", "bare:BareMemory", {}, "MessagePack in a dict"),
)
