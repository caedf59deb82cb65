"""Holdfast: the durable state layer for AI agents, workflows and sessions.

In short:

    import holdfast
    from holdfast import StateScope

    state = holdfast.open("state.db")
    state.set(StateScope.agent("researcher-7"), "profile", {"name": "Ada"})
"""

from holdfast.aio import AsyncStateManager, open_async
from holdfast.config import EngineURL
from holdfast.engines.base import Durability
from holdfast.errors import (
    ConflictError,
    CorruptionError,
    EngineError,
    HorizonError,
    OutcomeUnknownError,
    RejectedError,
    StateError,
    UsageError,
)
from holdfast.manager import StateManager
from holdfast.opening import open, repair
from holdfast.store.kernel import StoreSettings
from holdfast.store.policy import ScopePolicy
from holdfast.store.retention import HistoryPolicy
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.store.value import (
    Change,
    Difference,
    GetRequest,
    Operation,
    SetOperation,
    StateClass,
    StateMetadata,
    StateValue,
)
from holdfast.transaction import Snapshot, StateTransaction

__version__ = "0.1.0"

__all__ = [
    "AsyncStateManager",
    "Change",
    "ConflictError",
    "CorruptionError",
    "Difference",
    "Durability",
    "EngineError",
    "EngineURL",
    "GetRequest",
    "HistoryPolicy",
    "HorizonError",
    "Operation",
    "OutcomeUnknownError",
    "RejectedError",
    "ScopeKind",
    "ScopePolicy",
    "SetOperation",
    "Snapshot",
    "StateClass",
    "StateError",
    "StateManager",
    "StateMetadata",
    "StateScope",
    "StateTransaction",
    "StateValue",
    "StoreSettings",
    "UsageError",
    "open",
    "open_async",
    "repair",
]
