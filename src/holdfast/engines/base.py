"""THE engine contract: an ordered map from bytes to bytes, the only storage interface there is.

An engine stores what it is given and knows nothing of scopes, records or revisions. Everything
in this page is normative; `holdfast.testing.EngineConformance` checks it.

Words: *key* is 1 to `traits.max_key_bytes` bytes; *value* is any bytes, also empty. Keys are
ordered as unsigned bytes. A range is half open, ``start <= key < stop``. The first byte of a
key names its *space*; an engine MAY store spaces apart (column families, tables).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol


class Durability(enum.IntEnum):
    """What an acknowledgement means, weakest first (so `max` gives the strongest)."""

    MEMORY = 0  #: gone at restart
    RELAXED = 1  #: survives a killed process once written out; flushed to disk within an interval
    OS = 2  #: survives a killed process, perhaps not a power cut
    SYNC = 3  #: on disk: survives a power cut


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """How an engine differs from others, as data.

    Attributes:
        name: The URL scheme, e.g. ``"sqlite"``.
        persistent: Data survives closing the engine.
        shared: Several processes may write the same store at once.
        remote: Every call is a network round trip: callers move reads off the event loop.
        max_key_bytes: The longest key the engine takes.
        max_batch_bytes: The most bytes one write may put.
        clocked: Views have a `now_ns` of the store's own clock (see `ClockedView`), so that commit
            times do not depend on which machine writes.
        partitioned: Writes of different partitions run at once; the views that their bodies get
            have a `sequence` (see `SequencedView`).
        compress: Whether the store above should compress large values (unless it is told).
    """

    name: str
    persistent: bool
    shared: bool
    remote: bool = False
    max_key_bytes: int = 2500
    max_batch_bytes: int = 512 * 1024 * 1024
    clocked: bool = False
    partitioned: bool = False
    compress: bool = True


@dataclass(slots=True)
class Batch:
    """The outcome of a write's body, applied atomically.

    In this order: `delete_ranges`, then `deletes`, then `puts`. A key MUST NOT be put twice in
    one batch. Deleting what is absent is no error.
    """

    puts: list[tuple[bytes, bytes]] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)
    delete_ranges: list[tuple[bytes, bytes]] = field(default_factory=list)


class View(Protocol):
    """A consistent state of the whole store: no later commit ever shows in it."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order, None where absent. Keys may repeat."""
        ...

    def scan(
        self,
        start: bytes,
        stop: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Return the pairs with ``start <= key < stop``, ascending (descending if `reverse`).

        At most `limit` pairs. With `keys_only` values are not read and come as ``b""``.
        MUST raise `CorruptionError`, never return short, where the engine notices damage.
        """
        ...


class ClockedView(View, Protocol):
    """A view of an engine that has a clock of its own (`traits.clocked`)."""

    def now_ns(self) -> int:
        """Return the store's time, in nanoseconds since the epoch."""
        ...


class SequencedView(View, Protocol):
    """A writer's view in an engine that runs writes of several partitions (`partitioned`)."""

    def sequence(self) -> int:
        """Return a number that no other write gets; once per run of the body.

        It is positive, below 2^53, and greater than every number that was returned to a write
        that had ended, or that held a partition of this one's, before this write got its own.
        """
        ...


Body = Callable[[View], Batch]


class Engine(Protocol):
    """An ordered bytes store. Every method MUST be safe to call from several threads.

    Errors. Foreign exceptions MUST be mapped to `holdfast.errors`. An error before the commit
    is definite: nothing was written. **Any** error of the commit or of a flush MUST surface as
    `OutcomeUnknownError` (its ``commit_id`` is filled in by the kernel), after which the engine
    MUST refuse writes with `PoisonedError` until it is reopened, except where it can prove that
    nothing was written (a full disk that failed before the commit: `DiskFullError`), or that the
    next write of the same partition waits until the lost commit has ended one way or the other,
    and sees how (a server that keeps the partition's lock with the transaction).
    """

    traits: EngineTraits

    def get(self, key: bytes) -> bytes | None:
        """Return the committed value of `key`, or None. This is the hot path."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the committed values of `keys` in one consistent read."""
        ...

    def read(self) -> AbstractContextManager[View]:
        """Open a consistent view. Callers MUST close it within one call of theirs."""
        ...

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Run `body` on the state before and commit the batch that it returns.

        Writers of one partition MUST be serialised, over all processes; a writer of several
        holds them all, and taking them MUST NOT deadlock. `body` MUST be pure: the
        engine MAY call it again after a failure of serialisation. An exception of `body` MUST
        leave nothing written and propagate as it is. When this returns, the batch is visible to
        every reader, and survives as `durability` says. An empty batch writes nothing, but with
        `SYNC` everything acknowledged earlier is on disk too.
        """
        ...

    def flush(self) -> None:
        """Bring everything acknowledged so far to disk. Raises as a commit does."""
        ...

    def reclaim(self, budget: int | None = None) -> int:
        """Give free space back to the disk, about `budget` bytes at most; return how much."""
        ...

    def stats(self) -> Mapping[str, int | float | str]:
        """Return facts for `info()` and `health()`: sizes in bytes, counts, the path.

        Where they apply: ``disk_bytes``, ``wal_bytes``, ``free_bytes`` (of the filesystem),
        ``path``, ``version`` (of the library).
        """
        ...

    def close(self) -> None:
        """Flush and release everything. Closing twice is no error.

        Any other call then MUST raise `ClosedError`.
        """
        ...
