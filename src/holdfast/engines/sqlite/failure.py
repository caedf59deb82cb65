"""SQLite's error codes as Holdfast's errors: the one place where apsw's exceptions are named."""

from __future__ import annotations

import apsw

from holdfast.errors import (
    BusyError,
    ClosedError,
    CorruptionError,
    DiskFullError,
    EngineError,
    LimitExceededError,
    ReadOnlyError,
    StateError,
)


def is_damage(error: apsw.Error) -> bool:
    """Tell whether SQLite noticed that what is stored is not what was written."""
    code = getattr(error, "extendedresult", 0)
    return (
        isinstance(error, apsw.CorruptError | apsw.NotADBError)
        or code in (apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_SHORT_READ)
        or code == apsw.SQLITE_IOERR_CORRUPTFS
    )


def translate(error: apsw.Error, path: str, *, closed: bool = False) -> StateError:
    """Map an error raised before a commit (so nothing was written).

    Args:
        error: What apsw raised.
        path: The store, for the message.
        closed: The engine is closing: an interrupted call is a `ClosedError`.
    """
    text = f"sqlite store {path}: {error}"
    gone = apsw.ConnectionClosedError | apsw.CursorClosedError
    stopped = apsw.InterruptError | apsw.ThreadingViolationError | apsw.MisuseError
    if isinstance(error, gone) or (closed and isinstance(error, stopped)):
        return ClosedError(f"sqlite store {path} was closed during the call")
    if is_damage(error):
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA:
            return CorruptionError(
                f"sqlite store {path}: a page fails its checksum", where="a page of the file"
            )
        return CorruptionError(text, where=str(error))
    if isinstance(error, apsw.FullError):
        return DiskFullError(text)
    if isinstance(error, apsw.ReadOnlyError):
        return ReadOnlyError(
            text, hint="the file or its directory cannot be written; open it with read_only=True"
        )
    if isinstance(error, apsw.BusyError | apsw.LockedError | apsw.ProtocolError):
        return BusyError(text, hint="another process holds the file; try again")
    if isinstance(error, apsw.TooBigError):
        return LimitExceededError(text, hint="SQLite holds values of less than 1 GB")
    return EngineError(text)
