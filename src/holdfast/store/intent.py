"""What a caller wants committed, before anybody has decided whether it may be.

An `Intent` becomes one commit or fails as a whole. Its operations are prepared (encoded,
compressed, perhaps with a delta) before it is queued, so that the commit lane only decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from holdfast.correlation import CorrelationContext
from holdfast.engines.base import Durability
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

    # Most operations are plain sets: what they leave at its default is not stored on each.
    prepared: Prepared | None = None
    transform: Transform | None = None
    told: Callable[[Any], Any] | None = None
    limit: int = 0
    state_class: int | None = None
    expires_ns: int | None = 0
    ttl_ns: int | None = None
    schema_version: str | None = None
    if_revision: int | None = None
    if_version: int | None = None

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
        if prepared is not None:
            self.prepared = prepared
        if state_class is not None:
            self.state_class = int(state_class)
        if if_revision is not None:
            self.if_revision = if_revision
        if if_version is not None:
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

    reads: dict[bytes, int] | None = None
    ranges: list[tuple[bytes, bytes]] | None = None
    since: Sequence[int] = ()
    partition: int = 0
    trims: list[tuple[bytes, int]] | None = None
    events: Sequence[Emitted] = ()
    context: CorrelationContext | None = None
    commit_id: bytes = b""
    given: bool = False
    loose: bool = False
    provisional: bool = False
    repeated: bool = False
    actor: str | None = None
    correlation: str | None = None
    cause: str | None = None
    error: BaseException | None = None
    noted: Any = None
    wake: Callable[[], object] | None = None
    weight: int = 0
    queued_ns: int = 0
    revision: int = 0
    results: Sequence[Any] = ()

    def __init__(self, ops: list[Op], durability: Durability, priority: int = NORMAL) -> None:
        self.ops = ops
        self.durability = durability
        self.priority = priority

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
