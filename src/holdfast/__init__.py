"""Holdfast: the durable state layer for AI agents, workflows and sessions.

import holdfast
from holdfast import StateScope

state = holdfast.open("state.db")
state.set(StateScope.agent("researcher-7"), "profile", {"name": "Ada"})
"""

import logging
from typing import TYPE_CHECKING, Any

from holdfast.config import EngineURL
from holdfast.correlation import CorrelationContext, carried, correlate
from holdfast.engines.base import Durability
from holdfast.errors import (
    ConflictError,
    CorruptionError,
    DegradedError,
    DivergedError,
    EngineError,
    HorizonError,
    LeaseLostError,
    OutcomeUnknownError,
    RejectedError,
    StateError,
    UsageError,
)
from holdfast.events import EventReader, Events
from holdfast.failover import (
    KEEP_THEIRS,
    Conflict,
    FailoverReport,
    FailoverSettings,
    FailoverStatus,
    Provisional,
)
from holdfast.hooks import HookEvent, Hooks
from holdfast.manager import StateManager
from holdfast.observe import Analysis, Metrics, ObserveSettings, ScopeStats
from holdfast.opening import open, repair
from holdfast.reading import StateReader
from holdfast.store.compact import CompactReport
from holdfast.store.inspection import Inspection
from holdfast.store.kernel import StoreSettings
from holdfast.store.options import WriteOptions
from holdfast.store.policy import ScopePolicy
from holdfast.store.position import Position
from holdfast.store.repair import RepairReport
from holdfast.store.retention import HistoryPolicy
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.store.status import ComponentHealth, Health
from holdfast.store.transfer import CopyReport
from holdfast.store.value import (
    Change,
    Difference,
    GetRequest,
    Operation,
    SetOperation,
    StateClass,
    StateEvent,
    StateMetadata,
    StateValue,
)
from holdfast.store.verify import Problem
from holdfast.streams.batch import Batch
from holdfast.streams.consumer import Consumer
from holdfast.streams.consumers import Consumers, ConsumerStatus, DeadLetter
from holdfast.streams.retry import Retry
from holdfast.streams.watch import Watch
from holdfast.timeline import CausalityGraph, Timeline, TimelineEntry, TimelineStep
from holdfast.transaction import Snapshot, StateTransaction
from holdfast.views import ScopeView

if TYPE_CHECKING:
    from holdfast.aio import AsyncStateManager, AsyncStateReader, open_async

__version__ = "0.1.0"

# A library's logs go where the application sends them, and not to its standard error unasked.
logging.getLogger("holdfast").addHandler(logging.NullHandler())

__all__ = [
    "KEEP_THEIRS",
    "Analysis",
    "AsyncStateManager",
    "AsyncStateReader",
    "Batch",
    "CausalityGraph",
    "Change",
    "CompactReport",
    "ComponentHealth",
    "Conflict",
    "ConflictError",
    "Consumer",
    "ConsumerStatus",
    "Consumers",
    "CopyReport",
    "CorrelationContext",
    "CorruptionError",
    "DeadLetter",
    "DegradedError",
    "Difference",
    "DivergedError",
    "Durability",
    "EngineError",
    "EngineURL",
    "EventReader",
    "Events",
    "FailoverReport",
    "FailoverSettings",
    "FailoverStatus",
    "GetRequest",
    "Health",
    "HistoryPolicy",
    "HookEvent",
    "Hooks",
    "HorizonError",
    "Inspection",
    "LeaseLostError",
    "Metrics",
    "ObserveSettings",
    "Operation",
    "OutcomeUnknownError",
    "Position",
    "Problem",
    "Provisional",
    "RejectedError",
    "RepairReport",
    "Retry",
    "ScopeKind",
    "ScopePolicy",
    "ScopeStats",
    "ScopeView",
    "SetOperation",
    "Snapshot",
    "StateClass",
    "StateError",
    "StateEvent",
    "StateManager",
    "StateMetadata",
    "StateReader",
    "StateScope",
    "StateTransaction",
    "StateValue",
    "StoreSettings",
    "Timeline",
    "TimelineEntry",
    "TimelineStep",
    "UsageError",
    "Watch",
    "WriteOptions",
    "carried",
    "correlate",
    "open",
    "open_async",
    "repair",
]


def __getattr__(name: str) -> Any:
    # asyncio takes a fifth of the import; who needs it asks for it.
    if name in ("AsyncStateManager", "AsyncStateReader", "open_async"):
        from holdfast import aio

        return getattr(aio, name)
    raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
