"""Opening stores: from a URL, path or typed settings to a `StateManager`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from holdfast.clock import Clock, SystemClock
from holdfast.config import EngineURL, load_environment, parse_url, settings_from
from holdfast.engines.base import Engine
from holdfast.engines.registry import new_engine, open_engine
from holdfast.errors import ConfigurationError
from holdfast.failover.kernel import FailoverKernel
from holdfast.failover.settings import REMOTE_TIMEOUT, FailoverSettings
from holdfast.manager import StateManager
from holdfast.observe.settings import ObserveSettings
from holdfast.store.kernel import Kernel, StoreSettings
from holdfast.store.policy import ScopePolicy
from holdfast.store.repair import RepairReport, repair_store

_STORE_FIELDS = {field.name for field in dataclasses.fields(StoreSettings)}
_OBSERVED = {field.name for field in dataclasses.fields(ObserveSettings)}


def open(  # noqa: A001 - holdfast.open reads as one says it
    target: str | os.PathLike[str] | Any | None = None,
    *,
    tenant: str = "",
    policies: Sequence[ScopePolicy] = (),
    read_only: bool = False,
    clock: Clock | None = None,
    config: str | os.PathLike[str] | None = None,
    failover: FailoverSettings | None = None,
    hooks: Sequence[str | Callable[[Any], Any]] = (),
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
        failover: Go on with a local spill while the store is away. The URL form is
            ``failover:?primary=…&spill=…``, both percent-encoded.
        hooks: Load these hooks; see `Hooks.load`.
        **options: Fields of `StoreSettings`, of `ObserveSettings` (``metrics=True``), and options
            of the engine.

    Raises:
        ConfigurationError: Unknown scheme or option, or a value that cannot be.
        NotAStoreError, FormatVersionError: The path holds something else; it was not touched.
        MissingExtraError: The engine needs a package that is not installed.
    """
    if target is None or config is not None:
        found = load_environment(path=config)
        target = found.pop("url", None) if target is None else target
        found.pop("url", None)
        tenant = tenant or str(found.pop("tenant", ""))
        options = found | options
        if target is None:
            raise ConfigurationError(
                "no store named", hint="pass a path or URL, or set HOLDFAST_URL"
            )
    values: dict[str, Any] = {"read_only": read_only}
    if isinstance(target, str | os.PathLike):
        # What a URL says of the store, not of its engine, is the store's; keywords win.
        url = parse_url(target)
        if url.scheme == "failover":
            url, failover = failover_url(url, failover)
        options = {**url.params, **options}
        watched = {name: options.pop(name) for name in list(options) if name in _OBSERVED}
        values |= {name: options.pop(name) for name in list(options) if name in _STORE_FIELDS}
        target = EngineURL(url.scheme, url.location, options)
    else:
        watched = {name: options.pop(name) for name in list(options) if name in _OBSERVED}
        values |= {name: options.pop(name) for name in list(options) if name in _STORE_FIELDS}
        if options:
            raise ConfigurationError(f"{', '.join(options)}: put these into the settings object")
    settings = settings_from(StoreSettings, values, what="store")
    observe = settings_from(ObserveSettings, watched, what="observe")
    if failover is None or read_only:  # a spill is its writer's; who only reads needs none
        kernel = open_kernel(target, settings, clock)
    else:
        kernel = open_with_failover(target, settings, failover, clock)
    try:
        state = StateManager(kernel, tenant=tenant, policies=policies, observe=observe)
        for hook in hooks:
            state.hooks.load(hook)
    except BaseException:  # a bad policy, a missing package or hook: nothing stays open
        kernel.close()
        raise
    return state


def open_kernel(
    target: EngineURL | Any, settings: StoreSettings, clock: Clock | None = None
) -> Kernel:
    """Open engine and kernel; whatever fails, nothing stays open."""
    engine = open_engine(target, read_only=settings.read_only, create=settings.create, clock=clock)
    try:
        if settings.use_compression is None:
            settings = dataclasses.replace(settings, use_compression=engine.traits.compress)
        return Kernel(engine, settings, clock)
    except BaseException:
        engine.close()
        raise


def failover_url(
    url: EngineURL, given: FailoverSettings | None
) -> tuple[EngineURL, FailoverSettings]:
    """Split ``failover:?primary=URL&spill=PATH&…`` into the primary's URL and the settings.

    Raises:
        ConfigurationError: It names no primary or no spill, or an option is unknown.
    """
    params = dict(url.params)
    primary = params.pop("primary", "")
    if given is not None or url.location or not primary or "spill" not in params:
        raise ConfigurationError(
            "a failover URL needs a primary and a spill, and nothing in front of them",
            hint="write failover:?primary=URL&spill=PATH, both percent-encoded",
        )
    inner = parse_url(primary)
    if inner.scheme == "failover":
        raise ConfigurationError("a primary cannot have a failover of its own")
    return inner, settings_from(FailoverSettings, params, what="failover")


def open_with_failover(
    target: EngineURL | Any,
    settings: StoreSettings,
    failover: FailoverSettings,
    clock: Clock | None = None,
) -> Kernel:
    """Open a primary and its spill."""
    primary = impatient(target)

    def open_primary(create: bool) -> Engine:
        return open_engine(primary, create=create, clock=clock)

    return FailoverKernel(open_primary, settings, failover, clock or SystemClock())


def impatient(target: EngineURL | Any) -> EngineURL | Any:
    """Return a server's URL or settings with a short time-out, where they name none.

    Nobody waits for a server that is silent much longer than it takes to go elsewhere.
    """
    if isinstance(target, EngineURL):
        if not target.is_server:
            return target
        params = {"timeout": str(REMOTE_TIMEOUT), **target.params}
        return dataclasses.replace(target, params=params)
    for each in dataclasses.fields(target) if dataclasses.is_dataclass(target) else ():
        if each.name == "timeout" and getattr(target, each.name) == each.default:
            return dataclasses.replace(target, timeout=REMOTE_TIMEOUT)
    return target


def repair(
    source: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    chain_key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> RepairReport:
    """Salvage all that is sound of a damaged store into a new one, and name what is lost.

    Args:
        source: Path or URL; it is only read, and need not open as a store. Nobody may write to
            it meanwhile.
        into: Path or URL of the new store; it must not exist yet.
        chain_key: Key of the journal's chain, if it has one.
        progress: Called with the number of rows read so far.

    Raises:
        NotAStoreError: There is nothing that an engine can read.
        InvalidArgumentError: `into` exists.
    """
    engine = open_engine(parse_url(source), read_only=True, create=False)
    with closing(engine), closing(new_engine(into)) as target:
        return repair_store(engine, target, SystemClock(), chain_key, progress)
