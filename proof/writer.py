"""The random workload that is killed: it announces each commit, and says what came of it.

Every thread has scopes of its own and adds to one total with all others.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import holdfast
from holdfast import (
    EngineError,
    HistoryPolicy,
    HorizonError,
    OutcomeUnknownError,
    SetOperation,
    StateManager,
)
from holdfast.errors import ReadOnlyError
from proof.oracle import TOTAL, text

Say = Callable[..., None]
Effects = dict[tuple[str, str], str | None]
SIZES = (0, 192, 1024, 6144)
DURABILITY = ("sync", "sync", "os")
KEPT = 3  #: versions that compactions leave


class Writer:
    """One thread's work: random commits, each announced before and acknowledged after."""

    def __init__(
        self,
        state: StateManager,
        thread: int,
        seed: str,
        say: Say,
        *,
        sizes: Sequence[int] = SIZES,
        durability: Sequence[str] = DURABILITY,
    ) -> None:
        self._state = state
        self._thread = thread
        self._chance = random.Random(seed)
        self._say = say
        self._seed = seed
        self._sizes, self._durability = sizes, durability
        self._number = 0
        self._own = f"agent:t{thread}"
        self._pair = f"session:left-{thread}", f"session:right-{thread}"
        self._past: dict[str, list[tuple[int, str]]] = {}  # revision and spec of sets in this life
        self._now: dict[str, str | None] = {}

    def step(self) -> str:
        """Make one commit; return ``done``, ``failed``, ``unknown`` or ``refused``."""
        self._number += 1
        durability = self._chance.choice(self._durability)
        kinds = [self._set, self._set, self._delete, self._batch, self._add, self._pairs]
        act = self._chance.choice([*kinds, self._rewind])
        try:
            revision, total, changed = act(durability)
        except OutcomeUnknownError as error:
            self._forget()
            self._say("unknown", self._thread, error.commit_id)
            return "unknown"
        except HorizonError:  # a compaction has trimmed what it wanted to rewind to
            self._past.clear()
            self._say("passed", self._thread)
            return "done"
        except (EngineError, ReadOnlyError) as error:
            self._forget()
            self._say("failed", self._thread, type(error).__name__, str(error)[:300])
            return "failed"
        self._say("done", self._thread, revision, total, changed)
        return "done"

    def look(self) -> str | None:
        """Read what this thread knows, and both of its pair in one snapshot; say what is wrong."""
        for key, spec in self._now.items():
            if self._state.get(self._own, key) != (None if spec is None else text(spec)):
                return f"{self._own}/{key}, which is not {spec}"
        with self._state.snapshot() as snapshot:
            left, right = (snapshot.get(scope, "t") for scope in self._pair)
        return None if left == right else f"{self._pair} of two transactions"

    def _forget(self) -> None:
        self._now.clear()
        self._past.clear()

    def _spec(self) -> str:
        return f"{self._seed}-{self._number}:{self._chance.choice(self._sizes)}"

    def _announce(self, effects: Effects, *, adds: bool = False) -> None:
        told = [[*place, spec] for place, spec in effects.items()]
        self._say("try", self._thread, told, adds)

    def _set(self, durability: str) -> tuple[int | None, int | None, bool]:
        key, spec = f"k{self._chance.randrange(4)}", self._spec()
        self._announce({(self._own, key): spec})
        revision = self._state.set(self._own, key, text(spec), durability=durability)
        self._past.setdefault(key, []).append((revision, spec))
        self._now[key] = spec
        return revision, None, True

    def _delete(self, durability: str) -> tuple[int | None, int | None, bool]:
        key = f"k{self._chance.randrange(4)}"
        self._announce({(self._own, key): None})
        there = self._state.delete(self._own, key, durability=durability)
        self._now[key] = None
        return None, None, there

    def _batch(self, durability: str) -> tuple[int | None, int | None, bool]:
        spec = self._spec()
        keys = [f"b{at}" for at in range(4)]
        self._announce({(self._own, key): spec for key in keys})
        items = [SetOperation(self._own, key, text(spec)) for key in keys]
        told = self._state.set_batch(items, atomic=True, durability=durability)
        return told[0] if isinstance(told[0], int) else None, None, True

    def _add(self, durability: str) -> tuple[int | None, int | None, bool]:
        self._announce({}, adds=True)
        return None, self._state.increment(*TOTAL, durability=durability), True

    def _pairs(self, durability: str) -> tuple[int | None, int | None, bool]:
        spec, adds = self._spec(), self._chance.random() < 0.5
        self._announce({(scope, "t"): spec for scope in self._pair}, adds=adds)

        def both(tx: holdfast.StateTransaction) -> tuple[holdfast.StateTransaction, int | None]:
            for scope in self._pair:
                tx.set(scope, "t", text(spec))
            return tx, tx.increment(*TOTAL) if adds else None

        tx, total = self._state.transact(both, durability=durability)
        return tx.revision, total, True

    def _rewind(self, durability: str) -> tuple[int | None, int | None, bool]:
        known = [
            (key, revision, spec)
            for key, versions in self._past.items()
            for revision, spec in versions
            if self._now.get(key, spec) != spec
        ]
        if not known:
            return self._set(durability)
        key, revision, spec = self._chance.choice(known)
        self._announce({(self._own, key): spec})
        changed = self._state.rewind(self._own, key, to=revision, durability=durability)
        self._now[key] = spec
        return None, None, changed > 0


def run(order: dict[str, Any], say: Say, _listen: Callable[[], None]) -> None:
    """Write until killed; the main thread compacts, copies or repairs meanwhile if it is asked."""
    state = holdfast.open(order["url"], partitions=order.get("partitions"))
    say("open")

    def write(thread: int) -> None:
        durability = order.get("durability", DURABILITY)
        writer = Writer(state, thread, f"{order['seed']}/{thread}", say, durability=durability)
        while writer.step() == "done":
            pass
        say("stopped", thread)

    for thread in range(order["threads"]):
        threading.Thread(target=write, args=(thread,), daemon=True).start()
    for number in _forever():
        if order["mode"] == "compact":
            state.compact([HistoryPolicy(max_versions=KEPT)])
        elif order["mode"] in ("copy", "repair"):
            target = f"{order['engine']}:{Path(order['targets']) / str(number)}"
            say("begun", number)
            if order["mode"] == "copy":
                say("made", number, state.copy_to(target).revision)
            else:
                lost = [str(problem) for problem in state.repair(target).lost]
                say("made", number, lost or None)
        else:
            threading.Event().wait()


def _forever() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1
