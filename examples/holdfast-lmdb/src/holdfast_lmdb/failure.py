"""LMDB's errors as Holdfast's: the one place that sorts them. By class and code, never by text."""

from __future__ import annotations

import errno

import lmdb

from holdfast.errors import (
    BusyError,
    ConfigurationError,
    CorruptionError,
    DiskFullError,
    EngineError,
    FormatVersionError,
    LimitExceededError,
    PoisonedError,
    ReadOnlyError,
    StateError,
)

_DAMAGE = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.PageFullError)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def translate(error: lmdb.Error, where: object) -> StateError:
    """Map an error that LMDB raised while nothing was written yet.

    Args:
        error: What was raised by anything but a commit or a flush.
        where: The store, for the message.
    """
    text = f"lmdb store {where}: {error}"
    if isinstance(error, lmdb.MapFullError):
        return DiskFullError(text, hint="open the store with a larger map_size, then retry")
    if isinstance(error, lmdb.MapResizedError):
        return ConfigurationError(
            f"lmdb store {where} has grown beyond this handle's map_size",
            hint="open it again with the map_size that its other processes use",
        )
    if isinstance(error, lmdb.ReadersFullError):
        return BusyError(text, hint="more views are open than max_readers; try again")
    if isinstance(error, lmdb.LockError):
        return BusyError(text, hint="try again")
    if isinstance(error, _DAMAGE):
        return CorruptionError(text, where=str(where))
    if isinstance(error, lmdb.PanicError):
        return PoisonedError(text)
    if isinstance(error, lmdb.VersionMismatchError):
        return FormatVersionError(text)
    if isinstance(error, lmdb.BadValsizeError | lmdb.TxnFullError):
        return LimitExceededError(text)
    if isinstance(error, lmdb.ReadonlyError):
        return ReadOnlyError(text)
    if error.code in _FULL:
        return DiskFullError(text)
    return EngineError(text)
