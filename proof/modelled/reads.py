"""Reading: now, in the past, page by page, as a log and as a difference."""

from __future__ import annotations

import bisect
from typing import Any

from holdfast import HorizonError, StateScope
from holdfast.clock import from_ns
from proof.modelled.model import KEYS, SECOND, order
from proof.modelled.world import World, same


def read_range(world: World, scope: StateScope, prefix: str, after: str | None, limit: int | None,
               reverse: bool, back: int | None, as_time: bool) -> None:  # fmt: skip
    """List, scan and count, now and in the past, by revision and by time."""
    model = world.model
    revision, time, as_of = model.head, world.now, None
    if back is not None:
        revision = model.back(back)
        time, as_of = model.time_of(revision), revision if back % 2 else model.end(revision)
        if as_time and revision:
            time += back * SECOND
            as_of = from_ns(time)  # type: ignore[assignment]
            revision = model.revisions[bisect.bisect_right(model.times, time) - 1]
    found = model.all_at(revision, time, scope)
    keys = sorted((p[1] for p in found if p[1].startswith(prefix)), key=str.encode)
    whole = len(keys)
    if after is not None:
        keys = [k for k in keys if (k.encode() < after.encode()) == reverse and k != after]
    keys = (keys[::-1] if reverse else keys)[:limit]
    options: dict[str, Any] = {
        "prefix": prefix, "after": after, "limit": limit, "reverse": reverse, "as_of": as_of
    }  # fmt: skip
    try:
        same(world.state.list_keys(scope, **options), keys)
        pairs = [(k, world.plain(v)) for k, v in world.state.scan(scope, **options)]
        same(pairs, [(k, world.expected(found[scope, k])) for k in keys])
        same(world.state.count(scope, prefix=prefix, as_of=as_of), whole)
        for key in KEYS[:3]:
            got = world.state.get_with_metadata(scope, key, as_of=as_of)
            same(world.plain(got), world.expected(found.get((scope, key))))
    except HorizonError:
        assert revision < world.trimmed
    if back is None:
        same(world.state.scope_exists(scope), bool(found))
        requests = [(scope, key) for key in KEYS]
        values = [found[p].value if (p := (scope, key)) in found else None for key in KEYS]
        same(world.state.get_batch(requests), values)


def history(world: World, scope: StateScope, key: str, newest: bool, limit: int | None) -> None:
    """Read the versions of a key."""
    world.check_history((scope, key), newest_first=newest, limit=limit)


def changes(world: World, back: int, length: int | None, scope: StateScope | None,
            limit: int | None) -> None:  # fmt: skip
    """Read the log of changes."""
    model = world.model
    since = model.back(back)
    until = None if length is None else model.ahead(since, length)
    expected = []
    for at in range(model.index(since) + 1, model.index(until or model.head) + 1):
        revision = model.revisions[at]
        # A commit is told partition by partition.
        for place in sorted(model.log[at], key=lambda place: world.partition(place[0])):
            if scope is None or place[0] == scope:
                version = next(v for v in model.versions[place] if v.revision == revision)
                expected.append((place, version))
    if until == 0:
        expected = []
    expected = expected[:limit]
    try:
        found = list(world.state.changes(since, until=until, scope=scope, limit=limit))
    except HorizonError:
        assert since < world.trimmed
        return
    same(len(found), len(expected))
    for change, (place, version) in zip(found, expected, strict=True):
        same(((change.scope, change.key), change.revision), (place, version.revision))
        same(change.operation, version.operation)
        same((change.version, change.previous_revision), (version.version, version.previous))
        same(change.at, from_ns(model.time_of(version.revision)))
        if change.readable:
            same(change.value, version.value)
        else:
            assert change.revision <= world.trimmed


def diff(world: World, back: int, length: int | None, scope: StateScope | None) -> None:
    """Compare two moments."""
    model = world.model
    first = model.back(back)
    last = None if length is None else min(model.ahead(first, length), model.head)
    before = model.all_at(first, model.time_of(first), scope)
    end, time = (model.head, world.now) if last is None else (last, model.time_of(last))
    after = model.all_at(end, time, scope)
    expected = [
        (place, world.expected(before.get(place)), world.expected(after.get(place)))
        for place in sorted({*before, *after}, key=order)
        if before.get(place) != after.get(place)
    ]
    try:
        found = [
            ((d.scope, d.key), world.plain(d.before), world.plain(d.after))
            for d in world.state.diff(first, last, scope=scope)
        ]
    except HorizonError:
        assert first < world.trimmed
        return
    same(found, expected)
