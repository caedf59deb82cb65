"""Is the store's own account of a history true? Pure: transactions against the journal's changes.

The journal claims one order. Replayed in it, every transaction must have seen exactly the state at
its start and at its commit, and acknowledged ones must stand in the order of real time. Beside the
graph of `proof.histories` this covers deletes, and what aborted transactions saw.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from proof.histories import Op, Txn


@dataclass(slots=True)
class Past:
    """Every key's values by revision; None is absent."""

    revisions: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)
    changed: dict[int, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, changes: Iterable[tuple[int, str, Any]]) -> Past:
        """Build it of (revision, key, value) in the order of the journal."""
        past = cls()
        for revision, key, value in changes:
            past.revisions.setdefault(key, []).append(revision)
            past.values.setdefault(key, []).append(value)
            past.changed.setdefault(revision, set()).add(key)
        return past

    def at(self, key: str, revision: int) -> Any:
        """Return a key's value as of a revision."""
        count = bisect.bisect_right(self.revisions.get(key, ()), revision)
        return self.values[key][count - 1] if count else None

    def keys(self, prefix: str, revision: int) -> list[str]:
        """Return the keys of a prefix that were there."""
        found = [k for k in self.revisions if k.startswith(prefix)]
        return [k for k in found if self.at(k, revision) is not None]


def contradictions(history: Sequence[Txn], past: Past) -> Iterator[str]:
    """Yield where a history and the journal's account of it do not agree."""
    acknowledged = sorted(
        (txn.ended, txn.revision) for txn in history if txn.committed and txn.revision is not None
    )
    ends = [ended for ended, _ in acknowledged]
    newest: list[int] = []
    for _, revision in acknowledged:
        newest.append(max(revision, newest[-1] if newest else 0))
    for txn in history:
        before = bisect.bisect_left(ends, txn.began)
        floor = newest[before - 1] if before else 0
        if txn.start >= 0:
            if txn.start < floor:
                yield f"{txn.name} starts at {txn.start}; {floor} was acknowledged before it began"
            yield from _disagreeing(txn, past, txn.start)
        if txn.revision is not None and txn.committed:
            written = _effects(txn, past, txn.revision - 1)
            changed = past.changed.get(txn.revision, set())
            wrong = list(_disagreeing(txn, past, txn.revision - 1))
            own = written and changed == written.keys() and not wrong
            if not own and not _effects(txn, past, txn.revision):
                # It removed what was not there: no commit, but a check at somebody's revision.
                yield from _disagreeing(txn, past, txn.revision)
                continue
            if txn.revision <= floor:
                yield f"{txn.name} commits at {txn.revision}, behind {floor} in real time"
            if changed != written.keys():
                yield f"{txn.name} wrote other keys than {sorted(written)} at {txn.revision}"
            yield from wrong
            for key, value in written.items():
                if past.at(key, txn.revision) != value:
                    yield f"{txn.name} left {key} as {past.at(key, txn.revision)!r}, not {value!r}"


def _disagreeing(txn: Txn, past: Past, revision: int) -> Iterator[str]:
    own: dict[str, Any] = {}
    for op in txn.ops:
        kind, key, value = op
        expected = _step(op, own, past, revision)
        if expected != value:
            yield f"{txn.name}: {kind} {key} gave {value!r}, at {revision} it was {expected!r}"


def _step(op: Op, own: dict[str, Any], past: Past, revision: int) -> Any:
    """Return what an operation should have seen, and note what it wrote."""
    kind, key, value = op
    there = own[key] if key in own else past.at(key, revision)
    if kind == "read":
        return there or []
    if kind == "get":
        return there
    if kind == "list":
        keys = set(past.keys(key, revision))
        keys |= {k for k, v in own.items() if v is not None and k.startswith(key)}
        keys -= {k for k, v in own.items() if v is None}
        return sorted(keys)
    if kind == "delete":
        own[key] = None
        return there is not None
    own[key] = [*(there or []), value] if kind == "append" else value
    return value


def _effects(txn: Txn, past: Past, before: int) -> dict[str, Any]:
    """Return what a transaction changes in the state of a revision."""
    own: dict[str, Any] = {}
    for op in txn.ops:
        _step(op, own, past, before)
    return {k: v for k, v in own.items() if v is not None or past.at(k, before) is not None}
