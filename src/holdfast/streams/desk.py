"""The desk of a consumer: what it knows and does, without waiting; threads and tasks share it."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from holdfast.clock import from_ns
from holdfast.engines.base import Durability
from holdfast.errors import ClosedError, LeaseLostError, StateError
from holdfast.store.cursors import Cursor, Letter
from holdfast.store.kernel import Kernel
from holdfast.store.paging import Item, Wanted, show
from holdfast.streams import leases
from holdfast.streams.batch import Batch, Stretch
from holdfast.streams.bell import Bell
from holdfast.streams.leases import Claim, Spot
from holdfast.streams.ledger import Ledger, absent
from holdfast.streams.retry import Retry
from holdfast.streams.source import is_absence, source_of
from holdfast.streams.streams import Streams
from holdfast.streams.tail import Tail

_STANDBY = 1.0  # seconds between looks whether somebody else's lease is free
_SKIPPED = 1000  # revisions that may be skipped before the cursor says so
_NOBODY = Claim(b"", 0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a consumer was asked to be.

    Attributes:
        wanted: What of the journal it wants.
        batch: Changes of a batch, at most.
        lease_ns: How long a lease lasts.
        retry: How long failed changes wait.
        max_attempts: When they are given up.
        durability: Of acknowledgements.
    """

    wanted: Wanted
    batch: int
    lease_ns: int
    retry: Retry
    max_attempts: int
    durability: Durability


@dataclass(slots=True)
class Counts:
    """What one consumer of this process has done.

    Attributes:
        delivered: Changes handed out.
        acked: Changes acknowledged.
        failed: Attempts that failed.
        dead: Changes given up.
        lost: Leases lost to others.
    """

    delivered: int = 0
    acked: int = 0
    failed: int = 0
    dead: int = 0
    lost: int = 0


class Desk:
    """Takes the lease, hands out batches, and writes down what became of them."""

    def __init__(
        self,
        streams: Streams,
        ledger: Ledger,
        terms: Terms,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._streams = streams
        self._kernel: Kernel = streams.kernel
        self._ledger = ledger
        self._terms = terms
        self._chance = chance
        self._mutex = threading.RLock()
        self._pid = os.getpid()
        self._holder = os.urandom(16)
        self._claim = _NOBODY  # while the lease is not ours
        self._cursor = Cursor(revision=0, hash=b"")
        self._tail = Tail(self._kernel, terms.wanted, leases.spot_of(self._cursor).position)
        self._stretch: Stretch | None = None
        self._at = 0
        self._out: Batch | None = None
        self._singly = (0, 0)  # up to this spot, changes come one by one
        self._letter_in: float | None = None  # seconds until a dead letter is tried again
        self._renewed_ns = 0
        self._touched = streams.touched
        self.bell: Bell = streams.ringer.bell()
        self.waiting = False
        self.ended = False
        self.counts = Counts()
        streams.keeper.add(self)

    # --- handing out ----------------------------------------------------------------------

    def step(self) -> Batch | float | None:
        """Return a batch, or for how many seconds there is none unless the bell rings.

        Raises:
            HorizonError, DivergedError: The cursor cannot go on from where it stands.
        """
        with self._mutex:
            if self._kernel.closed or self._streams.ringer.closed:
                self.ended = True
            if self.ended:
                return None
            self._after_fork()
            self.bell.reset()
            self._streams.ringer.keep(self.bell)
            try:
                return self._step()
            except ClosedError:
                self.ended = True
                return None
            except LeaseLostError:  # between two writes; who asks again stands in line
                self._lose()
                return 0.0
            except StateError as error:
                if is_absence(self._kernel, error):
                    return _STANDBY
                raise

    def _step(self) -> Batch | float | None:
        self._put_back()
        source_of(self._kernel)  # what was read before a primary went away could not be acked
        if self._touched != self._streams.touched:
            self._touched = self._streams.touched
            self._look()
        if not self._claim.epoch:
            left = self._take()
            if left is not None:
                return left
        if self._cursor.queued:
            letter = self._due_letter()
            if letter is not None:
                return letter
        if self._cursor.attempts:
            cursor, now_ns = self._ledger.look()
            left = 0.0 if cursor is None else self._left(cursor.retry_ns, now_ns)
            if left:
                return left
        while self._stretch is None or self._at >= len(self._stretch.items):
            if not self._read():
                return self._idle()
        return self._hand_out(self._stretch)

    def _read(self) -> bool:
        """Read the next stretch; say whether there was more of the journal."""
        before = self._stretch
        start = leases.spot_of(self._cursor)
        if before is not None:  # all of it is done
            start = Spot(self._tail.position)
            if not before.items:  # the commit that is done in part is still to come
                start = start._replace(part=before.start.part, done=before.start.done)
        page = self._tail.read(self._terms.batch)
        if page is None:
            return False
        self._stretch = Stretch(page.items, page.hashes, start, self._tail.position)
        self._at = 0
        return True

    def _hand_out(self, stretch: Stretch) -> Batch:
        at, count = self._at, self._terms.batch
        if self._cursor.attempts or stretch.before(at).order < self._singly:
            count = 1
        changes = stretch.items
        if at or count < len(changes):
            changes = changes[at : at + count]
        self._at = at + len(changes)
        self._out = Batch(self, changes, at, self._cursor.attempts + 1)
        self.counts.delivered += len(changes)
        return self._out

    def _put_back(self) -> None:
        """Take back what was handed out and neither acked nor nacked."""
        out, self._out = self._out, None
        if out is not None and out.letter is None:
            self._at = out.at + out.acked

    def _idle(self) -> float | None:
        """Note how far unwanted changes were skipped, now and then; wait for the bell."""
        skipped = self._tail.position.revision - self._cursor.revision
        if skipped >= _SKIPPED or (skipped and self._due_in() <= 0):
            self._move(Spot(self._tail.position), Durability.OS)
        return self._letter_in if self._cursor.queued else None

    def _due_letter(self) -> Batch | None:
        _, now_ns = self._ledger.look()
        self._letter_in = None
        for revision, number, letter in self._ledger.letters(queued=True):
            left = self._left(letter.retry_ns, now_ns)
            if left:
                self._letter_in = min(left, self._letter_in or left)
            else:
                item = show_letter(source_of(self._kernel), revision, letter)
                self.counts.delivered += 1
                self._out = Batch(self, [item], 0, letter.attempts + 1, (revision, number))
                return self._out
        return None

    def _left(self, retry_ns: int, now_ns: int) -> float:
        """Return the seconds until something is tried again; 0 where its time has come.

        So it has where it lies further away than any retry waits: the clock was put back.
        """
        left = (retry_ns - now_ns) / 1e9
        return left if 0 < left <= self._terms.retry.most + 1e-6 else 0.0  # as waits are rounded

    # --- taking back ----------------------------------------------------------------------

    def ack(self, batch: Batch, count: int) -> None:
        """Note that the first `count` changes of a batch are done."""
        with self._mutex:
            self._check(batch)
            terms = self._terms
            try:
                if batch.letter is not None:
                    self._cursor = self._ledger.settle(
                        self._claim, batch.letter, terms.durability, terms.lease_ns
                    )
                    self._renewed_ns = self._kernel.clock.now_ns()
                else:
                    assert self._stretch is not None
                    self._move(self._stretch.after(batch.at + count - 1), terms.durability)
            except LeaseLostError:
                self._lose()
                raise
            self.counts.acked += count - batch.acked
            if count == len(batch):
                self._out = None

    def nack(self, batch: Batch, at: int, blamed: bool, error: str) -> None:
        """Note that a change of a batch failed, and those before it did not."""
        with self._mutex:
            self._check(batch)
            self.counts.failed += 1
            try:
                if batch.letter is not None:
                    self._fail_again(batch.letter, error)
                else:
                    self._fail(batch, at, blamed, error)
            except LeaseLostError:
                self._lose()
                raise
            self.counts.acked += at - batch.acked
            self._out = None

    def _fail(self, batch: Batch, at: int, blamed: bool, error: str) -> None:
        terms, stretch, place = self._terms, self._stretch, batch.at + at
        assert stretch is not None
        before, after = stretch.before(place), stretch.after(place)
        self._singly = max(self._singly, stretch.after(batch.at + len(batch) - 1).order)
        self._cursor, gave_up = self._ledger.fail(
            self._claim,
            before,
            after,
            stretch.name(place),
            error,
            terms.max_attempts if blamed else 1 << 62,
            self._wait,
            terms.lease_ns,
            terms.durability,
        )
        self._renewed_ns = self._kernel.clock.now_ns()
        self._at = place + gave_up
        self.counts.dead += gave_up

    def _fail_again(self, letter: tuple[int, int], error: str) -> None:
        terms = self._terms
        self._cursor = self._ledger.fail_again(
            self._claim, letter, error, terms.max_attempts, self._wait, terms.durability
        )

    def _wait(self, failures: int) -> float:
        return self._terms.retry.wait(failures, self._chance())

    def _check(self, batch: Batch) -> None:
        if batch is not self._out or self._pid != os.getpid():
            raise LeaseLostError(
                f"consumer {self._ledger.name}: the batch was taken back",
                hint="ack a batch before you ask for the next one",
            )

    # --- the lease ------------------------------------------------------------------------

    def _take(self) -> float | None:
        """Take the lease; return how long somebody else has it, or None where it is ours."""
        terms = self._terms
        cursor, now_ns = self._ledger.look()
        if cursor is None:
            raise absent(self._ledger.name)
        left = leases.left_of(cursor, self._holder, now_ns)
        if not left:
            cursor, got = self._ledger.take(self._holder, terms.wanted, terms.lease_ns)
            left = 0.0 if got else _STANDBY
        if left:
            return min(left, _STANDBY)
        self._cursor, self._claim = cursor, Claim(self._holder, cursor.epoch)
        self._renewed_ns = self._kernel.clock.now_ns()
        self._stretch = None
        self._singly = (0, 0)
        self._tail.seek(leases.spot_of(cursor).position)
        self._streams.keeper.keep(self)
        return None

    def _move(self, spot: Spot | None, durability: Durability) -> None:
        self._cursor = self._ledger.move(self._claim, spot, self._terms.lease_ns, durability)
        self._renewed_ns = self._kernel.clock.now_ns()

    def _look(self) -> None:
        """Hear of what was done to the consumer elsewhere in this process."""
        if self._claim.epoch:
            cursor, _ = self._ledger.look()
            if cursor is None or not leases.is_held(cursor, self._claim):
                self._lose()
            else:
                self._cursor = cursor

    def _lose(self) -> None:
        self.counts.lost += 1
        self._forget()

    def _forget(self) -> None:
        self._claim, self._out, self._stretch = _NOBODY, None, None

    def _after_fork(self) -> None:
        """In a child the lease, and what was handed out, are the parent's."""
        if self._pid != os.getpid():
            self._pid, self._holder = os.getpid(), os.urandom(16)
            self._claim, self._out, self._stretch = _NOBODY, None, None

    def _due_in(self) -> float:
        since = self._kernel.clock.now_ns() - self._renewed_ns
        if since < 0:  # the clock was put back, and the lease lies too far ahead
            return 0.0
        return (self._terms.lease_ns / 3 - since) / 1e9

    def due(self) -> float | None:
        """Return the seconds until the lease is to be renewed: while we work, or wait for work."""
        if not self._claim.epoch:
            return None
        if self._out is None and (self.ended or not self.waiting):
            return None if self.ended else self._terms.lease_ns / 3e9
        return self._due_in()

    def renew(self) -> None:
        """Renew the lease; what fails is tried again, and what is lost is noticed at the ack."""
        with self._mutex:
            if not self._claim.epoch or self._pid != os.getpid():
                return
            self._renewed_ns = self._kernel.clock.now_ns()
            queued = self._cursor.queued
            try:
                self._move(None, Durability.OS)
            except LeaseLostError:
                if self._out is None:
                    self._lose()
                    self.bell.ring()
            except StateError:
                return
            else:
                if self._cursor.queued > queued:
                    self.bell.ring()

    def halt(self) -> None:
        """Hand out nothing more, and wake who waits."""
        self.ended = True
        self.bell.ring()

    def end(self) -> None:
        """Do so, and give the lease back."""
        self.halt()
        with self._mutex:
            claim, tail = self._claim, self._tail
            if claim.epoch and self._pid == os.getpid():
                read = self._stretch
                idle = read is not None and self._out is None and self._at >= len(read.items)
                spot = Spot(tail.position) if idle else None
                with suppress(StateError):
                    self._ledger.move(claim, spot, None, Durability.OS)
            self._forget()
        self._streams.ringer.remove(self.bell)


def show_letter(source: Kernel, revision: int, letter: Letter) -> Item:
    """Return a change or event that was given up as callers see it."""
    with source.engine.read() as view:
        commit = letter.commit
        entry = commit.changes[0] if commit.changes else commit.events[0]
        return show(view, source, [(revision, from_ns(letter.time_ns), commit, entry)])[0]
