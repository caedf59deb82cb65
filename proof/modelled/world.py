"""One store beside one model, and how the two are compared."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast import ConflictError, HorizonError, StateManager, StateScope
from holdfast.clock import from_ns
from holdfast.config import parse_url
from holdfast.engines.registry import open_engine
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.testing import FakeClock
from proof.case import Refuted
from proof.modelled.model import SCOPES, Model, Place, Version, order
from proof.stores import QUICK, require, sound, url_of


def same(actual: object, expected: object) -> None:
    """Refute the claim unless both are equal.

    Raises:
        Refuted: They differ.
    """
    if actual != expected:
        raise Refuted(f"the store says {actual!r:.2000}, the model {expected!r:.2000}")


@contextmanager
def refusing(kind: type[Exception]) -> Iterator[None]:
    """Refute the claim unless the block raises `kind`.

    Raises:
        Refuted: It went through.
    """
    try:
        yield
    except kind:
        return
    raise Refuted(f"the model says {kind.__name__}, the store did it")


@dataclass
class Tx:
    """An open transaction and what the model knows of it."""

    context: Any
    tx: Any
    start: int
    reads: dict[Place, int] = field(default_factory=dict)
    ranges: list[tuple[StateScope, str]] = field(default_factory=list)
    writes: dict[Place, dict[str, Any] | None] = field(default_factory=dict)


@dataclass
class Held:
    """An open snapshot and the moment that it must show."""

    stack: ExitStack
    snapshot: Any
    revision: int
    time: int


class World:
    """A store, its model, and what is open on it.

    Attributes:
        gaps: Revisions may leave out numbers, so the model takes them from the store.
        trimmed: The head at the last compaction: before it the past may be gone.
        txs, held: Open transactions and snapshots.
    """

    def __init__(self, engine: str, directory: Path, partitions: int) -> None:
        self.engine = engine
        self.partitions = partitions
        self.directory = directory
        self.clock = FakeClock()
        self.model = Model()
        self.trimmed = 0
        self.txs: list[Tx] = []
        self.held: list[Held] = []
        self.copies = 0
        self.state = self.open()

    def open(self) -> StateManager:
        """Open the store, on the model's clock also where the engine has one of its own."""
        engine = open_engine(parse_url(url_of(self.engine, self.directory)), clock=self.clock)
        engine.traits = dataclasses.replace(engine.traits, clocked=False)
        options = StoreSettings(
            sweep_every=0, use_compression=engine.traits.compress, partitions=self.partitions
        )
        self.kernel = Kernel(engine, options, self.clock)
        self.gaps = self.partitions > 1 and engine.traits.partitioned
        return StateManager(self.kernel, policies=QUICK)

    def partition(self, scope: StateScope) -> int:
        """Return the partition of a scope."""
        return self.kernel.partitions.of(b"\0" + scope.packed)

    def commit(self, now: int) -> int:
        """Begin the commit that the store has just made in the model; return its revision."""
        before = self.model.head
        if not self.gaps:
            return self.model.commit(now)
        require(self.state.revision > before, "no commit behind", before)
        return self.model.commit(now, self.state.revision)

    def end(self) -> None:
        """Check everything, present and past."""
        self.let_go()
        sound(self.state)
        self.check_all(self.model.head, self.now)
        step = max(1, len(self.model.revisions) // 12)
        for revision in self.model.revisions[::step]:
            self.check_past(revision)
        for place in self.model.versions:
            self.check_history(place, newest_first=False, limit=None)

    def close(self) -> None:
        """Close and remove the store, whatever state it is in."""
        for held in self.held:
            held.stack.close()
        self.state.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def roll_back_all(self) -> None:
        """Roll back every open transaction."""
        for one in list(self.txs):
            self.conflicts(one)

    def let_go(self) -> None:
        """Roll back what is open, and look at the snapshots once more."""
        self.roll_back_all()
        for held in self.held:
            self.check_held(held)
            held.stack.close()
        self.held.clear()

    def check_held(self, held: Held) -> None:
        """Compare all that a snapshot shows, whatever was written and trimmed since."""
        then = self.model.all_at(held.revision, held.time)
        for scope in SCOPES:
            mine = [p for p in sorted(then, key=order) if p[0] == scope]
            found = [(k, self.plain(v)) for k, v in held.snapshot.scan(scope)]
            same(found, [(p[1], self.expected(then[p])) for p in mine])
            same(held.snapshot.list_keys(scope), [p[1] for p in mine])

    @property
    def now(self) -> int:
        """The time of a commit or read now."""
        return max(self.clock.now_ns(), self.model.time)

    def condition(self, seen: Version | None, condition: str) -> tuple[dict[str, Any], bool]:
        """Return the arguments of a precondition, and whether it holds."""
        if condition == "revision":
            return {"if_revision": seen.revision if seen else 0}, True
        if condition == "version":
            return {"if_version": seen.version if seen else 0}, True
        if condition == "absent":
            return {"if_absent": True}, seen is None
        if condition == "wrong":
            return {"if_revision": (seen.revision if seen else 0) + 1}, False
        return {}, True

    def moved(self, one: Tx, places: list[Place]) -> bool:
        """Say whether somebody changed one of the places since the transaction's start."""
        lasts = [self.model.last(place) for place in places]
        return any(last is not None and last.revision > one.start for last in lasts)

    def conflicts(self, one: Tx) -> None:
        """End a transaction that met a conflict, or is rolled back."""
        self.txs.remove(one)
        one.context.__exit__(ConflictError, ConflictError("seen"), None)

    def check_get(self, place: Place) -> None:
        """Compare one key."""
        seen = self.model.seen(place, self.now)
        same(self.state.get(*place, "absent"), ("absent" if seen is None else seen.value))
        same(self.state.exists(*place), (seen is not None))
        found = self.state.get_with_metadata(*place)
        same(self.plain(found), self.expected(seen))

    def plain(self, found: Any) -> Any:
        """Return what is compared of a value that was read."""
        if found is None:
            return None
        m = found.metadata
        return (
            found.value,
            m.revision,
            m.version,
            m.previous_revision,
            m.created_at,
            m.updated_at,
            m.expires_at,
            m.state_class,
        )

    def expected(self, version: Version | None) -> Any:
        """Return the same of a version of the model."""
        if version is None:
            return None
        return (
            version.value,
            version.revision,
            version.version,
            version.previous,
            from_ns(version.created),
            from_ns(version.updated),
            from_ns(version.expires) if version.expires else None,
            version.state_class,
        )

    def check_all(self, revision: int, time: int) -> None:
        """Compare everything that is visible now."""
        everything = self.model.all_at(revision, time)
        by_scope: dict[StateScope, list[tuple[str, Any]]] = {}
        for place in sorted(everything, key=order):
            pair = (place[1], self.expected(everything[place]))
            by_scope.setdefault(place[0], []).append(pair)
        same(self.state.scopes(), list(by_scope))
        for scope in SCOPES:
            found = [(k, self.plain(v)) for k, v in self.state.scan(scope)]
            same(found, by_scope.get(scope, []))

    def check_past(self, revision: int) -> None:
        """Compare everything that was visible at a revision."""
        then = self.model.all_at(revision, self.model.time_of(revision))
        for scope in SCOPES:
            mine = [p for p in sorted(then, key=order) if p[0] == scope]
            expected = [(p[1], self.expected(then[p])) for p in mine]
            try:
                found = [(k, self.plain(v)) for k, v in self.state.scan(scope, as_of=revision)]
            except HorizonError:
                assert revision < self.trimmed
                continue
            same(found, expected)

    def check_history(self, place: Place, *, newest_first: bool, limit: int | None) -> None:
        """Compare the versions of a key."""
        found = [
            (c.revision, c.version, c.previous_revision, c.value, c.at, c.state_class)
            for c in self.state.history(*place, newest_first=newest_first, limit=limit)
        ]
        versions = self.model.versions.get(place, [])
        expected = [
            (v.revision, v.version, v.previous, v.value, from_ns(v.updated), v.state_class)
            for v in versions
        ]
        if limit is None and self.trimmed:  # the oldest may be gone, nothing between
            if newest_first:
                found.reverse()
            same(found, expected[len(expected) - len(found) :])
            assert len(found) >= sum(v.revision > self.trimmed for v in versions)
            return
        if newest_first:
            same(found, expected[::-1][:limit][: len(found)])
        if not self.trimmed:
            same(found, (expected[::-1] if newest_first else expected)[:limit])
