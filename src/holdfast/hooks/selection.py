"""Which changes a hook hears of: scope, key, operation, class. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar, cast

from holdfast.errors import ConfigurationError, InvalidArgumentError
from holdfast.keys import normal_text
from holdfast.store.policy import ScopePattern
from holdfast.store.scope import StateScope
from holdfast.store.value import Operation, StateClass

PHASES = ("before", "after")

#: What happens without a caller who could be refused.
_UNASKED = (Operation.EXPIRE, Operation.TRIM, Operation.LOST)

Named = TypeVar("Named", Operation, StateClass)
Operations = Iterable[Operation | str] | Operation | str | None
Classes = Iterable[StateClass | str] | StateClass | str | None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a hook was registered for.

    Attributes:
        scope: Pattern of scopes.
        key: Pattern of keys: ``*``, ``?`` and ``[…]`` as in file names; ``*`` alone for all.
        operations: Operations, None for all of its phase.
        classes: State classes, None for all.
    """

    scope: ScopePattern
    key: str
    operations: frozenset[Operation] | None
    classes: frozenset[StateClass] | None
    expression: re.Pattern[str] | None

    def takes_scope(self, scope: StateScope) -> bool:
        """Say whether keys of `scope` are meant."""
        return self.scope.matches(scope)

    def takes_key(self, key: str) -> bool:
        """Say whether `key` is meant."""
        return self.expression is None or self.expression.match(key) is not None

    def takes_kind(self, operation: Operation, state_class: StateClass) -> bool:
        """Say whether an operation on a value of a class is meant."""
        if self.operations is not None and operation not in self.operations:
            return False
        return self.classes is None or state_class in self.classes


def select(
    phase: str,
    scope: str | StateScope = "*",
    key: str = "*",
    operations: Operations = None,
    classes: Classes = None,
) -> Selection:
    """Return the selection that these words describe.

    Raises:
        ConfigurationError: The pattern of scopes is none.
        InvalidArgumentError: The phase, an operation, a class or the pattern of keys is none.
    """
    check_phase(phase)
    chosen = _named(Operation, operations, "operation")
    if chosen is not None and Operation.TRIM in chosen:
        raise InvalidArgumentError("a trim is not a change of a key: no hook hears of it")
    if phase == "before":
        for each in chosen or ():
            if each in _UNASKED:
                raise InvalidArgumentError(
                    f"nobody can be refused a {each.name.lower()}: there is no before-hook for it",
                    hint="register it with hooks.after",
                )
    return Selection(
        _pattern(scope), key, chosen, _named(StateClass, classes, "class"), _expression(key)
    )


def check_phase(phase: object) -> str:
    """Return a phase's name.

    Raises:
        InvalidArgumentError: It is none.
    """
    if phase not in PHASES:
        raise InvalidArgumentError(
            f"there is no phase {phase!r}", hint=f"there is {' and '.join(PHASES)}"
        )
    return str(phase)


def _pattern(scope: str | StateScope) -> ScopePattern:
    if isinstance(scope, StateScope):
        return ScopePattern(str(scope), scope.kind, tuple(scope.ids))
    if not isinstance(scope, str):
        raise ConfigurationError(f"a pattern of scopes is text, not a {type(scope).__name__}")
    return ScopePattern.parse(scope)


def _expression(key: str) -> re.Pattern[str] | None:
    if key == "*":
        return None
    key = normal_text(key, what="the pattern of keys", error=InvalidArgumentError)
    at = 0
    while (at := key.find("[", at)) >= 0:  # fnmatch would take it literally, and match nothing
        end = key.find("]", at + 2)
        if end < 0:
            raise InvalidArgumentError(
                f"the pattern of keys {key!r} has a [ without its ]",
                hint="write [[] for a [ itself",
            )
        at = end
    try:
        return re.compile(fnmatch.translate(key))
    except re.error as error:
        raise InvalidArgumentError(f"the pattern of keys {key!r}: {error.msg}") from None


def _named(
    kind: type[Named], given: Iterable[Named | str] | Named | str | None, what: str
) -> frozenset[Named] | None:
    if given is None:
        return None
    one = isinstance(given, str | kind) or not isinstance(given, Iterable)
    several: list[object] = [given] if one else list(cast("Iterable[object]", given))
    found = []
    for each in several:
        if not isinstance(each, kind):
            member = kind.__members__.get(each.upper()) if isinstance(each, str) else None
            if member is None:
                known = ", ".join(name.lower() for name in kind.__members__)
                raise InvalidArgumentError(f"there is no {what} {each!r}", hint=f"there is {known}")
            each = member
        found.append(each)
    if not found:
        raise InvalidArgumentError(f"a hook for no {what} at all hears of nothing")
    return frozenset(found)
