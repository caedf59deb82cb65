"""Functions that say themselves what they hook, and finding those that are installed.

A marked function is registered nowhere by being marked, and nothing is imported because of what a
store holds: a program names what it loads.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from holdfast.errors import ConfigurationError, StateError
from holdfast.hooks.selection import check_phase

GROUP: Final = "holdfast.hooks"
_MARK: Final = "__holdfast_hook__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class HookMark:
    """What a marked function asks for.

    Attributes:
        phase: ``"before"`` or ``"after"``.
        options: Arguments of `Hooks.before` or `Hooks.after`.
    """

    phase: str
    options: dict[str, Any] = field(default_factory=dict)


def before(**options: Any) -> Callable[[F], F]:
    """Mark a function as a before-hook; the options are those of `Hooks.before`."""
    return _marking("before", options)


def after(**options: Any) -> Callable[[F], F]:
    """Mark a function as an after-hook; the options are those of `Hooks.after`."""
    return _marking("after", options)


def mark_of(fn: object) -> HookMark | None:
    """Return what a function is marked with, or None."""
    mark = getattr(fn, _MARK, None)
    return mark if isinstance(mark, HookMark) else None


def installed() -> list[EntryPoint]:
    """Return the entry points of the group ``holdfast.hooks``; none of them is imported."""
    return sorted(entry_points(group=GROUP), key=lambda entry: entry.name)


def load_hook(name: str) -> Callable[..., Any]:
    """Import a hook: the name of an entry point, or ``module:function``.

    Raises:
        ConfigurationError: There is none, or importing it failed.
    """
    for entry in installed():
        if entry.name == name:
            return _callable(imported(entry.load, f"the hook {name}"), name)
    module, colon, attribute = name.partition(":")
    if not colon:
        known = ", ".join(entry.name for entry in installed()) or "none is installed"
        raise ConfigurationError(
            f"no installed distribution has a hook {name!r}",
            hint=f"there is: {known}; module:function names any other",
        )
    if module.endswith(".py"):
        found = imported(lambda: load_file(Path(module)), f"the hook {name}")
    else:
        found = imported(lambda: importlib.import_module(module), f"the hook {name}")
    for part in attribute.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise ConfigurationError(f"{module} has no {attribute}")
    return _callable(found, name)


def load_file(path: Path) -> ModuleType:
    """Import a Python file.

    Raises:
        ConfigurationError: It cannot be read.
    """
    name = f"holdfast_hooks_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigurationError(f"there is no Python file {path}")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[name] = module
    try:
        imported(lambda: loader.exec_module(module), f"the hook {path}")
    except BaseException:
        del sys.modules[name]
        raise
    return module


def marked(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the marked functions of a module, by the names of their hooks."""
    found = {}
    for name, thing in vars(module).items():
        mark = mark_of(thing)
        if mark is not None:
            found[str(mark.options.get("name") or name)] = thing
    return found


def _marking(phase: str, options: dict[str, Any]) -> Callable[[F], F]:
    mark = HookMark(check_phase(phase), options)

    def put(fn: F) -> F:
        setattr(fn, _MARK, mark)
        return fn

    return put


def imported(load: Callable[[], Any], what: str) -> Any:
    """Import something that the program has named.

    Raises:
        ConfigurationError: That failed.
    """
    try:
        return load()
    except StateError:
        raise
    except Exception as error:
        raise ConfigurationError(f"importing {what} failed: {type(error).__name__}") from error


def _callable(found: Any, name: str) -> Callable[..., Any]:
    if not callable(found):
        raise ConfigurationError(f"the hook {name} is no function")
    made: Callable[..., Any] = found
    return made
