"""Settling one conflict: ask the policy, and write down what it was and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.clock import from_ns
from holdfast.errors import StateError
from holdfast.failover.conflict import KEEP_THEIRS, Conflict
from holdfast.failover.rows import ConflictRow
from holdfast.store import layout, record
from holdfast.store.intent import Op, Prepared
from holdfast.store.journal import CommitEntry
from holdfast.store.past import Found
from holdfast.store.reader import state_value
from holdfast.store.value import MISSING, Operation

_log = logging.getLogger("holdfast.failover")

Policy = str | Callable[[Conflict], Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a commit of the spill.

    Attributes:
        place: Which key.
        operation: SET, DELETE or TOUCH.
        found: The version that it made; None for a delete.
    """

    place: bytes
    operation: Operation
    found: Found | None


@dataclass(slots=True)
class Settled:
    """What happens with one change.

    Attributes:
        op: What is done at the primary; None for nothing.
        row: The conflict's record, where there was one.
        resolution: What the policy said.
        prepared: What it said to store.
    """

    op: Op | None = None
    row: ConflictRow | None = None
    resolution: str | None = None
    prepared: Prepared | None = None


def settle(
    policy: Policy,
    prepare: Callable[[Any], Prepared],
    change: Change,
    theirs: Found | None,
    made_ns: int,
    commit: CommitEntry,
    unproven: bool,
) -> Settled:
    """Ask the policy about one conflict.

    Args:
        policy: A name, or a function.
        prepare: Encodes what the function returns.
        change: Ours.
        theirs: What the primary has.
        made_ns: When ours was acknowledged.
        commit: Its entry in the spill's journal.
        unproven: It was provisional, and its premises did not hold.

    A function that raises decides nothing: ours is kept, as a new version on top of theirs, so
    that nothing is lost, and the conflict's record names the exception.
    """
    tenant, scope, key = layout.split_place(change.place)
    resolution, failed = "keep_ours", None
    prepared: Prepared | None = None
    if isinstance(policy, str):
        resolution = policy
    else:
        conflict = Conflict(
            tenant,
            scope,
            key,
            None if change.found is None else state_value(change.found),
            None if theirs is None else state_value(theirs),
            from_ns(made_ns),
            commit.commit_id.hex(),
            unproven,
        )
        try:
            value = policy(conflict)
            if value is not KEEP_THEIRS and value is not MISSING:
                prepared = prepare(value)
        except Exception as error:  # noqa: BLE001 - a caller's function; its name is recorded
            failed = type(error).__name__
        else:
            if value is KEEP_THEIRS:
                resolution = "keep_theirs"
            elif value is MISSING:
                resolution = "delete"
            else:
                resolution = "value"
    _log.warning("conflict at the replay: %s/%s, %s", scope, key, resolution)
    row = ConflictRow(
        change.place,
        stored(change.found),
        stored(theirs),
        made_ns,
        commit.commit_id,
        unproven,
        resolution,
        failed,
    )
    return Settled(None, row, resolution, prepared)


def refused(change: Change, made_ns: int, commit: CommitEntry, error: StateError) -> Settled:
    """Return the record of a change that the primary refuses, whatever the policy."""
    _, scope, key = layout.split_place(change.place)
    _log.error("refused at the replay: %s/%s, %s", scope, key, error.code)
    row = ConflictRow(
        change.place,
        stored(change.found),
        None,
        made_ns,
        commit.commit_id,
        False,
        "refused",
        error.code,
    )
    return Settled(None, row, "refused")


def yielded(
    change: Change, theirs: Found | None, made_ns: int, commit: CommitEntry, unproven: bool
) -> Settled:
    """Return the record of a change of an atomic commit that yields as a whole."""
    row = ConflictRow(
        change.place,
        stored(change.found),
        stored(theirs),
        made_ns,
        commit.commit_id,
        unproven,
        "keep_theirs",
    )
    return Settled(None, row, "keep_theirs")


def stored(found: Found | None) -> bytes | None:
    """Return a record that needs no store to be read: whole, and not compressed."""
    if found is None:
        return None
    plain = found.record
    return record.build(
        found.place,
        record.VALUE,
        record.MSGPACK | record.PLAIN,
        plain.state_class,
        0,
        plain.revision,
        plain.previous,
        plain.version,
        plain.created_ns,
        plain.updated_ns,
        len(found.payload),
        found.payload,
        plain.expires_ns,
        plain.correlation,
        plain.actor,
        plain.schema_version,
    )
