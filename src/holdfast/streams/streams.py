"""What one open store has for those who follow its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.correlation import CorrelationContext, current, step_of
from holdfast.errors import InvalidArgumentError, StateError
from holdfast.store.kernel import Kernel
from holdfast.store.listing import Listing
from holdfast.store.paging import Wanted
from holdfast.store.position import Position, checked, head_position
from holdfast.store.scope import StateScope
from holdfast.streams.bell import Ringer
from holdfast.streams.keeper import Keeper
from holdfast.streams.source import source_of
from holdfast.streams.tail import refuse_unsettled
from holdfast.streams.watch import Following, Watch

Since = Position | int | None
Correlation = str | CorrelationContext | None
#: An operation, its scope, its error, what it belongs to.
Tell = Callable[[str, Any, StateError, Correlation], None]


class Streams:
    """Makes watches of one tenant of one store, and knows what its consumers share.

    Attributes:
        ringer: Wakes who waits for the journal to grow.
        keeper: Renews leases.
        tell: Told of each failure of a verb of theirs.
        touched: Counts changes of consumers by others of this process.
    """

    def __init__(self, kernel: Kernel, listing: Listing, tell: Tell | None = None) -> None:
        self.kernel = kernel
        self.listing = listing
        self.ringer = Ringer(kernel)
        self.keeper = Keeper(kernel.clock)
        self.tell: Tell = tell or _tell_nobody
        self.touched = 0

    def touch(self) -> None:
        """Have consumers of this process look what was done to them."""
        self.touched += 1
        self.ringer.ring()

    def wanted(
        self, scope: StateScope | str | None, prefix: str, events: bool, values: bool
    ) -> Wanted:
        """Return what somebody wants to see of the journal."""
        return Wanted(*self.listing.reach(scope, prefix), bool(events), bool(values))

    def now(self) -> Position:
        """Return where the journal ends, and whatever is committed later will lie behind."""
        source = source_of(self.kernel)
        every = source.partitions.all
        if len(every) > 1 and source.engine.traits.partitioned:
            refuse_unsettled(source)
            source.reader.settled()
        with source.engine.read() as view:
            return head_position(view, every)

    def follow(self, wanted: Wanted, since: Since) -> Following:
        """Return what a watch knows and does."""
        position = self.now() if since is None else checked(since, "since")
        return Following(self.kernel, self.ringer, wanted, position)

    def watch(
        self,
        scope: StateScope | str | None,
        prefix: str,
        events: bool,
        values: bool,
        since: Since,
        timeout: float | None,
    ) -> Watch:
        """Return a watch from a position on; from now where there is none."""
        check_timeout(timeout)
        following = self.follow(self.wanted(scope, prefix, events, values), since)
        return Watch(following, self.ringer, self.kernel.clock, timeout, self.teller(scope))

    @contextmanager
    def told(self, operation: str, correlation: Correlation, scope: Any = None) -> Iterator[None]:
        """Run a verb as a step of `correlation`, and tell of its failure."""
        within = current()
        try:
            with step_of(correlation, operation):
                within = current()
                yield
        except StateError as error:
            self.tell(operation, scope, error, within)
            raise

    def teller(self, scope: Any) -> Callable[[StateError], None]:
        """Return what tells of the failure of a watch that is made here and now."""
        within = current()
        return lambda error: self.tell("watch", scope, error, within)

    def close(self) -> None:
        """End all that waits for this store, and give leases back."""
        self.ringer.close()
        if not self.kernel.closed:
            self.keeper.close()


def _tell_nobody(
    operation: str, scope: object, error: StateError, correlation: Correlation
) -> None:
    pass


def check_timeout(timeout: float | None) -> None:
    """Refuse what is no time to wait.

    Raises:
        InvalidArgumentError: It is negative, or no number.
    """
    sound = timeout is None or (isinstance(timeout, int | float) and 0 <= timeout < 1e9)
    if not sound or isinstance(timeout, bool):
        raise InvalidArgumentError("timeout must be seconds of 0 or more, or None")
