"""Would a cache of values pay where an engine is not shared? Figures for docs/decisions/0005.

Run ``python -m benchmarks.read_cache [--rounds 15] [--keys 200]``.

The cache is as small as a correct one can be: encoded values in a dict ordered by use, bounded in
bytes and age, under a lock, emptied by commits. It keeps encodings, for what `get` returns is the
caller's own: a hit decodes too. Reads go to a working set that fits both the cache and RocksDB's
block cache, which is the best case for the cache: every read is a hit.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import holdfast
from benchmarks.data import Values, scope_of
from benchmarks.measure import pair_of, settle, timed
from benchmarks.raw import url_of
from holdfast.store import layout, record
from holdfast.store.codec import decode
from holdfast.store.kernel import Kernel

_SIZES = {"200 B": 200, "2 KB": 2000, "64 KB": 64_000}
_CALLS = {"200 B": 4000, "2 KB": 2000, "64 KB": 100}


class ReadCache:
    """Encoded values by place, the least recently used dropped first.

    Args:
        capacity: Most bytes of places and values.
        max_age: Seconds after which an entry counts no more.
    """

    def __init__(self, kernel: Kernel, capacity: int, max_age: float) -> None:
        self._kernel = kernel
        self._capacity, self._max_age = capacity, max_age
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0
        self._generation = 0
        self.hits = self.misses = 0

    def value(self, place: bytes, default: Any) -> Any:
        """Return the value at `place`, as `Reader.value` does."""
        with self._lock:
            entry = self._entries.get(place)
            if entry is not None and entry[1] > time.monotonic():
                self._entries.move_to_end(place)
                self.hits += 1
                return decode(entry[0])
            self.misses += 1
            generation = self._generation
        kernel = self._kernel
        raw = kernel.engine.get(layout.DATA + place)
        if raw is None:
            return default
        if raw[:4] == record.SIMPLE:
            payload = record.simple_payload(place, raw)
        else:
            found = record.parse(place, raw)
            if found.expires_ns:  # expiry is exact: such values are not kept
                return kernel.reader.value(place, default)
            payload = kernel.payloads.restore(place, found)
        with self._lock:
            if generation == self._generation:  # no commit since the read
                self._entries[place] = (payload, time.monotonic() + self._max_age)
                self._bytes += len(place) + len(payload)
                while self._bytes > self._capacity:
                    old, (gone, _) = self._entries.popitem(last=False)
                    self._bytes -= len(old) + len(gone)
        return decode(payload)

    def committed(self, places: list[bytes]) -> None:
        """Forget what a commit has changed."""
        with self._lock:
            self._generation += 1
            for place in places:
                gone = self._entries.pop(place, None)
                if gone is not None:
                    self._bytes -= len(place) + len(gone[0])


def value_of(values: Values, size: int) -> Any:
    """Return one small document, or a list of them: what agents keep."""
    return values.document(size) if size <= 200 else values.documents(size // 200, 200)


def measure(engine: str, path: Path, size: str, keys: int, rounds: int) -> str:
    """Return one row of the table."""
    values, calls = Values(), _CALLS[size]
    scope = scope_of(0)
    names = [f"k{n}" for n in range(keys)]
    with closing(holdfast.open(url_of(engine, path))) as state:
        for name in names:
            state.set(scope, name, value_of(values, _SIZES[size]), durability="os")
        state.compact()  # into files: gets come from the block cache, not from the memtable
        kernel = state._kernel
        address = state._address
        owner = address.owner(scope)
        cache = ReadCache(kernel, 256 << 20, 60.0)
        plain, cached = kernel.reader.value, cache.value
        missing = ReadCache(kernel, 0, 60.0).value  # keeps nothing: what a miss costs
        places = {name: address.place(owner, name) for name in names}

        def loop(read: Callable[[bytes, Any], Any], chosen: list[bytes]) -> None:
            for place in chosen:
                read(place, None)

        def gets(chosen: list[str]) -> None:
            for name in chosen:
                state.get(scope, name)

        series: dict[str, list[float]] = {"plain": [], "cached": [], "miss": [], "get": []}
        settle()
        for number in range(rounds + 1):
            chosen = [names[n] for n in values.shuffled(calls, keys)]
            where = [places[name] for name in chosen]
            spent = {
                "plain": timed(lambda where=where: loop(plain, where)),  # type: ignore[misc]
                "cached": timed(lambda where=where: loop(cached, where)),  # type: ignore[misc]
                "miss": timed(lambda where=where: loop(missing, where)),  # type: ignore[misc]
                "get": timed(lambda chosen=chosen: gets(chosen)),  # type: ignore[misc]
            }
            if number:
                for name, seconds in spent.items():
                    series[name].append(seconds / calls * 1e6)
        assert cache.hits > cache.misses
    inner = pair_of(series["cached"], series["plain"])
    miss = pair_of(series["miss"], series["plain"]).ratio
    saved = [
        (p - c) / g
        for p, c, g in zip(series["plain"], series["cached"], series["get"], strict=True)
    ]
    figures = [statistics.median(series[name]) for name in ("get", "plain", "cached")]
    return (
        f"| {engine} | {size} | {figures[0]:.2f} | {figures[1]:.2f} | {figures[2]:.2f} | "
        f"{inner.ratio:.2f} ({inner.low:.2f}-{inner.high:.2f}) | "
        f"{100 * statistics.median(saved):.0f} % | {miss:.2f} | {even(inner.ratio, miss)} |"
    )


def even(hit: float, miss: float) -> str:
    """Return the share of hits from which on the cache saves time at all."""
    if hit >= 1:
        return "never"
    return f"{100 * max(0.0, miss - 1) / (max(0.0, miss - 1) + 1 - hit):.0f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--keys", type=int, default=200)
    asked = parser.parse_args()
    names = ["engine", "value", "get, µs", "read, µs", "hit, µs", "hit by read (quartiles)"]
    names += ["saved of a get", "miss by read", "even from hits of"]
    print("| " + " | ".join(names) + " |")
    print("|---" * len(names) + "|")
    for engine in ("memory", "rocksdb"):
        for size in _SIZES:
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "store"
                print(measure(engine, path, size, asked.keys, asked.rounds), flush=True)


if __name__ == "__main__":
    main()
