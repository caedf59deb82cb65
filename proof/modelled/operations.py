"""Every operation: how often it is drawn, what does it, and how its arguments are drawn.

Arguments are plain values, so that a run is a list that can be cut and run again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from holdfast import StateClass
from proof.modelled import reads, transactions, upkeep, wholes, writes
from proof.modelled.model import CONSTANTS, KEYS, SCOPES, value_of
from proof.modelled.world import World

Arguments = dict[str, Any]
Operation = tuple[str, Arguments]

PREFIXES = ("", "a", "a.", "b", "z")


def _nothing(_rng: random.Random) -> Arguments:
    return {}


def _scope(rng: random.Random) -> Any:
    return rng.choice(SCOPES)


def _key(rng: random.Random) -> str:
    return rng.choice(KEYS)


def _at(rng: random.Random) -> Arguments:
    return {"scope": _scope(rng), "key": _key(rng)}


def _value(rng: random.Random) -> tuple[Any, ...]:
    return rng.choice(
        [
            ("number", rng.randint(-3, 3)),
            ("constant", rng.randrange(len(CONSTANTS))),
            ("text", rng.randint(0, 3)),
            ("large", rng.randint(0, 1), rng.randint(0, 20)),
        ]
    )


def _ttl(rng: random.Random) -> int | None:
    return rng.choice([None, None, None, 1, 5, 30])


def _class(rng: random.Random) -> StateClass | None:
    return rng.choice([None, None, StateClass.STANDARD, StateClass.TRUSTED])


def _maybe(rng: random.Random, low: int, high: int) -> int | None:
    return rng.randint(low, high) if rng.random() < 0.5 else None


def _put(rng: random.Random) -> Arguments:
    condition = rng.choice(["", "", "revision", "version", "absent", "wrong"])
    written = {"value": _value(rng), "ttl": _ttl(rng), "state_class": _class(rng)}
    return {**_at(rng), **written, "condition": condition}


def _batch(rng: random.Random) -> Arguments:
    places = {(_scope(rng), _key(rng)) for _ in range(rng.randint(0, 5))}
    items = [
        (*place, _value(rng), _ttl(rng), rng.choice(["", "", "absent", "wrong"]))
        for place in sorted(places)
    ]
    return {"items": items, "atomic": rng.random() < 0.5}


def _transform(rng: random.Random) -> Arguments:
    verb = rng.choice(["increment", "append", "merge_patch", "update"])
    return {**_at(rng), "verb": verb, "n": rng.randint(0, 9), "big": rng.random() < 0.5}


def _copy(rng: random.Random) -> Arguments:
    flags = {name: rng.random() < 0.5 for name in ("move", "overwrite", "recursive")}
    return {"source": _scope(rng), "into": _scope(rng), **flags}


def _compact(rng: random.Random) -> Arguments:
    return {
        "versions": _maybe(rng, 1, 4),
        "age": _maybe(rng, 0, 20),
        "scopes": rng.choice(["*", "agent:*", "workflow:w", "global"]),
        "train": rng.random() < 0.1,
        "verify": rng.random() < 0.1,
    }


def _range(rng: random.Random) -> Arguments:
    return {
        "scope": _scope(rng),
        "prefix": rng.choice(PREFIXES),
        "after": rng.choice([None, _key(rng)]),
        "limit": _maybe(rng, 0, 4),
        "reverse": rng.random() < 0.5,
        "back": _maybe(rng, 0, 12),
        "as_time": rng.random() < 0.5,
    }


def _which(rng: random.Random) -> Arguments:
    return {"which": rng.randint(0, 2)}


def _span(rng: random.Random) -> Arguments:
    scope = rng.choice([None, _scope(rng)])
    return {"back": rng.randint(0, 15), "length": _maybe(rng, 0, 8), "scope": scope}


Draw = Callable[[random.Random], Arguments]

#: Name to weight, function and drawing of arguments.
OPERATIONS: dict[str, tuple[int, Callable[..., None], Draw]] = {
    "put": (10, writes.put, _put),
    "delete": (4, writes.delete, lambda rng: {
        **_at(rng), "condition": rng.choice(["", "", "revision", "wrong"])}),
    "touch": (3, writes.touch, lambda rng: {**_at(rng), "ttl": _ttl(rng)}),
    "transform": (8, writes.transform, _transform),
    "set_batch": (5, writes.set_batch, _batch),
    "repeat": (2, writes.repeat, lambda rng: {
        **_at(rng), "value": _value(rng), "again": rng.getrandbits(127)}),
    "begin": (4, transactions.begin, _nothing),
    "tx_get": (5, transactions.tx_get, lambda rng: _which(rng) | _at(rng)),
    "tx_scan": (3, transactions.tx_scan, lambda rng: {
        **_which(rng), "scope": _scope(rng), "prefix": rng.choice(PREFIXES)}),
    "tx_set": (5, transactions.tx_set, lambda rng: {
        **_which(rng), **_at(rng), "value": _value(rng), "ttl": _ttl(rng),
        "state_class": _class(rng)}),
    "tx_change": (5, transactions.tx_change, lambda rng: {
        **_which(rng), **_at(rng), "update": rng.random() < 0.6, "n": rng.randint(0, 9)}),
    "tx_commit": (4, transactions.tx_commit, _which),
    "tx_roll_back": (1, transactions.tx_roll_back, _which),
    "copy_scope": (2, wholes.copy_scope, _copy),
    "delete_scope": (1, wholes.delete_scope, lambda rng: {"scope": _scope(rng)}),
    "rewind": (3, wholes.rewind, lambda rng: {
        "scope": _scope(rng), "key": rng.choice([None, _key(rng)]), "back": rng.randint(0, 15)}),
    "export": (1, wholes.export, _nothing),
    "advance": (4, upkeep.advance, lambda rng: {"seconds": rng.randint(1, 20)}),
    "put_back": (1, upkeep.put_back, lambda rng: {"seconds": rng.randint(1, 10)}),
    "sweep": (1, upkeep.sweep, _nothing),
    "reopen": (1, upkeep.reopen, _nothing),
    "compact": (1, upkeep.compact, _compact),
    "hold": (1, upkeep.hold, _nothing),
    "look": (1, upkeep.look, _which),
    "read_range": (8, reads.read_range, _range),
    "history": (4, reads.history, lambda rng: {
        **_at(rng), "newest": rng.random() < 0.5, "limit": _maybe(rng, 0, 3)}),
    "changes": (3, reads.changes, lambda rng: {**_span(rng), "limit": _maybe(rng, 0, 3)}),
    "diff": (3, reads.diff, _span),
}  # fmt: skip

_NAMES = list(OPERATIONS)
_WEIGHTS = [weight for weight, _, _ in OPERATIONS.values()]


def draw(rng: random.Random, count: int) -> list[Operation]:
    """Draw a run."""
    names = rng.choices(_NAMES, _WEIGHTS, k=count)
    return [(name, OPERATIONS[name][2](rng)) for name in names]


def apply(world: World, operation: Operation) -> bool:
    """Do one operation; False where it makes no sense now."""
    name, arguments = operation
    if name.startswith("tx_") and not world.txs:
        return False
    if name == "begin" and len(world.txs) == 3:
        return False
    given = dict(arguments)
    if "value" in given:
        given["value"] = value_of(given["value"])
    if "items" in given:
        given["items"] = [(s, k, value_of(v), t, c) for s, k, v, t, c in given["items"]]
    OPERATIONS[name][1](world, **given)
    return True
