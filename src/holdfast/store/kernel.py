"""The kernel: one open store. Wires engine, lane, reader and ephemeral state together.

It speaks of places, records and intents; the manager above it speaks of scopes and values.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from holdfast.clock import Clock, SystemClock
from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.errors import (
    ConfigurationError,
    FormatVersionError,
    LimitExceededError,
    NotAStoreError,
    ReadOnlyError,
    StateError,
)
from holdfast.keys import after
from holdfast.store import intent as wanted
from holdfast.store import layout
from holdfast.store.cache import ReadCache
from holdfast.store.committer import Committer
from holdfast.store.ephemeral import Ephemeral
from holdfast.store.expiry import Sweeper
from holdfast.store.feed import BeforeStage, Feed
from holdfast.store.group import GroupBuilder
from holdfast.store.intent import Intent, Op
from holdfast.store.journal import (
    MAX_REVISION,
    chain_hash,
    headers_between,
    journal_horizon,
    parse_head,
    read_head,
)
from holdfast.store.lane import Lane
from holdfast.store.lanes import Lanes
from holdfast.store.partitions import MAX_PARTITIONS, Partitions
from holdfast.store.past import Found
from holdfast.store.payload import Payloads
from holdfast.store.pins import Pins
from holdfast.store.reader import Reader
from holdfast.store.record import Record
from holdfast.store.turns import Turns

STORE_FORMAT = 1
_HEAD = layout.head_key(0)
_LAST_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """How a store behaves, whatever its engine.

    Attributes:
        use_compression: Compress values from 4 KiB on; None: as the engine's settings say.
        compression_level: zstd level, 1 to 19.
        max_value_bytes: The longest encoding of a value.
        max_commit_changes: The most changes one atomic commit may have.
        sweep_every: Seconds between sweeps of expired keys; 0 for never.
        cache_bytes: Keep so many bytes of values read (only where no other process writes the
            store: RocksDB); 0 for no cache.
        cache_age: Seconds that a cached value counts.
        chain_key: Key of the journal's hash chain (HMAC-SHA-256); None for plain SHA-256.
        partitions: How many revision sequences and journals a store that is made gets; one that
            is there must have as many. None: one, or as many as it has.
        read_only: Refuse writes.
        create: Make the store if it is not there.
    """

    use_compression: bool | None = None
    compression_level: int = 1
    max_value_bytes: int = 64 * 1024 * 1024
    max_commit_changes: int = 100_000
    sweep_every: float = 30.0
    cache_bytes: int = 0
    cache_age: float = 60.0
    chain_key: bytes | None = None
    partitions: int | None = None
    read_only: bool = False
    create: bool = True

    def __post_init__(self) -> None:
        bounds = {
            "compression_level": (1, 19),
            "max_value_bytes": (1, 1 << 31),
            "max_commit_changes": (1, 10_000_000),
            "sweep_every": (0, 10**9),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigurationError(f"{name} must be from {low} to {high}")
        if self.partitions is not None and not 1 <= self.partitions <= MAX_PARTITIONS:
            raise ConfigurationError(f"partitions must be from 1 to {MAX_PARTITIONS}")

    def __repr__(self) -> str:
        return f"StoreSettings(use_compression={self.use_compression}, read_only={self.read_only})"


class StoreInfo(msgspec.Struct, frozen=True):
    """The store's identity row.

    Attributes:
        format: Version of the layout.
        lineage: 16 random bytes, kept by copies and restores.
        created_ns: When the store was made.
        partitions: Number of revision sequences.
        keyed: The journal's chain is keyed.
        dictionary: Id of the compression dictionary in use; 0 for none.
    """

    format: int
    lineage: bytes
    created_ns: int
    partitions: int = 1
    keyed: bool = False
    dictionary: int = 0


class Kernel:
    """One open store.

    Args:
        engine: An open engine; the kernel closes it.
        settings: How the store behaves.
        clock: Source of time.

    Raises:
        FormatVersionError: The store is of a newer format; it was not touched.
        NotAStoreError: The engine holds something else.
    """

    def __init__(self, engine: Engine, settings: StoreSettings, clock: Clock | None = None) -> None:
        self.engine = engine
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.info = self._open_store()
        self.partitions = Partitions(self.info.partitions)
        self.key_limit = min(layout.MAX_KEY_BYTES, engine.traits.max_key_bytes)
        self.payloads = Payloads(
            compress=settings.use_compression is not False,
            max_bytes=settings.max_value_bytes,
            level=settings.compression_level,
            load_dictionary=self._load_dictionary,
        )
        if self.info.dictionary:
            self.payloads.use_dictionary(self.info.dictionary)
        self.ephemeral = Ephemeral()
        self.turns = Turns()
        self.pins = Pins(engine, self.clock)
        self.reader = Reader(
            engine,
            self.clock,
            self.payloads,
            self.pins,
            self.ephemeral,
            self.partitions,
            can_settle=not settings.read_only,
        )
        self.cache = self._make_cache()
        self.reader.cache = self.cache
        self.committer = Committer(
            engine,
            self.clock,
            self.payloads,
            settings.chain_key,
            self.partitions,
            self._committed,
        )
        commit, inline = self.committer.commit, not engine.traits.persistent
        self.lane: Lane | Lanes
        if self.partitions.count == 1:
            self.lane = Lane(commit, lead_inline=inline)
        else:
            self.lane = Lanes(commit, self.partitions, lead_inline=inline)
        self.sweeper = Sweeper(self)
        self.before: BeforeStage | None = None
        self.closed = False
        _open_kernels.add(self)
        if not settings.read_only and self.next_expiry() is not None:
            self.sweeper.wake()

    def _make_cache(self) -> ReadCache | None:
        settings, traits = self.settings, self.engine.traits
        if not settings.cache_bytes:
            return None
        if traits.shared or settings.read_only:
            raise ConfigurationError(
                f"{traits.name}: other processes may write this store, so it has no read cache",
                hint="leave cache_bytes at 0; the engine's own cache is cache_capacity",
            )
        return ReadCache(self.clock, settings.cache_bytes, settings.cache_age)

    def _committed(self, group: GroupBuilder) -> None:
        """Bring up to date what lives beside the engine; called before a write is acknowledged."""
        if self.cache is not None:
            self.cache.forget(group.places)
        if group.expiring:
            self.sweeper.wake()

    # --- identity -------------------------------------------------------------------------

    def _open_store(self) -> StoreInfo:
        row = self.engine.get(layout.STORE)
        if row is None:
            row = self._create_store()
        try:
            info = msgspec.msgpack.decode(row, type=StoreInfo)
        except (msgspec.MsgspecError, ValueError):
            raise NotAStoreError("the store's identity row is damaged or foreign") from None
        if info.format > STORE_FORMAT:
            raise FormatVersionError(
                f"the store has format {info.format}; this Holdfast reads up to {STORE_FORMAT}"
            )
        asked = self.settings.partitions
        if asked is not None and asked != info.partitions:
            raise ConfigurationError(
                f"the store has {info.partitions} partitions, not {asked}",
                hint="leave partitions= out: the number is fixed when a store is made",
            )
        self._check_key(info)
        return info

    def _check_key(self, info: StoreInfo) -> None:
        """Refuse a chain key that is missing or another one: what it wrote would not chain."""
        key = self.settings.chain_key
        if key is not None and not info.keyed:
            raise ConfigurationError(
                "the store's journal is chained without a key", hint="open it without chain_key="
            )
        if not info.keyed or self.settings.read_only:
            return
        if key is None:
            raise ReadOnlyError(
                "the store's journal is chained with a key, and none was given",
                hint="pass chain_key=, or open with read_only=True",
            )
        for partition in range(info.partitions):
            with self.engine.read() as view:
                head = read_head(view, partition)
                row = view.get(layout.journal_key(partition, head.revision))
            if row is not None and chain_hash(row, key) != head.hash:
                raise ConfigurationError(
                    "the chain_key is not the one that the store's journal is chained with",
                    hint="if it is, the last header is damaged: open read_only=True and verify",
                )

    def _create_store(self) -> bytes:
        if self.settings.read_only or not self.settings.create:
            raise NotAStoreError("there is no store here")
        fresh = msgspec.msgpack.encode(
            StoreInfo(
                format=STORE_FORMAT,
                lineage=os.urandom(16),
                created_ns=self.clock.now_ns(),
                partitions=self.settings.partitions or 1,
                keyed=self.settings.chain_key is not None,
            )
        )
        made = fresh

        def body(view: View) -> Batch:
            nonlocal made
            there = view.get(layout.STORE)
            if there is not None:  # another process was faster
                made = there
                return Batch()
            if view.get(layout.INCOMPLETE) is not None:
                raise NotAStoreError(
                    "a copy or repair into this store was cut off",
                    hint="delete it and run the copy or repair again",
                )
            if view.scan(b"\x00", b"\xff", limit=1, keys_only=True):
                raise NotAStoreError("the engine holds data that is not a Holdfast store")
            made = fresh
            return Batch(puts=[(layout.STORE, fresh)])

        self.engine.write(Durability.SYNC, body)
        return made

    def _load_dictionary(self, dictionary_id: int) -> bytes | None:
        return self.engine.get(layout.BLOBS + dictionary_id.to_bytes(4))

    def add_dictionary(self, dictionary: bytes) -> None:
        """Store a compression dictionary under the next free number, and use it from now on.

        The number is chosen inside the write: another process may have added one meanwhile, and
        a dictionary that a value was written with must stay.
        """

        def body(view: View) -> Batch:
            row = view.get(layout.STORE)
            assert row is not None
            blobs = layout.BLOBS, after(layout.BLOBS)
            last = view.scan(*blobs, reverse=True, limit=1, keys_only=True)
            number = int.from_bytes(last[0][0][1:]) + 1 if last else 1
            info = msgspec.msgpack.decode(row, type=StoreInfo)
            info = msgspec.structs.replace(info, dictionary=number)
            blob = (layout.BLOBS + number.to_bytes(4), dictionary)
            return Batch(puts=[(layout.STORE, msgspec.msgpack.encode(info)), blob])

        self.refuse_read_only()
        self.engine.write(Durability.SYNC, body)
        row = self.engine.get(layout.STORE)
        assert row is not None
        self.info = msgspec.msgpack.decode(row, type=StoreInfo)
        self.payloads.use_dictionary(self.info.dictionary)

    # --- what transactions show ------------------------------------------------------------

    def outward(self, revision: int) -> int:
        """Return what callers are told of a revision that a transaction works with."""
        return revision

    def found(self, place: bytes, stored: Record, start: int) -> Found:
        """Return what a transaction that began at the revision `start` has read at `place`."""
        return Found(place, stored, self.payloads.restore(place, stored))

    # --- writing --------------------------------------------------------------------------

    def refuse_read_only(self) -> None:
        """Raise if the store is open for reading.

        Raises:
            ReadOnlyError: It is.
        """
        if self.settings.read_only:
            raise ReadOnlyError("the store is open for reading only")

    def admit_direct(self) -> None:
        """Refuse what is written at once, and is no commit, where only commits may be made.

        Raises:
            ReadOnlyError: The store is open for reading.
            RejectedError: The guard says so.
        """
        self.refuse_read_only()
        if self.ephemeral.guard is not None:
            self.ephemeral.guard()

    def guard(self, guard: Callable[[], None]) -> None:
        """Have `guard` raise where nothing but commits may be made."""
        self.ephemeral.guard = guard

    def admit(self, intent: Intent) -> None:
        """Refuse what can never be committed, before it is queued.

        Raises:
            ReadOnlyError: The store is open for reading.
            LimitExceededError: One atomic commit cannot be as large.
        """
        if self.settings.read_only:
            self.refuse_read_only()
        if not (len(intent.ops) > 1 or intent.events):
            return
        if intent.measure() > self.engine.traits.max_batch_bytes:
            raise LimitExceededError(
                "this is too large for one atomic commit",
                hint="split it: fewer keys at once, or scopes in parts by prefix",
                limit=self.engine.traits.max_batch_bytes,
                actual=intent.weight,
            )

    def commit(self, intent: Intent) -> Intent:
        """Commit an intent and return it with its outcome, or raise why not."""
        if self.settings.read_only or len(intent.ops) > 1 or intent.events:
            self.admit(intent)
        if self.before is not None and self.before.wants(intent):
            self.before.run(intent, self.lane.submit)
        else:
            self.lane.submit(intent)
        if intent.error is not None:
            raise intent.error
        return intent

    @property
    def feed(self) -> Feed:
        """Who is told of commits."""
        return self.committer.feed

    def find_commit(self, commit_id: bytes, since: int) -> int | None:
        """Return the revision of a commit, or None if it did not happen.

        Looks inside a write, so that it waits for a commit still in flight.

        Args:
            commit_id: The id.
            since: A revision from before the attempt, where the search begins.
        """
        found: int | None = None
        every = self.partitions.all

        def body(view: View) -> Batch:
            nonlocal found
            rows = view.get_many([layout.commit_key(p, commit_id) for p in every])
            found = next((int.from_bytes(row[:8]) for row in rows if row is not None), None)
            for partition in every:
                if found is None:
                    low = max(since, journal_horizon(view, partition)[0])
                    for header in headers_between(view, partition, low, MAX_REVISION):
                        for at, commit in enumerate(header.commits):
                            if commit.commit_id == commit_id:
                                found = header.first + at
            return Batch()

        self.engine.write(Durability.OS, body, every)
        return found

    def head_revision(self) -> int:
        """Return the revision of the last commit."""
        if self.partitions.count == 1:
            return parse_head(self.engine.get(_HEAD)).revision
        return max(self.head_revisions())

    def head_revisions(self) -> list[int]:
        """Return the revision of each partition's last commit, of one moment."""
        rows = self.engine.get_many([layout.head_key(p) for p in self.partitions.all])
        return [parse_head(row).revision for row in rows]

    def sweep(self) -> int:
        """Remove what has expired, journaled; return how many keys that were."""
        return self.sweeper.sweep()

    def expired(self, partition: int, limit: int) -> list[Op]:
        """Return operations that remove a partition's keys whose time has come."""
        due = layout.expiry_range(partition, 0, self.clock.now_ns())
        with self.engine.read() as view:
            rows = view.scan(*due, limit=limit, keys_only=True)
        places = [layout.expiry_parts(key)[1] for key, _ in rows]
        return [Op(wanted.EXPIRE, layout.owner_of(place), place) for place in places]

    def next_expiry(self) -> int | None:
        """Return when the next key expires, or None."""
        with self.engine.read() as view:
            ranges = [layout.expiry_range(p, 0, _LAST_NS) for p in self.partitions.all]
            rows = [view.scan(*each, limit=1, keys_only=True) for each in ranges]
        return min((layout.expiry_parts(row[0][0])[0] for row in rows if row), default=None)

    # --- end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Finish queued writes, stop the background, close the engine. Twice is no error."""
        if self.closed:
            return
        self.closed = True
        self.sweeper.stop()
        try:
            self.lane.close()
        finally:
            _open_kernels.discard(self)
            self.engine.close()

    def after_fork(self) -> None:
        """Make the child's copy usable: the lane's thread and locks belong to the parent."""
        self.lane.after_fork()
        self.committer.after_fork()
        self.committer.feed.after_fork()
        self.pins.after_fork()
        self.turns.after_fork()
        self.sweeper.after_fork()
        self.ephemeral.lock = threading.RLock()
        if self.cache is not None:
            self.cache.after_fork()


_open_kernels: weakref.WeakSet[Kernel] = weakref.WeakSet()  # for fork only


def _after_fork() -> None:
    for kernel in list(_open_kernels):
        try:
            kernel.after_fork()
        except StateError:  # the engine says so at the first use
            continue


def _close_all() -> None:
    # A program that ends without closing leaves a log beside its file otherwise.
    for kernel in list(_open_kernels):
        with suppress(StateError):
            kernel.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_close_all)
