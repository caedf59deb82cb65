"""Time, restarts and retention."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta

from holdfast import HistoryPolicy, Operation
from proof.modelled.model import SECOND, order
from proof.modelled.world import Held, World, same
from proof.stores import sound


def advance(world: World, seconds: int) -> None:
    """Let time pass."""
    world.clock.advance(seconds)


def put_back(world: World, seconds: int) -> None:
    """Put the wall clock back: time must not run against revisions.

    Not in a store of several partitions: there only each partition's time never runs backwards.
    """
    if world.partitions == 1:
        world.clock.set(world.clock.now_ns() - seconds * SECOND)


def sweep(world: World) -> None:
    """Remove what has expired."""
    clock, now = world.clock.now_ns(), world.now
    gone = [p for p in world.model.versions if (v := world.model.stored(p)) and v.expires]
    dues = {p: v.expires for p in gone if (v := world.model.stored(p)) and v.expires <= clock}
    same(world.state.sweep(), len(dues))
    for partition, head in enumerate(world.kernel.head_revisions()):  # a commit for each
        mine = [place for place in dues if world.partition(place[0]) == partition]
        if mine:
            world.model.commit(now, head if world.gaps else None)
        for place in sorted(mine, key=lambda p: (dues[p], order(p))):
            world.model.remove(place, now, Operation.EXPIRE)


def reopen(world: World) -> None:
    """Close the store and open it again."""
    if world.engine == "memory":
        return
    world.let_go()
    world.state.close()
    world.state = world.open()
    same(world.state.revision, world.model.head)
    world.check_all(world.model.head, world.now)


def compact(
    world: World, versions: int | None, age: int | None, scopes: str, train: bool, verify: bool
) -> None:
    """Trim the past: the present stays, and what of the past can still be read is right."""
    world.roll_back_all()
    sweep(world)
    policy = HistoryPolicy(
        scopes,
        max_versions=versions,
        max_age=None if age is None else timedelta(seconds=age),
    )
    now = world.now
    world.state.compact([policy], train=train)
    while world.model.head < world.state.revision:
        world.commit(now)  # what compaction notes in the journal
    world.trimmed = world.model.head
    world.check_all(world.model.head, world.now)
    if verify:
        sound(world.state)


def hold(world: World) -> None:
    """Open a snapshot, which goes on showing this moment; of three, the oldest ends."""
    if len(world.held) == 3:
        oldest = world.held.pop(0)
        world.check_held(oldest)
        oldest.stack.close()
    stack = ExitStack()
    snapshot = stack.enter_context(world.state.snapshot())
    same(snapshot.revision, world.model.head)
    world.held.append(Held(stack, snapshot, world.model.head, world.now))


def look(world: World, which: int) -> None:
    """Look at an open snapshot."""
    if world.held:
        world.check_held(world.held[which % len(world.held)])
