"""The primary's engine, watched: its failures are reported, and what passes is mirrored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.engines.base import Batch, Body, Durability, Engine, View
from holdfast.errors import DegradedError, EngineError, OutcomeUnknownError
from holdfast.failover.breaker import says_away
from holdfast.failover.mirror import Mirror
from holdfast.store import layout

_DATA = layout.DATA[0]


class WatchedEngine:
    """An engine whose every call tells what it saw, or that it failed.

    Once given up it refuses every call at once: what still queues for it is not to wait for
    another time-out.

    Args:
        inner: The engine that does the work.
        mirror: Hears of every record read or written.
        failed: Hears of every failure that says the primary is away, before it is raised.
    """

    def __init__(
        self, inner: Engine, mirror: Mirror, failed: Callable[[EngineError], None]
    ) -> None:
        self.inner = inner
        self.traits = inner.traits
        self._mirror = mirror
        self._failed = failed
        self._given_up = False

    def give_up(self) -> None:
        """Refuse every call from now on."""
        self._given_up = True

    @contextmanager
    def _watching(self, *, writing: bool = False) -> Iterator[None]:
        try:
            if self._given_up:
                raise EngineError("the primary was given up", hint="the call goes to the spill")
            yield
        except EngineError as error:
            if not says_away(error):
                raise
            if not self._given_up:
                self._failed(error)
            if writing or not self._given_up:
                raise  # whether a write may have happened is what its caller has to know
            raise DegradedError(
                f"the primary is away ({error.code}), and what was asked needs it"
            ) from error

    def get(self, key: bytes) -> bytes | None:
        """Read one row."""
        stamp = self._mirror.stamp()
        with self._watching():
            raw = self.inner.get(key)
        if key[0] == _DATA:
            self._mirror.saw(key[1:], raw, stamp)
        return raw

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read rows."""
        stamp = self._mirror.stamp()
        with self._watching():
            found = self.inner.get_many(keys)
        _tell(self._mirror, keys, found, stamp)
        return found

    @contextmanager
    def read(self) -> Iterator[View]:
        """Open a view that is watched."""
        stamp = self._mirror.stamp()
        with self._watching(), self.inner.read() as view:
            yield _WatchedView(view, self._mirror, stamp)

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Write, and mirror what was written before anybody is told."""
        batch = Batch()

        def watched(view: View) -> Batch:
            nonlocal batch
            batch = body(view)
            return batch

        with self._watching(writing=True):
            try:
                self.inner.write(durability, watched, partitions)
            except OutcomeUnknownError:
                touched = [key for key, _ in batch.puts] + batch.deletes
                self._mirror.forget(key[1:] for key in touched if key[0] == _DATA)
                raise
        self._mirror.wrote(batch)

    def flush(self) -> None:
        """Pass on."""
        with self._watching(writing=True):
            self.inner.flush()

    def reclaim(self, budget: int | None = None) -> int:
        """Pass on."""
        with self._watching():
            return self.inner.reclaim(budget)

    def stats(self) -> Mapping[str, int | float | str]:
        """Pass on."""
        with self._watching():
            return self.inner.stats()

    def close(self) -> None:
        """Pass on."""
        self.inner.close()


class _WatchedView:
    __slots__ = ("_mirror", "_stamp", "_view")

    def __init__(self, view: View, mirror: Mirror, stamp: int) -> None:
        self._view = view
        self._mirror = mirror
        self._stamp = stamp

    def get(self, key: bytes) -> bytes | None:
        raw = self._view.get(key)
        if key[0] == _DATA:
            self._mirror.saw(key[1:], raw, self._stamp)
        return raw

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found = self._view.get_many(keys)
        _tell(self._mirror, keys, found, self._stamp)
        return found

    def scan(
        self,
        start: bytes,
        stop: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        found = self._view.scan(start, stop, reverse=reverse, limit=limit, keys_only=keys_only)
        if not keys_only and found and found[0][0][0] == _DATA:
            for key, raw in found:
                self._mirror.saw(key[1:], raw, self._stamp)
        return found

    def __getattr__(self, name: str) -> Any:  # the clock or sequence that some views have
        return getattr(self._view, name)


def _tell(mirror: Mirror, keys: Sequence[bytes], found: Sequence[bytes | None], stamp: int) -> None:
    for key, raw in zip(keys, found, strict=True):
        if key[0] == _DATA:
            mirror.saw(key[1:], raw, stamp)
