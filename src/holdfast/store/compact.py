"""Compaction: trims the past that policies give up, and returns space to the disk.

Always in this order: commit the new horizon to the journal, so that every reader knows; then
delete rows, in small writes between which others get their turn. A crash in between leaves rows
that nobody needs and the next compaction removes. Current values never depend on what goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from holdfast.engines.base import Batch, Durability, View
from holdfast.keys import after
from holdfast.store import layout, record
from holdfast.store.compression import train
from holdfast.store.intent import LOW, Intent
from holdfast.store.journal import journal_horizon, parse_header, read_head, revision_at
from holdfast.store.kernel import Kernel
from holdfast.store.options import join_step
from holdfast.store.past import scope_horizon
from holdfast.store.retention import HistoryPolicy, Retention, Version, cut
from holdfast.store.scope import unpack_scope
from holdfast.store.value import StateClass

_ROWS = 64  # version rows read at once; they may be large
_PLACES = 200  # places whose rows go in one write
_HEADERS = 200


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a compaction did.

    Attributes:
        versions_trimmed, commits_trimmed: How many went.
        bytes_reclaimed: Given back to the disk.
        horizon: The journal's horizon: changes can be read from behind this revision on.
    """

    versions_trimmed: int
    commits_trimmed: int
    bytes_reclaimed: int
    horizon: int


@dataclass(slots=True)
class _Cut:
    """What goes of one place.

    Attributes:
        place: Which.
        keep: Version rows before this revision go; count: how many those are.
        horizon: The place can be read exactly from this revision on.
        live: The live record's version, if its row may go too.
    """

    place: bytes
    keep: int
    count: int
    horizon: int
    live: int | None


def stored_policies(kernel: Kernel) -> list[HistoryPolicy]:
    """Return the policies that are stored in the store."""
    row = kernel.engine.get(layout.RETENTION)
    data = msgspec.msgpack.decode(row) if row is not None else []
    return [HistoryPolicy.from_data(item) for item in data]


def store_policies(kernel: Kernel, policies: Sequence[HistoryPolicy]) -> None:
    """Store policies for every later compaction, whoever runs it."""
    kernel.admit_direct()
    row = msgspec.msgpack.encode([policy.to_data() for policy in policies])
    kernel.engine.write(Durability.SYNC, lambda _: Batch(puts=[(layout.RETENTION, row)]))


def compact(kernel: Kernel, policies: Sequence[HistoryPolicy]) -> CompactReport:
    """Trim what `policies` give up, then reclaim space."""
    kernel.admit_direct()
    kernel.sweep()
    retention = Retention(policies)
    versions = commits = 0
    for owner in list(_owners(kernel)):
        versions += _compact_scope(kernel, retention, owner)
    age = retention.journal_age_ns()
    if age is not None:
        before = kernel.clock.now_ns() - age
        commits = sum(_compact_journal(kernel, p, before) for p in kernel.partitions.all)
    _drop_leases(kernel)
    reclaimed = kernel.engine.reclaim()
    with kernel.engine.read() as view:
        horizon = max(journal_horizon(view, p)[0] for p in kernel.partitions.all)
    return CompactReport(versions, commits, reclaimed, horizon)


def _owners(kernel: Kernel) -> Iterator[bytes]:
    """Yield every scope that has versions, of every tenant."""
    position, end = layout.VERSIONS, after(layout.VERSIONS)
    while True:
        with kernel.engine.read() as view:
            rows = view.scan(position, end, limit=1, keys_only=True)
        if not rows:
            return
        owner = layout.owner_of(layout.version_parts(rows[0][0])[0])
        yield owner
        position = after(layout.VERSIONS + owner)


def _compact_scope(kernel: Kernel, retention: Retention, owner: bytes) -> int:
    cuts = list(_cuts(kernel, retention, owner))
    horizon = max((c.horizon for c in cuts if c.count), default=0)
    horizon = max(horizon, _given_up(kernel, retention, owner))
    # A live record's only version row is a second copy of it. Dropping one moves the horizon to
    # its revision, so only those go that lie before what is given up anyway.
    cuts = [c for c in cuts if c.count or (c.live is not None and c.live <= horizon)]
    for one in cuts:
        if one.live is not None and one.live > horizon:
            one.live = None
    if not cuts:
        return 0
    intent = join_step(Intent([], Durability.SYNC, LOW))
    intent.trims = [(owner, horizon)]
    kernel.commit(intent)
    trimmed = 0
    among = (kernel.partitions.of(owner),)
    for low in range(0, len(cuts), _PLACES):
        part = cuts[low : low + _PLACES]

        def body(view: View, part: list[_Cut] = part) -> Batch:
            batch = Batch()
            rows = view.get_many([layout.DATA + c.place for c in part])
            for one, raw in zip(part, rows, strict=True):
                start = layout.version_key(one.place, 0)
                batch.delete_ranges.append((start, layout.version_key(one.place, one.keep)))
                # If the key was written meanwhile, its writer has put this row (back): it stays.
                if one.live is not None and raw is not None:
                    if record.peek(raw).revision == one.live:
                        batch.deletes.append(layout.version_key(one.place, one.live))
            return batch

        kernel.engine.write(Durability.OS, body, among)
        trimmed += sum(c.count + (c.live is not None) for c in part)
    return trimmed


def _given_up(kernel: Kernel, retention: Retention, owner: bytes) -> int:
    """Return the revision before which age alone gives up the scope's past; 0 for none."""
    scope, _ = unpack_scope(owner, owner.index(0) + 1)
    policy = retention.policy(scope, int(StateClass.STANDARD))
    if policy is None or policy.max_age_ns is None:
        return 0
    now = kernel.clock.now_ns()
    with kernel.engine.read() as view:
        partition = kernel.partitions.of(owner)
        given_up = revision_at(view, partition, now - policy.max_age_ns)
        pinned = kernel.pins.oldest(view, now)
        horizon = scope_horizon(view, owner)
    return max(horizon, given_up if pinned is None else min(given_up, pinned))


def _cuts(kernel: Kernel, retention: Retention, owner: bytes) -> Iterator[_Cut]:
    """Decide for every place of a scope what goes."""
    scope, _ = unpack_scope(owner, owner.index(0) + 1)
    now = kernel.clock.now_ns()
    with kernel.engine.read() as view:
        pinned = kernel.pins.oldest(view, now)
        head = read_head(view, kernel.partitions.of(owner))
    for place, versions in _histories(kernel, owner):
        policy = retention.policy(scope, versions[-1].state_class)
        if policy is None or versions[-1].revision > head.revision:
            continue
        count = cut(versions, policy, now, pinned)
        if count == len(versions):
            last = versions[-1].revision
            yield _Cut(place, last + 1, count, last, None)
            continue
        first = versions[count]
        # A lone full copy of the live record is a second copy of it; it may go.
        live = None
        alone = count == len(versions) - 1 and first.kind == record.VALUE
        if alone and (pinned is None or pinned >= first.revision):
            live = first.revision
        if count or live is not None:
            yield _Cut(place, first.revision, count, first.revision, live)


def _histories(kernel: Kernel, owner: bytes) -> Iterator[tuple[bytes, list[Version]]]:
    position, end = layout.VERSIONS + owner, after(layout.VERSIONS + owner)
    place = b""
    versions: list[Version] = []
    while True:
        with kernel.engine.read() as view:
            rows = view.scan(position, end, limit=_ROWS)
        for key, raw in rows:
            found, revision = layout.version_parts(key)
            if found != place and versions:
                yield place, versions
                versions = []
            place = found
            head = record.peek(raw)
            versions.append(
                Version(revision, head.updated_ns, head.kind, head.state_class, len(raw))
            )
        if len(rows) < _ROWS:
            break
        position = rows[-1][0] + b"\0"
    if versions:
        yield place, versions


def _compact_journal(kernel: Kernel, partition: int, before_ns: int) -> int:
    """Drop a partition's headers of groups committed before a time, with their index rows."""
    with kernel.engine.read() as view:
        horizon, _ = journal_horizon(view, partition)
        pinned = kernel.pins.oldest(view, kernel.clock.now_ns())
        last = horizon
        position, end = layout.journal_range(partition, horizon)
        head = read_head(view, partition).revision
    while True:
        with kernel.engine.read() as view:
            rows = view.scan(position, end, limit=_HEADERS)
        done = len(rows) < _HEADERS
        for key, row in rows:
            header = parse_header(key, row)
            kept = header.time_ns > before_ns or header.last >= head
            if kept or (pinned is not None and header.last > pinned):
                done = True
                break
            last = header.last
        if done or not rows:
            break
        position = rows[-1][0] + b"\0"
    if last == horizon:
        return 0
    intent = join_step(Intent([], Durability.SYNC, LOW))
    intent.trims, intent.partition = [(b"", last)], partition
    kernel.commit(intent)
    return _drop_headers(kernel, partition, last)


def _drop_headers(kernel: Kernel, partition: int, last: int) -> int:
    commits = 0
    start, stop = layout.journal_key(partition, 0), layout.journal_key(partition, last + 1)
    while True:
        dropped = 0

        def body(view: View) -> Batch:
            nonlocal dropped
            dropped = 0
            batch = Batch()
            for key, row in view.scan(start, stop, limit=_HEADERS):
                header = parse_header(key, row)
                batch.deletes.append(key)
                dropped += len(header.commits)
                for at, commit in enumerate(header.commits):
                    if commit.given:
                        batch.deletes.append(layout.commit_key(partition, commit.commit_id))
                    if commit.correlation is not None:
                        revision = header.first + at
                        batch.deletes.append(
                            layout.correlation_key(partition, commit.correlation, revision)
                        )
            return batch

        kernel.engine.write(Durability.OS, body, (partition,))
        if not dropped:
            return commits
        commits += dropped


def _drop_leases(kernel: Kernel) -> None:
    now = kernel.clock.now_ns()
    kernel.engine.write(Durability.OS, lambda view: Batch(deletes=kernel.pins.lapsed(view, now)))


def train_dictionary(kernel: Kernel, samples: int = 5000) -> bool:
    """Train a compression dictionary on small live values and use it from now on.

    Values that are there stay as they are until they are written again.

    Returns:
        Whether a dictionary was made (there must be enough values that resemble each other).
    """
    kernel.admit_direct()
    payloads: list[bytes] = []
    position, end = layout.DATA, after(layout.DATA)
    while len(payloads) < samples:
        with kernel.engine.read() as view:
            rows = view.scan(position, end, limit=500)
        for key, raw in rows:
            if raw[:4] == record.SIMPLE and 64 <= len(raw) < 4096:
                payloads.append(record.simple_payload(key[1:], raw))
        if len(rows) < 500:
            break
        position = rows[-1][0] + b"\0"
    dictionary = train(payloads)
    if dictionary is None:
        return False
    kernel.add_dictionary(dictionary)
    return True
