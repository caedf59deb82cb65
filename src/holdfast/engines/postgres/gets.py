"""Single reads of many threads, in one query where they come together.

A thread that finds a leader's place free leads: it takes the keys that have queued, asks for all
of them at once, and hands the answers out. A read sees every commit that was acknowledged before
it began, for the query is sent after the key was queued.
"""

from __future__ import annotations

import copy
import threading
from collections import deque

from holdfast.engines.postgres.calls import Calls
from holdfast.engines.postgres.statements import Statements
from holdfast.engines.postgres.talk import Talk
from holdfast.errors import StateError

#: Queries under way at once: one more than one, so that the server works while Python does.
_LEADERS = 2
#: Keys of one query; values may be large.
_MOST = 200


class _Wish:
    """One thread's key, and what came of it."""

    __slots__ = ("done", "error", "key", "leads", "ready", "value")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.value: bytes | None = None
        self.error: StateError | None = None
        self.done = self.leads = False
        self.ready = threading.Lock()  # held until there is an answer, or the lead


class Gets:
    """The queue of single reads of one handle."""

    def __init__(self, calls: Calls, statements: Statements) -> None:
        self._calls, self._sql = calls, statements
        self._lock = threading.Lock()
        self._queue: deque[_Wish] = deque()  # of threads that wait; leaders are not in it
        self._leaders = 0

    def get(self, key: bytes) -> bytes | None:
        """Return the committed value of `key`, or None."""
        wish = _Wish(key)
        with self._lock:
            if self._leaders < _LEADERS:
                self._leaders += 1
                wish.leads = True
            else:
                wish.ready.acquire()
                self._queue.append(wish)
        if not wish.leads:
            self._wait(wish)
        if not wish.done:
            self._lead(wish)
        if wish.error is not None:
            raise wish.error
        return wish.value

    def _wait(self, wish: _Wish) -> None:
        try:
            wish.ready.acquire()
        except BaseException:  # this thread is leaving: the lead must not leave with it
            with self._lock:
                if wish in self._queue:
                    self._queue.remove(wish)
                elif wish.leads:
                    self._pass_on()
            raise

    def _lead(self, own: _Wish) -> None:
        wishes = [own]
        with self._lock:
            while self._queue and len(wishes) < _MOST:
                wishes.append(self._queue.popleft())
        try:
            keys = list({wish.key for wish in wishes})
            found = self._calls.ask("get", lambda talk: self._ask(talk, keys))
        except StateError as error:
            for wish in wishes:
                wish.error = copy.copy(error)  # each caller raises one of its own
        except BaseException:
            with self._lock:  # what stopped this thread is not the others' affair
                self._queue.extendleft(reversed(wishes[1:]))
                self._pass_on()
            raise
        else:
            for wish in wishes:
                wish.value = found.get(wish.key)
        with self._lock:
            self._pass_on()
        for wish in wishes:
            wish.done = True
            if wish is not own:
                wish.ready.release()

    def _pass_on(self) -> None:
        """Give the lead to whoever waits longest. The lock is held."""
        if self._queue:
            heir = self._queue.popleft()
            heir.leads = True
            heir.ready.release()
        else:
            self._leaders -= 1

    def _ask(self, talk: Talk, keys: list[bytes]) -> dict[bytes, bytes]:
        if len(keys) == 1:
            rows = talk.rows(self._sql.get, (keys[0],))
            return {keys[0]: rows[0][0]} if rows else {}
        return {row[0]: row[1] for row in talk.rows(self._sql.get_many, (keys,))}
