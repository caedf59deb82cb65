"""What is stored of an agent, in its scope ``agent:ID``.

``agent`` holds one document (`AgentRecord`), ``log`` where the conversation begins and ends
(`LogRecord`), ``message/NUMBER`` one message each, ``tool/NAME`` a tool's statistics. A turn writes
its own messages and the small ``log``: what it costs does not grow with the conversation.
Other keys of the scope are the user's.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, Final

import msgspec

from holdfast.store.scope import StateScope

AGENT: Final = "agent"
LOG: Final = "log"
MESSAGE: Final = "message/"
TOOL: Final = "tool/"
OWN: Final = (MESSAGE, TOOL)


class MessageRole(enum.StrEnum):
    """The roles that have a meaning here; a message may have any other, and keeps it."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Message(msgspec.Struct, omit_defaults=True):
    """One message of a conversation.

    Attributes:
        role: A `MessageRole`, or any other text.
        content: Any value that can be stored.
        timestamp: When; given at the append where it is None.
        metadata: The caller's.
        tool_calls: Ids of the tool calls that it makes.
        tool_call_id: Id of the call that it answers.
        name: Of who speaks, or of the tool.
    """

    role: str
    content: Any = None
    timestamp: datetime | None = None
    metadata: dict[str, Any] = {}
    tool_calls: list[str] = []
    tool_call_id: str | None = None
    name: str | None = None


class AgentConfiguration(msgspec.Struct, omit_defaults=True):
    """How an agent is set up; what only its program understands goes into `parameters`."""

    model: str | None = None
    system_prompt: str | None = None
    tools: list[str] = []
    parameters: dict[str, Any] = {}


class ExecutionState(msgspec.Struct, omit_defaults=True):
    """What an agent is at."""

    current_task: str | None = None
    pending_operations: list[str] = []
    error_count: int = 0
    last_activity: datetime | None = None


class AgentMetadata(msgspec.Struct, omit_defaults=True):
    """What an agent is called and where it comes from."""

    name: str | None = None
    description: str | None = None
    tags: list[str] = []
    forked_from: str | None = None
    extra: dict[str, Any] = {}


class ToolPerformance(msgspec.Struct):
    """What came of a tool's calls."""

    calls: int = 0
    failures: int = 0
    total_seconds: float = 0.0
    longest_seconds: float = 0.0

    @property
    def success_rate(self) -> float | None:
        """The part of the calls that did not fail; None before the first."""
        return None if not self.calls else (self.calls - self.failures) / self.calls


class PersistentAgentState(msgspec.Struct):
    """An agent as a program holds it.

    Attributes:
        agent_id: Its id.
        configuration, execution_state, metadata, data: The document; `data` is the program's.
        conversation_history: The messages that were loaded, and those that are new since.
        schema_version: Of the document, the program's.
        first: Number of the first message of `conversation_history`.
        saved: How many messages of it are stored.
        last: The last of it that is stored; what stands behind it is new.
        generation: How often the document that was loaded had been saved.
        summary: What stands for messages that were trimmed.
    """

    agent_id: str
    configuration: AgentConfiguration = msgspec.field(default_factory=AgentConfiguration)
    execution_state: ExecutionState = msgspec.field(default_factory=ExecutionState)
    metadata: AgentMetadata = msgspec.field(default_factory=AgentMetadata)
    data: dict[str, Any] = {}
    conversation_history: list[Message] = []
    schema_version: int = 1
    first: int = 0
    saved: int = 0
    generation: int = 0
    summary: Message | None = None
    last: Message | None = None


class AgentRecord(msgspec.Struct, omit_defaults=True):
    """The document as stored."""

    configuration: AgentConfiguration
    execution_state: ExecutionState
    metadata: AgentMetadata
    data: dict[str, Any]
    schema_version: int
    saved_at: datetime
    trigger: str
    generation: int = 0


class LogRecord(msgspec.Struct, omit_defaults=True):
    """Where the conversation is: messages `first` to ``length - 1``.

    Rows from `floor` to `first` are trimmed, and may not have been deleted yet. While an agent is
    being built or deleted, `builder` names who does it, and there is no document.
    """

    first: int = 0
    length: int = 0
    floor: int = 0
    summary: Message | None = None
    builder: str | None = None


class AgentInfo(msgspec.Struct, frozen=True):
    """An agent in a list."""

    id: str
    name: str | None
    messages: int
    trigger: str
    saved_at: datetime
    created_at: datetime


def scope_of(id: str) -> StateScope:
    """Return an agent's scope."""
    return StateScope.agent(id)


def message_key(number: int) -> str:
    """Return the key of a message."""
    return f"{MESSAGE}{number:012d}"
