"""What a store must hold, known outside the process that wrote it.

The writer announces each attempt with its effects, then says that it was acknowledged. An
acknowledged attempt happened; one that was announced only happened wholly or not at all. A key
belongs to one thread of the writer, so its history has one order. `TOTAL` belongs to all: every
increment adds 1, so its history is 1, 2, 3 …

A store may have several partitions, and then its revisions may have gaps (`gaps`). So what is
demanded of the journal does not rest on their numbers: it has as many commits as happened, in
ascending order, and a commit that began after another was acknowledged has the higher revision.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from holdfast import StateManager
from proof.case import Refuted

Place = tuple[str, str]
TOTAL: Place = ("global", "total")


def text(spec: str) -> str:
    """Return the value that ``tag:size`` stands for; half of it compresses."""
    tag, _, size = spec.partition(":")
    noise = hashlib.sha256(tag.encode()).hexdigest()
    return tag + "".join(noise if at % 2 else "x" * 64 for at in range(int(size) // 64))


@dataclass(slots=True)
class Attempt:
    """One commit as its writer announced it.

    Attributes:
        effects: New values of places as specs, None for a delete.
        adds: It increments the total.
        after: A revision that was acknowledged before this began.
        commit_id: Hex, where the outcome was said to be unknown.
    """

    effects: dict[Place, str | None]
    adds: bool
    after: int = 0
    commit_id: str | None = None


class Oracle:
    """The model of one store over all its writers' lives.

    Args:
        gaps: Revisions may leave out numbers: the store has several partitions, and its engine
            commits to them at once.

    Attributes:
        acknowledged: How many attempts were.
        trimmed: Compactions may have trimmed histories.
        kept: How many versions those leave at least.
    """

    def __init__(self, *, gaps: bool = False) -> None:
        self.acknowledged = 0
        self.trimmed = False
        self.kept = 0
        self._versions: dict[Place, list[tuple[str | None, int | None]]] = defaultdict(list)
        self._pending: dict[int, Attempt] = {}
        self._unknown: list[Attempt] = []
        self._sums: list[int] = []
        self._adds = 0
        self._gaps = gaps
        self._commits = 0
        self._reached = 0  # the highest revision that is known to have been committed

    # --- what the writer says ---------------------------------------------------------------

    def hear(self, word: list[Any]) -> bool:
        """Take what a `Writer` said of a commit; return whether `word` was that."""
        kind, thread, *facts = [*word, None]
        if kind == "try":
            effects, adds, _ = facts
            known = {(s, k): spec for s, k, spec in effects}
            self._pending[thread] = Attempt(known, adds, after=self._reached)
        elif kind == "done":
            revision, total, changed, _ = facts
            attempt = self._pending.pop(thread)
            if changed:
                self._apply(attempt, revision)
            if total is not None:
                self._sums.append(total)
            self.acknowledged += 1
        elif kind in ("failed", "passed"):  # definitely not
            del self._pending[thread]
        elif kind == "unknown":
            attempt = self._pending.pop(thread)
            attempt.commit_id = facts[0]
            self._unknown.append(attempt)
        elif kind == "resolved":  # by `find_commit`; histories show whether it was right
            commit_id, found = thread, facts[0]
            attempt = next(each for each in self._unknown if each.commit_id == commit_id)
            self._unknown.remove(attempt)
            if found:
                self._apply(attempt, None)
        else:
            return False
        return True

    def _apply(self, attempt: Attempt, revision: int | None) -> None:
        for place, spec in attempt.effects.items():
            self._versions[place].append((spec, revision))
        self._adds += attempt.adds
        self._commits += 1
        if revision is not None:
            if revision <= attempt.after:
                raise Refuted(f"{attempt}: committed as {revision}, behind what it followed")
            self._reached = max(self._reached, revision)

    # --- what is there ----------------------------------------------------------------------

    def check(self, state: StateManager) -> int:
        """Compare an opened store with the model, and decide what was pending.

        Returns:
            How many undecided attempts turned out to have happened.
        """
        happened = self._decide(state)
        self._check_total(state)
        live: dict[Place, str] = {}
        for place, versions in self._versions.items():
            if versions[-1][0] is not None:
                live[place] = text(versions[-1][0])
            if state.get(*place) != live.get(place):
                raise Refuted(f"{place}: not the value of the last acknowledged write")
            self._check_history(state, place, versions)
        found = {(str(s), k): v.value for s in state.scopes() for k, v in state.scan(s)}
        found.pop(TOTAL, None)
        _same("scan", found, live)
        listed = {(str(s), k) for s in state.scopes() for k in state.list_keys(s)} - {TOTAL}
        _same("list", dict.fromkeys(listed), dict.fromkeys(live))
        self._check_changes(state, live)
        problems = state.verify()
        if problems:
            raise Refuted(f"verify: {problems[:5]}")
        return happened

    def _decide(self, state: StateManager) -> int:
        happened = free = 0
        for attempt in [*self._unknown, *self._pending.values()]:
            attempt.effects = {p: v for p, v in attempt.effects.items() if v != self._last(p)}
            there = {p: self._is_there(state, p, spec) for p, spec in attempt.effects.items()}
            if len(set(there.values())) > 1:
                raise Refuted(f"torn: {there}")
            applied = any(there.values())
            if attempt.commit_id is not None and attempt.effects:
                if (state.find_commit(attempt.commit_id) is not None) != applied:
                    raise Refuted(f"find_commit disagrees: {attempt}, applied: {applied}")
            if applied:
                self._apply(attempt, None)
                happened += 1
            elif attempt.adds and not attempt.effects:
                free += 1
        self._pending.clear()
        self._unknown.clear()
        more = state.get(*TOTAL, 0) - self._adds
        if not 0 <= more <= free:
            raise Refuted(f"total: {more:+} than acknowledged, {free} undecided")
        self._adds += more
        self._commits += more
        return happened + more

    def _is_there(self, state: StateManager, place: Place, spec: str | None) -> bool:
        now, old = state.get(*place), self._last(place)
        if now == (None if spec is None else text(spec)):
            return True
        if now != (None if old is None else text(old)):
            raise Refuted(f"{place}: neither the old value nor the new one")
        return False

    def _last(self, place: Place) -> str | None:
        versions = self._versions.get(place)
        return versions[-1][0] if versions else None

    def _check_total(self, state: StateManager) -> None:
        if len(set(self._sums)) != len(self._sums) or max(self._sums, default=0) > self._adds:
            raise Refuted("two increments were told the same sum, or one was lost")
        kept = [c.value for c in state.history(*TOTAL, newest_first=False)]
        every = list(range(1, self._adds + 1))
        if not self._agrees(kept, every):
            raise Refuted(f"the total's history is {kept[:5]} … {kept[-5:]}, of {self._adds}")

    def _agrees(self, kept: list[Any], every: list[Any]) -> bool:
        if not self.trimmed:
            return kept == every
        return len(kept) >= min(self.kept, len(every)) and kept == every[len(every) - len(kept) :]

    def _check_history(
        self, state: StateManager, place: Place, versions: list[tuple[str | None, int | None]]
    ) -> None:
        found = list(state.history(*place, newest_first=False))
        every = [None if spec is None else text(spec) for spec, _ in versions]
        if not self._agrees([c.value for c in found], every):
            told = [(c.revision, str(c.value)[:20]) for c in found]
            raise Refuted(f"history of {place} is {told}, not {versions}")
        for change, (_, revision) in zip(reversed(found), reversed(versions), strict=False):
            if revision is not None and change.revision != revision:
                raise Refuted(f"{place}: revision {change.revision}, acknowledged as {revision}")

    def _check_changes(self, state: StateManager, live: dict[Place, str]) -> None:
        every = [(c.revision, str(c.scope), c.key, c.value) for c in state.changes()]
        revisions = [revision for revision, *_ in every]
        if revisions != sorted(revisions):
            raise Refuted("the journal is not in the order of its revisions")
        head = state.revision
        if head < max([self._reached, *revisions]):
            raise Refuted(f"the store is at {head}, behind {max([self._reached, *revisions])}")
        self._reached = head
        for scope in {scope for _, scope, *_ in every}:
            own = [(c.revision, c.key) for c in state.changes(scope=scope)]
            if own != [(revision, key) for revision, where, key, _ in every if where == scope]:
                raise Refuted(f"the journal of {scope} is not its part of the whole")
        commits = sorted(set(revisions))
        if len(commits) != self._commits:
            raise Refuted(f"{len(commits)} commits in the journal; {self._commits} happened")
        if self.trimmed:  # values of the past are gone, and commits that only trimmed show nothing
            return
        replayed: dict[Place, Any] = {(scope, key): value for _, scope, key, value in every}
        replayed.pop(TOTAL, None)
        _same("changes", {p: v for p, v in replayed.items() if v is not None}, live)
        if not self._gaps and commits != list(range(1, head + 1)):
            raise Refuted("the journal has a gap")


def _same(what: str, found: dict[Place, Any], expected: dict[Place, Any]) -> None:
    if found != expected:
        wrong = [p for p in {**found, **expected} if found.get(p, 0) != expected.get(p, 0)]
        raise Refuted(f"{what} differs at {wrong[:5]}")
