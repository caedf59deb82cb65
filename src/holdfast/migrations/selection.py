"""Selecting values: by patterns of scopes and keys, each value with the version that it has."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.errors import InvalidArgumentError, MigrationPlanError
from holdfast.manager import StateManager
from holdfast.store.migrated import version_text
from holdfast.store.past import Found
from holdfast.store.scope import StateScope

RESERVED = "custom:holdfast."


@dataclass(slots=True)
class Item:
    """A value to work on.

    Attributes:
        scope, key, owner: Where it stands.
        found: The record.
        version: Of its schema.
    """

    scope: StateScope
    key: str
    owner: bytes
    found: Found
    version: int


class Selection:
    """Values of one store.

    Args:
        state: The store.
        scope, key: Patterns: ``*`` stands for any text, and nothing else for more than itself.
        unversioned: The version of values that say none.
    """

    def __init__(self, state: StateManager, scope: str, key: str, unversioned: int) -> None:
        self._state = state
        self._scope, self._key = str(scope), key
        self._matches = None if key == "*" else _pattern(key)
        self._unversioned = unversioned

    def scopes(self) -> list[StateScope]:
        """Return the scopes that fit."""
        if self._scope.startswith(RESERVED):
            raise InvalidArgumentError(f"{self._scope} is Holdfast's own, and is not migrated")
        if "*" not in self._scope:
            return [self._state._address.scope(self._scope)]
        fits = _pattern(self._scope)
        found = self._state.scopes()
        return [each for each in found if fits(str(each)) and not str(each).startswith(RESERVED)]

    def items(self) -> Iterator[Item]:
        """Yield the values that fit; each scope as of the moment when it is reached."""
        address, reader = self._state._address, self._state._kernel.reader
        exact = "*" not in self._key
        prefix = self._key.partition("*")[0]
        matches = self._matches
        for scope in self.scopes():
            owner = address.owner(scope)
            skip = len(owner)
            if exact:
                found = reader.current(address.place(owner, self._key))
                if found is not None:
                    yield self.item(scope, self._key, owner, found)
                continue
            for found in reader.scan(*address.range(scope, prefix)):
                key = found.place[skip:-1].replace(b"\0\xff", b"\0").decode()
                if matches is None or matches(key):
                    yield self.item(scope, key, owner, found)

    def again(self, item: Item) -> Item | None:
        """Return a value as it is now, or None where it is gone."""
        found = self._state._kernel.reader.current(item.found.place)
        return None if found is None else self.item(item.scope, item.key, item.owner, found)

    def item(self, scope: StateScope, key: str, owner: bytes, found: Found) -> Item:
        """Return a record as an item."""
        text = version_text(found.record.schema_version)
        if text is None:
            return Item(scope, key, owner, found, self._unversioned)
        return Item(scope, key, owner, found, version_number(text, scope, key))


def version_number(text: str, scope: Any, key: str) -> int:
    """Return the number of a schema version.

    Raises:
        MigrationPlanError: It is none.
    """
    if not (text.isascii() and text.isdigit()):
        raise MigrationPlanError(
            f"{scope}/{key} is of schema version {text!r}, which is no number",
            hint="leave it out of what you select",
        )
    return int(text)


def _pattern(text: str) -> Any:
    literal = re.sub(r"[\[?]", lambda found: f"[{found[0]}]", text)
    return re.compile(fnmatch.translate(literal)).match
