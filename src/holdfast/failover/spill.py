"""The spill: a store of its own in a local file, and the rows that say what it stands in for.

One process at a time: the spill's journal is the queue of what the primary has not got yet, and
its writer's epoch is one.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from holdfast.clock import Clock
from holdfast.config import EngineURL
from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.engines.registry import open_engine
from holdfast.errors import BusyError, DivergedError
from holdfast.failover import rows
from holdfast.failover.mirror import Mirror
from holdfast.failover.rows import Identity, Outage, Session
from holdfast.failover.settings import FailoverSettings
from holdfast.keys import after
from holdfast.store import layout
from holdfast.store.journal import CommitEntry, Header, parse_header
from holdfast.store.kernel import Kernel, StoreSettings

HEADERS = 200  #: read at once
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Spill:
    """The open spill of one process.

    Attributes:
        kernel: The spill's own store.
        engine: Its engine.
        mirror: What is known of the primary.
        identity: Whose spill it is; None while it has never met a primary.
        outage: The outage that is not over yet, or None.
    """

    def __init__(self, settings: FailoverSettings, clock: Clock) -> None:
        self.clock = clock
        self.path = Path(settings.spill)
        self._lock = _take(self.path)
        try:
            self.engine = open_engine(EngineURL("sqlite", str(self.path)), clock=clock)
            try:
                # Nothing expires here by itself: what the spill holds is carried over, or dropped.
                self.kernel = Kernel(self.engine, StoreSettings(sweep_every=0), clock)
                self.mirror = Mirror(self.engine, settings.mirror_keys, settings.mirror_queue)
                self._read()
            except BaseException:
                self.engine.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise

    def _read(self) -> None:
        row = self.engine.get(rows.IDENTITY)
        self.identity = None if row is None else rows.unpack_identity(row)
        row = self.engine.get(rows.OUTAGE)
        self.outage = None if row is None else rows.unpack_outage(row)
        row = self.engine.get(rows.SESSION)
        boot = _boot()
        if row is not None and self.outage is None:
            last = rows.unpack_session(row)
            if not last.clean and (last.boot != boot or not boot):
                # The machine went down: what was mirrored last may not have reached the disk.
                self.mirror.clear()
        self._put(rows.SESSION, rows.pack(Session(boot, clean=False)), Durability.SYNC)
        self.mirror.load()

    # --- identity -------------------------------------------------------------------------

    def meet(self, lineage: bytes, key_limit: int) -> Identity:
        """Belong to the primary of that lineage from now on; return the identity.

        Raises:
            DivergedError: It belongs to another one.
        """
        known = self.identity
        if known is None:
            known = Identity(
                lineage, os.urandom(16), os.urandom(8), os.urandom(8), key_limit=key_limit
            )
            self._identify(known)
        elif known.lineage != lineage:
            raise DivergedError(
                f"the spill {self.path} belongs to another store",
                hint="give each store and each process a spill file of its own",
            )
        return known

    def _identify(self, identity: Identity) -> None:
        self._put(rows.IDENTITY, rows.pack(identity), Durability.SYNC)
        self.identity = identity

    def advance(self, engine: Engine) -> tuple[bytes, bytes]:
        """Take the next epoch in the primary, and return the row that holds it.

        From then on no write of an earlier epoch goes through, however late it comes.
        """
        assert self.identity is not None
        key, epoch = rows.fence_key(self.identity.writer), self.identity.epoch

        def body(view: View) -> Batch:
            nonlocal epoch
            assert self.identity is not None
            there = view.get(key)
            epoch = max(self.identity.epoch, int.from_bytes(there or b"")) + 1
            return Batch(puts=[(key, epoch.to_bytes(8))])

        engine.write(Durability.SYNC, body)
        identity = self.identity
        self._identify(
            Identity(
                identity.lineage,
                identity.writer,
                identity.prefix,
                identity.mark,
                epoch,
                identity.key_limit,
            )
        )
        return key, epoch.to_bytes(8)

    # --- outages --------------------------------------------------------------------------

    def begin(self, code: str) -> Outage:
        """Record that the primary is away; what is written from now on is to be replayed."""
        self.mirror.flush(Durability.SYNC)
        start = self.kernel.head_revision()
        outage = Outage(self.clock.now_ns(), start, start, self.mirror.heads, code)
        self._put(rows.OUTAGE, rows.pack(outage), Durability.SYNC)
        self.outage = outage
        return outage

    def replayed(self, done: int, more: Batch | None = None) -> None:
        """Record that all up to the spill's revision `done` is at the primary, and `more`."""
        outage = self.outage
        assert outage is not None
        outage = Outage(outage.began_ns, outage.start, done, outage.known, outage.code)
        batch = more or Batch()
        batch.puts.append((rows.OUTAGE, rows.pack(outage)))
        self.engine.write(Durability.SYNC, lambda _: batch)
        self.outage = outage

    def end(self) -> None:
        """Record that everything is replayed: the spill stands in for nothing."""
        notes = rows.NOTE, after(rows.NOTE)
        batch = Batch(deletes=[rows.OUTAGE], delete_ranges=[notes])
        self.engine.write(Durability.SYNC, lambda _: batch)
        self.outage = None

    def pending(self) -> int:
        """Return how many of the spill's revisions are not replayed, about how many commits."""
        outage = self.outage
        return 0 if outage is None else self.kernel.head_revision() - outage.done

    def commits(self, since: int) -> tuple[list[tuple[int, Header, CommitEntry]], bool]:
        """Return commits of the spill behind a revision, in order, and whether there are more."""
        with self.engine.read() as view:
            page = view.scan(*layout.journal_range(0, since), limit=HEADERS)
        found = []
        for row in page:
            header = parse_header(*row)
            for at, commit in enumerate(header.commits):
                if header.first + at > since:
                    found.append((header.first + at, header, commit))
        return found, len(page) == HEADERS

    def close(self) -> None:
        """Close the spill's store and let others have it."""
        try:
            if not self.kernel.closed:
                self.mirror.flush(Durability.SYNC)
                boot = Session(_boot(), clean=self.mirror.lost is None)
                self._put(rows.SESSION, rows.pack(boot), Durability.SYNC)
        finally:
            try:
                self.kernel.close()
            finally:
                lock, self._lock = self._lock, -1
                if lock >= 0:
                    os.close(lock)

    def _put(self, key: bytes, row: bytes, durability: Durability) -> None:
        self.engine.write(durability, lambda _: Batch(puts=[(key, row)]))


def _take(path: Path) -> int:
    """Lock the spill for this process.

    Raises:
        BusyError: Another process, or another manager of this one, has it.
    """
    lock = os.open(f"{path}-owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise BusyError(
            f"the spill {path} is in use", hint="give each process a spill file of its own"
        ) from None
    return lock


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
