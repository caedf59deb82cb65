"""`StateTransaction` and `Snapshot`: what callers hold inside ``with state.transaction()``.

Both show one moment. A transaction buffers writes and commits them together or not at all; a
snapshot only reads and never conflicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar, overload

from holdfast.errors import (
    ConflictError,
    EphemeralMixError,
    InvalidArgumentError,
    RejectedError,
)
from holdfast.store import intent as wanted
from holdfast.store.address import Addressing
from holdfast.store.codec import decode
from holdfast.store.happening import emitted
from holdfast.store.intent import Op
from holdfast.store.kernel import Kernel
from holdfast.store.listing import Listing
from holdfast.store.merge import appended, incremented, merge_patched, updated
from holdfast.store.options import guard_class, ttl_of
from holdfast.store.past import Moment
from holdfast.store.policy import Policies
from holdfast.store.reader import state_value
from holdfast.store.scope import StateScope
from holdfast.store.transaction import TransactionCore
from holdfast.store.typed import as_type
from holdfast.store.value import MISSING, StateClass, StateValue
from holdfast.store.writer import Writer

T = TypeVar("T")
D = TypeVar("D")
Scope = StateScope | str


class StateTransaction:
    """A serialisable transaction over any scopes.

    Reads see the state of its start plus its own writes; meeting anything newer raises
    `ConflictError` at once. Ephemeral values are refused.

    Attributes:
        revision: Of the commit, once it is committed; None before, or if nothing was written.
    """

    def __init__(
        self,
        kernel: Kernel,
        addressing: Addressing,
        writer: Writer,
        policies: Policies,
        commit_id: bytes | None = None,
    ) -> None:
        self._kernel = kernel
        self._address = addressing
        self._writer = writer
        self._policies = policies
        self._commit_id = commit_id
        self.core = TransactionCore(kernel)
        self.core.begin()
        self.revision: int | None = None
        self._open = True

    @property
    def start_revision(self) -> int:
        """The revision that reads are as of."""
        return self._kernel.outward(self.core.start)

    def end(self) -> None:
        """Refuse further use."""
        self._open = False

    @overload
    def get(self, scope: Scope, key: str, default: Any = None) -> Any: ...
    @overload
    def get(self, scope: Scope, key: str, *, type: type[T]) -> T | None: ...
    @overload
    def get(self, scope: Scope, key: str, default: D, *, type: type[T]) -> T | D: ...
    def get(self, scope: Scope, key: str, default: Any = None, *, type: Any = None) -> Any:
        """Return the value, or `default`."""
        value = self._read(self._place(scope, key)[1])
        if value is MISSING:
            return default
        return value if type is None else as_type(value, type, f"{scope}/{key}")

    def get_with_metadata(self, scope: Scope, key: str) -> StateValue | None:
        """Return the committed value with its metadata.

        Raises:
            InvalidArgumentError: The transaction has written the key: it has no metadata yet.
        """
        place = self._place(scope, key)[1]
        if place in self.core.writes:
            raise InvalidArgumentError(
                "a key written in this transaction has no metadata until the commit"
            )
        found = self.core.read(place)
        return None if found is None else state_value(found)

    def exists(self, scope: Scope, key: str) -> bool:
        """Say whether the key is there."""
        return self._read(self._place(scope, key)[1]) is not MISSING

    def set(
        self,
        scope: Scope,
        key: str,
        value: Any,
        *,
        state_class: StateClass | None = None,
        expires_in: float | timedelta | None = None,
        if_absent: bool = False,
    ) -> None:
        """Buffer a write."""
        owner, place = self._place(scope, key)
        if if_absent and self._read(place) is not MISSING:
            raise ConflictError(f"{scope}/{key} exists already", reason="exists", expected=0)
        state_class = self._class(scope, state_class)
        op = Op(wanted.SET, owner, place, None, state_class)
        if expires_in is not None:
            op.ttl_ns = ttl_of(expires_in)
            self._kernel.sweeper.wake()
        self._write(op, value)

    def delete(self, scope: Scope, key: str) -> bool:
        """Buffer a delete; return whether the key was there."""
        owner, place = self._place(scope, key)
        present = self._read(place) is not MISSING
        self.core.write(Op(wanted.DELETE, owner, place), None)
        return present

    def update(
        self, scope: Scope, key: str, fn: Callable[[Any], Any], *, default: Any = None
    ) -> Any:
        """Replace the value by ``fn(value)`` and return it; class and expiry stay."""
        return self._change(scope, key, lambda old: updated(fn, old), default)

    def _change(self, scope: Scope, key: str, fn: Callable[[Any], Any], default: Any) -> Any:
        owner, place = self._place(scope, key)
        old = self._read(place)
        new = fn(default if old is MISSING else old)
        op = Op(wanted.SET, owner, place, None, self._class(scope, None))
        op.expires_ns = None
        buffered = self.core.writes.get(place)
        if buffered is not None and buffered.payload is None:
            op.expires_ns = 0  # created anew
        elif buffered is not None:
            op.state_class = buffered.op.state_class
            op.expires_ns, op.ttl_ns = buffered.op.expires_ns, buffered.op.ttl_ns
        self._write(op, new)
        return new

    def increment(self, scope: Scope, key: str, by: Any = 1) -> Any:
        """Add to a number and return the sum."""
        return self.update(scope, key, lambda old: incremented(old, by), default=MISSING)

    def append(self, scope: Scope, key: str, *items: Any) -> int:
        """Append to a list and return its new length."""
        return len(self.update(scope, key, lambda o: appended(o, list(items)), default=MISSING))

    def merge_patch(self, scope: Scope, key: str, patch: Any) -> Any:
        """Apply a JSON merge patch and return the new value."""
        return self._change(scope, key, lambda old: merge_patched(old, patch), None)

    def emit(
        self,
        name: str,
        data: Any = None,
        *,
        scope: Scope = "global",
        causes: Sequence[str] = (),
    ) -> str:
        """Add an event to the commit, and return its id: it happens if, and only if, that does."""
        if not self._open:
            raise RejectedError("the transaction has ended", hint="begin another one")
        self._writer.guard_event(scope, data)
        events, commit_id = self.core.events, self._commit_id
        payloads, address = self._kernel.payloads, self._address
        event = emitted(payloads, address, scope, name, data, causes, commit_id, len(events))
        events.append(event)
        return event.id.hex()

    def list_keys(self, scope: Scope, *, prefix: str = "") -> list[str]:
        """Return the keys, own writes included."""
        return [key for key, _ in self._scan(scope, prefix)]

    def scan(self, scope: Scope, *, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Yield ``(key, value)`` pairs in order, own writes included.

        Values, not `StateValue`: what is written here has no metadata before the commit.
        """
        for key, payload in self._scan(scope, prefix):
            yield key, decode(payload)

    def count(self, scope: Scope, *, prefix: str = "") -> int:
        """Count keys, own writes included."""
        return len(self._scan(scope, prefix))

    # --- inside ---------------------------------------------------------------------------

    def _place(self, scope: Scope, key: str) -> tuple[bytes, bytes]:
        if not self._open:
            raise RejectedError("the transaction has ended", hint="begin another one")
        owner = self._address.owner(scope)
        place = self._address.place(owner, key)
        kernel = self._kernel
        if kernel.ephemeral.get(place, kernel.clock.now_ns()) is not None:
            raise EphemeralMixError(f"{scope}/{key} is ephemeral and takes no part here")
        return owner, place

    def _class(self, scope: Scope, state_class: StateClass | None) -> StateClass | None:
        """Return the class that a write asks for, or the policy's; refuse what cannot be."""
        if state_class is None and self._policies:
            state_class = self._policies.state_class(self._address.scope(scope))
        if state_class is not None:
            guard_class(state_class)
        if state_class is StateClass.EPHEMERAL:
            raise EphemeralMixError("ephemeral values take no part in transactions")
        return state_class

    def _read(self, place: bytes) -> Any:
        buffered = self.core.writes.get(place)
        if buffered is not None:
            return MISSING if buffered.payload is None else decode(buffered.payload)
        found = self.core.read(place)
        return MISSING if found is None else decode(found.payload)

    def _write(self, op: Op, value: Any) -> None:
        payloads = self._kernel.payloads
        prepared = payloads.prepare(value)
        op.prepared = prepared
        payload = payloads.unpack(op.place, prepared.encoding, prepared.payload, prepared.size)
        self.core.write(op, payload)

    def _scan(self, scope: Scope, prefix: str) -> list[tuple[str, bytes]]:
        if not self._open:
            raise RejectedError("the transaction has ended", hint="begin another one")
        start, stop = self._address.range(scope, prefix)
        merged = {found.place: found.payload for found in self.core.scan(start, stop)}
        for place, buffered in self.core.writes.items():
            if start <= place < stop:
                if buffered.payload is None:
                    merged.pop(place, None)
                else:
                    merged[place] = buffered.payload
        return [(self._address.key(place), merged[place]) for place in sorted(merged)]


class Snapshot:
    """The whole store as of one revision, for reading; it never conflicts.

    Attributes:
        revision: What it shows.
    """

    def __init__(
        self, kernel: Kernel, addressing: Addressing, listing: Listing, moment: Moment
    ) -> None:
        self._kernel = kernel
        self._address = addressing
        self._listing = listing
        self._moment = moment
        self.revision = moment.revision

    @overload
    def get(self, scope: Scope, key: str, default: Any = None) -> Any: ...
    @overload
    def get(self, scope: Scope, key: str, *, type: type[T]) -> T | None: ...
    @overload
    def get(self, scope: Scope, key: str, default: D, *, type: type[T]) -> T | D: ...
    def get(self, scope: Scope, key: str, default: Any = None, *, type: Any = None) -> Any:
        """Return the value of that moment, or `default`."""
        found = self.get_with_metadata(scope, key)
        if found is None:
            return default
        return found.value if type is None else as_type(found.value, type, f"{scope}/{key}")

    def get_with_metadata(self, scope: Scope, key: str) -> StateValue | None:
        """Return value and metadata of that moment, or None."""
        place = self._address.place(self._address.owner(scope), key)
        found = self._kernel.reader.at_moment(place, self._moment)
        return None if found is None else state_value(found)

    def exists(self, scope: Scope, key: str) -> bool:
        """Say whether the key was there."""
        return self.get_with_metadata(scope, key) is not None

    def list_keys(self, scope: Scope, *, prefix: str = "") -> list[str]:
        """Return the keys of that moment."""
        return list(self._listing.keys(scope, prefix, as_of=self._moment))

    def scan(self, scope: Scope, *, prefix: str = "") -> Iterator[tuple[str, StateValue]]:
        """Yield ``(key, StateValue)`` pairs of that moment, in order."""
        return self._listing.values(scope, prefix, as_of=self._moment)

    def scopes(self) -> list[StateScope]:
        """Return the scopes that held a key."""
        return list(self._listing.scopes_at(self._moment))

    def count(self, scope: Scope, *, prefix: str = "") -> int:
        """Count the keys of that moment."""
        return self._listing.count(scope, prefix, as_of=self._moment)
