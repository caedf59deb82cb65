"""Reading a timeline from a store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from holdfast.errors import InvalidArgumentError
from holdfast.store.address import Addressing
from holdfast.store.excerpt import Found, Wanted, excerpt
from holdfast.store.kernel import Kernel
from holdfast.store.listing import Listing, check_limit
from holdfast.store.policy import Policies
from holdfast.store.scope import StateScope
from holdfast.store.value import StateEvent
from holdfast.timeline.entry import about, entries_of
from holdfast.timeline.timeline import Timeline


class TimelineReader:
    """Reads timelines of one tenant."""

    def __init__(
        self, kernel: Kernel, address: Addressing, listing: Listing, policies: Policies
    ) -> None:
        self._kernel = kernel
        self._address = address
        self._listing = listing
        self._policies = policies

    def read(
        self,
        correlation: str | None = None,
        *,
        scope: StateScope | str | None = None,
        key: str | None = None,
        since: int | datetime | None = None,
        until: int | datetime | None = None,
        limit: int | None = None,
    ) -> Timeline:
        """See `StateReader.timeline`."""
        check_limit(limit)
        where = None if scope is None else self._address.scope(scope)
        if all(each is None for each in (correlation, scope, key, since, until, limit)):
            raise InvalidArgumentError(
                "a timeline is of something", hint="give a correlation, a scope, a time or a limit"
            )
        start, stop = self._listing.reach(where, "")
        keep: Callable[[Found], bool] = _everything
        if key is not None:
            if where is None:
                raise InvalidArgumentError("key needs a scope")
            of, name = where, self._address.key(self._address.place(start, key))
            key = name

            def keep(item: Found) -> bool:
                return about(item, of, name)

        found = excerpt(self._kernel, Wanted(start, stop, correlation, since, until), keep, limit)
        scopes = {item.scope for item in found.items if isinstance(item, StateEvent)}
        classes = {each: self._policies.state_class(each) for each in scopes}
        return Timeline(
            entries=entries_of(found.items, classes),
            correlation=correlation,
            scope=where,
            key=key,
            since=since,
            until=until,
            horizon=found.horizon,
            more=found.more,
        )


def _everything(_: Found) -> bool:
    return True
