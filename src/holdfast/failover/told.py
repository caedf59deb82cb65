"""What observers hear of commits that the spill took: the same as of the primary's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from holdfast.failover.rows import shown
from holdfast.store.feed import Commit, Feed, Observer

if TYPE_CHECKING:
    from holdfast.failover.spill import Spill


class SpilledFeed(Feed):
    """Passes the spill's commits on to a store's feed, under the revisions that callers see."""

    def __init__(self, feed: Feed, spill: Spill) -> None:
        super().__init__()
        self._feed, self._spill = feed, spill

    @property
    def observers(self) -> tuple[Observer, ...]:
        """The store's."""
        return self._feed.observers

    @observers.setter
    def observers(self, _: tuple[Observer, ...]) -> None:
        """Leave them alone: they are the store's."""

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Tell `observer` of the store's commits."""
        return self._feed.subscribe(observer)

    def publish(self, commits: Sequence[Commit]) -> None:
        """Tell of commits that callers made; others keep what the spill has learnt."""
        assert self._spill.identity is not None
        mark = self._spill.identity.mark
        told = [
            Commit(each.intent, each.steps, shown(each.revision), each.time_ns)
            for each in commits
            if not each.intent.commit_id.startswith(mark)
        ]
        if told:
            self._feed.publish(told)
