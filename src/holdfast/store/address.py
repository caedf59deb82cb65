"""From scopes and keys, as callers give them, to checked places of one tenant."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from holdfast.errors import InvalidScopeError
from holdfast.keys import after, normal_text, pack_prefix, pack_text
from holdfast.store.layout import OVERHEAD, check_place, split_place
from holdfast.store.scope import StateScope

_KEPT: Final = 512  # characters of a text that is remembered: whatever callers send, it stays small


@lru_cache(maxsize=4096)
def _parsed(text: str) -> StateScope:
    # Reading the text costs several times as much as a whole get, and scopes come again and again.
    return StateScope.parse(text)


class Addressing:
    """Packs scopes and keys under one tenant.

    Args:
        tenant: The tenant's name, empty for none.
        limit: The longest row key that the store takes, in bytes.
    """

    def __init__(self, tenant: str, limit: int) -> None:
        if tenant:
            tenant = normal_text(tenant, what="tenant", error=InvalidScopeError)
        self.tenant_name = tenant
        self.tenant = pack_text(tenant)
        self._limit = limit
        self._longest = limit - OVERHEAD

    def scope(self, scope: StateScope | str) -> StateScope:
        """Return `scope`, read from its text if it is one.

        Raises:
            InvalidScopeError: It is neither.
        """
        if isinstance(scope, StateScope):
            return scope
        if type(scope) is str and len(scope) <= _KEPT:
            return _parsed(scope)
        return StateScope.parse(scope)

    def owner(self, scope: StateScope | str) -> bytes:
        """Return packed tenant and scope."""
        if type(scope) is not StateScope:
            scope = self.scope(scope)
        return self.tenant + scope.packed

    def place(self, owner: bytes, key: str) -> bytes:
        """Return the place of `key` in the scope of `owner`.

        Raises:
            InvalidKeyError: The key breaks a rule.
            LimitExceededError: It is too long.
        """
        # Nearly every key is printable ASCII, which is its own normal form.
        if not (type(key) is str and key.isascii() and key.isprintable() and key):
            key = normal_text(key, what="key")
        place = owner + key.encode() + b"\0"
        if len(place) > self._longest:
            check_place(place, self._limit)
        return place

    def range(self, scope: StateScope | str, prefix: str = "") -> tuple[bytes, bytes]:
        """Return the half-open range of places of `scope` whose keys start with `prefix`."""
        start = self.owner(scope)
        if prefix:
            start += pack_prefix(normal_text(prefix, what="prefix"))
        return start, after(start)

    def key(self, place: bytes) -> str:
        """Return the key of a place."""
        return split_place(place)[2]

    def owns(self, place: bytes) -> bool:
        """Say whether a place belongs to this tenant."""
        return place.startswith(self.tenant)
