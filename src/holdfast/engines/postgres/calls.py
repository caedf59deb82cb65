"""How a call of the engine goes: what is tried again, on which connection, and what comes out."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from holdfast.engines.postgres import failure
from holdfast.engines.postgres.connections import Connections
from holdfast.engines.postgres.deadline import Budget
from holdfast.engines.postgres.library import psycopg
from holdfast.engines.postgres.talk import Talk
from holdfast.errors import StateError

T = TypeVar("T")

#: How often a call is tried before its error comes out, time permitting.
ATTEMPTS = 6


class AttemptError(Exception):
    """A definite failure of one attempt.

    Attributes:
        error: What comes out if this was the last one.
        again: Another attempt may do better.
    """

    def __init__(self, error: StateError, *, again: bool) -> None:
        super().__init__(error)
        self.error, self.again = error, again


class Calls:
    """Runs calls over the connections of one handle."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self._pause = threading.Event()  # never set

    def run(self, attempt: Callable[[Budget], T]) -> T:
        """Run `attempt` until it works, or its failure is final."""
        budget = self.connections.budget()
        number = 1
        while True:
            try:
                return attempt(budget)
            except AttemptError as failed:
                if not failed.again or number == ATTEMPTS or budget.left <= 0:
                    raise failed.error from None
            pause = min(budget.left, random.uniform(0, 0.005 * 4**number))  # noqa: S311 - jitter
            self._pause.wait(pause)
            budget.left -= pause
            number += 1

    def ask(self, what: str, act: Callable[[Talk], T]) -> T:
        """Run `act`, which may be repeated: it writes nothing that matters twice."""

        def attempt(budget: Budget) -> T:
            with self.connections.talk(budget) as talk:
                try:
                    return act(talk)
                except psycopg.Error as error:
                    raise self.failed(talk, error, what) from None

        return self.run(attempt)

    def failed(self, talk: Talk, error: BaseException, what: str) -> AttemptError:
        """Return what a failure comes to that has surely written nothing."""
        if self.connections.dead:
            self.connections.refuse()
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        working = failure.alive(error, talk.link)
        away = failure.elsewhere(state, working=working)
        if away:
            talk.link.close()
            self.connections.renew()
        elif not talk.link.idle:
            talk.roll_back()
        return AttemptError(
            failure.translate(error, what, self.connections.target, talk.link),
            again=away or failure.serialisation(state),
        )
