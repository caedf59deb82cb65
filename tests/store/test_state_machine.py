"""A store of every engine against a plain model: a list of versions per key and a log of commits.

The model is exact: it predicts every revision, every version, every conflict. What retention may
have trimmed is the one freedom: there a read may say so, and may never answer wrongly.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import holdfast
from holdfast import (
    ConflictError,
    Durability,
    HistoryPolicy,
    HorizonError,
    Operation,
    ScopePolicy,
    SetOperation,
    StateClass,
    StateManager,
    StateScope,
)
from holdfast.clock import from_ns
from holdfast.errors import InvalidArgumentError, WrongTypeError
from holdfast.testing import FakeClock

LONG = bool(os.environ.get("HOLDFAST_LONG"))
SECOND = 10**9
OS = {"durability": "os"}

Place = tuple[StateScope, str]

SCOPES = [
    StateScope.GLOBAL,
    StateScope.agent("a"),
    StateScope.agent("a:b"),
    StateScope.workflow("w"),
    StateScope.step("w", "s"),
    StateScope.workflow("v"),
    StateScope.custom("w:step"),
]
KEYS = ["a", "a.b", "a:b", "ab", "b", "é", "特수", "🎉"]
PREFIXES = ["", "a", "a.", "b", "z"]

a_scope = st.sampled_from(SCOPES)
a_key = st.sampled_from(KEYS)


def text(seed: int, length: int) -> str:
    """Return text that compresses by about half, always the same for one seed."""
    return "".join(random.Random(seed).choices("abcdefgh ijkl", k=length))


def large(seed: int, n: int) -> dict[str, Any]:
    """Return a value over 4 KiB; two of one seed differ little, so that deltas are used."""
    return {"n": n, "text": text(seed, 5000 + 10 * n), "list": list(range(n))}


a_value = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(["", "x", None, [], {}, [1, 2], {"a": 1, "b": {"c": None}}]),
    st.builds(text, st.integers(0, 3), st.just(300)),
    st.builds(large, st.integers(0, 1), st.integers(0, 20)),
)
a_ttl = st.one_of(st.none(), st.none(), st.sampled_from([1, 5, 30]))
a_class = st.sampled_from([None, None, StateClass.STANDARD, StateClass.TRUSTED])


@dataclass(frozen=True)
class Version:
    """One version of a key, as the model knows it."""

    revision: int
    operation: Operation
    value: Any
    version: int
    previous: int
    created: int
    updated: int
    expires: int
    state_class: StateClass

    @property
    def is_value(self) -> bool:
        """Say whether this is a value and no tombstone."""
        return self.operation in (Operation.SET, Operation.TOUCH)

    def shown(self, now: int) -> bool:
        """Say whether readers see it at a time."""
        return self.is_value and (not self.expires or self.expires > now)


@dataclass
class Model:
    """What the store should hold."""

    head: int = 0
    time: int = 0
    versions: dict[Place, list[Version]] = field(default_factory=dict)
    times: list[int] = field(default_factory=lambda: [0])  # of each revision
    log: list[list[Place]] = field(default_factory=lambda: [[]])  # what each revision changed

    def last(self, place: Place) -> Version | None:
        """Return the newest version of a place, tombstone or not."""
        return self.versions[place][-1] if place in self.versions else None

    def stored(self, place: Place) -> Version | None:
        """Return the live record, also if it has expired."""
        last = self.last(place)
        return last if last is not None and last.is_value else None

    def seen(self, place: Place, now: int) -> Version | None:
        """Return what readers see now."""
        last = self.stored(place)
        return last if last is not None and last.shown(now) else None

    def at(self, place: Place, revision: int, time: int) -> Version | None:
        """Return what readers of a moment see."""
        past = [v for v in self.versions.get(place, ()) if v.revision <= revision]
        return past[-1] if past and past[-1].shown(time) else None

    def all_at(self, revision: int, time: int, scope: StateScope | None = None) -> dict[Place, Any]:
        """Return everything that readers of a moment see."""
        found = {p: self.at(p, revision, time) for p in self.versions}
        return {
            p: v for p, v in found.items() if v is not None and (scope is None or p[0] == scope)
        }

    def in_order(self, revision: int, time: int, scope: StateScope | None) -> dict[Place, Any]:
        """Return the same, in the order of the store."""
        return dict(sorted(self.all_at(revision, time, scope).items(), key=lambda i: order(i[0])))

    def commit(self, now: int) -> int:
        """Begin the next commit and return its revision."""
        self.head += 1
        self.time = now
        self.times.append(now)
        self.log.append([])
        return self.head

    def write(self, place: Place, now: int, **changes: Any) -> Version:
        """Add a version to the commit that is being made."""
        stored, seen = self.stored(place), self.seen(place, now)
        fresh = Version(
            revision=self.head,
            operation=Operation.SET,
            value=None,
            version=1 if seen is None else seen.version + 1,
            previous=0 if stored is None else stored.revision,
            created=now if seen is None else seen.created,
            updated=now,
            expires=0,
            state_class=StateClass.STANDARD if seen is None else seen.state_class,
        )
        version = replace(fresh, **changes)
        self.versions.setdefault(place, []).append(version)
        self.log[self.head].append(place)
        return version

    def remove(self, place: Place, now: int, operation: Operation = Operation.DELETE) -> None:
        """Add a tombstone to the commit that is being made."""
        stored = self.stored(place)
        assert stored is not None
        self.write(
            place,
            now,
            operation=operation,
            version=stored.version,
            created=stored.created,
            state_class=stored.state_class,
        )


@dataclass
class Tx:
    """An open transaction and what the model knows of it."""

    context: Any
    tx: Any
    start: int
    reads: dict[Place, int] = field(default_factory=dict)
    ranges: list[tuple[StateScope, str]] = field(default_factory=list)
    writes: dict[Place, dict[str, Any] | None] = field(default_factory=dict)


def order(place: Place) -> tuple[bytes, bytes]:
    """Return what places are sorted by."""
    return place[0].packed, place[1].encode()


class StoreMachine(RuleBasedStateMachine):
    """One store and one model, step by step."""

    url = "memory:"

    @initialize()
    def open(self) -> None:
        """Open a new store."""
        self.directory = tempfile.mkdtemp()
        self.clock = FakeClock()
        self.model = Model()
        self.trimmed = 0  # the head at the last compaction: before it the past may be gone
        self.txs: list[Tx] = []
        self.state = self._open()

    def _open(self) -> StateManager:
        policies = [ScopePolicy("*", durability=Durability.OS)]
        url = self.url.replace("DIRECTORY", self.directory)
        return holdfast.open(url, clock=self.clock, policies=policies, sweep_every=0)

    def teardown(self) -> None:
        """Check everything, present and past."""
        if not hasattr(self, "state"):
            return
        try:
            self._roll_back_all()
            assert self.state.verify() == []
            self._check_all(self.model.head, self.now)
            step = max(1, self.model.head // 12)
            for revision in range(0, self.model.head + 1, step):
                self._check_past(revision)
            for place in self.model.versions:
                self._check_history(place, newest_first=False, limit=None)
        finally:
            self.state.close()
            shutil.rmtree(self.directory)

    @property
    def now(self) -> int:
        """The time of a commit or read now."""
        return max(self.clock.now_ns(), self.model.time)

    # --- writing one key ------------------------------------------------------------------

    @rule(
        scope=a_scope,
        key=a_key,
        value=a_value,
        ttl=a_ttl,
        state_class=a_class,
        condition=st.sampled_from(["", "", "revision", "version", "absent", "wrong"]),
    )
    def set(
        self,
        scope: StateScope,
        key: str,
        value: Any,
        ttl: int | None,
        state_class: StateClass | None,
        condition: str,
    ) -> None:
        """Set a key, with and without preconditions."""
        place, now = (scope, key), self.now
        seen = self.model.seen(place, now)
        conditions, holds = self._condition(seen, condition)
        options = dict(conditions, expires_in=ttl, state_class=state_class)
        if not holds:
            with pytest.raises(ConflictError):
                self.state.set(scope, key, value, **options)
            return
        revision = self.state.set(scope, key, value, **options)
        assert revision == self.model.commit(now)
        extra = {} if state_class is None else {"state_class": state_class}
        expires = now + ttl * SECOND if ttl else 0
        self.model.write(place, now, value=value, expires=expires, **extra)
        self._check_get(place)

    def _condition(self, seen: Version | None, condition: str) -> tuple[dict[str, Any], bool]:
        if condition == "revision":
            return {"if_revision": seen.revision if seen else 0}, True
        if condition == "version":
            return {"if_version": seen.version if seen else 0}, True
        if condition == "absent":
            return {"if_absent": True}, seen is None
        if condition == "wrong":
            return {"if_revision": (seen.revision if seen else 0) + 1}, False
        return {}, True

    @rule(scope=a_scope, key=a_key, condition=st.sampled_from(["", "", "revision", "wrong"]))
    def delete(self, scope: StateScope, key: str, condition: str) -> None:
        """Delete a key, with and without preconditions."""
        place, now = (scope, key), self.now
        seen = self.model.seen(place, now)
        conditions, holds = self._condition(seen, condition)
        if not holds:
            with pytest.raises(ConflictError):
                self.state.delete(scope, key, **conditions)
            return
        assert self.state.delete(scope, key, **conditions) is (seen is not None)
        if seen is not None:
            self.model.commit(now)
            self.model.remove(place, now)
        self._check_get(place)

    @rule(scope=a_scope, key=a_key, ttl=a_ttl)
    def touch(self, scope: StateScope, key: str, ttl: int | None) -> None:
        """Give a key another expiry."""
        place, now = (scope, key), self.now
        seen = self.model.seen(place, now)
        assert self.state.touch(scope, key, expires_in=ttl) is (seen is not None)
        if seen is not None:
            self.model.commit(now)
            self.model.write(
                place,
                now,
                operation=Operation.TOUCH,
                value=seen.value,
                expires=now + ttl * SECOND if ttl else 0,
            )
        self._check_get(place)

    @rule(
        scope=a_scope,
        key=a_key,
        verb=st.sampled_from(["increment", "append", "merge_patch", "update"]),
        n=st.integers(0, 9),
        big=st.booleans(),
    )
    def transform(self, scope: StateScope, key: str, verb: str, n: int, big: bool) -> None:
        """Read, change and write in one go."""
        place, now = (scope, key), self.now
        seen = self.model.seen(place, now)
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
        call = getattr(self.state, verb)
        if wrong:
            with pytest.raises(WrongTypeError):
                call(scope, key, *args)
            return
        assert call(scope, key, *args) == told
        self.model.commit(now)
        self.model.write(place, now, value=new, expires=seen.expires if seen else 0)
        self._check_get(place)

    @rule(
        items=st.lists(
            st.tuples(a_scope, a_key, a_value, a_ttl, st.sampled_from(["", "", "absent", "wrong"])),
            max_size=5,
            unique_by=lambda item: item[:2],
        ),
        atomic=st.booleans(),
    )
    def set_batch(self, items: list[Any], atomic: bool) -> None:
        """Set several keys, all or nothing or each for itself."""
        now = self.now
        operations, verdicts = [], []
        for scope, key, value, ttl, condition in items:
            conditions, holds = self._condition(self.model.seen((scope, key), now), condition)
            operations.append(SetOperation(scope, key, value, expires_in=ttl, **conditions))
            verdicts.append(holds)
        if atomic and not all(verdicts):
            with pytest.raises(ConflictError):
                self.state.set_batch(operations, atomic=True)
            return
        results = self.state.set_batch(operations, atomic=atomic)
        revision = self.model.commit(now) if any(verdicts) else self.model.head
        for (scope, key, value, ttl, _), holds, result in zip(
            items, verdicts, results, strict=True
        ):
            if not holds:
                assert isinstance(result, ConflictError)
                continue
            assert result == revision
            expires = now + ttl * SECOND if ttl else 0
            self.model.write((scope, key), now, value=value, expires=expires)
        for scope, key, *_ in items:
            self._check_get((scope, key))

    # --- transactions ---------------------------------------------------------------------

    @precondition(lambda self: len(self.txs) < 3)
    @rule()
    def begin(self) -> None:
        """Open a transaction beside those that are open."""
        context = self.state.transaction(**OS)
        tx = context.__enter__()
        assert tx.start_revision == self.model.head
        self.txs.append(Tx(context, tx, self.model.head))

    def _pick(self, which: int) -> Tx:
        return self.txs[which % len(self.txs)]

    def _moved(self, one: Tx, places: list[Place]) -> bool:
        """Say whether somebody changed one of the places since the transaction's start."""
        lasts = [self.model.last(place) for place in places]
        return any(last is not None and last.revision > one.start for last in lasts)

    def _conflicts(self, one: Tx) -> None:
        self.txs.remove(one)
        one.context.__exit__(ConflictError, ConflictError("seen"), None)

    def _read_in(self, one: Tx, place: Place) -> tuple[bool, Version | None]:
        """Predict a read: whether it conflicts, and the committed version it sees."""
        if self._moved(one, [place]):
            return True, None
        seen = self.model.seen(place, self.now)
        one.reads.setdefault(place, 0 if seen is None else seen.revision)
        return False, seen

    @precondition(lambda self: self.txs)
    @rule(which=st.integers(0, 2), scope=a_scope, key=a_key)
    def tx_get(self, which: int, scope: StateScope, key: str) -> None:
        """Read inside a transaction."""
        one, place = self._pick(which), (scope, key)
        if place in one.writes:
            written = one.writes[place]
            expected = "absent" if written is None else written["value"]
        else:
            conflict, seen = self._read_in(one, place)
            if conflict:
                with pytest.raises(ConflictError):
                    one.tx.get(scope, key)
                self._conflicts(one)
                return
            expected = "absent" if seen is None else seen.value
        assert one.tx.get(scope, key, "absent") == expected

    @precondition(lambda self: self.txs)
    @rule(which=st.integers(0, 2), scope=a_scope, prefix=st.sampled_from(PREFIXES))
    def tx_scan(self, which: int, scope: StateScope, prefix: str) -> None:
        """Scan inside a transaction."""
        one = self._pick(which)
        mine = [p for p in self.model.versions if p[0] == scope and p[1].startswith(prefix)]
        one.ranges.append((scope, prefix))
        if self._moved(one, mine):
            with pytest.raises(ConflictError):
                list(one.tx.scan(scope, prefix=prefix))
            self._conflicts(one)
            return
        expected = {}
        for place in mine:
            seen = self.model.seen(place, self.now)
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
        assert list(one.tx.scan(scope, prefix=prefix)) == ordered
        assert one.tx.list_keys(scope, prefix=prefix) == [key for key, _ in ordered]

    @precondition(lambda self: self.txs)
    @rule(which=st.integers(0, 2), scope=a_scope, key=a_key, value=a_value, ttl=a_ttl,
          state_class=a_class)  # fmt: skip
    def tx_set(self, which: int, scope: StateScope, key: str, value: Any, ttl: int | None,
               state_class: StateClass | None) -> None:  # fmt: skip
        """Write inside a transaction, without reading."""
        one = self._pick(which)
        one.tx.set(scope, key, value, expires_in=ttl, state_class=state_class)
        one.writes[scope, key] = {"value": value, "ttl": ttl, "class": state_class, "keep": False}

    @precondition(lambda self: self.txs)
    @rule(
        which=st.integers(0, 2), scope=a_scope, key=a_key, update=st.booleans(), n=st.integers(0, 9)
    )
    def tx_change(self, which: int, scope: StateScope, key: str, update: bool, n: int) -> None:
        """Update or delete inside a transaction: a read and a write."""
        one, place = self._pick(which), (scope, key)
        before = one.writes.get(place, "none")
        seen = None
        if before == "none":
            conflict, seen = self._read_in(one, place)
            if conflict:
                with pytest.raises(ConflictError):
                    one.tx.delete(scope, key)
                self._conflicts(one)
                return
            present, old = seen is not None, None if seen is None else seen.value
        else:
            present, old = before is not None, None if before is None else before["value"]
        if not update:
            assert one.tx.delete(scope, key) is present
            one.writes[place] = None
            return
        new = [n, len(str(old))]
        assert one.tx.update(scope, key, lambda v: [n, len(str(v))]) == new
        if before == "none":
            one.writes[place] = {"value": new, "ttl": None, "class": None, "keep": True}
        elif before is None:
            one.writes[place] = {"value": new, "ttl": None, "class": None, "keep": False}
        else:
            one.writes[place] = dict(before, value=new)

    @precondition(lambda self: self.txs)
    @rule(which=st.integers(0, 2))
    def tx_commit(self, which: int) -> None:
        """Commit: exactly if nothing that was read has changed."""
        one, now = self._pick(which), self.now
        self.txs.remove(one)
        conflict = False
        for place, expected in one.reads.items():
            seen = self.model.seen(place, now)
            conflict |= (0 if seen is None else seen.revision) != expected
        for scope, prefix in one.ranges:
            mine = [p for p in self.model.versions if p[0] == scope and p[1].startswith(prefix)]
            conflict |= self._moved(one, mine)
        if conflict and one.writes:
            with pytest.raises(ConflictError):
                one.context.__exit__(None, None, None)
            return
        one.context.__exit__(None, None, None)
        if not one.writes:
            assert one.tx.revision is None
            return
        effects = [p for p, w in one.writes.items() if w is not None or self.model.seen(p, now)]
        if effects:
            self.model.commit(now)
        assert one.tx.revision == self.model.head
        for place in effects:
            written = one.writes[place]
            if written is None:
                self.model.remove(place, now)
                continue
            seen = self.model.seen(place, now)
            expires = now + written["ttl"] * SECOND if written["ttl"] else 0
            if written["keep"]:
                expires = seen.expires if seen else 0
            extra = {} if written["class"] is None else {"state_class": written["class"]}
            self.model.write(place, now, value=written["value"], expires=expires, **extra)
        for place in one.writes:
            self._check_get(place)

    @precondition(lambda self: self.txs)
    @rule(which=st.integers(0, 2))
    def tx_roll_back(self, which: int) -> None:
        """Roll back: nothing happened."""
        self._conflicts(self._pick(which))
        assert self.state.revision == self.model.head

    def _roll_back_all(self) -> None:
        for one in list(self.txs):
            self._conflicts(one)

    # --- whole scopes ---------------------------------------------------------------------

    @rule(source=a_scope, into=a_scope, move=st.booleans(), overwrite=st.booleans(),
          recursive=st.booleans())  # fmt: skip
    def copy_scope(self, source: StateScope, into: StateScope, move: bool, overwrite: bool,
                   recursive: bool) -> None:  # fmt: skip
        """Copy or move a scope."""
        now = self.now
        call = self.state.move_scope if move else self.state.copy_scope
        options = {"overwrite": overwrite, "recursive": recursive}
        if source == into or (recursive and source.kind is not into.kind):
            with pytest.raises(InvalidArgumentError):
                call(source, into, **options)
            return
        pairs = {source: into}
        if recursive and source.kind is holdfast.ScopeKind.WORKFLOW:
            for scope in {p[0] for p in self.model.all_at(self.model.head, now)}:
                if scope.kind is holdfast.ScopeKind.STEP and scope.ids[0] == source.ids[0]:
                    pairs[scope] = StateScope.step(into.ids[0], scope.ids[1])
        found = [
            ((one, place[1]), (other, place[1]), version)
            for one, other in sorted(pairs.items())
            for place, version in self.model.in_order(self.model.head, now, one).items()
        ]
        if not overwrite and any(self.model.seen(to, now) for _, to, _ in found):
            with pytest.raises(ConflictError):
                call(source, into, **options)
            return
        assert call(source, into, **options) == len(found)
        if not found:
            return
        self.model.commit(now)
        for origin, to, version in found:
            self.model.write(
                to,
                now,
                value=version.value,
                expires=version.expires,
                state_class=version.state_class,
            )
            if move:
                self.model.remove(origin, now)
        self._check_all(self.model.head, now)

    @rule(scope=a_scope)
    def delete_scope(self, scope: StateScope) -> None:
        """Delete a scope."""
        now = self.now
        found = self.model.in_order(self.model.head, now, scope)
        assert self.state.delete_scope(scope) == len(found)
        if found:
            self.model.commit(now)
        for place in found:
            self.model.remove(place, now)

    @rule(scope=a_scope, key=st.one_of(st.none(), a_key), back=st.integers(0, 15))
    def rewind(self, scope: StateScope, key: str | None, back: int) -> None:
        """Bring a key or a scope back to an earlier revision."""
        model, now = self.model, self.now
        to = max(0, model.head - back)
        then = model.all_at(to, model.times[to], scope)
        present = model.all_at(model.head, now, scope)
        places = [p for p in {**then, **present} if key is None or p[1] == key]
        changed = sorted(
            (p for p in places if self._back(then.get(p)) != self._back(present.get(p))), key=order
        )
        try:
            count = self.state.rewind(scope, key, to=to)
        except HorizonError:
            assert to < self.trimmed
            return
        assert count == len(changed)
        if changed:
            model.commit(now)
        for place in changed:
            old = then.get(place)
            if old is None:
                model.remove(place, now)
            else:
                model.write(
                    place, now, value=old.value, expires=old.expires, state_class=old.state_class
                )
        assert self.state.revision == model.head

    def _back(self, version: Version | None) -> Any:
        """Return what a rewind brings back."""
        return version and (repr(version.value), version.expires, version.state_class)

    # --- time, restart, retention ---------------------------------------------------------

    @rule(seconds=st.integers(1, 20))
    def advance(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @rule(seconds=st.integers(1, 10))
    def put_back(self, seconds: int) -> None:
        """Put the wall clock back: time must not run against revisions."""
        self.clock.set(self.clock.now_ns() - seconds * SECOND)

    @rule()
    def sweep(self) -> None:
        """Remove what has expired."""
        clock, now = self.clock.now_ns(), self.now
        gone = [p for p in self.model.versions if (v := self.model.stored(p)) and v.expires]
        dues = {p: v.expires for p in gone if (v := self.model.stored(p)) and v.expires <= clock}
        gone = sorted(dues, key=lambda p: (dues[p], order(p)))
        assert self.state.sweep() == len(gone)
        if gone:
            self.model.commit(now)
        for place in gone:
            self.model.remove(place, now, Operation.EXPIRE)

    @precondition(lambda self: self.url != "memory:")
    @rule()
    def reopen(self) -> None:
        """Close the store and open it again."""
        self._roll_back_all()
        self.state.close()
        self.state = self._open()
        assert self.state.revision == self.model.head
        self._check_all(self.model.head, self.now)

    @rule(
        versions=st.one_of(st.none(), st.integers(1, 4)),
        age=st.one_of(st.none(), st.integers(0, 20)),
        scopes=st.sampled_from(["*", "agent:*", "workflow:w", "global"]),
        train=st.booleans(),
    )
    def compact(self, versions: int | None, age: int | None, scopes: str, train: bool) -> None:
        """Trim the past: the present stays, and what of the past can still be read is right."""
        self._roll_back_all()
        self.sweep()
        policy = HistoryPolicy(
            scopes,
            max_versions=versions,
            max_age=None if age is None else timedelta(seconds=age),
        )
        now = self.now
        self.state.compact([policy], train=train)
        for _ in range(self.model.head, self.state.revision):
            self.model.commit(now)  # what compaction notes in the journal
        self.trimmed = self.model.head
        self._check_all(self.model.head, self.now)
        assert self.state.verify() == []

    # --- reading --------------------------------------------------------------------------

    def _check_get(self, place: Place) -> None:
        seen = self.model.seen(place, self.now)
        assert self.state.get(*place, "absent") == ("absent" if seen is None else seen.value)
        assert self.state.exists(*place) is (seen is not None)
        found = self.state.get_with_metadata(*place)
        assert self._plain(found) == self._expected(seen)

    def _plain(self, found: Any) -> Any:
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

    def _expected(self, version: Version | None) -> Any:
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

    def _check_all(self, revision: int, time: int) -> None:
        """Compare everything that is visible now."""
        everything = self.model.all_at(revision, time)
        by_scope: dict[StateScope, list[tuple[str, Any]]] = {}
        for place in sorted(everything, key=order):
            pair = (place[1], self._expected(everything[place]))
            by_scope.setdefault(place[0], []).append(pair)
        assert self.state.scopes() == list(by_scope)
        for scope in SCOPES:
            found = [(k, self._plain(v)) for k, v in self.state.scan(scope)]
            assert found == by_scope.get(scope, [])

    def _check_past(self, revision: int) -> None:
        """Compare everything that was visible at a revision."""
        then = self.model.all_at(revision, self.model.times[revision])
        for scope in SCOPES:
            mine = [p for p in sorted(then, key=order) if p[0] == scope]
            expected = [(p[1], self._expected(then[p])) for p in mine]
            try:
                found = [(k, self._plain(v)) for k, v in self.state.scan(scope, as_of=revision)]
            except HorizonError:
                assert revision < self.trimmed
                continue
            assert found == expected

    @rule(
        scope=a_scope,
        prefix=st.sampled_from(PREFIXES),
        after=st.one_of(st.none(), a_key),
        limit=st.one_of(st.none(), st.integers(0, 4)),
        reverse=st.booleans(),
        back=st.one_of(st.none(), st.integers(0, 12)),
        as_time=st.booleans(),
    )
    def read_range(self, scope: StateScope, prefix: str, after: str | None, limit: int | None,
                   reverse: bool, back: int | None, as_time: bool) -> None:  # fmt: skip
        """List, scan and count, now and in the past, by revision and by time."""
        model = self.model
        revision, time, as_of = model.head, self.now, None
        if back is not None:
            revision = max(0, model.head - back)
            time, as_of = model.times[revision], revision
            if as_time and revision:
                time += back * SECOND
                as_of = from_ns(time)  # type: ignore[assignment]
                revision = max(r for r, t in enumerate(model.times) if t <= time)
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
            assert self.state.list_keys(scope, **options) == keys
            pairs = [(k, self._plain(v)) for k, v in self.state.scan(scope, **options)]
            assert pairs == [(k, self._expected(found[scope, k])) for k in keys]
            assert self.state.count(scope, prefix=prefix, as_of=as_of) == whole
            for key in KEYS[:3]:
                got = self.state.get_with_metadata(scope, key, as_of=as_of)
                assert self._plain(got) == self._expected(found.get((scope, key)))
        except HorizonError:
            assert revision < self.trimmed
        if back is None:
            assert self.state.scope_exists(scope) is bool(found)
            requests = [(scope, key) for key in KEYS]
            values = [found[p].value if (p := (scope, key)) in found else None for key in KEYS]
            assert self.state.get_batch(requests) == values

    @rule(
        scope=a_scope,
        key=a_key,
        newest=st.booleans(),
        limit=st.one_of(st.none(), st.integers(0, 3)),
    )
    def history(self, scope: StateScope, key: str, newest: bool, limit: int | None) -> None:
        """Read the versions of a key."""
        self._check_history((scope, key), newest_first=newest, limit=limit)

    def _check_history(self, place: Place, *, newest_first: bool, limit: int | None) -> None:
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
            assert found == expected[len(expected) - len(found) :]
            assert len(found) >= sum(v.revision > self.trimmed for v in versions)
            return
        if newest_first:
            assert found == expected[::-1][:limit][: len(found)]
        if not self.trimmed:
            assert found == (expected[::-1] if newest_first else expected)[:limit]

    @rule(
        back=st.integers(0, 15),
        length=st.one_of(st.none(), st.integers(0, 8)),
        scope=st.one_of(st.none(), a_scope),
        limit=st.one_of(st.none(), st.integers(0, 3)),
    )
    def changes(self, back: int, length: int | None, scope: StateScope | None,
                limit: int | None) -> None:  # fmt: skip
        """Read the log of changes."""
        model = self.model
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
            found = list(self.state.changes(since, until=until, scope=scope, limit=limit))
        except HorizonError:
            assert since < self.trimmed
            return
        assert len(found) == len(expected)
        for change, (place, version) in zip(found, expected, strict=True):
            assert ((change.scope, change.key), change.revision) == (place, version.revision)
            assert change.operation is version.operation
            assert (change.version, change.previous_revision) == (version.version, version.previous)
            assert change.at == from_ns(model.times[version.revision])
            if change.readable:
                assert change.value == version.value
            else:
                assert change.revision <= self.trimmed

    @rule(back=st.integers(0, 15), length=st.one_of(st.none(), st.integers(0, 8)),
          scope=st.one_of(st.none(), a_scope))  # fmt: skip
    def diff(self, back: int, length: int | None, scope: StateScope | None) -> None:
        """Compare two moments."""
        model = self.model
        first = max(0, model.head - back)
        last = None if length is None else min(first + length, model.head)
        before = model.all_at(first, model.times[first], scope)
        end, time = (model.head, self.now) if last is None else (last, model.times[last])
        after = model.all_at(end, time, scope)
        expected = [
            (place, self._expected(before.get(place)), self._expected(after.get(place)))
            for place in sorted({*before, *after}, key=order)
            if before.get(place) != after.get(place)
        ]
        try:
            found = [
                ((d.scope, d.key), self._plain(d.before), self._plain(d.after))
                for d in self.state.diff(first, last, scope=scope)
            ]
        except HorizonError:
            assert first < self.trimmed
            return
        assert found == expected


def run(machine: type[RuleBasedStateMachine], examples: int) -> None:
    """Run a machine quickly, or at length where HOLDFAST_LONG is set."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples * 40 if LONG else examples,
            stateful_step_count=80 if LONG else 40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.target, Phase.shrink],
        ),
    )


class OnMemory(StoreMachine):
    url = "memory:"


class OnSQLite(StoreMachine):
    url = "sqlite:DIRECTORY/store.db"


class OnRocksDB(StoreMachine):
    url = "rocksdb:DIRECTORY/store"


def test_memory() -> None:
    """A store in memory does what the model does."""
    run(OnMemory, 60)


def test_sqlite() -> None:
    """A store in SQLite does what the model does."""
    run(OnSQLite, 25)


def test_rocksdb() -> None:
    """A store in RocksDB does what the model does."""
    run(OnRocksDB, 25)
