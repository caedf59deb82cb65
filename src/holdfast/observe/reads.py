"""Reads that are watched: what they find, and the event of one that policy records.

An event says which key was read, at which revision, and whether it was there; never its value. To
know the revision that a value had, a recorded `get` reads the metadata along with it.
"""

from __future__ import annotations

from typing import Any

from holdfast.observe.observation import Observation
from holdfast.observe.telling import raw
from holdfast.observe.verbs import scope_of
from holdfast.observe.watch import Watch
from holdfast.store.typed import as_type
from holdfast.store.value import MISSING, GetRequest, StateValue

_SINGLE = ("get", "get_with_metadata", "exists")


def answer(
    observation: Observation, watch: Watch, fn: Any, manager: Any, args: Any, kwargs: Any
) -> tuple[Any, bool | None]:
    """Do a read; return its result, and of one key whether it was there."""
    observation.check(kwargs.get("correlation"))
    name = watch.verb.name
    if name in _SINGLE:
        if watch.recorded:
            return _recorded(watch, manager, args, kwargs)
        if name == "get":
            kwargs, default = without_default(args, kwargs)
            result = fn(manager, *args[:2], *args[3:], default=MISSING, **kwargs)
            return (default, False) if result is MISSING else (result, True)
        result = fn(manager, *args, **kwargs)
        return result, result is not None and result is not False
    if name == "get_batch" and observation.reads_recorded and watch.correlation is not None:
        return _recorded_batch(observation, watch, manager, args[0]), None
    result = fn(manager, *args, **kwargs)
    if watch.recorded:
        watch.record_listing(_count(result))
    return result, None


def _count(result: Any) -> int:
    """Return how many things a read found: of what is no list and no number, one or none."""
    if isinstance(result, list):
        return len(result)
    return int(result) if isinstance(result, int) else int(result is not None)


def without_default(args: Any, kwargs: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return the keywords of a `get` without its default, and that."""
    if len(args) > 2:
        return kwargs, args[2]
    kwargs = dict(kwargs)
    return kwargs, kwargs.pop("default", None)


def _recorded(watch: Watch, manager: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, bool]:
    find = raw(type(manager), "get_with_metadata")
    assert find is not None
    name = watch.verb.name
    if name == "get_with_metadata":
        found = find(manager, *args, **kwargs)
    else:
        kwargs, default = without_default(args, kwargs)
        kind = kwargs.pop("type", None)
        found = find(manager, *args[:2], *args[3:], **kwargs)
    watch.record_read([_fields(watch.scope, watch.key, found)])
    if name == "get_with_metadata":
        return found, found is not None
    if name == "exists":
        return found is not None, found is not None
    if found is None:
        return default, False
    place = f"{watch.scope}/{watch.key}"
    return (found.value if kind is None else as_type(found.value, kind, place)), True


def _recorded_batch(
    observation: Observation, watch: Watch, manager: Any, requests: list[Any]
) -> list[Any]:
    results = manager._listing.get_many(requests)
    events = []
    for request, found in zip(requests, results, strict=True):
        pair = (request.scope, request.key) if isinstance(request, GetRequest) else request
        scope = scope_of(pair[0])
        if observation.records_reads(scope) and not isinstance(found, Exception):
            events.append(_fields(scope, pair[1], found))
    if events:
        watch.record_read(events)
    return [found.value if isinstance(found, StateValue) else found for found in results]


def _fields(scope: Any, key: Any, found: StateValue | None) -> tuple[Any, Any]:
    revision = None if found is None else found.metadata.revision
    return scope, {"key": key, "revision": revision, "hit": found is not None}
