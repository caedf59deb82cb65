"""`state.events`: what happened, in the journal's own order, with the changes or between them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Unpack

from holdfast.correlation import check_text
from holdfast.errors import InvalidArgumentError
from holdfast.keys import normal_text
from holdfast.observe.observation import Observation
from holdfast.observe.telling import telling
from holdfast.store import history
from holdfast.store.address import Addressing
from holdfast.store.happening import emitted
from holdfast.store.intent import Intent
from holdfast.store.kernel import Kernel
from holdfast.store.listing import Listing, check_limit
from holdfast.store.options import WriteOptions
from holdfast.store.scope import StateScope
from holdfast.store.value import StateEvent
from holdfast.store.writer import Writer

Scope = StateScope | str


class EventReader:
    """Reads events of one tenant."""

    def __init__(self, kernel: Kernel, address: Addressing, listing: Listing) -> None:
        self._kernel = kernel
        self._address = address
        self._listing = listing

    def read(
        self,
        since: int = 0,
        *,
        until: int | None = None,
        scope: Scope | None = None,
        name: str = "*",
        correlation: str | None = None,
        limit: int | None = None,
    ) -> Iterator[StateEvent]:
        """Yield events after revision `since`, in order.

        Args:
            since: Everything behind this revision; 0 for all.
            until: Nothing behind this one.
            scope: Only events of this scope.
            name: Only events of this name; ``*`` (and nothing else) stands for any text, as in
                ``order.*``.
            correlation: Only events of this piece of work. (`timeline` finds those by an index.)
            limit: At most so many.

        Raises:
            HorizonError: The journal no longer reaches back to `since`.
            InvalidArgumentError: An argument is none.
        """
        check_limit(limit)
        named = _named(name)
        if correlation is not None:
            check_text(correlation, "a correlation id")
        start, stop = self._listing.reach(scope, "")
        left = limit
        found = history.changes(
            self._kernel,
            since=since,
            until=until,
            start=start,
            stop=stop,
            limit=None,
            values=False,
            events=True,
        )
        for each in found:
            if left == 0:
                return
            if not isinstance(each, StateEvent) or not named(each.name):
                continue
            if correlation is None or each.correlation_id == correlation:
                left = None if left is None else left - 1
                yield each


def _named(pattern: str) -> Callable[[str], object]:
    """Return what says whether a name fits: ``*`` is any text, all else is itself."""
    pattern = normal_text(pattern, what="name", error=InvalidArgumentError)
    literal = re.sub(r"[\[?]", lambda found: f"[{found[0]}]", pattern)
    return re.compile(fnmatch.translate(literal)).match


@telling
class Events(EventReader):
    """Emits and reads events of one tenant."""

    def __init__(
        self,
        kernel: Kernel,
        address: Addressing,
        listing: Listing,
        writer: Writer,
        observation: Observation,
    ) -> None:
        super().__init__(kernel, address, listing)
        self._observation = observation
        self._writer = writer

    def emit(
        self,
        name: str,
        data: Any = None,
        *,
        scope: Scope = "global",
        causes: Sequence[str] = (),
        **options: Unpack[WriteOptions],
    ) -> str:
        """Commit an event, as durable as a write of its scope, and return its id.

        Sent again under the same `commit_id` it has the same id, and is there once.

        To commit an event together with changes, use ``tx.emit`` in a transaction.

        Args:
            name: What happened, as ``order.paid``.
            data: A value as `set` takes one, of at most 64 KiB.
            scope: Where it happened.
            causes: Ids of what led to it: of events, commits or spans.
            **options: See `WriteOptions`.

        Raises:
            InvalidArgumentError, InvalidValueError, LimitExceededError: Nothing is written.
            ProtectionRequiredError: There is data, and policy says that the scope is sensitive.
        """
        intent = self.intent(name, data, scope, causes, options)
        self._kernel.commit(intent)
        return intent.events[0].id.hex()

    def intent(
        self, name: str, data: Any, scope: Scope, causes: Sequence[str], options: WriteOptions
    ) -> Intent:
        """Return what an `emit` wants committed."""
        scope = self._address.scope(scope)
        self._writer.guard_event(scope, data)
        commit_id = options.get("commit_id")
        event = emitted(self._kernel.payloads, self._address, scope, name, data, causes, commit_id)
        intent = self._writer.intent([], scope, None, options)
        intent.events = [event]
        return intent
