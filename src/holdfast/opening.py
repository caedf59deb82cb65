"""Opening stores: from a URL, path or typed settings to a `StateManager`.

Engines are found by scheme: the built-in ones by name, others through the entry-point group
``holdfast.engines`` (a callable like `open_engine`). Nothing stored names what is imported.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any

from holdfast.clock import Clock
from holdfast.config import EngineURL, load_environment, parse_url, settings_from
from holdfast.engines.base import Engine
from holdfast.engines.memory import MemoryEngine
from holdfast.errors import ConfigurationError
from holdfast.manager import StateManager
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.store.policy import ScopePolicy

_BUILT_IN = {
    "sqlite": "holdfast.engines.sqlite",
    "rocksdb": "holdfast.engines.rocksdb",
}
_STORE_FIELDS = {field.name for field in dataclasses.fields(StoreSettings)}

OpenEngine = Callable[..., Engine]


def open(  # noqa: A001 - holdfast.open reads as one says it
    target: str | os.PathLike[str] | Any | None = None,
    *,
    tenant: str = "",
    policies: Sequence[ScopePolicy] = (),
    read_only: bool = False,
    clock: Clock | None = None,
    config: str | os.PathLike[str] | None = None,
    **options: Any,
) -> StateManager:
    """Open a store, making it if the path does not exist.

    Args:
        target: A path (an SQLite file), a URL (``memory:``, ``sqlite:state.db``,
            ``rocksdb:./dir?cache_capacity=500MB``), or an engine's typed settings. None takes
            ``HOLDFAST_URL`` or the ``url`` of the TOML file that `config` or ``HOLDFAST_CONFIG``
            names.
        tenant: See this tenant's state only.
        policies: Class and durability by scope.
        read_only: Refuse writes; works beside a writer.
        clock: Source of time; the system's by default.
        config: A TOML file with further options.
        **options: Fields of `StoreSettings`, and options of the engine.

    Raises:
        ConfigurationError: Unknown scheme or option, or a value that cannot be.
        NotAStoreError, FormatVersionError: The path holds something else; it was not touched.
        MissingExtraError: The engine needs a package that is not installed.
    """
    if target is None or config is not None:
        found = load_environment(path=config)
        target = found.pop("url", None) if target is None else target
        found.pop("url", None)
        options = found | options
        if target is None:
            raise ConfigurationError(
                "no store named", hint="pass a path or URL, or set HOLDFAST_URL"
            )
    store_values = {name: options.pop(name) for name in list(options) if name in _STORE_FIELDS}
    if isinstance(target, str | os.PathLike):
        url = parse_url(target)
        mixed = dict(url.params)
        store_values = {n: mixed.pop(n) for n in list(mixed) if n in _STORE_FIELDS} | store_values
        mixed |= options
        read_only = _truth(mixed.pop("read_only", read_only))
        url = EngineURL(url.scheme, url.location, mixed)
        engine_settings: Any = None
        engine = find_engine(url.scheme)(url, read_only=read_only, clock=clock)
    else:
        if options:
            raise ConfigurationError(
                f"options {', '.join(options)} belong into the settings object"
            )
        engine_settings = target
        engine = _open_settings(engine_settings, read_only, clock)
    try:
        store_values.setdefault("compression", getattr(engine, "use_compression", None))
        settings = settings_from(
            StoreSettings, store_values | {"read_only": read_only}, what="store"
        )
        return StateManager(Kernel(engine, settings, clock), tenant=tenant, policies=policies)
    except BaseException:
        engine.close()
        raise


def _truth(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes", "on")


def find_engine(scheme: str) -> OpenEngine:
    """Return the callable that opens engines of `scheme`.

    Raises:
        ConfigurationError: Nothing installed serves it.
    """
    if scheme == "memory":
        return _open_memory
    if scheme in _BUILT_IN:
        opener: OpenEngine = importlib.import_module(_BUILT_IN[scheme]).open_engine
        return opener
    for entry in entry_points(group="holdfast.engines", name=scheme):
        loaded: OpenEngine = entry.load()
        return loaded
    known = sorted({"memory", *_BUILT_IN, *(e.name for e in entry_points(group="holdfast.engines"))})
    raise ConfigurationError(
        f"no engine serves {scheme}: URLs", hint=f"there is {', '.join(known)}; or give a path"
    )


def _open_memory(url: EngineURL, *, read_only: bool = False, clock: Clock | None = None) -> Engine:
    if url.location or url.params:
        raise ConfigurationError("memory: takes no location and no options")
    return MemoryEngine()


def _open_settings(settings: Any, read_only: bool, clock: Clock | None) -> Engine:
    """Open an engine from its own settings dataclass, found by the module that defines it."""
    for name in _BUILT_IN.values():
        if type(settings).__module__.startswith(name):
            module = importlib.import_module(name)
            engine: Engine = module.open_settings(settings, read_only=read_only, clock=clock)
            return engine
    opener = getattr(settings, "open_engine", None)
    if opener is None:
        raise ConfigurationError(
            f"a {type(settings).__name__} is neither a path, a URL nor settings of an engine"
        )
    made: Engine = opener(read_only=read_only, clock=clock)
    return made
