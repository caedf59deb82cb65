"""What a caller wants committed, before anybody has decided whether it may be.

An `Intent` becomes one commit or fails as a whole. Its operations are prepared (encoded,
compressed, perhaps with a delta) before it is queued, so that the commit lane only decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from holdfast.correlation import CorrelationContext
from holdfast.engines.base import Durability
from holdfast.store.layout import DATA
from holdfast.store.value import StateClass

SET, DELETE, TOUCH, TRANSFORM, EXPIRE, LOST = range(1, 7)

#: Order of service where the lane has more than it can take at once.
HIGH, NORMAL, LOW = 0, 1, 2

CLASS_PRIORITY: Final = {
    StateClass.EPHEMERAL: LOW,
    StateClass.TRUSTED: HIGH,
    StateClass.STANDARD: NORMAL,
    StateClass.SENSITIVE: HIGH,
    StateClass.EXTERNAL: NORMAL,
}


class Prepared:
    """An encoded payload, ready to be stored.

    Attributes:
        encoding: Codec and compression, as in the record.
        payload: As it will be stored in the data space.
        size: Bytes before compression.
        delta: A delta frame against the version `base`, or None.
        base: The revision that `delta` was taken against.
        plain: The payload before compression, where that is at hand.
    """

    __slots__ = ("base", "delta", "encoding", "payload", "plain", "size")

    def __init__(
        self, encoding: int, payload: bytes, size: int, plain: bytes | None = None
    ) -> None:
        self.plain = plain
        self.encoding = encoding
        self.payload = payload
        self.size = size
        self.delta: bytes | None = None
        self.base = 0


class Emitted:
    """An event that is to be committed.

    Attributes:
        id: 16 bytes.
        owner: Packed tenant and scope.
        name: What happened.
        prepared: Its data.
        causes: Ids of what led to it.
    """

    __slots__ = ("causes", "id", "name", "owner", "prepared")

    def __init__(
        self, id_: bytes, owner: bytes, name: str, prepared: Prepared, causes: Sequence[str]
    ) -> None:
        self.id = id_
        self.owner = owner
        self.name = name
        self.prepared = prepared
        self.causes = causes


#: From the old value (or MISSING) to the new value's encoding and what the caller is told.
Transform = Callable[[Any], tuple[Prepared, Any]]


class Op:
    """One operation on one place.

    Attributes:
        kind: SET, DELETE, TOUCH, TRANSFORM, EXPIRE or LOST.
        owner: Packed tenant and scope, the beginning of `place`.
        place: What it is about.
        row_key: Of the live record.
        prepared: The payload of a SET.
        transform: The function of a TRANSFORM; pure, it may run several times.
        told: From the new value to what the caller of a TRANSFORM is told.
        limit: The largest old value that a TRANSFORM decodes inside the lane.
        state_class: For SET, and for a TRANSFORM that creates; None keeps what is there.
        expires_ns: New expiry; 0 for never; None keeps what is there.
        ttl_ns: Expiry relative to the commit time; wins over `expires_ns`.
        schema_version: For SET.
        if_revision, if_version: Preconditions; 0 means "must not exist".
    """

    def __init__(
        self,
        kind: int,
        owner: bytes,
        place: bytes,
        prepared: Prepared | None = None,
        state_class: int | None = None,
        if_revision: int | None = None,
        if_version: int | None = None,
    ) -> None:
        self.kind = kind
        self.owner = owner
        self.place = place
        self.row_key = DATA + place
        self.prepared = prepared
        self.transform: Transform | None = None
        self.told: Callable[[Any], Any] | None = None
        self.limit = 0
        self.state_class = None if state_class is None else int(state_class)
        self.expires_ns: int | None = 0
        self.ttl_ns: int | None = None
        self.schema_version: str | None = None
        self.if_revision = if_revision
        self.if_version = if_version


class Intent:
    """One atomic commit that somebody wants.

    Attributes:
        ops: At most one per place.
        reads: Place to the revision it was read at (0: absent); all must still hold.
        ranges: Half-open ranges of places that were scanned; nothing in them may have changed
            after `since` in their partition.
        since: Per partition, the revision at which the transaction started.
        trims: (owner, revision) horizons that this commit records; owner is empty for the journal
            of `partition`.
        events: Events that are committed with the operations.
        context: The step that it belongs to, besides its correlation id.
        loose: Operations fail one by one, each with its error as its result.
        commit_id: 16 bytes; `given` says that the caller chose it, which makes it idempotent.
        revision, results: The outcome: the commit's revision and one result per operation.
        provisional: Where the store runs on a spill, decide by what that knows.
        repeated: A commit under the given id had happened before; nothing was done again.
        error: Why it failed, or None.
        noted: What the stage before the lane keeps with it; observers of the feed find it here.
        queued_ns: When it was queued, where somebody measures how long that takes.
    """

    # Set on each instance: a default in the class costs several times as much to read, and the
    # lane reads nearly all of them for each intent and operation.
    def __init__(self, ops: list[Op], durability: Durability, priority: int = NORMAL) -> None:
        self.ops = ops
        self.durability = durability
        self.priority = priority
        self.reads: dict[bytes, int] | None = None
        self.ranges: list[tuple[bytes, bytes]] | None = None
        self.since: Sequence[int] = ()
        self.partition = 0
        self.trims: list[tuple[bytes, int]] | None = None
        self.events: Sequence[Emitted] = ()
        self.context: CorrelationContext | None = None
        self.commit_id = b""
        self.given = self.loose = self.provisional = self.repeated = False
        self.actor: str | None = None
        self.correlation: str | None = None
        self.cause: str | None = None
        self.error: BaseException | None = None
        self.noted: Any = None
        self.wake: Callable[[], object] | None = None
        self.weight = self.revision = self.queued_ns = 0
        self.results: Sequence[Any] = ()

    def measure(self) -> int:
        """Return about how many bytes this will put, for the lane's bounds."""
        total = 0
        for op in self.ops:
            prepared = op.prepared
            total += 256 if prepared is None else 256 + 2 * len(prepared.payload)
        for event in self.events:
            total += 128 + len(event.prepared.payload)
        self.weight = total
        return total
