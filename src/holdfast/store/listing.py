"""Listing keys, values and scopes: durable state merged with this process's ephemeral state."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime

from holdfast.errors import CorruptionError, InvalidArgumentError, StateError
from holdfast.keys import after
from holdfast.store import layout
from holdfast.store.address import Addressing
from holdfast.store.journal import MAX_REVISION, journal_horizon, touched_between
from holdfast.store.kernel import Kernel
from holdfast.store.past import Found, Moment, refuse_before
from holdfast.store.reader import PAGE, ephemeral_value, state_value
from holdfast.store.scope import ScopeKind, StateScope, unpack_scope
from holdfast.store.value import GetRequest, StateValue

AsOf = int | datetime | Moment | None
_A_FEW = 8


class Listing:
    """Lists what one tenant of one store holds."""

    def __init__(self, kernel: Kernel, addressing: Addressing) -> None:
        self._kernel = kernel
        self._address = addressing

    def keys(
        self,
        scope: StateScope | str,
        prefix: str = "",
        after_key: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
        as_of: AsOf = None,
    ) -> Iterator[str]:
        """Yield keys in order (by UTF-8 bytes)."""
        start, stop = self._range(scope, prefix, after_key, reverse)
        check_limit(limit)
        durable = self._scan(start, stop, limit, reverse, as_of, keys_only=True)
        places = (found.place for found in durable)
        local = self._local(start, stop, reverse) if as_of is None else []
        merged = heapq.merge(places, local, reverse=reverse) if local else places
        skip = len(self._address.owner(scope))
        for at, place in enumerate(merged):
            if at == limit:
                return
            yield place[skip:-1].replace(b"\0\xff", b"\0").decode()

    def values(
        self,
        scope: StateScope | str,
        prefix: str = "",
        after_key: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
        as_of: AsOf = None,
    ) -> Iterator[tuple[str, StateValue]]:
        """Yield keys with their values and metadata, in order."""
        start, stop = self._range(scope, prefix, after_key, reverse)
        check_limit(limit)
        durable = self._scan(start, stop, limit, reverse, as_of, keys_only=False)
        shown = ((found.place, state_value(found)) for found in durable)
        merged: Iterator[tuple[bytes, StateValue]] = shown
        if as_of is None:
            local = self._local_values(self._local(start, stop, reverse))
            if local:
                merged = heapq.merge(shown, local, key=lambda pair: pair[0], reverse=reverse)
        skip = len(self._address.owner(scope))
        for at, (place, value) in enumerate(merged):
            if at == limit:
                return
            yield place[skip:-1].replace(b"\0\xff", b"\0").decode(), value

    def count(self, scope: StateScope | str, prefix: str = "", as_of: AsOf = None) -> int:
        """Count keys."""
        return sum(1 for _ in self.keys(scope, prefix, as_of=as_of))

    def scopes(
        self, kind: ScopeKind | None = None, within: StateScope | None = None
    ) -> Iterator[StateScope]:
        """Yield the scopes that hold a key, in order.

        Args:
            kind: Only scopes of this kind.
            within: A workflow, to list its steps only.
        """
        tenant = self._address.tenant
        start = tenant
        if within is not None:
            if within.kind is not ScopeKind.WORKFLOW or kind not in (None, ScopeKind.STEP):
                raise InvalidArgumentError("only a workflow has scopes within it: its steps")
            start += bytes((ScopeKind.STEP,)) + within.packed[1:]
        elif kind is not None:
            if kind not in set(ScopeKind):
                raise InvalidArgumentError("kind must be a ScopeKind")
            start += bytes((kind,))
        stop = after(start)
        now = self._kernel.clock.now_ns()
        local = {layout.owner_of(p) for p in self._kernel.ephemeral.within(start, stop, now)}
        position = layout.SCOPES + start
        found: list[bytes] = []
        while True:
            with self._kernel.engine.read() as view:
                rows = view.scan(position, layout.SCOPES + stop, limit=PAGE, keys_only=True)
            found += [key[1:] for key, _ in rows]
            if len(rows) < PAGE:
                break
            position = rows[-1][0] + b"\0"
        for owner in sorted(local.union(found)):
            scope = unpack_scope(owner, len(tenant))[0]
            if owner in local or self.exists(scope):
                yield scope

    def scopes_at(self, moment: Moment) -> Iterator[StateScope]:
        """Yield the scopes that held a durable key at a moment, in order.

        Raises:
            HorizonError: The journal no longer reaches back to it.
        """
        kernel, tenant = self._kernel, self._address.tenant
        start, stop = tenant, after(tenant)
        with kernel.engine.read() as view:
            # What holds keys now, and what has changed since: no other scope can have held one.
            rows = view.scan(layout.SCOPES + start, layout.SCOPES + stop, keys_only=True)
            owners = {key[1:] for key, _ in rows}
            for partition in kernel.partitions.all:
                then = moment.within(partition).revision
                refuse_before(journal_horizon(view, partition)[0], then, "the journal")
                touched = touched_between(view, partition, then, MAX_REVISION, start, stop)
                owners.update(map(layout.owner_of, touched))
        for owner in sorted(owners):
            scope = unpack_scope(owner, len(tenant))[0]
            if next(self.keys(scope, limit=1, as_of=moment), None) is not None:
                yield scope

    def exists(self, scope: StateScope | str) -> bool:
        """Say whether a scope holds a key."""
        start, stop = self._address.range(scope)
        if self._local(start, stop, False):
            return True
        # A few values say whether they have expired; keys alone would need the whole expiry index.
        found = self._scan(start, stop, _A_FEW, False, None, keys_only=False)
        try:
            return next(found, None) is not None
        except CorruptionError:
            return True  # a damaged value is one; who reads it is told

    def get_many(
        self, requests: Iterable[GetRequest | tuple[StateScope | str, str]]
    ) -> list[StateValue | StateError | None]:
        """Return many values in one consistent read; an item's error stands in its place."""
        kernel, address = self._kernel, self._address
        out: list[StateValue | StateError | None] = []
        places: list[tuple[int, bytes]] = []
        for at, request in enumerate(requests):
            if isinstance(request, GetRequest):
                request = (request.scope, request.key)
            elif not isinstance(request, tuple) or len(request) != 2:
                raise InvalidArgumentError("a request is a GetRequest or a pair of scope and key")
            out.append(None)
            try:
                place = address.place(address.owner(request[0]), request[1])
            except StateError as error:
                out[at] = error
                continue
            local = self._local_values([place]) if kernel.ephemeral.entries else []
            if local:
                out[at] = local[0][1]
            else:
                places.append((at, place))
        raws = kernel.engine.get_many([layout.DATA + place for _, place in places])
        for (at, place), raw in zip(places, raws, strict=True):
            try:
                found = kernel.reader.live(place, raw)
                out[at] = None if found is None else state_value(found)
            except StateError as error:
                out[at] = error
        return out

    def reach(self, scope: StateScope | str | None, prefix: str) -> tuple[bytes, bytes]:
        """Return the range of places of a scope, or of the whole tenant."""
        if scope is not None:
            return self._address.range(scope, prefix)
        if prefix:
            raise InvalidArgumentError("prefix needs a scope")
        return self._address.tenant, after(self._address.tenant)

    def _range(
        self, scope: StateScope | str, prefix: str, after_key: str | None, reverse: bool
    ) -> tuple[bytes, bytes]:
        start, stop = self._address.range(scope, prefix)
        if after_key is not None:
            place = self._address.place(self._address.owner(scope), after_key)
            if reverse:
                stop = min(stop, place)
            else:
                start = max(start, layout.behind(place))
        return start, max(start, stop)

    def _scan(
        self,
        start: bytes,
        stop: bytes,
        limit: int | None,
        reverse: bool,
        as_of: AsOf,
        *,
        keys_only: bool,
    ) -> Iterator[Found]:
        reader = self._kernel.reader
        moment: Moment | None = None
        if isinstance(as_of, Moment):
            moment = as_of
        elif as_of is not None:
            reader.settle(as_of)
            with self._kernel.engine.read() as view:
                moment = reader.moment(view, as_of)
        return reader.scan(
            start,
            stop,
            moment=moment,
            limit=limit,
            reverse=reverse,
            keys_only=keys_only,
        )

    def _local(self, start: bytes, stop: bytes, reverse: bool) -> list[bytes]:
        places = self._kernel.ephemeral.within(start, stop, self._kernel.clock.now_ns())
        return places[::-1] if reverse else places

    def _local_values(self, places: list[bytes]) -> list[tuple[bytes, StateValue]]:
        kernel = self._kernel
        out = []
        for place in places:
            entry = kernel.ephemeral.get(place, kernel.clock.now_ns())
            if entry is not None:
                prepared = entry.prepared
                payload = kernel.payloads.unpack(
                    place, prepared.encoding, prepared.payload, prepared.size
                )
                out.append((place, ephemeral_value(entry, payload)))
        return out


def check_limit(limit: int | None) -> None:
    """Refuse limits that are no count.

    Raises:
        InvalidArgumentError: Negative, or no integer.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise InvalidArgumentError("limit must be an integer of 0 or more, or None")
