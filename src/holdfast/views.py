"""`ScopeView`: one scope as a `MutableMapping`."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from holdfast.store.scope import StateScope
from holdfast.store.value import MISSING

if TYPE_CHECKING:
    from holdfast.manager import StateManager


class ScopeView(MutableMapping[str, Any]):
    """The keys of one scope as a dict would show them. Every access is a call of the store.

    Mutating a value that was read changes nothing in the store: assign it back, or use
    `StateManager.update`.
    """

    def __init__(self, manager: StateManager, scope: StateScope) -> None:
        self._manager = manager
        self.scope = scope

    def __getitem__(self, key: str) -> Any:
        value = self._manager.get(self.scope, key, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._manager.set(self.scope, key, value)

    def __delitem__(self, key: str) -> None:
        if not self._manager.delete(self.scope, key):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._manager.exists(self.scope, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._manager.list_keys(self.scope))

    def __len__(self) -> int:
        return self._manager.count(self.scope)

    def clear(self) -> None:
        """Delete every key of the scope in one commit."""
        self._manager.delete_scope(self.scope)

    def __repr__(self) -> str:
        return f"ScopeView({str(self.scope)!r})"
