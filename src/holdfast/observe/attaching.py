"""Wrapping a manager's verbs, one by one, where every call is to be watched.

The wrappers are attributes of the instance, over the class's verbs: a store that nobody watches has
none. With metrics alone a call is timed and counted and no more; all else goes through a `Watch`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from time import perf_counter_ns
from typing import Any

from holdfast.errors import StateError
from holdfast.observe.observation import Observation
from holdfast.observe.reads import answer, without_default
from holdfast.observe.tally import Item
from holdfast.observe.telling import raw
from holdfast.observe.verbs import AWAITED, VERBS, Kind, Shape, Verb, code_of
from holdfast.observe.watch import Watch
from holdfast.store.value import MISSING


def attach(manager: Any) -> None:
    """Wrap the verbs of a synchronous manager, and its ``events.emit``."""
    observation: Observation = manager._observation
    if not observation.wraps:
        return
    for name, verb in VERBS.items():
        fn = raw(type(manager), name)
        if fn is not None:
            setattr(manager, name, _watching(observation, verb, fn, manager))
    emit = getattr(manager.events, "emit", None)
    if emit is not None:
        verb = VERBS["emit"]
        manager.events.emit = _watched(observation, verb, raw(type(manager.events), "emit"),
                                       manager.events)  # fmt: skip


def attach_async(manager: Any) -> None:
    """Wrap what an asynchronous manager does itself."""
    observation: Observation = manager._observation
    if not observation.wraps:
        return
    for name in AWAITED:
        fn = raw(type(manager), name)
        if fn is not None:
            verb = VERBS[name]
            make = _async_context if verb.shape is Shape.CONTEXT else _awaited
            setattr(manager, name, make(observation, verb, fn, manager))
    if getattr(manager.events, "emit", None) is not None:
        fn = raw(type(manager.events), "emit")
        manager.events.emit = _awaited(observation, VERBS["emit"], fn, manager.events)


def _watching(observation: Observation, verb: Verb, fn: Any, manager: Any) -> Callable[..., Any]:
    if verb.shape is Shape.ITERATOR:
        return _iterator(observation, verb, fn, manager)
    if verb.shape is Shape.CONTEXT:
        return _context(observation, verb, fn, manager)
    settings = observation.settings
    if observation.tracing is None and not settings.log_operations:
        if verb.shape is Shape.CALL and observation.tally is not None:
            if not (observation.reads_recorded and verb.kind is Kind.READ):
                return _counted(observation, verb, fn, manager)
    return _watched(observation, verb, fn, manager)


def _counted(observation: Observation, verb: Verb, fn: Any, manager: Any) -> Callable[..., Any]:
    name, tally = verb.name, observation.tally
    assert tally is not None
    count, first, single = tally.call, verb.first, verb.name == "get"
    # Looked up once: a read of one key says whether it was there.
    found_of = _FOUND.get(name)
    writes = verb.kind is Kind.WRITE and verb.keyed
    checks = verb.kind is Kind.READ

    def failed(error: BaseException, began: int, args: Any, kwargs: Any) -> None:
        took = perf_counter_ns() - began
        count(name, verb.target(args, kwargs)[0], took, code_of(error))
        if isinstance(error, StateError):
            Watch(observation, verb, args, kwargs).failed(error, round(took / 1e6, 3))

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter_ns()
        try:
            if checks and "correlation" in kwargs:
                observation.check(kwargs["correlation"])
            result = fn(manager, *args, **kwargs)
        except BaseException as error:
            failed(error, began, args, kwargs)
            raise
        found = None
        if found_of is not None:
            found = found_of(result)
        elif writes:
            found = ephemeral_write(observation, verb, args, kwargs, result)
        scope = args[0] if first and args else verb.target(args, kwargs)[0]
        count(name, scope, perf_counter_ns() - began, None, found)
        return result

    @wraps(fn)
    def get(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter_ns()
        kwargs, default = without_default(args, kwargs)
        try:
            result = fn(manager, *args[:2], *args[3:], default=MISSING, **kwargs)
        except BaseException as error:
            failed(error, began, args, kwargs)
            raise
        scope = args[0] if args else kwargs.get("scope")
        count(name, scope, perf_counter_ns() - began, None, result is not MISSING)
        return default if result is MISSING else result

    return get if single else call


def _watched(observation: Observation, verb: Verb, fn: Any, manager: Any) -> Callable[..., Any]:
    batch = verb.shape is Shape.BATCH

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        found: bool | None = None
        items: list[Item] | None = None
        if batch:
            args, kwargs = _listed(args, kwargs)
            items = []
        watch = Watch(observation, verb, args, kwargs)
        try:
            with watch.running():
                if verb.kind is Kind.READ:
                    result, found = answer(observation, watch, fn, manager, args, kwargs)
                else:
                    result = fn(manager, *args, **kwargs)
                    if verb.keyed:
                        found = ephemeral_write(observation, verb, args, kwargs, result)
            if items is not None:
                items = _items_of(args[0], result)
        finally:
            watch.end(found, items)
        return result

    return call


def _awaited(observation: Observation, verb: Verb, fn: Any, manager: Any) -> Callable[..., Any]:
    batch = verb.shape is Shape.BATCH

    @wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        found: bool | None = None
        items: list[Item] | None = None
        if batch:
            args, kwargs = _listed(args, kwargs)
            items = []
        watch = Watch(observation, verb, args, kwargs)
        try:
            with watch.running():
                result = await fn(manager, *args, **kwargs)
                if verb.keyed:
                    found = ephemeral_write(observation, verb, args, kwargs, result)
            if items is not None:
                items = _items_of(args[0], result)
        finally:
            watch.end(found, items)
        return result

    return call


def _iterator(observation: Observation, verb: Verb, fn: Any, manager: Any) -> Callable[..., Any]:
    def items(watch: Watch, source: Iterator[Any]) -> Iterator[Any]:
        count = 0
        watch.begin()
        try:
            for item in source:
                count += 1
                yield item
            watch.record_listing(count)
        except GeneratorExit:  # nobody wants the rest
            raise
        except BaseException as error:
            watch.failed(error)
            raise
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
            watch.end()

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Iterator[Any]:
        watch = Watch(observation, verb, args, kwargs)
        try:
            observation.check(kwargs.get("correlation"))
            source = fn(manager, *args, **kwargs)
        except BaseException as error:  # refused before there is anything to iterate over
            watch.begin()
            watch.failed(error)
            watch.end()
            raise
        return items(watch, source)

    return call


def _context(observation: Observation, verb: Verb, fn: Any, manager: Any) -> Callable[..., Any]:
    @contextmanager
    def watched(args: Any, kwargs: Any) -> Iterator[Any]:
        watch = Watch(observation, verb, args, kwargs)
        try:
            with watch.running():
                if verb.kind is Kind.READ:
                    observation.check(kwargs.get("correlation"))
                with fn(manager, *args, **kwargs) as inner:
                    yield inner
        finally:
            watch.end()

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return watched(args, kwargs)

    return call


def _async_context(
    observation: Observation, verb: Verb, fn: Any, manager: Any
) -> Callable[..., Any]:
    @asynccontextmanager
    async def watched(args: Any, kwargs: Any) -> AsyncIterator[Any]:
        watch = Watch(observation, verb, args, kwargs)
        try:
            with watch.running():
                async with fn(manager, *args, **kwargs) as inner:
                    yield inner
        finally:
            watch.end()

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return watched(args, kwargs)

    return call


_FOUND: dict[str, Callable[[Any], bool]] = {
    "get_with_metadata": lambda result: result is not None,
    "exists": bool,
}


def ephemeral_write(
    observation: Observation, verb: Verb, args: Any, kwargs: Any, result: Any
) -> bool | None:
    """Return True if a write left an ephemeral value, which no commit tells of; None otherwise."""
    if verb.name == "set":
        return True if result == 0 else None
    return True if observation.holds_ephemeral(*verb.target(args, kwargs)) else None


def _listed(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the arguments of a batch with its items as a list: it is gone through twice."""
    for name in ("items", "requests"):
        if not args and name in kwargs:
            kwargs = dict(kwargs)
            args = (kwargs.pop(name),)
    return (list(args[0]), *args[1:]) if args else args, kwargs


def _items_of(requests: list[Any], results: list[Any]) -> list[Item]:
    """Return for each item of a batch its scope, its error's code, and whether it was found."""
    items: list[Item] = []
    for request, result in zip(requests, results, strict=True):
        pair = isinstance(request, tuple)
        # What is no request at all has an error for its result, and no scope.
        scope = (request[0] if request else None) if pair else getattr(request, "scope", None)
        if isinstance(result, StateError):
            items.append((scope, result.code, None))
        elif hasattr(request, "value"):  # a set: 0 is the revision of an ephemeral value
            items.append((scope, None, result == 0))
        else:
            items.append((scope, None, result is not None))
    return items
