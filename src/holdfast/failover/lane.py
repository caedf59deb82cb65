"""The lane of a failover store: to the primary's, and where that fails, to the spill."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from holdfast.errors import (
    ClosedError,
    ConflictError,
    EngineError,
    FencedError,
    ForkedError,
    OutcomeUnknownError,
)
from holdfast.failover.breaker import says_away
from holdfast.failover.gate import Gate
from holdfast.failover.rows import INSIDE
from holdfast.failover.spilling import Spilling, demanding
from holdfast.store.intent import Intent
from holdfast.store.kernel import Kernel
from holdfast.store.lane import Lane, Told
from holdfast.store.lanes import Lanes

if TYPE_CHECKING:
    from holdfast.failover.kernel import FailoverKernel

Wake = Callable[[], object]
_NEVER_TRIED = -1


class FailoverLane:
    """Sends every intent where it belongs at that moment, and on where that fails.

    An intent that the primary may or may not have committed goes to the spill under the same
    commit id, with the head from before the attempt: the replay finds it, or does it.
    """

    def __init__(self, kernel: FailoverKernel, spilling: Spilling, gate: Gate) -> None:
        self._kernel, self._spilling, self._gate = kernel, spilling, gate
        self._pid = os.getpid()
        self._queue: SimpleQueue[tuple[Intent, Wake, int] | None] = SimpleQueue()
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told: Told | None = None

    @property
    def told(self) -> Told | None:
        """Who hears of each group that the primary commits."""
        return self._told

    @told.setter
    def told(self, told: Told | None) -> None:
        self._told = told
        if self._kernel.primary is not None:
            self._kernel.primary.lane.told = told

    def submit(self, intent: Intent) -> None:
        """Commit `intent` and return when its outcome is on it."""
        self._name(intent)
        since = _NEVER_TRIED
        while True:
            primary = self._kernel.primary
            if primary is None:
                if self._gate.enter():
                    try:
                        self._spilling.commit(intent, _tried(since))
                    finally:
                        self._gate.leave()
                    _doubt(intent, since)
                    return
                continue
            if self._settled(intent, primary, since):
                return
            before = self._kernel.known_head(primary, intent)
            try:
                primary.lane.submit(intent)
            except ClosedError:
                if self._kernel.closed or self._kernel.primary is primary:
                    raise
                continue
            if self._is_done(intent, primary):
                return
            since = _again(intent, before, since)

    def submit_waking(self, intent: Intent) -> bool:
        """Queue `intent`; its `wake` is called when the outcome is on it.

        Never blocks: what has to wait for the spill waits in a thread.
        """
        self._name(intent)
        wake = intent.wake
        assert wake is not None
        primary = self._kernel.primary
        if primary is None or _began_degraded(intent):
            self._hand(intent, wake, _NEVER_TRIED)
            return False
        return self._try(intent, primary, wake, _NEVER_TRIED)

    def withdraw(self, intent: Intent) -> bool:
        """Take a queued intent back; False if it was taken already (it will finish)."""
        primary = self._kernel.primary
        return primary is not None and primary.lane.withdraw(intent)

    def depth(self) -> int:
        """Return how many intents wait."""
        return self._current().depth() + self._queue.qsize()

    @property
    def groups(self) -> int:
        """How many groups the store in use has committed."""
        return self._current().groups

    @property
    def items(self) -> int:
        """How many intents it has committed."""
        return self._current().items

    @property
    def largest(self) -> int:
        """Its largest group."""
        return self._current().largest

    def close(self) -> None:
        """Finish what was handed over."""
        with self._mutex:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()

    # --- inside ---------------------------------------------------------------------------

    def _current(self) -> Lane | Lanes:
        primary = self._kernel.primary
        return (self._kernel.spill.kernel if primary is None else primary).lane

    def _name(self, intent: Intent) -> None:
        if os.getpid() != self._pid:
            raise ForkedError("a store with failover was inherited over a fork")
        if self._kernel.closed:
            raise ClosedError("the store is closed")
        if not intent.commit_id:
            intent.commit_id = self._kernel.new_commit_id()

    def _settled(self, intent: Intent, primary: Kernel, since: int) -> bool:
        """Settle what needs no commit at the primary: a stale start, an attempt that landed."""
        if _began_degraded(intent):
            intent.error = ConflictError(
                "the transaction started while the primary was away", reason="snapshot"
            )
            return True
        if since == _NEVER_TRIED:
            return False
        try:
            found = primary.find_commit(intent.commit_id, since)
        except EngineError as error:
            if self._kernel.primary is primary:
                intent.error = error
                _doubt(intent, since)
                return True
            return False  # away again
        if found is not None:
            intent.revision, intent.results = found, [True] * len(intent.ops)
            intent.repeated = True
        return found is not None

    def _is_done(self, intent: Intent, primary: Kernel) -> bool:
        """Say whether the primary's answer stands, or the intent goes elsewhere."""
        error = intent.error
        if error is None:
            self._kernel.succeeded()
            return True
        if isinstance(error, FencedError):
            self._kernel.fenced(primary, error)
        elif not isinstance(error, ClosedError) and not says_away(error):
            return True
        if self._kernel.closed or self._kernel.primary is primary:
            return True
        # Whether a conditional write happened decides what its caller does: nobody guesses.
        return isinstance(error, OutcomeUnknownError) and demanding(intent)

    def _try(self, intent: Intent, primary: Kernel, wake: Wake, since: int) -> bool:
        before = self._kernel.known_head(primary, intent)
        intent.wake = partial(self._woken, intent, primary, wake, before, since)
        try:
            known = primary.lane.submit_waking(intent)
        except ClosedError:
            intent.wake = wake
            if self._kernel.closed or self._kernel.primary is primary:
                raise
            self._hand(intent, wake, since)
            return False
        if known:
            intent.wake = wake
            if self._is_done(intent, primary):
                return True
            self._hand(intent, wake, _again(intent, before, since))
        return False

    def _woken(self, intent: Intent, primary: Kernel, wake: Wake, before: int, since: int) -> None:
        intent.wake = wake
        if self._is_done(intent, primary):
            wake()
        else:
            self._hand(intent, wake, _again(intent, before, since))

    def _hand(self, intent: Intent, wake: Wake, since: int) -> None:
        self._queue.put((intent, wake, since))
        if self._thread is None:
            with self._mutex:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._serve, name="holdfast-spill", daemon=True
                    )
                    self._thread.start()

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            intent, wake, since = item
            try:
                self._place(intent, wake, since)
            except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
                intent.error = error
                _doubt(intent, since)
                wake()

    def _place(self, intent: Intent, wake: Wake, since: int) -> None:
        while True:
            primary = self._kernel.primary
            if primary is None:
                if self._gate.enter():
                    done = partial(self._spilled, intent, wake, since)
                    self._spilling.submit(intent, _tried(since), done)
                    return
            elif self._settled(intent, primary, since):
                wake()
                return
            elif self._kernel.primary is primary:
                if self._try(intent, primary, wake, since):
                    wake()
                return

    def _spilled(self, intent: Intent, wake: Wake, since: int) -> None:
        self._gate.leave()
        _doubt(intent, since)
        wake()


def _began_degraded(intent: Intent) -> bool:
    """Say whether a transaction's start is a moment of the spill."""
    return any(start >= INSIDE for start in intent.since)


def _tried(since: int) -> int | None:
    return None if since == _NEVER_TRIED else since


def _again(intent: Intent, before: int, since: int) -> int:
    """Clear an outcome, and return the head from before the first attempt in doubt."""
    in_doubt = isinstance(intent.error, OutcomeUnknownError)
    intent.error, intent.revision, intent.results, intent.repeated = None, 0, (), False
    return before if in_doubt and since == _NEVER_TRIED else since


def _doubt(intent: Intent, since: int) -> None:
    """Say that an outcome is unknown where the primary was tried and the spill failed as well."""
    if intent.error is not None and since != _NEVER_TRIED:
        intent.error = OutcomeUnknownError(
            "the primary went away during the commit, and the spill did not take it",
            commit_id=intent.commit_id.hex(),
        )
