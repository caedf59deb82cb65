"""Up to three open transactions: what they read, and whether they may commit."""

from __future__ import annotations

from typing import Any

from holdfast import ConflictError, StateClass, StateScope
from proof.modelled.model import SECOND, Place, Version
from proof.modelled.world import Tx, World, refusing, same
from proof.stores import require


def begin(world: World) -> None:
    """Open a transaction beside those that are open."""
    context = world.state.transaction()
    tx = context.__enter__()
    same(tx.start_revision, world.model.head)
    world.txs.append(Tx(context, tx, world.model.head))


def pick(world: World, which: int) -> Tx:
    """Return one of the open transactions."""
    return world.txs[which % len(world.txs)]


def read_in(world: World, one: Tx, place: Place) -> tuple[bool, Version | None]:
    """Predict a read: whether it conflicts, and the committed version it sees."""
    if world.moved(one, [place]):
        return True, None
    seen = world.model.seen(place, world.now)
    one.reads.setdefault(place, 0 if seen is None else seen.revision)
    return False, seen


def tx_get(world: World, which: int, scope: StateScope, key: str) -> None:
    """Read inside a transaction."""
    one, place = pick(world, which), (scope, key)
    if place in one.writes:
        written = one.writes[place]
        expected = "absent" if written is None else written["value"]
    else:
        conflict, seen = read_in(world, one, place)
        if conflict:
            with refusing(ConflictError):
                one.tx.get(scope, key)
            world.conflicts(one)
            return
        expected = "absent" if seen is None else seen.value
    same(one.tx.get(scope, key, "absent"), expected)


def tx_scan(world: World, which: int, scope: StateScope, prefix: str) -> None:
    """Scan inside a transaction."""
    one = pick(world, which)
    mine = [p for p in world.model.versions if p[0] == scope and p[1].startswith(prefix)]
    one.ranges.append((scope, prefix))
    if world.moved(one, mine):
        with refusing(ConflictError):
            list(one.tx.scan(scope, prefix=prefix))
        world.conflicts(one)
        return
    expected = {}
    for place in mine:
        seen = world.model.seen(place, world.now)
        if seen is not None:
            expected[place[1]] = seen.value
            if seen.expires:
                one.reads.setdefault(place, seen.revision)
    for place, written in one.writes.items():
        if place[0] == scope and place[1].startswith(prefix):
            expected.pop(place[1], None)
            if written is not None:
                expected[place[1]] = written["value"]
    ordered = sorted(expected.items(), key=lambda item: item[0].encode())
    same(list(one.tx.scan(scope, prefix=prefix)), ordered)
    same(one.tx.list_keys(scope, prefix=prefix), [key for key, _ in ordered])


def tx_set(world: World, which: int, scope: StateScope, key: str, value: Any, ttl: int | None,
           state_class: StateClass | None) -> None:  # fmt: skip
    """Write inside a transaction, without reading."""
    one = pick(world, which)
    one.tx.set(scope, key, value, expires_in=ttl, state_class=state_class)
    one.writes[scope, key] = {"value": value, "ttl": ttl, "class": state_class, "keep": False}


def tx_change(world: World, which: int, scope: StateScope, key: str, update: bool, n: int) -> None:
    """Update or delete inside a transaction: a read and a write."""
    one, place = pick(world, which), (scope, key)
    before = one.writes.get(place, "none")
    seen = None
    if before == "none":
        conflict, seen = read_in(world, one, place)
        if conflict:
            with refusing(ConflictError):
                one.tx.delete(scope, key)
            world.conflicts(one)
            return
        present, old = seen is not None, None if seen is None else seen.value
    else:
        present, old = before is not None, None if before is None else before["value"]
    if not update:
        same(one.tx.delete(scope, key), present)
        one.writes[place] = None
        return
    new = [n, len(str(old))]
    same(one.tx.update(scope, key, lambda v: [n, len(str(v))]), new)
    if before == "none":
        one.writes[place] = {"value": new, "ttl": None, "class": None, "keep": True}
    elif before is None:
        one.writes[place] = {"value": new, "ttl": None, "class": None, "keep": False}
    else:
        one.writes[place] = dict(before, value=new)


def tx_commit(world: World, which: int) -> None:
    """Commit: exactly if nothing that was read has changed."""
    one, now = pick(world, which), world.now
    world.txs.remove(one)
    conflict = False
    for place, expected in one.reads.items():
        seen = world.model.seen(place, now)
        conflict |= (0 if seen is None else seen.revision) != expected
    for scope, prefix in one.ranges:
        mine = [p for p in world.model.versions if p[0] == scope and p[1].startswith(prefix)]
        conflict |= world.moved(one, mine)
    if conflict and one.writes:
        with refusing(ConflictError):
            one.context.__exit__(None, None, None)
        return
    one.context.__exit__(None, None, None)
    if not one.writes:
        same(one.tx.revision, None)
        return
    effects = [p for p, w in one.writes.items() if w is not None or world.model.seen(p, now)]
    if effects:
        world.commit(now)
    if effects or world.partitions == 1:
        same(one.tx.revision, world.model.head)
    else:  # the last revision of what it touched
        require(one.tx.revision <= world.model.head, "a revision to come", one.tx.revision)
    for place in effects:
        written = one.writes[place]
        if written is None:
            world.model.remove(place, now)
            continue
        seen = world.model.seen(place, now)
        expires = now + written["ttl"] * SECOND if written["ttl"] else 0
        if written["keep"]:
            expires = seen.expires if seen else 0
        extra = {} if written["class"] is None else {"state_class": written["class"]}
        world.model.write(place, now, value=written["value"], expires=expires, **extra)
    for place in one.writes:
        world.check_get(place)


def tx_roll_back(world: World, which: int) -> None:
    """Roll back: nothing happened."""
    world.conflicts(pick(world, which))
    same(world.state.revision, world.model.head)
