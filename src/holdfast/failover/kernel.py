"""The kernel of a store with failover: the primary's, or the spill's while that is away.

To everything above it is a `Kernel`. What it does not define itself is looked up in the store in
use, so that every verb follows the switch.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from holdfast.clock import Clock
from holdfast.engines.base import Engine
from holdfast.errors import (
    ClosedError,
    DegradedError,
    EngineError,
    ForkedError,
    OutcomeUnknownError,
    StateError,
)
from holdfast.failover import breaker as breaking
from holdfast.failover.breaker import Breaker, State, says_away
from holdfast.failover.degraded import (
    DegradedEngine,
    DegradedPayloads,
    DegradedReader,
    marked,
    refusal,
)
from holdfast.failover.gate import Gate
from holdfast.failover.knowledge import Knowledge
from holdfast.failover.lane import FailoverLane
from holdfast.failover.recovery import Recovery, connect
from holdfast.failover.rows import INSIDE, shown
from holdfast.failover.settings import FailoverSettings
from holdfast.failover.spill import Spill
from holdfast.failover.spilling import Spilling
from holdfast.failover.switched import SwitchedEngine, SwitchedReader
from holdfast.failover.told import SpilledFeed
from holdfast.failover.watch import WatchedEngine
from holdfast.store import layout
from holdfast.store.ephemeral import Ephemeral
from holdfast.store.feed import Feed
from holdfast.store.intent import Intent
from holdfast.store.kernel import STORE_FORMAT, Kernel, StoreInfo, StoreSettings
from holdfast.store.lane import Lane
from holdfast.store.past import Found
from holdfast.store.pins import Pins
from holdfast.store.reader import Reader
from holdfast.store.record import Record
from holdfast.store.turns import Turns

T = TypeVar("T")
_log = logging.getLogger("holdfast.failover")

#: Opens the primary's engine afresh; says whether it may make a new store.
OpenPrimary = Callable[[bool], Engine]


class FailoverKernel(Kernel):
    """One store with failover.

    Args:
        open_primary: Opens the primary's engine; called again for every probe.
        settings: How the store behaves.
        failover: How it fails over.
        clock: Source of time.

    Attributes:
        primary: The primary's store; None while it is away.
        spill: The spill.
        stand_in: What stands in for the primary's store while that is away.
        side: The store in use: the primary, or the stand-in.
        breaker: The circuit breaker.

    Raises:
        DegradedError: The primary is away, and the spill has never met it.
        BusyError: Somebody else uses the spill.
        DivergedError: The spill belongs to another store.
    """

    # Kernel's own beginning is left out on purpose: it opens an engine, and here are two stores.
    def __init__(
        self,
        open_primary: OpenPrimary,
        settings: StoreSettings,
        failover: FailoverSettings,
        clock: Clock,
    ) -> None:
        self._pid = os.getpid()
        self.settings, self.clock, self.failover = settings, clock, failover
        self.ephemeral = Ephemeral()
        self.turns = Turns()
        self.before = None
        self._feed = Feed()
        self.closed = False
        self.breaker = Breaker(since_ns=clock.now_ns())
        self.primary: Kernel | None = None
        self.spill = Spill(failover, clock)
        self._mutex = threading.RLock()
        self._gate = Gate()
        self._knowledge = Knowledge(self.spill)
        self._spilling = Spilling(self.spill, self._knowledge)
        self._open_primary = open_primary
        self.spill.kernel.committer.feed = SpilledFeed(self._feed, self.spill)
        self._ids = itertools.count(int.from_bytes(os.urandom(8)))
        self.stand_in = self._degraded_side()
        self.side: Any = self.stand_in
        self.engine = cast(Engine, SwitchedEngine(self))
        self.reader = cast(Reader, SwitchedReader(self))
        self.lane = cast(Lane, FailoverLane(self, self._spilling, self._gate))
        self._recovery = Recovery(self)
        try:
            self._begin()
        except BaseException:
            self.spill.close()
            raise
        _open.add(self)
        self._recovery.start()

    def _degraded_side(self) -> Any:
        """Return what stands in for the primary's store while that is away."""
        spill, settings = self.spill, self.settings
        outer = DegradedEngine(spill.engine, self._knowledge)
        payloads = DegradedPayloads(
            compress=settings.use_compression is not False,
            max_bytes=settings.max_value_bytes,
            level=settings.compression_level,
        )
        reader = DegradedReader(
            spill.engine, outer, self.clock, payloads, self._knowledge, spill.kernel.reader
        )
        return SimpleNamespace(
            engine=outer,
            reader=reader,
            payloads=payloads,
            pins=Pins(outer, self.clock),
            cache=None,
            committer=spill.kernel.committer,
            sweeper=spill.kernel.sweeper,
            partitions=spill.kernel.partitions,
        )

    def _begin(self) -> None:
        spill = self.spill
        primary = None
        try:
            primary = self.connect(create=self.settings.create and spill.identity is None)
        except EngineError as error:
            if not says_away(error):
                raise
            if spill.identity is None:
                raise DegradedError(
                    f"the primary is away ({error.code}), and the spill {spill.path} is new",
                    hint="a spill can stand in for a primary that it has met; retry later",
                ) from error
            self._open_breaker(error)
        assert spill.identity is not None
        self.key_limit = spill.identity.key_limit
        self.info = StoreInfo(STORE_FORMAT, spill.identity.lineage, 0)
        if primary is not None and spill.outage is None:
            self.switch(primary)
            with suppress(StateError):  # the watched engine has told the breaker
                self.look(primary)
            return
        self._knowledge.resume()
        self._gate.open()
        if primary is not None:  # what an earlier process left behind comes first
            self._open_breaker(EngineError("writes of an earlier process wait"))
            self._recovery.carry_over(primary)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.side, name)

    # --- where calls go -------------------------------------------------------------------

    @property
    def feed(self) -> Feed:
        """Who is told of commits, wherever they are made; what is replayed was told before."""
        return self._feed

    @property
    def degraded(self) -> bool:
        """Say whether the primary is away."""
        return self.side is self.stand_in

    def is_away(self) -> bool:
        """Say the same, once a switch that is being made is made."""
        with self._mutex:
            return self.primary is None

    def connect(self, *, create: bool = False) -> Kernel:
        """Open the primary's store afresh, under a new epoch."""
        opened = connect(self, self._open_primary, create=create)
        opened.ephemeral = opened.reader.ephemeral = self.ephemeral
        return opened

    def call(self, verb: Callable[[Any], T]) -> T:
        """Read from the store in use; where that fails because it is away, from the other."""
        if os.getpid() != self._pid:
            raise ForkedError("a store with failover was inherited over a fork")
        side = self.side
        try:
            result = verb(side)
            if side is self.side or side is not self.stand_in:
                return result
            # The spill was read while it ceased to stand in: its answer may be neither's.
        except (EngineError, ClosedError):
            if self.closed or side is self.side:
                raise
        return verb(self.side)

    def refusing(self, what: str, verb: Callable[[Any], T]) -> T:
        """Do what only the primary can do; where it goes away over it, say so."""
        side = self.side
        try:
            return verb(side)
        except OutcomeUnknownError:
            raise
        except EngineError as error:
            if side is self.side or isinstance(error, DegradedError):
                raise
            raise refusal(what) from error

    def failed(self, engine: WatchedEngine, error: EngineError) -> None:
        """Hear of a failure of the primary's engine, and go to the spill if it is enough."""
        with self._mutex:
            primary = self.primary
            if primary is None or primary.engine is not engine or self.closed:
                return
            failover = self.failover
            after = breaking.failed(
                self.breaker,
                error,
                self.clock.now_ns(),
                failover.threshold,
                failover.probe_every,
            )
            if after.state is State.OPEN:
                self._trip(primary, engine, after)
            else:
                self.breaker = after

    def fenced(self, primary: Kernel, error: EngineError) -> None:
        """Hear that another epoch has taken over: this handle is of no use any more."""
        with self._mutex:
            if self.primary is primary and isinstance(primary.engine, WatchedEngine):
                now, wait = self.clock.now_ns(), self.failover.probe_every
                self._trip(primary, primary.engine, breaking.opened(error.code, now, wait))

    def leave(self) -> None:
        """Go to the spill although the primary is there."""
        with self._mutex:
            primary = self.primary
            if primary is not None and isinstance(primary.engine, WatchedEngine):
                now, wait = self.clock.now_ns(), self.failover.probe_every
                self._trip(primary, primary.engine, breaking.opened("left", now, wait))

    def succeeded(self) -> None:
        """Hear that the primary answered."""
        if self.breaker.failures:
            with self._mutex:
                self.breaker = breaking.succeeded(self.breaker)

    def _open_breaker(self, error: EngineError) -> None:
        now = self.clock.now_ns()
        self.breaker = breaking.opened(error.code, now, self.failover.probe_every)
        if self.spill.outage is None:
            self.spill.begin(error.code)

    def _trip(self, primary: Kernel, engine: WatchedEngine, after: Breaker) -> None:
        code = after.code or "engine"
        try:
            self.spill.begin(code)
        except StateError as broken:  # no spill, no failover: callers get the primary's error
            _log.error("the spill cannot take over: %s", broken.code)
            self.breaker = replace(breaking.closed(self.clock.now_ns()), code=broken.code)
            return
        self._knowledge.forget()
        self._gate.open()
        self._spilling.payloads = primary.payloads
        self.primary, self.side = None, self.stand_in
        self.breaker = after
        engine.give_up()
        _log.warning("the primary is away (%s): the spill takes over", code)
        self._recovery.tripped(primary)

    def switch(self, primary: Kernel) -> None:
        """Send calls to the primary. What the spill has must be there."""
        with self._mutex:
            self._gate.shut()
            self.info = primary.info
            self.breaker = breaking.closed(self.clock.now_ns())
            primary.committer.feed = self._feed  # before anybody commits there
            primary.lane.told = self.lane.told
            self.primary = self.side = primary
            self._knowledge.forget()
            if self.spill.outage is not None:
                try:
                    self.spill.end()
                except StateError as error:  # it says that nothing is left to replay, as it is
                    _log.warning("the spill cannot note the end of an outage: %s", error.code)

    def probing(self) -> Gate:
        """Note that the primary is tried again, and return the gate of the spill."""
        self.breaker = breaking.probing(self.breaker, self.clock.now_ns())
        return self._gate

    def probe_failed(self, code: str, *, reached: bool) -> None:
        """Note that it was to no avail.

        The next wait counts from the beginning of a probe that nobody answered, for it may have
        waited long enough itself; and from the end of a replay, so that one that fails each time
        leaves room for other work.
        """
        outage = self.spill.outage
        began = 0 if outage is None else outage.began_ns
        tried = self.clock.now_ns() if reached else self.breaker.tried_ns
        most = self.failover.probe_most
        self.breaker = breaking.probe_failed(self.breaker, code, tried, began, most)

    def known_head(self, primary: Kernel, intent: Intent) -> int:
        """Return a revision that was seen in every partition of the primary that `intent` touches.

        What is committed from now on has a higher one.
        """
        reached = self.spill.mirror.reached
        return min(reached(partition) for partition in primary.partitions.of_intent(intent))

    def look(self, primary: Kernel) -> None:
        """Look whether an idle primary is there, and where it stands."""
        mirror, partitions = self.spill.mirror, primary.partitions.all
        rows = primary.engine.get_many([layout.head_key(each) for each in partitions])
        moved = [mirror.note_head(*each) for each in zip(partitions, rows, strict=True)]
        if any(moved) or mirror.waiting():
            mirror.flush()
        self.succeeded()

    def probe(self) -> bool:
        """Try to come back now; return whether the store runs on the primary."""
        return self._recovery.probe()

    def replayed(self) -> int:
        """Return how many commits were replayed since the store was opened."""
        return self._recovery.replayed

    def outward(self, revision: int) -> int:
        """Return what callers are told of a revision that a transaction works with."""
        return shown(revision - INSIDE) if revision >= INSIDE else revision

    def found(self, place: bytes, stored: Record, start: int) -> Found:
        """Return what a transaction has read, marked where the spill may have answered."""
        found = super().found(place, stored, start)
        if start < INSIDE and not self.degraded:
            return found
        spilled = stored.revision >= INSIDE
        if spilled:
            found.record = stored._replace(revision=stored.revision - INSIDE)
        return marked(found, spilled=spilled)

    def new_commit_id(self) -> bytes:
        """Return an id that says whose commit it is."""
        assert self.spill.identity is not None
        return self.spill.identity.prefix + (next(self._ids) % (1 << 64)).to_bytes(8)

    # --- what Kernel would do with an engine ----------------------------------------------

    def head_revision(self) -> int:
        """Return the revision of the last commit."""
        primary = self.primary
        if primary is None:
            raise refusal("the last revision")
        return primary.head_revision()

    def find_commit(self, commit_id: bytes, since: int) -> int | None:
        """Return the revision of a commit, or None if it did not happen."""
        primary, outage = self.primary, self.spill.outage
        if primary is not None:
            return self.refusing(
                "finding a commit", lambda _: primary.find_commit(commit_id, since)
            )
        found = None
        if outage is not None:
            found = self.spill.kernel.find_commit(commit_id, outage.start)
        if found is None:
            raise refusal("finding a commit")
        return shown(found)

    def sweep(self) -> int:
        """Remove what has expired."""
        primary = self.primary
        if primary is None:
            raise refusal("the sweep")
        return self.refusing("the sweep", lambda _: primary.sweep())

    def add_dictionary(self, dictionary: bytes) -> None:
        """Give the primary a compression dictionary."""
        primary = self.primary
        if primary is None:
            raise refusal("a dictionary")
        primary.add_dictionary(dictionary)

    def close(self) -> None:
        """Finish queued writes and close both stores. Twice is no error."""
        with self._mutex:
            if self.closed:
                return
            self.closed = True
        _open.discard(self)
        self._recovery.stop()
        try:
            if self.primary is not None:
                self.primary.close()
        finally:
            self.lane.close()
            self.spill.close()

    def after_fork(self) -> None:
        """Leave the child's copy as it is: every call of it says that it was inherited."""


_open: weakref.WeakSet[FailoverKernel] = weakref.WeakSet()


def _close_all() -> None:
    # Registered after the kernel's own, so it runs before that closes the two stores singly.
    for kernel in list(_open):
        with suppress(StateError):
            kernel.close()


atexit.register(_close_all)
