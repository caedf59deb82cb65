"""Writing keys: on the store, and on the model."""

from __future__ import annotations

from typing import Any

from holdfast import ConflictError, Operation, SetOperation, StateClass, StateScope
from holdfast.errors import WrongTypeError
from proof.modelled.model import SECOND, text
from proof.modelled.world import World, refusing, same


def put(
    world: World,
    scope: StateScope,
    key: str,
    value: Any,
    ttl: int | None,
    state_class: StateClass | None,
    condition: str,
) -> None:
    """Set a key, with and without preconditions."""
    place, now = (scope, key), world.now
    seen = world.model.seen(place, now)
    conditions, holds = world.condition(seen, condition)
    options = dict(conditions, expires_in=ttl, state_class=state_class)
    if not holds:
        with refusing(ConflictError):
            world.state.set(scope, key, value, **options)
        return
    revision = world.state.set(scope, key, value, **options)
    same(revision, world.commit(now))
    extra = {} if state_class is None else {"state_class": state_class}
    expires = now + ttl * SECOND if ttl else 0
    world.model.write(place, now, value=value, expires=expires, **extra)
    world.check_get(place)


def delete(world: World, scope: StateScope, key: str, condition: str) -> None:
    """Delete a key, with and without preconditions."""
    place, now = (scope, key), world.now
    seen = world.model.seen(place, now)
    conditions, holds = world.condition(seen, condition)
    if not holds:
        with refusing(ConflictError):
            world.state.delete(scope, key, **conditions)
        return
    same(world.state.delete(scope, key, **conditions), (seen is not None))
    if seen is not None:
        world.commit(now)
        world.model.remove(place, now)
    world.check_get(place)


def touch(world: World, scope: StateScope, key: str, ttl: int | None) -> None:
    """Give a key another expiry."""
    place, now = (scope, key), world.now
    seen = world.model.seen(place, now)
    same(world.state.touch(scope, key, expires_in=ttl), (seen is not None))
    if seen is not None:
        world.commit(now)
        world.model.write(
            place,
            now,
            operation=Operation.TOUCH,
            value=seen.value,
            expires=now + ttl * SECOND if ttl else 0,
        )
    world.check_get(place)


def transform(world: World, scope: StateScope, key: str, verb: str, n: int, big: bool) -> None:
    """Read, change and write in one go."""
    place, now = (scope, key), world.now
    seen = world.model.seen(place, now)
    old = None if seen is None else seen.value
    new: Any
    if verb == "increment":
        wrong = seen is not None and (isinstance(old, bool) or not isinstance(old, int))
        new = n if seen is None else None if wrong else old + n
        told, args = new, (n,)
    elif verb == "append":
        wrong = seen is not None and not isinstance(old, list)
        items = (text(n, 5000), n) if big else (n,)
        new = list(items) if seen is None else None if wrong else [*old, *items]
        told, args = None if wrong else len(new), items
    elif verb == "merge_patch":
        wrong = False
        new = dict(old) if isinstance(old, dict) else {}
        new.pop("n", None)
        new["m"] = n
        told, args = new, ({"n": None, "m": n},)
    else:
        wrong = False
        new = [old, n] if not isinstance(old, list) else n
        told, args = new, (lambda v: [v, n] if not isinstance(v, list) else n,)
    call = getattr(world.state, verb)
    if wrong:
        with refusing(WrongTypeError):
            call(scope, key, *args)
        return
    same(call(scope, key, *args), told)
    world.commit(now)
    world.model.write(place, now, value=new, expires=seen.expires if seen else 0)
    world.check_get(place)


def set_batch(world: World, items: list[Any], atomic: bool) -> None:
    """Set several keys, all or nothing or each for itself."""
    now = world.now
    operations, verdicts = [], []
    for scope, key, value, ttl, condition in items:
        conditions, holds = world.condition(world.model.seen((scope, key), now), condition)
        operations.append(SetOperation(scope, key, value, expires_in=ttl, **conditions))
        verdicts.append(holds)
    if atomic and not all(verdicts):
        with refusing(ConflictError):
            world.state.set_batch(operations, atomic=True)
        return
    results = world.state.set_batch(operations, atomic=atomic)
    revision = world.commit(now) if any(verdicts) else world.model.head
    for (scope, key, value, ttl, _), holds, result in zip(items, verdicts, results, strict=True):
        if not holds:
            same(type(result), ConflictError)
            continue
        same(result, revision)
        expires = now + ttl * SECOND if ttl else 0
        world.model.write((scope, key), now, value=value, expires=expires)
    for scope, key, *_ in items:
        world.check_get((scope, key))


def repeat(world: World, scope: StateScope, key: str, value: Any, again: int) -> None:
    """Set a key, and again under the same commit id: once is enough, whatever came between."""
    place, now = (scope, key), world.now
    commit_id = again.to_bytes(16)
    revision = world.state.set(scope, key, value, commit_id=commit_id)
    same(revision, world.commit(now))
    world.model.write(place, now, value=value)
    same(world.state.set(scope, key, "again", commit_id=commit_id), revision)
    same(world.state.find_commit(commit_id), revision)
    world.check_get(place)
