"""Events on their way into the journal: names and data checked, payloads made. Pure."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, Final

from holdfast.correlation import MAX_TEXT, check_causes
from holdfast.errors import InvalidArgumentError, LimitExceededError
from holdfast.keys import normal_text
from holdfast.store.address import Addressing
from holdfast.store.intent import Emitted
from holdfast.store.payload import Payloads
from holdfast.store.scope import StateScope

#: Events stand in the journal's headers, which every reader of the journal reads.
MAX_EVENT_BYTES: Final = 64 * 1024


def emitted(
    payloads: Payloads,
    address: Addressing,
    scope: StateScope | str,
    name: str,
    data: Any,
    causes: Sequence[str] = (),
    commit_id: bytes | None = None,
    number: int = 0,
) -> Emitted:
    """Return an event that can be committed.

    Args:
        payloads, address: The store's, the tenant's.
        scope, name, data, causes: As given.
        commit_id: As given: the event gets the same id whenever it is sent again under this one.
        number: Its place among the events of its commit.

    Raises:
        InvalidArgumentError: The name is empty, too long or has control characters, or a cause is
            no id.
        InvalidValueError: The data would not read back equal.
        LimitExceededError: It takes more than 64 KiB, or the scope's ids are too long.
    """
    name = normal_text(name, what="the name of an event", error=InvalidArgumentError)
    if len(name.encode()) > MAX_TEXT:
        raise InvalidArgumentError(f"the name of an event takes at most {MAX_TEXT} bytes")
    prepared = payloads.prepare(data)
    if prepared.size > MAX_EVENT_BYTES:
        raise LimitExceededError(
            f"the data of event {name} takes {prepared.size} bytes, the limit is {MAX_EVENT_BYTES}",
            hint="store it under a key, and name that in the event",
            limit=MAX_EVENT_BYTES,
            actual=prepared.size,
        )
    owner = address.owner(scope)
    if len(owner) > 256:  # a scope that can hold no key is too long for an event, too
        address.place(owner, "k")
    id_ = event_id(commit_id, number, owner) if isinstance(commit_id, bytes) else os.urandom(16)
    return Emitted(id_, owner, name, prepared, check_causes(causes))


def event_id(commit_id: bytes, number: int, owner: bytes) -> bytes:
    """Return the id of an event of a commit whose id is given: each time the same."""
    return hashlib.sha256(commit_id + number.to_bytes(8) + owner).digest()[:16]
