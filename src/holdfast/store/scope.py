"""Scopes: who a key belongs to, with one text grammar and one packed form.

A scope is a kind and one or two ids. Nothing is inherited: a workflow's keys and its steps' keys
are apart, and no id, whatever it contains, reaches another scope.
"""

from __future__ import annotations

import difflib
import enum
from typing import Final

from holdfast.errors import InvalidScopeError
from holdfast.keys import normal_text, pack_text, unpack_text


class ScopeKind(enum.IntEnum):
    """What a scope is; the number is stored."""

    GLOBAL = 1
    AGENT = 2
    WORKFLOW = 3
    STEP = 4
    SESSION = 5
    USER = 6
    CUSTOM = 7


_KINDS: Final = {kind.value: kind for kind in ScopeKind}
_WORDS: Final = {
    "agent": ScopeKind.AGENT,
    "workflow": ScopeKind.WORKFLOW,
    "session": ScopeKind.SESSION,
    "user": ScopeKind.USER,
    "custom": ScopeKind.CUSTOM,
}
_ESCAPES: Final = str.maketrans({"%": "%25", ":": "%3A"})


class StateScope:
    """A scope. Immutable, hashable, ordered as its packed form is.

    Made by `GLOBAL`, `agent`, `workflow`, `step`, `session`, `user`, `custom`, or `parse`.

    Attributes:
        kind: The kind.
        ids: No id for global, two for a step (workflow id, step name), else one; in form NFC.
        packed: The packed form without the tenant (see ``docs/format.md``).
    """

    __slots__ = ("_text", "ids", "kind", "packed")

    GLOBAL: StateScope
    kind: ScopeKind
    ids: tuple[str, ...]
    packed: bytes
    _text: str | None

    def __init__(self, kind: ScopeKind, *ids: str) -> None:
        wanted = {ScopeKind.GLOBAL: 0, ScopeKind.STEP: 2}.get(kind, 1)
        if len(ids) != wanted:
            raise InvalidScopeError(f"a {kind.name.lower()} scope takes {wanted} ids")
        what = f"{kind.name.lower()} id"
        names = tuple(normal_text(i, what=what, error=InvalidScopeError) for i in ids)
        put = object.__setattr__
        put(self, "kind", kind)
        put(self, "ids", names)
        put(self, "packed", bytes((kind,)) + b"".join(map(pack_text, names)))
        put(self, "_text", None)

    @classmethod
    def agent(cls, agent_id: str) -> StateScope:
        """Return the scope of one agent."""
        return cls(ScopeKind.AGENT, agent_id)

    @classmethod
    def workflow(cls, workflow_id: str) -> StateScope:
        """Return the scope of one workflow, its steps not included."""
        return cls(ScopeKind.WORKFLOW, workflow_id)

    @classmethod
    def step(cls, workflow_id: str, step_name: str) -> StateScope:
        """Return the scope of one step of a workflow."""
        return cls(ScopeKind.STEP, workflow_id, step_name)

    @classmethod
    def session(cls, session_id: str) -> StateScope:
        """Return the scope of one session."""
        return cls(ScopeKind.SESSION, session_id)

    @classmethod
    def user(cls, user_id: str) -> StateScope:
        """Return the scope of one user."""
        return cls(ScopeKind.USER, user_id)

    @classmethod
    def custom(cls, namespace: str) -> StateScope:
        """Return a scope of your own naming."""
        return cls(ScopeKind.CUSTOM, namespace)

    @classmethod
    def parse(cls, text: str) -> StateScope:
        """Read the text of a scope; ``parse(str(scope)) == scope`` always.

        In ids ``:`` is written ``%3A`` and ``%`` is written ``%25``. Kinds are lower case.

        Raises:
            InvalidScopeError: The text is not of the grammar.
        """
        if not isinstance(text, str):
            raise InvalidScopeError(f"a scope is text or a StateScope, not {type(text).__name__}")
        if text == "global":
            return cls.GLOBAL
        word, *rest = text.split(":")
        kind = _WORDS.get(word)
        if kind is ScopeKind.WORKFLOW and len(rest) == 3 and rest[1] == "step":
            return cls.step(_unescape(rest[0], text), _unescape(rest[2], text))
        if kind is not None and len(rest) == 1:
            return cls(kind, _unescape(rest[0], text))
        raise InvalidScopeError(f"{text!r} is not a scope", hint=_advice(text, word, rest))

    def parent(self) -> StateScope | None:
        """Return the workflow of a step; None for every other kind."""
        return StateScope.workflow(self.ids[0]) if self.kind is ScopeKind.STEP else None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a StateScope cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a StateScope cannot be changed")

    def __str__(self) -> str:
        if self._text is None:
            ids = [i.translate(_ESCAPES) for i in self.ids]
            if self.kind is ScopeKind.STEP:
                text = f"workflow:{ids[0]}:step:{ids[1]}"
            else:
                text = ":".join([self.kind.name.lower(), *ids])
            object.__setattr__(self, "_text", text)
        return str(self._text)

    def __repr__(self) -> str:
        return f"StateScope.parse({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StateScope) and other.packed == self.packed

    def __lt__(self, other: StateScope) -> bool:
        return self.packed < other.packed

    def __hash__(self) -> int:
        return hash(self.packed)

    def __reduce__(self) -> tuple[object, ...]:
        return (StateScope, (self.kind, *self.ids))


StateScope.GLOBAL = StateScope(ScopeKind.GLOBAL)


def unpack_scope(packed: bytes, at: int) -> tuple[StateScope, int]:
    """Read a packed scope at offset `at`.

    Returns:
        The scope, and the offset behind it.

    Raises:
        ValueError: There is no sound packed scope.
    """
    kind = _KINDS.get(packed[at]) if at < len(packed) else None
    if kind is None:
        raise ValueError("unknown kind of scope")
    ids: list[str] = []
    at += 1
    for _ in range({ScopeKind.GLOBAL: 0, ScopeKind.STEP: 2}.get(kind, 1)):
        text, at = unpack_text(packed, at)
        ids.append(text)
    try:
        scope = StateScope(kind, *ids)
    except InvalidScopeError as error:
        raise ValueError(error.message) from None
    if list(scope.ids) != ids:
        raise ValueError("id is not in normal form C")
    return scope, at


def _unescape(text: str, whole: str) -> str:
    parts = text.split("%")
    out = [parts[0]]
    for part in parts[1:]:
        char = {"25": "%", "3A": ":"}.get(part[:2])
        if char is None:
            raise InvalidScopeError(
                f"{whole!r} has a bad escape", hint="write % as %25 and : as %3A in ids"
            )
        out.append(char + part[2:])
    return "".join(out)


def _advice(text: str, word: str, rest: list[str]) -> str | None:
    if word.lower() == "global" or (word.lower() in _WORDS and word not in _WORDS):
        return f"kinds are lower case: {word.lower()}"
    if word in _WORDS and not rest:
        return f"write {word}:ID"
    if word in _WORDS:
        return "write : inside an id as %3A"
    near = difflib.get_close_matches(word.lower(), ["global", *_WORDS], 1)
    if near and rest:
        return f"did you mean {near[0]}:{':'.join(rest)}?"
    return None if rest else f"for a scope of your own write custom:{text}"
