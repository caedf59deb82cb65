"""Writing: locks, body, batch, COMMIT; and what is known when one of them fails.

A write is three round trips beside the body's reads': locks with clock and number, then batch and
COMMIT together. What fails before COMMIT is sent has written nothing. After that the outcome is
unknown unless the server proves a rollback (`failure.proves_rollback`).

The handle needs no poisoning after an unknown outcome: the lost transaction holds the row locks
of its partitions until it ends, whichever way, and the next write of a partition takes the same
locks on another connection before it looks at anything. A server that may forget a lock without
ending its transaction (CockroachDB, on failures) is made to notice the conflict: there every write
also updates the partition's row.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.engines.base import Body, Durability
from holdfast.engines.postgres import failure
from holdfast.engines.postgres.calls import AttemptError, Calls
from holdfast.engines.postgres.deadline import Budget
from holdfast.engines.postgres.failure import Flavour
from holdfast.engines.postgres.library import psycopg
from holdfast.engines.postgres.statements import COMMIT, ROLLBACK, Statements
from holdfast.engines.postgres.talk import Talk
from holdfast.engines.postgres.views import WriterView
from holdfast.errors import EngineError, OutcomeUnknownError


class Writer:
    """Commits for one handle."""

    def __init__(self, calls: Calls, statements: Statements, flavour: Flavour) -> None:
        self._calls, self._sql, self._flavour = calls, statements, flavour
        # Where locks may be lost, or numbers drawn in advance, less is relied upon.
        self._single = flavour is Flavour.YUGABYTE
        self._firm = flavour is Flavour.POSTGRES
        self._unflushed = False  # something was acknowledged that may not be on disk

    def write(self, durability: Durability, body: Body, partitions: Sequence[int]) -> None:
        """Run `body` under the locks of `partitions` and commit what it returns."""
        wanted = (0,) if self._single else tuple(sorted(set(partitions)))
        self._calls.run(lambda budget: self._attempt(budget, durability, body, wanted))

    def _attempt(
        self, budget: Budget, durability: Durability, body: Body, wanted: tuple[int, ...]
    ) -> None:
        calls = self._calls
        with calls.connections.talk(budget) as talk:
            try:
                view = self._begin(talk, durability, wanted)
            except psycopg.Error as error:
                raise calls.failed(talk, error, "beginning a write") from None
            try:
                batch = body(view)
            except BaseException:
                self._check_reads(talk)
                talk.roll_back()
                raise
            self._check_reads(talk)
            statements = list(self._sql.batch(batch))
            if not self._firm or (durability >= Durability.SYNC and not statements):
                statements.append(self._sql.touch(wanted))
            if not statements:
                talk.roll_back()
                return
            self._commit(talk, statements)
            if durability < Durability.SYNC:
                self._unflushed = True

    def _begin(self, talk: Talk, durability: Durability, wanted: tuple[int, ...]) -> WriterView:
        text = self._sql.begin(durability, wanted)
        locked, ticket = talk.script(text)
        while len(locked) < len(wanted):
            talk.script(ROLLBACK)
            talk.rows(*self._sql.add_partitions(wanted))
            locked, ticket = talk.script(text)
        now_us, number = ticket[0]
        return WriterView(talk, self._calls, self._sql, int(now_us), int(number))

    def _check_reads(self, talk: Talk) -> None:
        """Raise what a read of the body failed with, whatever the body made of it."""
        if isinstance(talk.failure, psycopg.Error):
            raise self._calls.failed(talk, talk.failure, "reading in a write")

    def _commit(self, talk: Talk, statements: list[tuple[bytes, tuple[object, ...]]]) -> None:
        place = self._calls.connections.target.place
        try:
            said = talk.commit(statements)
        except BaseException as error:
            if not talk.sent_commit:
                if isinstance(error, psycopg.Error):
                    raise self._calls.failed(talk, error, "writing") from None
                raise
            working = failure.alive(error, talk.link)
            state = error.sqlstate if isinstance(error, psycopg.Error) else None
            if failure.proves_rollback(self._flavour, state, working=working):
                raise self._calls.failed(talk, error, "committing") from None
            talk.link.close()
            raise self._unknown(talk, error, "commit") from None
        if talk.link.warnings:
            # Postgres has one thing to warn of here: that it was made to stop waiting for a
            # synchronous standby. The commit is done there, and a failover may lose it.
            raise OutcomeUnknownError(
                f"commit at {place}, with a warning: {'; '.join(talk.link.warnings)}"
            )
        if said != COMMIT.decode():
            raise AttemptError(
                EngineError(f"the server at {place} rolled the commit back"), again=False
            )

    def _unknown(self, talk: Talk, error: BaseException, what: str) -> OutcomeUnknownError:
        target = self._calls.connections.target
        return OutcomeUnknownError(
            failure.translate(error, what, target, talk.link).message,
            hint="ask state.find_commit(commit_id) before you retry; it waits for the answer",
        )

    def flush(self) -> None:
        """Bring everything acknowledged to disk: one synchronous commit of a row nobody locks.

        A synchronous commit writes the server's log up to itself, and with it what came before.
        """
        self._unflushed = False
        try:
            self._calls.ask("flush", lambda talk: talk.script(self._sql.flush))
        except EngineError as error:
            self._unflushed = True
            raise OutcomeUnknownError(error.message) from None

    def flush_rest(self) -> None:
        """Flush if something may not be on disk yet."""
        if self._unflushed:
            self.flush()
