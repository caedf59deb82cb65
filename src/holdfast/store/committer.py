"""Committing a group: one engine write, outcomes handed out, failures sorted.

A definite failure of a group is retried intent by intent, so that one bad intent takes nobody
with it. An unknown outcome is never retried: every intent that was to be written says so.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence

from holdfast.clock import Clock
from holdfast.engines.base import Durability, Engine
from holdfast.errors import DiskFullError, OutcomeUnknownError, StateError
from holdfast.store.feed import Commit, Feed
from holdfast.store.group import GroupBuilder, Rules
from holdfast.store.intent import Intent
from holdfast.store.partitions import Partitions
from holdfast.store.payload import Payloads

_WEAKEST = Durability.MEMORY


class Committer:
    """Turns groups of intents into engine writes.

    Attributes:
        degraded: Code of the last write's failure; None after one that succeeded.
        feed: Told of each commit that happened.
        fence: Row key and value that must stand, or every commit is refused; None for no fence.

    Args:
        engine: Where to write.
        clock: For commit times.
        payloads: For transforms.
        chain_key: Key of the journal's chain, or None.
        partitions: The store's partitions.
        committed: Called after each group's commit, before anybody is told.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        payloads: Payloads,
        chain_key: bytes | None,
        partitions: Partitions,
        committed: Callable[[GroupBuilder], None] | None = None,
    ) -> None:
        self._engine = engine
        self._partitions = partitions
        self._rules = Rules(clock.now_ns, payloads, chain_key, partitions, engine.traits)
        self._committed = committed
        self.feed = Feed()
        self.fence: tuple[bytes, bytes] | None = None
        self.after_fork()
        self.degraded: str | None = None

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
        among = self._partitions.of_group(group)
        builder = GroupBuilder(self._rules, group, among, self.fence)
        feed = self.feed
        if not feed.observers:
            self._run(builder, durability)
            return
        if self._partitions.count == 1:  # then the lane keeps the order
            self._run(builder, durability)
            self._publish(builder)
            return
        with feed.in_order(among):
            self._run(builder, durability)
            self._publish(builder)

    def _publish(self, builder: GroupBuilder) -> None:
        self.feed.publish(
            [
                Commit(intent, outcome.steps, outcome.revision, builder.time_ns)
                for intent, outcome in zip(builder.intents, builder.outcomes, strict=True)
                if outcome.happened
            ]
        )

    def _run(self, builder: GroupBuilder, durability: Durability) -> None:
        """Write a group and fill in the outcomes."""
        try:
            self._engine.write(durability, builder.decide, builder.among)
        except OutcomeUnknownError:
            if self._committed is not None:
                self._committed(builder)  # it may have happened
            for intent, outcome in zip(builder.intents, builder.outcomes, strict=False):
                # What was refused is known to be unwritten. But where it was refused because of
                # what this group changes, the reason may never have existed.
                intent.error = None if outcome.rests else outcome.error
            raise
        self.degraded = None
        if self._committed is not None:
            self._committed(builder)
        for intent, outcome in zip(builder.intents, builder.outcomes):  # noqa: B905 - one of each
            intent.revision = outcome.revision
            intent.results = outcome.results
            if outcome.error is not None:
                intent.error = outcome.error
            if outcome.repeated:
                intent.repeated = True
