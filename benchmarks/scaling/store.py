"""How large a store is on a real server, and how fast its upkeep goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import holdfast
from benchmarks.data import Values, scope_of
from benchmarks.scaling.costs import log_bytes, spending
from holdfast import SetOperation, StateManager
from holdfast.errors import StateError
from holdfast.store.retention import HistoryPolicy
from proof.servers import PostgresServer

_SCOPES = 200
_BATCH = 50
_COLD = 300  # sets whose pages the log must hold whole


def key_of(number: int) -> tuple[holdfast.StateScope, str]:
    """Return the place of one of many keys."""
    return scope_of(number % _SCOPES), f"key-{number:06d}"


def measure(
    server: PostgresServer, url: str, schema: str, directory: Path, keys: int
) -> dict[str, float]:
    """Return bytes of disk and log a key, and the rates of reading, verifying and compacting."""
    found: dict[str, float] = {"keys": keys, "scopes": _SCOPES}
    values = Values()
    with holdfast.open(url, partitions=4) as state:
        log = log_bytes(server)
        _fill(state, values, keys)
        found["insert_wal_bytes"] = (log_bytes(server) - log) / keys
        found |= _sizes(server, state, f"{schema}.holdfast_rows", keys)
        found |= _reads(state, values, keys)
        found |= _log(server, state, values, keys)
        found |= _upkeep(server, state, directory, keys)
    return found


def _fill(state: StateManager, values: Values, keys: int) -> None:
    for start in range(0, keys, _BATCH):
        documents = values.documents(_BATCH)
        items = [SetOperation(*key_of(start + n), each) for n, each in enumerate(documents)]
        state.set_batch(items, durability="os")


def _sizes(server: PostgresServer, state: StateManager, table: str, keys: int) -> dict[str, float]:
    server.execute(f"VACUUM {table}")
    rows = server.execute(
        f"SELECT pg_relation_size('{table}'), pg_indexes_size('{table}'), count(*) FROM {table}"
    )[0]
    found = {
        "disk_bytes_per_key": int(str(state._kernel.engine.stats()["disk_bytes"])) / keys,
        "heap_bytes_per_key": rows[0] / keys,
        "index_bytes_per_key": rows[1] / keys,
        "rows_per_key": rows[2] / keys,
    }
    names = {1: "meta", 2: "scopes", 3: "data", 4: "headers", 5: "versions"}
    for space, size in server.execute(
        f"SELECT get_byte(k, 0), sum(pg_column_size(k) + pg_column_size(v)) FROM {table} GROUP BY 1"
    ):
        found[f"{names.get(space, space)}_bytes_per_key"] = float(size) / keys
    return found


def _reads(state: StateManager, values: Values, keys: int) -> dict[str, float]:
    spans = []
    for number in values.shuffled(min(keys, 1000), keys):
        begun = time.perf_counter()
        state.get(*key_of(number))
        spans.append(time.perf_counter() - begun)
    asked = [key_of(number) for number in values.shuffled(1000, keys)]
    begun = time.perf_counter()
    state.get_batch(asked)
    grouped = (time.perf_counter() - begun) / len(asked)
    return {"get_us": statistics.median(spans) * 1e6, "grouped_get_us": grouped * 1e6}


def _log(
    server: PostgresServer, state: StateManager, values: Values, keys: int
) -> dict[str, float]:
    """Return bytes of log a set where every page is touched for the first time since a checkpoint.

    And where none is: the difference is whole pages, which rule once a store is much larger than
    what is written between two checkpoints.
    """
    found = {}
    step = keys // _COLD
    for name in ("cold", "warm"):
        if name == "cold":
            server.execute("CHECKPOINT")
        log = log_bytes(server)
        for number in range(_COLD):
            state.set(*key_of(number * step), values.document(), durability="os")
        found[f"{name}_wal_bytes_per_set"] = (log_bytes(server) - log) / _COLD
    return found


def _upkeep(
    server: PostgresServer, state: StateManager, directory: Path, keys: int
) -> dict[str, float]:
    found = {}
    acts: dict[str, Callable[[], object]] = {
        "verify": state.verify,
        "copy": lambda: state.copy_to(directory / "copy.db"),
        "compact": lambda: state.compact([HistoryPolicy("*", max_versions=1)]),
    }
    for name, act in acts.items():
        trips = _trips(state)
        with spending(server) as spent:
            done = act()
        if name == "compact":
            found["compact_versions"] = done.versions_trimmed  # type: ignore[attr-defined]
        found[f"{name}_seconds"] = spent.elapsed
        found[f"{name}_cpu_us_per_key"] = (spent.client + spent.server) / keys * 1e6
        found[f"{name}_trips"] = _trips(state) - trips
    return found


def _trips(state: StateManager) -> int:
    return int(state._kernel.engine._connections.trips)  # type: ignore[attr-defined]


def trips(url: str) -> dict[str, int]:
    """Return the round trips of each verb, on a store of four partitions: they cost the most."""
    found = {}
    with holdfast.open(url, partitions=4) as state:
        scopes = [scope_of(number) for number in range(20)]
        first = scopes[0]
        of = state._kernel.partitions.of
        other = next(s for s in scopes if of(b"\0" + s.packed) != of(b"\0" + first.packed))
        for scope in scopes:
            state.set(scope, "k", 1)

        def transact(*among: holdfast.StateScope) -> None:
            with state.transaction() as tx:
                for scope in among:
                    tx.set(scope, "k", tx.get(scope, "k") + 1)

        def conflict() -> None:
            with suppress(StateError):
                state.set(first, "k", 1, if_revision=1)

        def snapshot(past: int | None = None) -> None:
            with state.snapshot(as_of=past) as shown:
                shown.get(first, "k")

        acts: dict[str, Callable[[], object]] = {
            "get": lambda: state.get(first, "k"),
            "get_batch of 20": lambda: state.get_batch([(scope, "k") for scope in scopes]),
            "list_keys": lambda: state.list_keys(first),
            "set": lambda: state.set(first, "k", 2),
            "set refused": conflict,
            "increment": lambda: state.increment(first, "k"),
            "transaction, 1 key": lambda: transact(first),
            "transaction, 2 partitions": lambda: transact(first, other),
            "snapshot and get": snapshot,
            "get as of a settled revision": lambda: state.get(first, "k", as_of=5000),
            "settle": state._kernel.reader.settled,
            "changes, 20": lambda: list(state.changes(0, limit=20)),
            "changes, none new": lambda: list(state.changes(state.revision)),
        }
        for name, act in acts.items():
            act()  # whatever happens once has happened
            before = _trips(state)
            act()
            found[name] = _trips(state) - before
        found["changes, none new"] -= 1  # its question for the revision
    return found
