"""Finding and opening engines: by URL scheme, by path, or by typed settings.

Built-in engines are imported when first used; others come through the entry-point group
``holdfast.engines``, whose entries are callables like ``holdfast.engines.sqlite.open_engine``:
they take a parsed URL, or the engine's settings, a dataclass with the class attribute ``scheme``.
Nothing that is stored names what is imported.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from holdfast.clock import Clock
from holdfast.config import EngineURL, parse_url
from holdfast.engines.base import Engine
from holdfast.engines.memory import MemoryEngine
from holdfast.errors import ConfigurationError, InvalidArgumentError, NotAStoreError

_GROUP = "holdfast.engines"
_BUILT_IN = {
    "sqlite": "holdfast.engines.sqlite",
    "rocksdb": "holdfast.engines.rocksdb",
}

_SERVERS = {  # these know themselves whether there is a store
    "postgresql": "holdfast.engines.postgres",
    "postgres": "holdfast.engines.postgres",
}

OpenEngine = Callable[..., Engine]


def open_engine(
    target: EngineURL | Any,
    *,
    read_only: bool = False,
    create: bool = True,
    clock: Clock | None = None,
) -> Engine:
    """Open the engine that `target` names.

    Args:
        target: A parsed URL, or an engine's settings object.
        read_only: Open for reading.
        create: Make what does not exist yet.
        clock: Source of time for the engine's background work.

    Raises:
        ConfigurationError: Nothing serves the scheme, or an option is unknown.
        NotAStoreError: There is nothing, and `create` is false.
    """
    scheme = getattr(target, "scheme", None)
    if not isinstance(scheme, str):
        raise ConfigurationError(
            f"a {type(target).__name__} is neither a path, a URL nor settings of an engine"
        )
    if scheme in _SERVERS:
        return _find(scheme)(target, read_only=read_only, create=create, clock=clock)
    place = target.location if isinstance(target, EngineURL) else getattr(target, "path", "")
    if not create and scheme in _BUILT_IN and not os.path.exists(place):
        raise NotAStoreError(f"there is no store at {os.fspath(place)}")
    return _find(scheme)(target, read_only=read_only, clock=clock)


def new_engine(target: str | os.PathLike[str]) -> Engine:
    """Open an engine for a store that does not exist yet.

    Raises:
        InvalidArgumentError: Something is there already.
        ConfigurationError: As `open_engine`.
    """
    url = parse_url(target)
    if url.scheme in _BUILT_IN and os.path.exists(url.location):
        raise InvalidArgumentError(
            f"{url.location} exists already", hint="name a path that does not exist yet"
        )
    if url.scheme in _SERVERS:
        return _find(url.scheme)(url, new=True)
    return open_engine(url)


def _find(scheme: str) -> OpenEngine:
    if scheme == "memory":
        return _open_memory
    module = _BUILT_IN.get(scheme) or _SERVERS.get(scheme)
    if module is not None:
        opener: OpenEngine = importlib.import_module(module).open_engine
        return opener
    found = entry_points(group=_GROUP)
    for entry in found.select(name=scheme):
        loaded: OpenEngine = entry.load()
        return loaded
    known = sorted({"memory", *_BUILT_IN, *_SERVERS, *found.names})
    raise ConfigurationError(
        f"no engine serves {scheme}: URLs", hint=f"there is {', '.join(known)}; or give a path"
    )


def _open_memory(url: EngineURL, **_: object) -> Engine:
    if url.location or url.params:
        raise ConfigurationError("memory: takes no location and no options")
    return MemoryEngine()
