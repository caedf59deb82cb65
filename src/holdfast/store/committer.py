"""Committing a group: one engine write, outcomes handed out, failures sorted.

A definite failure of a group is retried intent by intent, so that one bad intent takes nobody
with it. An unknown outcome is never retried: every intent that was to be written says so.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from typing import cast

from holdfast.clock import Clock
from holdfast.engines.base import Batch, ClockedView, Durability, Engine, View
from holdfast.errors import DiskFullError, FencedError, OutcomeUnknownError, StateError
from holdfast.store.group import GroupBuilder, Outcome
from holdfast.store.intent import Intent
from holdfast.store.payload import Payloads

_WEAKEST = Durability.MEMORY


class Committer:
    """Turns groups of intents into engine writes.

    Args:
        engine: Where to write.
        clock: For commit times.
        payloads: For transforms.
        chain_key: Key of the journal's chain, or None.
        committed: Called after each group's commit, before anybody is told, with its places and
            whether something of it will expire.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        payloads: Payloads,
        chain_key: bytes | None = None,
        committed: Callable[[Sequence[bytes], bool], None] | None = None,
    ) -> None:
        self._engine = engine
        self._now = clock.now_ns
        self._clocked = engine.traits.clocked
        self._payloads = payloads
        self._chain_key = chain_key
        self._committed = committed
        self.after_fork()
        self.degraded: str | None = None
        self.fence: tuple[bytes, bytes] | None = None  # row that must hold, and its value

    def after_fork(self) -> None:
        """Take a fresh prefix for commit ids: the parent goes on with the old one."""
        self._id_prefix = os.urandom(8)
        self._id_count = 0

    def commit(self, group: Sequence[Intent]) -> None:
        """Commit `group` and fill in every intent's revision and results, or error."""
        try:
            self._write(group)
        except OutcomeUnknownError as error:
            self.degraded = error.code
            for intent in group:
                if intent.error is None:
                    intent.error = OutcomeUnknownError(
                        error.message, commit_id=intent.commit_id.hex()
                    )
        except StateError as error:
            if len(group) > 1 and not isinstance(error, DiskFullError):
                for intent in group:
                    self.commit([intent])
                return
            self.degraded = error.code
            for intent in group:  # each caller raises an error of its own
                intent.error = copy.copy(error)
        except BaseException as error:  # noqa: BLE001 - handed to every caller, who raises it
            for intent in group:
                intent.error = error

    def _write(self, group: Sequence[Intent]) -> None:
        durability = _WEAKEST
        for intent in group:
            if intent.durability > durability:
                durability = intent.durability
            if not intent.commit_id:
                self._id_count += 1
                intent.commit_id = self._id_prefix + self._id_count.to_bytes(8)
        outcomes: list[Outcome] = []
        places: list[bytes] = []
        expiring = False

        def body(view: View) -> Batch:
            nonlocal outcomes, places, expiring
            if self.fence is not None and view.get(self.fence[0]) != self.fence[1]:
                raise FencedError("another epoch of this writer has taken over")
            now = cast(ClockedView, view).now_ns() if self._clocked else self._now()
            builder = GroupBuilder(view, now, self._payloads, self._chain_key)
            batch, outcomes = builder.decide(group)
            places, expiring = builder.places, builder.expiring
            return batch

        try:
            self._engine.write(durability, body)
        except OutcomeUnknownError:
            if self._committed is not None:
                self._committed(places, expiring)  # it may have happened
            for intent, outcome in zip(group, outcomes, strict=False):
                intent.error = outcome.error  # what was refused is known to be unwritten
            raise
        self.degraded = None
        if self._committed is not None and places:
            self._committed(places, expiring)
        for intent, outcome in zip(group, outcomes, strict=True):
            intent.revision, intent.results = outcome.revision, outcome.results
            if outcome.error is not None:
                intent.error = outcome.error
            if outcome.repeated:
                intent.repeated = True
