"""What readers and the bodies of writes see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from holdfast.engines.postgres.calls import Calls
from holdfast.engines.postgres.deadline import Budget
from holdfast.engines.postgres.library import psycopg
from holdfast.engines.postgres.statements import BEGIN_READ, Statements
from holdfast.engines.postgres.talk import Row, Talk
from holdfast.errors import ClosedError


class PostgresView(ABC):
    """Keys and values by statements that a subclass runs."""

    def __init__(self, statements: Statements) -> None:
        self._sql = statements

    @abstractmethod
    def _ask(self, text: bytes, arguments: tuple[Any, ...]) -> list[Row]: ...

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        found = self._ask(self._sql.get, (key,))
        return found[0][0] if found else None

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        if not keys:
            return []
        found = {row[0]: row[1] for row in self._ask(self._sql.get_many, (list(set(keys)),))}
        return [found.get(key) for key in keys]

    def scan(
        self,
        start: bytes,
        stop: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Return the pairs of a range."""
        if start >= stop or limit == 0:
            return []
        text, arguments = self._sql.scan(
            start, stop, reverse=reverse, limit=limit, keys_only=keys_only
        )
        return self._ask(text, arguments)

    def now_ns(self) -> int:
        """Return the server's time in nanoseconds since the epoch."""
        return int(self._ask(self._sql.clock, ())[0][0]) * 1000


class WriterView(PostgresView):
    """The state under the locks of a write, with its time and number.

    Its errors are errors of Holdfast; `Talk.failure` tells the writer what they were.
    """

    def __init__(
        self, talk: Talk, calls: Calls, statements: Statements, now_us: int, number: int
    ) -> None:
        super().__init__(statements)
        self._talk, self._calls = talk, calls
        self._now_ns, self._number = now_us * 1000, number

    def _ask(self, text: bytes, arguments: tuple[Any, ...]) -> list[Row]:
        try:
            return self._talk.rows(text, arguments)
        except psycopg.Error as error:
            raise self._calls.failed(self._talk, error, "reading in a write").error from None

    def now_ns(self) -> int:
        """Return the server's time when the locks were taken."""
        return self._now_ns

    def sequence(self) -> int:
        """Return the number that was drawn when the locks were taken."""
        return self._number


class ReaderView(PostgresView):
    """A consistent state, of the moment of the first read.

    The transaction begins with the first read, in the same round trip; until then nothing was
    seen, so it may begin anew on another connection.
    """

    def __init__(self, calls: Calls, statements: Statements) -> None:
        super().__init__(statements)
        self._calls = calls
        self._talk: Talk | None = None
        self._over = False

    def _ask(self, text: bytes, arguments: tuple[Any, ...]) -> list[Row]:
        if self._over:
            raise ClosedError("this view is closed", hint="open another one with read()")
        if self._talk is None:
            return self._calls.run(lambda budget: self._begin(budget, text, arguments))
        self._talk.budget.left = self._calls.connections.timeout
        try:
            return self._talk.rows(text, arguments)
        except psycopg.Error as error:
            raise self._calls.failed(self._talk, error, "read").error from None

    def _begin(self, budget: Budget, text: bytes, arguments: tuple[Any, ...]) -> list[Row]:
        connections = self._calls.connections
        talk = Talk(connections.take(budget), budget, connections.dog)
        try:
            rows = talk.begin_rows(BEGIN_READ, text, arguments)
        except psycopg.Error as error:
            try:
                raise self._calls.failed(talk, error, "read") from None
            finally:
                connections.give(talk)
        except BaseException:
            connections.give(talk)
            raise
        self._talk = talk
        return rows

    def __enter__(self) -> ReaderView:
        self._calls.connections.refuse()
        return self

    def __exit__(self, *exception: object) -> None:
        talk, self._talk, self._over = self._talk, None, True
        if talk is not None:
            talk.budget.left = self._calls.connections.timeout
            try:
                if talk.failure is None:
                    talk.roll_back()
            finally:
                self._calls.connections.give(talk)
