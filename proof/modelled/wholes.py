"""Whole scopes and whole stores: copied, moved, deleted, brought back, exported."""

from __future__ import annotations

import json
from typing import Any

from holdfast import ConflictError, HorizonError, ScopeKind, StateScope
from holdfast.errors import InvalidArgumentError
from proof.modelled.model import Version, order
from proof.modelled.world import World, refusing, same
from proof.stores import open_store, sound


def copy_scope(world: World, source: StateScope, into: StateScope, move: bool, overwrite: bool,
               recursive: bool) -> None:  # fmt: skip
    """Copy or move a scope."""
    now = world.now
    call = world.state.move_scope if move else world.state.copy_scope
    options = {"overwrite": overwrite, "recursive": recursive}
    if source == into or (recursive and source.kind is not into.kind):
        with refusing(InvalidArgumentError):
            call(source, into, **options)
        return
    pairs = {source: into}
    if recursive and source.kind is ScopeKind.WORKFLOW:
        for scope in {p[0] for p in world.model.all_at(world.model.head, now)}:
            if scope.kind is ScopeKind.STEP and scope.ids[0] == source.ids[0]:
                pairs[scope] = StateScope.step(into.ids[0], scope.ids[1])
    found = [
        ((one, place[1]), (other, place[1]), version)
        for one, other in sorted(pairs.items())
        for place, version in world.model.in_order(world.model.head, now, one).items()
    ]
    if not overwrite and any(world.model.seen(to, now) for _, to, _ in found):
        with refusing(ConflictError):
            call(source, into, **options)
        return
    same(call(source, into, **options), len(found))
    if not found:
        return
    world.commit(now)
    for origin, to, version in found:
        world.model.write(
            to,
            now,
            value=version.value,
            expires=version.expires,
            state_class=version.state_class,
        )
        if move:
            world.model.remove(origin, now)
    world.check_all(world.model.head, now)


def delete_scope(world: World, scope: StateScope) -> None:
    """Delete a scope."""
    now = world.now
    found = world.model.in_order(world.model.head, now, scope)
    same(world.state.delete_scope(scope), len(found))
    if found:
        world.commit(now)
    for place in found:
        world.model.remove(place, now)


def rewind(world: World, scope: StateScope, key: str | None, back: int) -> None:
    """Bring a key or a scope back to an earlier revision."""
    model, now = world.model, world.now
    to = model.back(back)
    then = {  # what has run out since does not come back
        place: version
        for place, version in model.all_at(to, model.time_of(to), scope).items()
        if version.shown(now)
    }
    present = model.all_at(model.head, now, scope)
    places = [p for p in {**then, **present} if key is None or p[1] == key]
    changed = sorted((p for p in places if _back(then.get(p)) != _back(present.get(p))), key=order)
    try:
        count = world.state.rewind(scope, key, to=to)
    except HorizonError:
        assert to < world.trimmed
        return
    same(count, len(changed))
    if changed:
        world.commit(now)
    for place in changed:
        old = then.get(place)
        if old is None:
            model.remove(place, now)
        else:
            model.write(
                place, now, value=old.value, expires=old.expires, state_class=old.state_class
            )
    same(world.state.revision, model.head)


def _back(version: Version | None) -> Any:
    """Return what a rewind brings back."""
    return version and (repr(version.value), version.expires, version.state_class)


def export(world: World) -> None:
    """Export everything: the lines hold it all, and load into a new store and into this one."""
    model, now = world.model, world.now
    everything = model.in_order(model.head, now, None)
    lines = list(world.state.export_lines())
    same(len(lines) - 1, len(everything))
    with open_store("memory", world.directory, clock=world.clock, sweep_every=0) as other:
        same(other.import_lines(lines), len(everything))
        for place, version in everything.items():
            found = other.get_with_metadata(*place)
            same(
                found and (found.value, found.metadata.expires_at, found.metadata.state_class),
                (version.value, *world.expected(version)[-2:]),
            )
        same(sorted(other.scopes()), sorted({place[0] for place in everything}))
        same(json.loads(lines[0])["revision"], model.head)
    if not everything:
        return
    with refusing(ConflictError):
        world.state.import_lines(lines)
    same(world.state.import_lines(lines, overwrite=True), len(everything))
    world.commit(now)
    for place, version in everything.items():
        model.write(
            place,
            now,
            value=version.value,
            expires=version.expires,
            state_class=version.state_class,
        )
    world.check_all(model.head, now)


def copy_store(world: World) -> None:
    """Copy the store: the copy holds the same, its past too, and is left alone."""
    world.copies += 1
    name = f"copy{world.copies}"
    world.state.copy_to(f"sqlite:{world.directory / name}")
    original = world.state
    world.state = open_store("sqlite", world.directory, name, clock=world.clock, sweep_every=0)
    try:
        same(world.state.revision, world.model.head)
        world.check_all(world.model.head, world.now)
        world.check_past(world.model.back(5))
        for place in list(world.model.versions)[:10]:
            world.check_history(place, newest_first=True, limit=None)
        sound(world.state)
    finally:
        world.state.close()
        world.state = original
