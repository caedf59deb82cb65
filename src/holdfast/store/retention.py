"""How much of the past is kept: policies, and the pure decision where a key's history is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from holdfast.errors import ConfigurationError
from holdfast.store.policy import ScopePattern
from holdfast.store.record import DELTA, VALUE
from holdfast.store.scope import StateScope
from holdfast.store.value import StateClass


@dataclass(frozen=True, slots=True)
class HistoryPolicy:
    """How much history the keys of some scopes keep. Bounds that are None do not bind.

    Attributes:
        scopes: A pattern, as in `ScopePolicy`.
        state_class: Only values of this class; None for every class.
        max_age: Every moment of this long ago can still be read.
        max_versions: At most so many versions of a key (a few more where deltas need them).
        max_bytes: At most so many stored bytes of versions of a key.
    """

    scopes: str = "*"
    state_class: StateClass | None = None
    max_age: timedelta | None = None
    max_versions: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        ScopePattern.parse(self.scopes)
        if self.max_age is not None and not isinstance(self.max_age, timedelta):
            raise ConfigurationError("max_age must be a timedelta")
        if self.max_age is not None and self.max_age < timedelta(0):
            raise ConfigurationError("max_age must not be negative")
        for name in ("max_versions", "max_bytes"):
            bound = getattr(self, name)
            if bound is not None and (isinstance(bound, bool) or bound < 1):
                raise ConfigurationError(f"{name} must be at least 1")

    @property
    def max_age_ns(self) -> int | None:
        """`max_age` in nanoseconds."""
        return None if self.max_age is None else self.max_age // timedelta(microseconds=1) * 1000

    def to_data(self) -> dict[str, Any]:
        """Return the policy as plain data, for storing."""
        return {
            "scopes": self.scopes,
            "state_class": None if self.state_class is None else int(self.state_class),
            "max_age": None if self.max_age is None else self.max_age.total_seconds(),
            "max_versions": self.max_versions,
            "max_bytes": self.max_bytes,
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> HistoryPolicy:
        """Make a policy of what `to_data` returned."""
        state_class, age = data["state_class"], data["max_age"]
        return cls(
            data["scopes"],
            None if state_class is None else StateClass(state_class),
            None if age is None else timedelta(seconds=age),
            data["max_versions"],
            data["max_bytes"],
        )


@dataclass(frozen=True, slots=True)
class Version:
    """What the decision needs of one version row.

    Attributes:
        revision, at_ns: Of its commit.
        kind: Of its record.
        state_class: Number of its class.
        size: Bytes stored.
    """

    revision: int
    at_ns: int
    kind: int
    state_class: int
    size: int


class Retention:
    """Finds the policy that holds for a value: the most specific pattern, then the class."""

    def __init__(self, policies: Sequence[HistoryPolicy]) -> None:
        rules = [(ScopePattern.parse(p.scopes), p) for p in policies]
        self._rules = sorted(
            rules, key=lambda r: (r[0].rank, r[1].state_class is not None), reverse=True
        )

    def policy(self, scope: StateScope, state_class: int) -> HistoryPolicy | None:
        """Return the policy of values of `state_class` in `scope`, or None."""
        for pattern, policy in self._rules:
            if policy.state_class in (None, state_class) and pattern.matches(scope):
                return policy
        return None

    def journal_age_ns(self) -> int | None:
        """Return the age beyond which commits may be forgotten; None for never.

        Only where every scope has a policy, and every policy bounds the age.
        """
        ages = [policy.max_age_ns for _, policy in self._rules]
        known = [age for age in ages if age is not None]
        whole = any(r[0].kind is None and r[1].state_class is None for r in self._rules)
        return max(known) if whole and len(known) == len(ages) else None


def cut(versions: Sequence[Version], policy: HistoryPolicy, now_ns: int, pinned: int | None) -> int:
    """Decide how many of a key's oldest versions go.

    Versions go from the oldest on and in whole delta runs, so that what stays can be rebuilt.
    What was current at `pinned`, or within `max_age`, stays.

    Args:
        versions: All versions of the key, ascending; a delete is a version too.
        policy: The bounds.
        now_ns: The present.
        pinned: A revision from which on everything must stay readable, or None.

    Returns:
        The number of versions to drop; ``len(versions)`` only where the last is a delete.
    """
    bound = 0
    if policy.max_versions is not None:
        bound = max(bound, len(versions) - policy.max_versions)
    if policy.max_bytes is not None:
        total, kept = 0, 0
        for version in reversed(versions):
            total += version.size
            if total > policy.max_bytes:
                break
            kept += 1
        bound = max(bound, len(versions) - max(kept, 1))
    age = policy.max_age_ns
    if age is not None:
        superseded = 0
        for following in versions[1:]:
            if following.at_ns > now_ns - age:
                break
            superseded += 1
        bound = max(bound, superseded)
    if pinned is not None:
        current = 0  # the version that `pinned` shows must stay, with all behind it
        for at, version in enumerate(versions):
            if version.revision <= pinned:
                current = at
        bound = min(bound, current)
    while 0 < bound < len(versions) and versions[bound].kind == DELTA:
        bound -= 1
    last = versions[-1]
    alone = bound == len(versions) - 1 and last.kind not in (VALUE, DELTA)
    if alone and (pinned is None or last.revision <= pinned):
        aged = age is None or last.at_ns <= now_ns - age
        if aged and (bound > 0 or age is not None):
            return len(versions)  # a lone delete says nothing that absence does not
    return bound
