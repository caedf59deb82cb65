"""What can be wrong with an agent, or the file of an exported one."""

from __future__ import annotations

from holdfast.errors import RejectedError, UsageError


class AgentNotFoundError(RejectedError):
    """There is no agent of this id.

    Attributes:
        agent: The id.
    """

    code = "agent_not_found"
    default_hint = "create it first; agents.list() tells which there are"
    agent: str | None = None


class AgentExistsError(RejectedError):
    """There is an agent of this id.

    Attributes:
        agent: The id.
    """

    code = "agent_exists"
    default_hint = "choose another id, or delete it first"
    agent: str | None = None


class AgentMovedOnError(RejectedError):
    """Somebody else has saved or appended since this state was loaded; nothing was written.

    Attributes:
        agent: The id.
    """

    code = "agent_moved_on"
    default_hint = "load it again and repeat the change, or make it in update_agent_state"
    agent: str | None = None


class AgentFileError(UsageError):
    """This is no file of an exported agent."""

    code = "agent_file"
