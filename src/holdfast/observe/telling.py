"""Verbs that tell of their failures: the way of watching that every store has.

A class's verbs are wrapped once, in place. Outside of a correlation nothing is timed, and a verb
that succeeds pays for one more call.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from time import perf_counter_ns
from typing import Any, TypeVar

from holdfast.correlation import current, stepping
from holdfast.errors import StateError
from holdfast.observe.observation import Observation
from holdfast.observe.verbs import VERBS, Kind, Shape, Verb
from holdfast.observe.watch import Correlation, given_correlation

C = TypeVar("C")

#: Told of by the synchronous verbs themselves, because one call more can be measured.
_INLINE = ("get", "set")


def telling(cls: type[C]) -> type[C]:
    """Make the verbs that a class defines tell its instances' `_observation` of failures."""
    awaited = any(inspect.iscoroutinefunction(member) for member in vars(cls).values())
    for name, verb in VERBS.items():
        verb_itself = cls.__dict__.get(name)
        if verb_itself is not None and verb.kind is Kind.UPKEEP and not awaited:
            verb_itself = stepping(verb_itself, name)
        if verb_itself is not None and (awaited or name not in _INLINE):
            made = _telling(verb, verb_itself, awaited)
            made.__raw__ = verb_itself
            setattr(cls, name, made)
    return cls


def raw(cls: type, name: str) -> Callable[..., Any] | None:
    """Return a verb of a class as it was written."""
    found = getattr(cls, name, None)
    return getattr(found, "__raw__", found)


def _telling(verb: Verb, fn: Any, awaited: bool) -> Any:
    if inspect.iscoroutinefunction(fn):
        return _awaited(verb, fn)
    if verb.shape is Shape.ITERATOR:
        return _iterator(verb, fn)
    if verb.shape is Shape.CONTEXT:
        return _async_context(verb, fn) if awaited else _context(verb, fn)
    return _call(verb, fn)


def _call(verb: Verb, fn: Any) -> Any:
    checks = verb.kind is Kind.READ

    @wraps(fn)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        began = 0
        if "correlation" in kwargs or current() is not None:
            began = perf_counter_ns()
        try:
            if began and checks:
                self._observation.check(kwargs.get("correlation"))
            return fn(self, *args, **kwargs)
        except StateError as error:
            tell(self._observation, verb, args, kwargs, error, began)
            raise

    return call


def _awaited(verb: Verb, fn: Any) -> Any:
    @wraps(fn)
    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        began = perf_counter_ns()
        try:
            return await fn(self, *args, **kwargs)
        except StateError as error:
            tell(self._observation, verb, args, kwargs, error, began)
            raise

    return call


def _iterator(verb: Verb, fn: Any) -> Any:
    @wraps(fn)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "correlation" not in kwargs and current() is None:
            return fn(self, *args, **kwargs)
        began, correlation = perf_counter_ns(), given_correlation(kwargs)
        try:
            self._observation.check(kwargs.get("correlation"))
            found = fn(self, *args, **kwargs)
        except StateError as error:
            tell(self._observation, verb, args, kwargs, error, began)
            raise
        return _items(found, self._observation, verb, args, kwargs, began, correlation)

    return call


def _items(found: Iterator[Any], observation: Observation, verb: Verb, *call: Any) -> Iterator[Any]:
    args, kwargs, began, correlation = call
    try:
        yield from found
    except StateError as error:
        tell(observation, verb, args, kwargs, error, began, correlation)
        raise


def _context(verb: Verb, fn: Any) -> Any:
    @contextmanager
    def told(self: Any, args: Any, kwargs: Any) -> Iterator[Any]:
        began, correlation = perf_counter_ns(), given_correlation(kwargs)
        try:
            if verb.kind is Kind.READ:
                self._observation.check(kwargs.get("correlation"))
            with fn(self, *args, **kwargs) as inner:
                yield inner
        except StateError as error:
            tell(self._observation, verb, args, kwargs, error, began, correlation)
            raise

    @wraps(fn)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "correlation" not in kwargs and current() is None:
            return fn(self, *args, **kwargs)
        return told(self, args, kwargs)

    return call


def _async_context(verb: Verb, fn: Any) -> Any:
    @asynccontextmanager
    async def told(self: Any, args: Any, kwargs: Any) -> AsyncIterator[Any]:
        began, correlation = perf_counter_ns(), given_correlation(kwargs)
        try:
            async with fn(self, *args, **kwargs) as inner:
                yield inner
        except StateError as error:
            tell(self._observation, verb, args, kwargs, error, began, correlation)
            raise

    @wraps(fn)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "correlation" not in kwargs and current() is None:
            return fn(self, *args, **kwargs)
        return told(self, args, kwargs)

    return call


def tell(
    observation: Observation,
    verb: Verb | str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: StateError,
    began: int,
    correlation: Correlation = None,
) -> None:
    """Tell of the failure of a call that began at a time; 0 for one that nobody timed."""
    if isinstance(verb, str):
        verb = VERBS[verb]
    scope, key = verb.target(args, kwargs)
    observation.told(
        verb.name,
        scope,
        key,
        error,
        correlation or given_correlation(kwargs),
        round((perf_counter_ns() - began) / 1e6, 3) if began else None,
        kwargs.get("state_class"),
    )
