"""Policies on scopes: which scopes a pattern means, and what holds there. Pure.

A pattern is the text of a scope in which ``*`` may stand for any id, or ``*`` alone for every
scope: ``agent:researcher``, ``agent:*``, ``workflow:*:step:*``, ``workflow:etl:step:*``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.engines.base import Durability
from holdfast.errors import ConfigurationError, InvalidScopeError
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.store.value import StateClass


@dataclass(frozen=True, slots=True)
class ScopePattern:
    """A parsed pattern.

    Attributes:
        text: As it was written.
        kind: The kind it means, None for every scope.
        ids: The ids it demands, None where any will do.
    """

    text: str
    kind: ScopeKind | None
    ids: tuple[str | None, ...]

    @classmethod
    def parse(cls, text: str) -> ScopePattern:
        """Read a pattern.

        Raises:
            ConfigurationError: It is none.
        """
        if text == "*":
            return cls(text, None, ())
        try:
            # An id that is a single * is a wildcard; write %2A for a literal one elsewhere.
            scope = StateScope.parse(text)
        except InvalidScopeError as error:
            raise ConfigurationError(f"pattern: {error.message}", hint=error.hint) from None
        return cls(text, scope.kind, tuple(None if i == "*" else i for i in scope.ids))

    def matches(self, scope: StateScope) -> bool:
        """Say whether `scope` is meant."""
        if self.kind is None:
            return True
        return self.kind is scope.kind and all(
            mine is None or mine == theirs for mine, theirs in zip(self.ids, scope.ids, strict=True)
        )

    @property
    def rank(self) -> tuple[int, int]:
        """How specific it is: more specific patterns rank higher."""
        return (0 if self.kind is None else 1, sum(i is not None for i in self.ids))


@dataclass(frozen=True, slots=True)
class ScopePolicy:
    """What holds in the scopes of a pattern unless a call says otherwise.

    Attributes:
        scopes: The pattern.
        state_class: Class of values set there.
        durability: What an acknowledgement means there.
        record_reads: Reads that belong to a correlation are events (``state.read``), without
            their values.
    """

    scopes: str
    state_class: StateClass | None = None
    durability: Durability | None = None
    record_reads: bool | None = None


class Policies:
    """Finds the policy of a scope: the most specific pattern that sets the thing asked for."""

    def __init__(self, policies: Sequence[ScopePolicy]) -> None:
        for policy in policies:
            if not isinstance(policy, ScopePolicy):
                raise ConfigurationError(
                    f"policies are ScopePolicy objects, not {type(policy).__name__}"
                )
        rules = [(ScopePattern.parse(p.scopes), p) for p in policies]
        self._rules = sorted(rules, key=lambda rule: rule[0].rank, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def state_class(self, scope: StateScope) -> StateClass | None:
        """Return the class that policy gives to values of `scope`."""
        for pattern, policy in self._rules:
            if policy.state_class is not None and pattern.matches(scope):
                return policy.state_class
        return None

    def durability(self, scope: StateScope) -> Durability | None:
        """Return the durability that policy gives to writes in `scope`."""
        for pattern, policy in self._rules:
            if policy.durability is not None and pattern.matches(scope):
                return policy.durability
        return None

    @property
    def record_reads(self) -> bool:
        """Say whether reads are recorded anywhere."""
        return any(policy.record_reads for _, policy in self._rules)

    def records_reads(self, scope: StateScope) -> bool:
        """Say whether reads in `scope` are recorded."""
        for pattern, policy in self._rules:
            if policy.record_reads is not None and pattern.matches(scope):
                return policy.record_reads
        return False
