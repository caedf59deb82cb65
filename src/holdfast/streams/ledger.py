"""The ledger of one consumer: reads and writes of its rows, each one engine write of its own.

They are no commits: they have no revision, and no consumer sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from msgspec.structs import replace

from holdfast.engines.base import Batch, ClockedView, Durability, View
from holdfast.errors import HorizonError, InvalidArgumentError, LeaseLostError
from holdfast.keys import pack_text
from holdfast.store import cursors
from holdfast.store.cursors import Cursor, Letter
from holdfast.store.journal import CommitEntry, header_at, journal_horizon
from holdfast.store.kernel import Kernel
from holdfast.store.paging import Wanted
from holdfast.store.value import Operation
from holdfast.streams import leases
from holdfast.streams.leases import Claim, Spot
from holdfast.streams.source import source_of

Puts = list[tuple[bytes, bytes]]
Decide = Callable[[View, Cursor, int], tuple[Cursor, Batch]]
_PAGE = 500


class Ledger:
    """Reads and writes the rows of one consumer.

    Args:
        kernel: Of the store.
        tenant: Packed.
        name: The consumer's name.
    """

    def __init__(self, kernel: Kernel, tenant: bytes, name: str) -> None:
        self._kernel = kernel
        self._tenant = tenant
        self.name = name

    # --- reading --------------------------------------------------------------------------

    def look(self) -> tuple[Cursor | None, int]:
        """Return the cursor, and what time it is where leases are measured."""
        source = source_of(self._kernel)
        with source.engine.read() as view:
            return self._cursor(source, view), self._now(source, view)

    def letters(self, *, queued: bool = False) -> Iterator[tuple[int, int, Letter]]:
        """Yield revision, number and row of each change that was given up, page by page."""
        source = source_of(self._kernel)
        start, stop = cursors.letters_of(self._partition(source), self._tenant, self.name)
        while True:
            with source.engine.read() as view:
                rows = view.scan(start, stop, limit=_PAGE)
            for key, raw in rows:
                letter = cursors.parse_letter(key, raw)
                if letter.queued or not queued:
                    yield *cursors.key_parts(key)[4:], letter
            if len(rows) < _PAGE:
                return
            start = rows[-1][0] + b"\0"

    # --- writing --------------------------------------------------------------------------

    def make(self, cursor: Callable[[View, Kernel, int], Cursor]) -> Cursor:
        """Return the cursor, making it if there is none."""
        made: Cursor | None = None
        source = source_of(self._kernel)
        key = self._key(source)

        def body(view: View) -> Batch:
            nonlocal made
            made = self._cursor(source, view)
            if made is not None:
                return Batch()
            made = cursor(view, source, self._now(source, view))
            return Batch(puts=[(key, cursors.pack(key, made))])

        source.engine.write(Durability.SYNC, body, (self._partition(source),))
        assert made is not None
        return made

    def take(self, holder: bytes, wanted: Wanted, lease_ns: int) -> tuple[Cursor, bool]:
        """Take the lease if it is free; return the cursor, and whether it was."""
        got = False

        def decide(_: View, cursor: Cursor, now_ns: int) -> tuple[Cursor, Batch]:
            nonlocal got
            got = not leases.left_of(cursor, holder, now_ns)
            if got:
                cursor = leases.taken(cursor, holder, wanted, now_ns, lease_ns)
            return cursor, Batch()

        return self._change(decide, Durability.SYNC), got

    def held(self, claim: Claim, decide: Decide, durability: Durability) -> Cursor:
        """Change the cursor if `claim` still counts.

        Raises:
            LeaseLostError: Somebody else has been given the lease. Nothing was written.
        """

        def checked(view: View, cursor: Cursor, now_ns: int) -> tuple[Cursor, Batch]:
            if not leases.is_held(cursor, claim):
                raise LeaseLostError(f"consumer {self.name}: somebody else has its lease now")
            return decide(view, cursor, now_ns)

        return self._change(checked, durability)

    def move(
        self, claim: Claim, spot: Spot | None, lease_ns: int | None, durability: Durability
    ) -> Cursor:
        """Move up to `spot`, if anywhere, and renew the lease, or give it back for None."""

        def decide(_: View, cursor: Cursor, now_ns: int) -> tuple[Cursor, Batch]:
            if spot is not None:
                cursor = leases.moved(cursor, spot, now_ns)
            if lease_ns is None:
                return leases.given_back(cursor), Batch()
            return leases.renewed(cursor, now_ns, lease_ns), Batch()

        return self.held(claim, decide, durability)

    def fail(
        self,
        claim: Claim,
        before: Spot,
        after: Spot,
        item: tuple[int, int],
        error: str,
        most: int,
        wait: Callable[[int], float],
        lease_ns: int,
        durability: Durability,
    ) -> tuple[Cursor, bool]:
        """Note that a change has failed; give it up if that was once too often.

        Args:
            claim: Who says so.
            before, after: Where the cursor stands before and behind it.
            item: Its revision, and its number among what is wanted of that commit.
            error: What kind of error it was.
            most: Give up after so many failures.
            wait: From the number of failures to the seconds until the next attempt.
            lease_ns: The lease from now.
            durability: Of the write.

        Returns:
            The cursor, and whether the change was given up.
        """
        gave_up = False
        source = source_of(self._kernel)

        def decide(view: View, cursor: Cursor, now_ns: int) -> tuple[Cursor, Batch]:
            nonlocal gave_up
            cursor = leases.renewed(leases.moved(cursor, before, now_ns), now_ns, lease_ns)
            failures = cursor.attempts + 1
            gave_up = failures >= most
            if not gave_up:
                return leases.failed(cursor, now_ns, wait(failures)), Batch()
            wanted = Wanted(cursor.start, cursor.stop, cursor.events)
            time_ns, commit = entry_at(view, source, wanted, *item)
            letter = Letter(
                time_ns=time_ns, dead_ns=now_ns, attempts=failures, error=error, commit=commit
            )
            key = self._letter_key(source, *item)
            fresh = view.get(key) is None
            cursor = replace(leases.moved(cursor, after, now_ns), dead=cursor.dead + fresh)
            return cursor, Batch(puts=[(key, cursors.pack(key, letter))])

        return self.held(claim, decide, durability), gave_up

    def settle(
        self, claim: Claim, item: tuple[int, int], durability: Durability, lease_ns: int
    ) -> Cursor:
        """Forget a change that was given up, tried again, and done."""
        source = source_of(self._kernel)

        def decide(view: View, cursor: Cursor, now_ns: int) -> tuple[Cursor, Batch]:
            cursor, batch = self._forget(source, view, cursor, item)
            return leases.renewed(cursor, now_ns, lease_ns), batch

        return self.held(claim, decide, durability)

    def fail_again(
        self,
        claim: Claim,
        item: tuple[int, int],
        error: str,
        most: int,
        wait: Callable[[int], float],
        durability: Durability,
    ) -> Cursor:
        """Note that a change that was tried again has failed again."""
        source = source_of(self._kernel)
        key = self._letter_key(source, *item)

        def decide(view: View, cursor: Cursor, now_ns: int) -> tuple[Cursor, Batch]:
            raw = view.get(key)
            if raw is None:
                return cursor, Batch()
            letter = cursors.parse_letter(key, raw)
            failures = letter.attempts + 1
            again = letter.queued and failures < most
            cursor = replace(cursor, queued=cursor.queued - (letter.queued and not again))
            retry_ns = now_ns + round(wait(failures) * 1e9)
            letter = replace(
                letter, attempts=failures, error=error, queued=again, retry_ns=retry_ns
            )
            return cursor, Batch(puts=[(key, cursors.pack(key, letter))])

        return self.held(claim, decide, durability)

    # --- what needs no lease --------------------------------------------------------------

    def queue(self, item: tuple[int, int]) -> None:
        """Have a change that was given up tried again.

        Raises:
            InvalidArgumentError: There is none such.
        """
        source = source_of(self._kernel)
        key = self._letter_key(source, *item)

        def decide(view: View, cursor: Cursor, _: int) -> tuple[Cursor, Batch]:
            raw = view.get(key)
            if raw is None:
                raise self._unknown(item)
            letter = cursors.parse_letter(key, raw)
            cursor = replace(cursor, queued=cursor.queued + (not letter.queued))
            letter = replace(letter, queued=True, attempts=0, retry_ns=0)
            return cursor, Batch(puts=[(key, cursors.pack(key, letter))])

        self._change(decide, Durability.SYNC)

    def discard(self, item: tuple[int, int]) -> None:
        """Forget a change that was given up.

        Raises:
            InvalidArgumentError: There is none such.
        """
        source = source_of(self._kernel)

        def decide(view: View, cursor: Cursor, _: int) -> tuple[Cursor, Batch]:
            if view.get(self._letter_key(source, *item)) is None:
                raise self._unknown(item)
            return self._forget(source, view, cursor, item)

        self._change(decide, Durability.SYNC)

    def reset(self, cursor: Callable[[View, Kernel, Cursor, int], Cursor]) -> Cursor:
        """Put the cursor elsewhere, whoever has its lease."""
        source = source_of(self._kernel)
        return self._change(
            lambda view, old, now_ns: (cursor(view, source, old, now_ns), Batch()), Durability.SYNC
        )

    def delete(self) -> bool:
        """Delete the consumer with all its rows; say whether it was there."""
        source = source_of(self._kernel)
        key, there = self._key(source), False
        letters = cursors.letters_of(self._partition(source), self._tenant, self.name)

        def body(view: View) -> Batch:
            nonlocal there
            there = view.get(key) is not None
            return Batch(deletes=[key], delete_ranges=[letters]) if there else Batch()

        source.engine.write(Durability.SYNC, body, (self._partition(source),))
        return there

    # --- inside ---------------------------------------------------------------------------

    def _change(self, decide: Decide, durability: Durability) -> Cursor:
        self._kernel.admit_direct()
        source = source_of(self._kernel)
        key = self._key(source)
        after: Cursor | None = None

        def body(view: View) -> Batch:
            nonlocal after
            before = self._cursor(source, view)
            if before is None:
                raise absent(self.name)
            after, batch = decide(view, before, self._now(source, view))
            if after is not before:
                batch.puts.append((key, cursors.pack(key, after)))
            return batch

        source.engine.write(durability, body, (self._partition(source),))
        assert after is not None
        return after

    def _forget(
        self, source: Kernel, view: View, cursor: Cursor, item: tuple[int, int]
    ) -> tuple[Cursor, Batch]:
        key = self._letter_key(source, *item)
        raw = view.get(key)
        if raw is None:
            return cursor, Batch()
        queued = cursors.parse_letter(key, raw).queued
        cursor = replace(cursor, dead=cursor.dead - 1, queued=cursor.queued - queued)
        return cursor, Batch(deletes=[key])

    def _unknown(self, item: tuple[int, int]) -> InvalidArgumentError:
        return InvalidArgumentError(f"consumer {self.name} has no dead letter {letter_id(*item)}")

    def _now(self, source: Kernel, view: View) -> int:
        clocked = source.engine.traits.clocked
        return cast(ClockedView, view).now_ns() if clocked else source.clock.now_ns()

    def _partition(self, source: Kernel) -> int:
        return cursors.partition_of(self._tenant, pack_text(self.name), source.partitions.count)

    def _key(self, source: Kernel) -> bytes:
        return cursors.cursor_key(self._partition(source), self._tenant, self.name)

    def _letter_key(self, source: Kernel, revision: int, number: int) -> bytes:
        partition = self._partition(source)
        return cursors.letter_key(partition, self._tenant, self.name, revision, number)

    def _cursor(self, source: Kernel, view: View) -> Cursor | None:
        key = self._key(source)
        raw = view.get(key)
        return None if raw is None else cursors.parse_cursor(key, raw)


def absent(name: str) -> InvalidArgumentError:
    """Return the error for a consumer that is not there."""
    return InvalidArgumentError(
        f"there is no consumer {name!r}", hint="state.consumer(name) makes one"
    )


def letter_id(revision: int, number: int) -> str:
    """Return how callers name a change that was given up."""
    return f"{revision}-{number}"


def parse_letter_id(text: str) -> tuple[int, int]:
    """Read the id of a dead letter.

    Raises:
        InvalidArgumentError: It is none.
    """
    revision, dash, number = text.partition("-") if isinstance(text, str) else ("", "", "")
    sound = dash and all(part.isascii() and part.isdigit() for part in (revision, number))
    if not sound or int(revision) >= 1 << 63 or int(number) >= 1 << 32:
        raise InvalidArgumentError(f"{text!r} is no id of a dead letter", hint="as in 17-0")
    return int(revision), int(number)


def entry_at(
    view: View, source: Kernel, wanted: Wanted, revision: int, number: int
) -> tuple[int, CommitEntry]:
    """Return the time of a commit, and its entry with one of its wanted changes or events only.

    Raises:
        HorizonError: The journal no longer reaches back to it.
    """
    start, stop, events, _ = wanted
    for partition in source.partitions.covering(start, stop):
        if revision <= journal_horizon(view, partition)[0]:
            break
        header = header_at(view, partition, revision)
        if header is None:
            continue
        commit = header.commits[revision - header.first]
        for change in commit.changes:
            if start <= change.place < stop and change.operation != Operation.TRIM:
                if number == 0:
                    return header.time_ns, replace(commit, changes=[change], events=[])
                number -= 1
        for event in commit.events if events else ():
            if start <= event.owner < stop:
                if number == 0:
                    return header.time_ns, replace(commit, changes=[], events=[event])
                number -= 1
    raise HorizonError(
        f"the journal no longer reaches back to revision {revision}", requested=revision
    )
