"""The options of registering a hook, and what they are where they are left out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from holdfast.errors import ConfigurationError, InvalidArgumentError
from holdfast.hooks.selection import Classes, Operations, Selection, check_phase, select
from holdfast.hooks.settings import check_seconds
from holdfast.store.scope import StateScope

MODES: Final = ("queued", "inline")
ON_ERROR: Final = ("refuse", "allow")


class HookOptions(TypedDict, total=False):
    """Options of every hook.

    Attributes:
        scope: Pattern of scopes: the text of a scope in which ``*`` stands for any id, or ``*``
            for every scope (the default).
        key: Pattern of keys, with ``*``, ``?`` and ``[...]``.
        operations: One or several of ``set``, ``delete``, ``touch``; after-hooks also ``expire``
            and ``lost``. All by default.
        classes: State classes, or their names; all by default.
        priority: Higher ones run first.
        timeout: Seconds that a call may take. A coroutine is cancelled then; a plain function
            cannot be, and goes on in its thread, while its caller goes on too.
        name: Its name; by default the function's.
        sees_sensitive: Show it sensitive values, which are `REDACTED` otherwise.
    """

    scope: str | StateScope
    key: str
    operations: Operations
    classes: Classes
    priority: int
    timeout: float | None
    name: str | None
    sees_sensitive: bool


class BeforeOptions(HookOptions, total=False):
    """Options of before-hooks.

    Attributes:
        on_error: What its failure (it raised, took too long, or its breaker is open) means for
            the write: ``"refuse"`` (the default) or ``"allow"``.
    """

    on_error: str


class AfterOptions(HookOptions, total=False):
    """Options of after-hooks.

    Attributes:
        mode: ``"queued"`` (the default): in a thread of the queue, in order for each key.
            ``"inline"``: in the thread or task that commits, behind the commit and before its
            caller goes on.
        batch: Give it lists of events, as many as wait, up to ``settings.batch``; queued only.
    """

    mode: str
    batch: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a hook is registered as: the options, checked and complete."""

    phase: str
    mode: str
    selection: Selection
    priority: int
    timeout: float | None
    on_error: str
    batch: bool
    sees_sensitive: bool
    name: str | None


def wanted(phase: str, fn: object, options: Mapping[str, Any]) -> Wanted:
    """Check what somebody wants registered.

    Raises:
        InvalidArgumentError, ConfigurationError: An option or a pattern is none.
    """
    kind = BeforeOptions if check_phase(phase) == "before" else AfterOptions
    known = kind.__optional_keys__
    wrong = sorted(options.keys() - known)
    if wrong:  # a misspelt selection must not become a hook of everything
        raise InvalidArgumentError(
            f"a {phase}-hook has no option {wrong[0]!r}",
            hint=f"there is {', '.join(sorted(known))}",
        )
    if not callable(fn):
        raise InvalidArgumentError(f"a hook is a function, not a {type(fn).__name__}")
    words = {k: options[k] for k in ("scope", "key", "operations", "classes") if k in options}
    selection = select(phase, **words)
    priority, name = options.get("priority", 0), options.get("name")
    if type(priority) is not int:
        raise InvalidArgumentError("priority must be an integer")
    try:
        timeout = check_seconds(options.get("timeout"), "timeout")
    except ConfigurationError as error:
        raise InvalidArgumentError(error.message) from None
    mode = _one_of(options.get("mode", "queued"), MODES, "mode")
    batch = bool(options.get("batch", False))
    if batch and mode != "queued":
        raise InvalidArgumentError("only queued hooks take batches")
    if name is not None and (not isinstance(name, str) or not 0 < len(name) <= 200):
        raise InvalidArgumentError("a hook's name is text of 1 to 200 characters")
    return Wanted(
        phase,
        "before" if phase == "before" else mode,
        selection,
        priority,
        timeout,
        _one_of(options.get("on_error", "refuse"), ON_ERROR, "on_error"),
        batch,
        bool(options.get("sees_sensitive", False)),
        name,
    )


def _one_of(value: object, known: tuple[str, ...], what: str) -> str:
    if value not in known:
        raise InvalidArgumentError(
            f"there is no {what} {value!r}", hint=f"there is {' and '.join(known)}"
        )
    return str(value)
