"""What can be wrong with a session, an artifact, or the file of an exported session."""

from __future__ import annotations

from holdfast.errors import CorruptionError, RejectedError, UsageError


class SessionNotFoundError(RejectedError):
    """There is no session of this id, or it has expired.

    Attributes:
        session: The id.
    """

    code = "session_not_found"
    default_hint = "start it first; sessions.list() tells which there are"
    session: str | None = None


class SessionExistsError(RejectedError):
    """There is a session of this id, or what is left of one."""

    code = "session_exists"
    default_hint = "choose another id, or delete it first"
    session: str | None = None


class SessionStatusError(RejectedError):
    """The session's status does not allow this.

    Attributes:
        session: The id.
        status: The one that it has.
    """

    code = "session_status"
    session: str | None = None
    status: str | None = None


class ArtifactNotFoundError(RejectedError):
    """The session has no artifact of this name.

    Attributes:
        session, artifact: The session's id, and the name.
    """

    code = "artifact_not_found"
    default_hint = "sessions.artifacts(id) tells which there are"
    session: str | None = None
    artifact: str | None = None


class ArtifactDamagedError(CorruptionError):
    """What is stored of an artifact is not what was put in."""

    code = "artifact_damaged"
    default_hint = "what was read so far does not count; put the artifact in again"
    session: str | None = None
    artifact: str | None = None


class SessionFileError(UsageError):
    """A file is no exported session, or not a whole one; nothing was imported."""

    code = "session_file"
    default_hint = "give a file that a session export wrote"
