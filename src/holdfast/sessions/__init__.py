"""Sessions: metadata, an expiry, a life, and artifacts that are stored once per owner.

from holdfast.sessions import Sessions

sessions = Sessions(state)
sessions.start("s1", owner="ada", expires_in=3600)
sessions.put("s1", "report.pdf", open("report.pdf", "rb"))
"""

from typing import TYPE_CHECKING, Any

from holdfast.sessions.errors import (
    ArtifactDamagedError,
    ArtifactNotFoundError,
    SessionExistsError,
    SessionFileError,
    SessionNotFoundError,
    SessionStatusError,
)
from holdfast.sessions.model import Artifact, SessionInfo
from holdfast.sessions.sessions import Sessions

if TYPE_CHECKING:
    from holdfast.sessions.awaited import AsyncSessions

__all__ = [
    "Artifact",
    "ArtifactDamagedError",
    "ArtifactNotFoundError",
    "AsyncSessions",
    "SessionExistsError",
    "SessionFileError",
    "SessionInfo",
    "SessionNotFoundError",
    "SessionStatusError",
    "Sessions",
]


def __getattr__(name: str) -> Any:
    # asyncio takes a fifth of the import; who needs it asks for it.
    if name == "AsyncSessions":
        from holdfast.sessions.awaited import AsyncSessions

        return AsyncSessions
    raise AttributeError(f"module 'holdfast.sessions' has no attribute {name!r}")
