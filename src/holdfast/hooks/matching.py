"""Finding the hooks of a change quickly: by scope once, by key only where a hook asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from holdfast.keys import unpack_text
from holdfast.store.scope import StateScope, unpack_scope
from holdfast.store.value import Operation, StateClass

if TYPE_CHECKING:
    from holdfast.hooks.hook import Hook

_KEPT: Final = 16_384  # scopes, and keys of all of them, whose hooks are remembered
_NONE: Final = ()


class Plan(NamedTuple):
    """The hooks of one change, each in its order."""

    before: tuple[Hook, ...] = _NONE
    inline: tuple[Hook, ...] = _NONE
    queued: tuple[Hook, ...] = _NONE
    batched: tuple[Hook, ...] = _NONE


NOTHING: Final = Plan()


#: Plans of keys, by place, then by operation and class.
Keys = dict[bytes, dict[int, Plan]]


class OwnerMatch:
    """The hooks of one scope.

    Args:
        owner: The scope, packed, with its tenant.
        scope: The same.
        hooks: Its hooks, in order of service.
        state: The store's manager.
        keys: Plans that are remembered; the scopes of a matcher share them.

    Attributes:
        scope: The scope.
        state: The store's manager, for events.
        before, inline, queued: Whether there is any of that sort.
        classed: Whether one of them asks for classes.
    """

    __slots__ = (
        "_hooks",
        "_keyed",
        "_keys",
        "_plans",
        "_size",
        "before",
        "classed",
        "inline",
        "queued",
        "scope",
        "state",
    )

    def __init__(
        self, owner: bytes, scope: StateScope, hooks: Sequence[Hook], state: Any, keys: Keys
    ) -> None:
        self.scope, self.state = scope, state
        self._size = len(owner)
        self._hooks = hooks
        self._keyed = any(hook.selection.expression is not None for hook in hooks)
        self._plans: dict[int, Plan] = {}
        self._keys = keys
        self.classed = any(hook.selection.classes is not None for hook in hooks)
        self.before = any(hook.phase == "before" for hook in hooks)
        self.inline = any(hook.mode == "inline" for hook in hooks)
        self.queued = any(hook.mode == "queued" for hook in hooks)

    def key(self, place: bytes) -> str:
        """Return the key of a place of this scope."""
        return unpack_text(place, self._size)[0]

    def plan(self, place: bytes, operation: int, state_class: int) -> Plan:
        """Return the hooks of one change."""
        plans = self._plans
        if self._keyed:
            known = self._keys.get(place)
            if known is None:
                if len(self._keys) >= _KEPT:
                    self._keys.clear()
                known = self._keys[place] = {}
            plans = known
        plan = plans.get(operation << 3 | state_class)
        if plan is None:
            plan = self._make(place, operation, state_class)
            plans[operation << 3 | state_class] = plan
        return plan

    def _make(self, place: bytes, operation: int, state_class: int) -> Plan:
        kind = Operation(operation), StateClass(state_class)
        key = self.key(place) if self._keyed else ""
        taken = [
            hook
            for hook in self._hooks
            if hook.selection.takes_kind(*kind) and hook.selection.takes_key(key)
        ]
        return Plan(
            tuple(hook for hook in taken if hook.phase == "before"),
            tuple(hook for hook in taken if hook.mode == "inline"),
            tuple(hook for hook in taken if hook.mode == "queued" and not hook.batch),
            tuple(hook for hook in taken if hook.mode == "queued" and hook.batch),
        )


class Matcher:
    """All hooks of a store at one moment. A change of the hooks makes a new one.

    Args:
        tenant: Packed; other tenants' places have no hooks here.
        hooks: In order of service.
        state: The store's manager.

    Attributes:
        before, inline, queued: Whether there is any hook of that sort.
    """

    def __init__(self, tenant: bytes, hooks: Sequence[Hook], state: Any) -> None:
        self._tenant, self._hooks, self._state = tenant, hooks, state
        self.before = any(hook.phase == "before" for hook in hooks)
        self.inline = any(hook.mode == "inline" for hook in hooks)
        self.queued = any(hook.mode == "queued" for hook in hooks)
        self._owners: dict[bytes, OwnerMatch | None] = {}
        self._keys: Keys = {}

    def of(self, owner: bytes) -> OwnerMatch | None:
        """Return the hooks of a scope (packed, with its tenant); None for none."""
        try:
            return self._owners[owner]
        except KeyError:
            return self._look(owner)

    def _look(self, owner: bytes) -> OwnerMatch | None:
        found = None
        if owner.startswith(self._tenant):
            scope, _ = unpack_scope(owner, len(self._tenant))
            hooks = [hook for hook in self._hooks if hook.selection.takes_scope(scope)]
            if hooks:
                found = OwnerMatch(owner, scope, hooks, self._state, self._keys)
        if len(self._owners) >= _KEPT:
            self._owners = {}
        self._owners[owner] = found
        return found
