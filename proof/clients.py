"""Clients that run random transactions on lists, bags and registers, and note what they saw.

Keys: ``l…`` hold lists that are appended to; ``p…`` are inserted once; ``d…`` are set and deleted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from holdfast import (
    AsyncStateManager,
    ConflictError,
    OutcomeUnknownError,
    SetOperation,
    StateManager,
)
from proof.histories import Op, Txn

SCOPES = ("agent:a", "workflow:w:step:s", "global")
EPOCH = 40  # transactions of one client after which it turns to new lists


@dataclass(frozen=True, slots=True)
class Want:
    """An operation to do."""

    kind: str
    scope: str
    key: str
    value: Any = None

    @property
    def place(self) -> str:
        """Scope and key, as histories name them."""
        return f"{self.scope}/{self.key}"


def wants(rng: random.Random, name: str, number: int) -> list[Want]:
    """Return what a client's next transaction does."""
    out = []
    for at in range(rng.randint(1, 5)):
        scope, unique = rng.choice(SCOPES), f"{name}.{number}.{at}"
        some_list = f"l{number // EPOCH}.{rng.choice('aab')}"
        some_key = f"d{rng.randrange(3)}"
        kinds = ["append"] * 4 + ["read"] * 4 + ["insert", "list", "set", "delete", "get", "list d"]
        kind = rng.choice(kinds)
        out.append(
            {
                "append": Want("append", scope, some_list, unique),
                "read": Want("read", scope, some_list),
                "insert": Want("insert", scope, f"p{unique}", unique),
                "list": Want("list", scope, "p"),
                "list d": Want("list", scope, "d"),
                "set": Want("set", scope, some_key, unique),
                "delete": Want("delete", scope, some_key),
                "get": Want("get", scope, some_key),
            }[kind]
        )
    return out


def do(tx: Any, want: Want) -> Op:
    """Do one operation in a transaction or snapshot; return it with what was seen."""
    scope, key = want.scope, want.key
    if want.kind == "append":
        tx.append(scope, key, want.value)
    elif want.kind in ("insert", "set"):
        tx.set(scope, key, want.value)
    elif want.kind == "delete":
        return want.kind, want.place, tx.delete(scope, key)
    elif want.kind == "read":
        return want.kind, want.place, tx.get(scope, key, [])
    elif want.kind == "get":
        return want.kind, want.place, tx.get(scope, key)
    else:
        return want.kind, want.place, [f"{scope}/{k}" for k in tx.list_keys(scope, prefix=key)]
    return want.kind, want.place, want.value


def _reads(planned: list[Want]) -> list[Want]:
    return [want for want in planned if want.kind in ("read", "get", "list")]


def _begin(name: str, number: int) -> Txn:
    return Txn(f"{name}.{number}", time.monotonic_ns())


def steps(rng: random.Random, name: str, count: int) -> Iterator[tuple[Txn, str, list[Want]]]:
    """Yield a client's transactions to run: a record to fill, the way, what to do."""
    for number in range(count):
        planned = wants(rng, name, number)
        way = rng.choice(["tx"] * 8 + ["snapshot", "batch read", "batch write"])
        yield _begin(name, number), way, planned


def without_transaction(state: StateManager, txn: Txn, way: str, planned: list[Want]) -> None:
    """Do a transaction's worth in a single call, or in a snapshot."""
    if way == "snapshot":
        with state.snapshot() as snapshot:
            txn.start = snapshot.revision
            txn.ops = [do(snapshot, want) for want in _reads(planned)]
    elif way == "batch read":
        txn.start = -1  # it does not tell
        found = [want for want in planned if want.kind in ("read", "get")]
        values = state.get_batch([(want.scope, want.key) for want in found])
        for want, value in zip(found, values, strict=True):
            empty: Any = [] if want.kind == "read" else None
            txn.ops.append((want.kind, want.place, empty if value is None else value))
    else:
        txn.start = -1
        inserts = {w.place: w for w in planned if w.kind in ("insert", "set")}
        items = [SetOperation(w.scope, w.key, w.value) for w in inserts.values()]
        txn.ops = [(w.kind, w.place, w.value) for w in inserts.values()]
        if items:
            txn.revision = int(state.set_batch(items, atomic=True)[0])  # type: ignore[arg-type]
    txn.committed = True


def work(state: StateManager, name: str, seed: str, count: int) -> list[Txn]:
    """Run a client in this thread."""
    history = []
    for txn, way, planned in steps(random.Random(seed), name, count):
        try:
            if way == "tx":
                with state.transaction() as tx:
                    txn.start = tx.start_revision
                    for want in planned:
                        txn.ops.append(do(tx, want))
                txn.revision, txn.committed = tx.revision, True
            else:
                without_transaction(state, txn, way, planned)
        except ConflictError:
            txn.committed = False
        except OutcomeUnknownError:
            txn.committed = None
        txn.ended = time.monotonic_ns()
        history.append(txn)
    return history


async def work_async(state: AsyncStateManager, name: str, seed: str, count: int) -> list[Txn]:
    """Run a client as a task: others run between its operations."""
    history = []
    rng = random.Random(seed)
    for txn, way, planned in steps(rng, name, count):
        try:
            if way == "tx":
                async with state.transaction() as tx:
                    txn.start = tx.start_revision
                    for want in planned:
                        txn.ops.append(do(tx, want))
                        if rng.random() < 0.3:
                            await asyncio.sleep(0)
                txn.revision, txn.committed = tx.revision, True
            else:
                without_transaction(state.sync, txn, way, planned)
        except ConflictError:
            txn.committed = False
        except OutcomeUnknownError:
            txn.committed = None
        txn.ended = time.monotonic_ns()
        history.append(txn)
        await asyncio.sleep(0)
    return history
