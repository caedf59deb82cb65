"""The synchronous and the asynchronous face have the same verbs, arguments and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import holdfast
from holdfast import AsyncStateManager, StateManager

#: What only one of them has, and why.
ONLY_SYNC = {"scope"}  # a MutableMapping cannot be awaited


def verbs(face: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods of a class."""
    return {
        name: member
        for name, member in inspect.getmembers(face, inspect.isfunction)
        if not name.startswith("_")
    }


def parameters(verb: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Return name, kind and default of each parameter."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(verb).parameters.values()]


def test_same_verbs() -> None:
    """Neither face has a verb that the other lacks."""
    assert verbs(StateManager).keys() - ONLY_SYNC == verbs(AsyncStateManager).keys()


def test_same_arguments() -> None:
    """Every verb takes the same arguments with the same defaults on both faces."""
    theirs = verbs(AsyncStateManager)
    for name, verb in verbs(StateManager).items():
        if name not in ONLY_SYNC:
            assert parameters(verb) == parameters(theirs[name]), name


def test_every_verb_says_what_it_does() -> None:
    """Every public class and verb has a docstring."""
    for name in holdfast.__all__:
        thing = getattr(holdfast, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for verb in verbs(thing).values():
                if verb.__module__.startswith("holdfast"):
                    assert inspect.getdoc(verb), f"{name}.{verb.__name__}"
