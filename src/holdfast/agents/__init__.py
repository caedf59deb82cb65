"""Agents that outlive their process: a document, a conversation that grows, statistics of tools.

`AgentManager` is the entry. See ``docs/how-to/agents.md``.
"""

from holdfast.agents.awaited import AsyncAgentManager
from holdfast.agents.conversation import whole_tail
from holdfast.agents.errors import (
    AgentExistsError,
    AgentFileError,
    AgentMovedOnError,
    AgentNotFoundError,
)
from holdfast.agents.manager import AgentManager, estimated_tokens
from holdfast.agents.model import (
    AgentConfiguration,
    AgentInfo,
    AgentMetadata,
    ExecutionState,
    Message,
    MessageRole,
    PersistentAgentState,
    ToolPerformance,
)

__all__ = [
    "AgentConfiguration",
    "AgentExistsError",
    "AgentFileError",
    "AgentInfo",
    "AgentManager",
    "AgentMetadata",
    "AgentMovedOnError",
    "AgentNotFoundError",
    "AsyncAgentManager",
    "ExecutionState",
    "Message",
    "MessageRole",
    "PersistentAgentState",
    "ToolPerformance",
    "estimated_tokens",
    "whole_tail",
]
