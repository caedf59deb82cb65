"""The verbs that are observed: what each does, what shape it has, where its arguments are. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from holdfast.errors import StateError
from holdfast.store.scope import ScopeKind, StateScope


class Kind(enum.Enum):
    """What a verb does."""

    READ = "read"
    WRITE = "write"
    UPKEEP = "upkeep"


class Shape(enum.Enum):
    """What calling a verb gives."""

    CALL = "call"
    ITERATOR = "iterator"
    CONTEXT = "context"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb.

    Attributes:
        name: As it is called.
        kind, shape: What it does, what it gives.
        scope: The name of its argument that is a scope, None for none.
        first: That argument comes first (otherwise it is a keyword).
        keyed: The second argument is the key.
    """

    name: str
    kind: Kind
    shape: Shape = Shape.CALL
    scope: str | None = "scope"
    first: bool = True
    keyed: bool = False

    def target(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the scope and the key that a call is about, as given; None for none."""
        if self.scope is None:
            return None, None
        scope = args[0] if self.first and args else kwargs.get(self.scope)
        if not self.keyed:
            return scope, None
        return scope, args[1] if len(args) > 1 else kwargs.get("key")


_READ, _WRITE, _UPKEEP = Kind.READ, Kind.WRITE, Kind.UPKEEP

VERBS: Final[dict[str, Verb]] = {
    verb.name: verb
    for verb in (
        Verb("get", _READ, keyed=True),
        Verb("get_with_metadata", _READ, keyed=True),
        Verb("exists", _READ, keyed=True),
        Verb("get_batch", _READ, Shape.BATCH, scope=None),
        Verb("list_keys", _READ),
        Verb("scan", _READ, Shape.ITERATOR),
        Verb("count", _READ),
        Verb("scopes", _READ, scope="within", first=False),
        Verb("scope_exists", _READ),
        Verb("snapshot", _READ, Shape.CONTEXT, scope=None),
        Verb("history", _READ, Shape.ITERATOR, keyed=True),
        Verb("changes", _READ, Shape.ITERATOR, first=False),
        Verb("diff", _READ, Shape.ITERATOR, first=False),
        Verb("export_lines", _READ, Shape.ITERATOR, scope=None),
        Verb("find_commit", _READ, scope=None),
        Verb("inspect", _READ, keyed=True),
        Verb("analyze", _READ),
        Verb("set", _WRITE, keyed=True),
        Verb("delete", _WRITE, keyed=True),
        Verb("touch", _WRITE, keyed=True),
        Verb("increment", _WRITE, keyed=True),
        Verb("append", _WRITE, keyed=True),
        Verb("merge_patch", _WRITE, keyed=True),
        Verb("update", _WRITE, keyed=True),
        Verb("set_batch", _WRITE, Shape.BATCH, scope=None),
        Verb("copy_scope", _WRITE, scope="source"),
        Verb("move_scope", _WRITE, scope="source"),
        Verb("delete_scope", _WRITE),
        Verb("transaction", _WRITE, Shape.CONTEXT, scope=None),
        Verb("transact", _WRITE, scope=None),
        Verb("rewind", _WRITE, keyed=True),
        Verb("import_lines", _WRITE, scope=None),
        Verb("emit", _WRITE, first=False),
        Verb("info", _UPKEEP, scope=None),
        Verb("health", _UPKEEP, scope=None),
        Verb("retention", _UPKEEP, scope=None),
        Verb("set_retention", _UPKEEP, scope=None),
        Verb("sweep", _UPKEEP, scope=None),
        Verb("compact", _UPKEEP, scope=None),
        Verb("verify", _UPKEEP, scope=None),
        Verb("copy_to", _UPKEEP, scope=None),
        Verb("repair", _UPKEEP, scope=None),
    )
}

#: Verbs that the asynchronous manager does itself; it hands all others to the synchronous one.
AWAITED: Final = (
    "set",
    "delete",
    "touch",
    "increment",
    "append",
    "merge_patch",
    "update",
    "set_batch",
    "transaction",
    "transact",
)


# An enum's name costs more to look up than all else that is done with it here.
_KINDS: Final = {kind: kind.name.lower() for kind in ScopeKind}


def scope_of(given: Any) -> StateScope | None:
    """Return a scope as given, parsed; None for none, or for what is no scope."""
    if isinstance(given, StateScope):
        return given
    if not isinstance(given, str):
        return None
    try:
        return StateScope.parse(given)
    except StateError:
        return None


def kind_of(scope: StateScope | None) -> str:
    """Return the word for a scope's kind; ``none`` where a verb has no single scope."""
    return "none" if scope is None else _KINDS[scope.kind]


def code_of(error: BaseException) -> str:
    """Return a word for how a verb ended: an error's stable code, or what kind of exception."""
    if isinstance(error, StateError):
        return error.code
    return "exception" if isinstance(error, Exception) else "cancelled"
