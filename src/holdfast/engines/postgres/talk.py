"""One call's exchange with the server, over one connection, within the call's time.

Every method is one round trip. An error stays remembered, because a write's body, through which
it passes, might hide it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.engines.postgres.deadline import Budget, Watchdog
from holdfast.engines.postgres.library import Link, psycopg
from holdfast.engines.postgres.statements import COMMIT, ROLLBACK, Statement

Row = tuple[Any, ...]


class Talk:
    """Asks and listens.

    Attributes:
        budget: What is left of the call's time.
        failure: The first error, or None.
        sent_commit: COMMIT may have reached the server.
        trips: Round trips so far.
    """

    __slots__ = ("_dog", "budget", "failure", "link", "sent_commit", "trips")

    def __init__(self, link: Link, budget: Budget, dog: Watchdog) -> None:
        self.link = link
        self.budget, self._dog = budget, dog
        self.failure: BaseException | None = None
        self.sent_commit = False
        self.trips = 0

    def rows(self, text: bytes, arguments: tuple[Any, ...]) -> list[Row]:
        """Return the rows of one statement, none where it has no result."""
        self.trips += 1
        try:
            with self._dog.watch(self.link, self.budget):
                cursor = self.link.cursor(binary=True)
                cursor.execute(text, arguments or None)
                return cursor.fetchall() if cursor.description is not None else []
        except BaseException as error:
            self._remember(error)
            raise

    def script(self, text: bytes) -> list[list[Row]]:
        """Run statements without arguments; return the rows of those that have some."""
        self.trips += 1
        try:
            with self._dog.watch(self.link, self.budget):
                cursor = self.link.execute(text)
                found: list[list[Row]] = []
                while True:
                    if cursor.description is not None:
                        found.append(cursor.fetchall())
                    if not cursor.nextset():
                        return found
        except BaseException as error:
            self._remember(error)
            raise

    def begin_rows(self, begin: bytes, text: bytes, arguments: tuple[Any, ...]) -> list[Row]:
        """Begin a transaction with its first statement; return that one's rows."""
        self.trips += 1
        try:
            with self._dog.watch(self.link, self.budget), self.link.pipeline():
                self.link.execute(begin)
                cursor = self.link.cursor(binary=True)
                return cursor.execute(text, arguments).fetchall()
        except BaseException as error:
            self._remember(error)
            raise

    def commit(self, statements: Iterable[Statement]) -> str:
        """Send statements and COMMIT together; return what the server says it did.

        The server leaves out everything behind a statement that fails, COMMIT too.
        """
        self.trips += 1
        self.link.warnings.clear()
        try:
            with self._dog.watch(self.link, self.budget), self.link.pipeline():
                cursor = self.link.cursor()
                for text, arguments in statements:
                    cursor.execute(text, arguments)
                self.sent_commit = True
                done = self.link.execute(COMMIT)
            return done.statusmessage or ""
        except BaseException as error:
            self._remember(error)
            raise

    def roll_back(self) -> None:
        """End a transaction that wrote nothing; a connection that cannot is not used again."""
        if self.link.closed or self.link.silent:
            return
        try:
            self.script(ROLLBACK)
        except psycopg.Error:
            self.link.close()

    def _remember(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
