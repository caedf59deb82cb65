"""What a store says of itself: facts for `info()`, component by component for `health()`."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import Any

import msgspec
import zstandard

from holdfast.clock import from_ns
from holdfast.errors import StateError
from holdfast.keys import after
from holdfast.store import layout
from holdfast.store.journal import journal_horizon, read_heads
from holdfast.store.kernel import Kernel

_DISK_LOW = 64 * 1024 * 1024
_QUEUE_LONG = 10_000
_ORDER = ("ok", "degraded", "failed")


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """One component: ``"ok"``, ``"degraded"`` or ``"failed"``, and its figures."""

    status: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """The store's health: the worst status of its components."""

    status: str
    components: dict[str, ComponentHealth]

    def having(self, name: str, component: ComponentHealth) -> Health:
        """Return the health with one more component."""
        worst = max(self.status, component.status, key=_ORDER.index)
        return Health(worst, {**self.components, name: component})


def info(kernel: Kernel) -> dict[str, Any]:
    """Return facts about the store, all of them JSON types. Sizes in bytes."""
    with kernel.engine.read() as view:
        heads = read_heads(view, kernel.partitions.all)
        horizon = max(journal_horizon(view, p)[0] for p in kernel.partitions.all)
        scopes = len(view.scan(layout.SCOPES, after(layout.SCOPES), keys_only=True))
    head = max(heads)
    stats = dict(kernel.engine.stats())
    traits = kernel.engine.traits
    return {
        "engine": traits.name,
        "path": stats.pop("path", None),
        "format": kernel.info.format,
        "lineage": kernel.info.lineage.hex(),
        "created_at": from_ns(kernel.info.created_ns).isoformat(),
        "revision": head.revision,
        "updated_at": from_ns(head.time_ns).isoformat() if head.revision else None,
        "records": sum(each.records for each in heads),
        "scopes": scopes,
        "horizon": horizon,
        "partitions": kernel.info.partitions,
        "keyed": kernel.info.keyed,
        "compression": kernel.payloads.compress,
        "dictionary": kernel.info.dictionary,
        "ephemeral": len(kernel.ephemeral.entries),
        "persistent": traits.persistent,
        "shared": traits.shared,
        "max_key_bytes": kernel.key_limit,
        "storage": stats,
        "lane": lane_figures(kernel),
        "cache": None if kernel.cache is None else kernel.cache.figures(),
        "libraries": {
            "python": platform.python_version(),
            "msgspec": msgspec.__version__,
            "zstandard": zstandard.__version__,
        },
    }


def lane_figures(kernel: Kernel) -> dict[str, Any]:
    """Return how the commit lane has been used by this process."""
    lane = kernel.lane
    return {
        "groups": lane.groups,
        "intents": lane.items,
        "largest_group": lane.largest,
        "queued": lane.depth(),
    }


def health(kernel: Kernel) -> Health:
    """Return the health of each component. It reads, and never writes."""
    components = {
        "engine": _engine(kernel),
        "lane": _lane(kernel),
        "disk": _disk(kernel),
        "wal": _wal(kernel),
        "sweeper": _sweeper(kernel),
        "ephemeral": ComponentHealth("ok", {"entries": len(kernel.ephemeral.entries)}),
    }
    worst = max((c.status for c in components.values()), key=_ORDER.index)
    return Health(worst, components)


def _engine(kernel: Kernel) -> ComponentHealth:
    try:
        revision = kernel.head_revision()
    except StateError as error:
        return ComponentHealth("failed", {"code": error.code})
    last = kernel.committer.degraded
    detail: dict[str, Any] = {"name": kernel.engine.traits.name, "revision": revision}
    if last is not None:
        detail["last_write"] = last
        return ComponentHealth("failed" if last != "disk_full" else "degraded", detail)
    return ComponentHealth("ok", detail)


def _lane(kernel: Kernel) -> ComponentHealth:
    figures = lane_figures(kernel)
    return ComponentHealth("degraded" if figures["queued"] > _QUEUE_LONG else "ok", figures)


def _disk(kernel: Kernel) -> ComponentHealth:
    stats = kernel.engine.stats()
    detail = {name: stats[name] for name in ("disk_bytes", "free_bytes") if name in stats}
    full = kernel.committer.degraded == "disk_full"
    low = "free_bytes" in detail and int(detail["free_bytes"]) < _DISK_LOW
    return ComponentHealth("degraded" if full or low else "ok", detail)


def _wal(kernel: Kernel) -> ComponentHealth:
    stats = kernel.engine.stats()
    detail = {name: stats[name] for name in ("wal_bytes", "wal_limit") if name in stats}
    size, limit = int(detail.get("wal_bytes", 0)), int(detail.get("wal_limit", 0))
    return ComponentHealth("degraded" if limit and size > 2 * limit else "ok", detail)


def _sweeper(kernel: Kernel) -> ComponentHealth:
    sweeper = kernel.sweeper
    upcoming = kernel.next_expiry()
    detail: dict[str, Any] = {
        "swept": sweeper.swept,
        "next_expiry": None if upcoming is None else from_ns(upcoming).isoformat(),
    }
    if sweeper.last_error is not None:
        detail["code"] = sweeper.last_error
        return ComponentHealth("degraded", detail)
    return ComponentHealth("ok", detail)
