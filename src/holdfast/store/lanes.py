"""The lanes of a store of several partitions: one for each, and one for what spans several.

To its callers it is one lane. Writers of different partitions do not wait for each other here;
what spans several partitions waits, in the engine, for all of them.
"""

from __future__ import annotations

from holdfast.store.intent import Intent
from holdfast.store.lane import Lane, Run, Told
from holdfast.store.partitions import Partitions


class Lanes:
    """Routes each intent to the lane of its partition.

    Args:
        run: Commits a group; several may run at once.
        partitions: The store's.
        lead_inline: As of `Lane`.
    """

    def __init__(self, run: Run, partitions: Partitions, *, lead_inline: bool) -> None:
        self._partitions = partitions
        self._wide = Lane(run, lead_inline=lead_inline)
        self._lanes = [Lane(run, lead_inline=lead_inline) for _ in partitions.all]

    def _of(self, intent: Intent) -> Lane:
        touched = self._partitions.of_intent(intent)
        return self._lanes[touched[0]] if len(touched) == 1 else self._wide

    @property
    def _every(self) -> list[Lane]:
        return [*self._lanes, self._wide]

    @property
    def told(self) -> Told | None:
        """Who hears of each group."""
        return self._wide.told

    @told.setter
    def told(self, told: Told | None) -> None:
        for lane in self._every:
            lane.told = told

    @property
    def groups(self) -> int:
        """How many groups were committed."""
        return sum(lane.groups for lane in self._every)

    @property
    def items(self) -> int:
        """How many intents those held."""
        return sum(lane.items for lane in self._every)

    @property
    def largest(self) -> int:
        """The size of the largest group."""
        return max(lane.largest for lane in self._every)

    def submit(self, intent: Intent) -> None:
        """Commit `intent`; as `Lane.submit`."""
        self._of(intent).submit(intent)

    def submit_waking(self, intent: Intent) -> bool:
        """Queue `intent`; as `Lane.submit_waking`."""
        return self._of(intent).submit_waking(intent)

    def withdraw(self, intent: Intent) -> bool:
        """Take a queued intent back; as `Lane.withdraw`."""
        return self._of(intent).withdraw(intent)

    def depth(self) -> int:
        """Return how many intents wait."""
        return sum(lane.depth() for lane in self._every)

    def close(self) -> None:
        """Finish what is queued, then refuse everything."""
        for lane in self._every:
            lane.close()

    def after_fork(self) -> None:
        """Forget the parent's queues and threads."""
        for lane in self._every:
            lane.after_fork()
