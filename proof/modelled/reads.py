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
        revision = max(0, model.head - back)
        time, as_of = model.times[revision], revision
        if as_time and revision:
            time += back * SECOND
            as_of = from_ns(time)  # type: ignore[assignment]
            revision = bisect.bisect_right(model.times, time) - 1
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
    since = max(0, model.head - back)
    until = None if length is None else since + length
    expected = []
    for revision in range(since + 1, min(model.head, until or model.head) + 1):
        if until is not None and revision > until:
            break
        for place in model.log[revision]:
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
        same(change.at, from_ns(model.times[version.revision]))
        if change.readable:
            same(change.value, version.value)
        else:
            assert change.revision <= world.trimmed


def diff(world: World, back: int, length: int | None, scope: StateScope | None) -> None:
    """Compare two moments."""
    model = world.model
    first = max(0, model.head - back)
    last = None if length is None else min(first + length, model.head)
    before = model.all_at(first, model.times[first], scope)
    end, time = (model.head, world.now) if last is None else (last, model.times[last])
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
