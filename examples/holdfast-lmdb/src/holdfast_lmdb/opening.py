"""How a store is opened: settings, then what is in the directory, then LMDB."""

from __future__ import annotations

import os
from pathlib import Path

import lmdb

from holdfast.clock import Clock
from holdfast.config import EngineURL
from holdfast.errors import BusyError, ConfigurationError, NotAStoreError
from holdfast_lmdb.engine import LmdbEngine
from holdfast_lmdb.failure import translate
from holdfast_lmdb.settings import LmdbSettings


def open_engine(
    target: EngineURL | LmdbSettings,
    *,
    read_only: bool = False,
    clock: Clock | None = None,  # noqa: ARG001
) -> LmdbEngine:
    """Open the store in a directory, or make one there: what the entry point names.

    Args:
        target: A parsed URL, or the settings.
        read_only: Refuse writes. Works beside a writer in another process.
        clock: For background work, of which this engine has none.

    Raises:
        ConfigurationError: An option is wrong, or the directory cannot be made or read.
        NotAStoreError: Something else is there; with `read_only`, or nothing is.
        BusyError: This process has the store open already.
    """
    settings = target if isinstance(target, LmdbSettings) else LmdbSettings.from_url(target)
    path = Path(os.path.realpath(settings.path))  # a later change of directory must not matter
    exists = _inspect(path)
    if read_only and not exists:
        raise NotAStoreError(f"there is no store at {path} to read")
    try:
        if not exists:
            path.mkdir(exist_ok=True)
        env = lmdb.open(
            str(path),
            map_size=settings.map_size,
            max_readers=settings.max_readers,
            readonly=read_only,
            create=False,
            metasync=False,  # see "Durability" in `engine`
        )
    except OSError as error:
        raise ConfigurationError(f"cannot make a store at {path}: {error.strerror}") from None
    except (lmdb.InvalidError, lmdb.VersionMismatchError) as error:
        raise NotAStoreError(f"{path} holds no LMDB store that can be read: {error}") from error
    except lmdb.Error as error:
        if error.code == 0:  # the binding's own refusal: two handles would lose LMDB's locks
            raise BusyError(
                f"this process has lmdb store {path} open already",
                hint="share one handle among threads, or close the other one",
            ) from None
        raise translate(error, path) from error
    try:
        env.reader_check()  # frees the slots, and so the pages, of processes that were killed
        if not exists:  # LMDB syncs its file, but not the names that lead to it
            _sync_directory(path)
            _sync_directory(path.parent)
        return LmdbEngine(env, path, settings.keep_free, read_only=read_only)
    except BaseException:
        env.close()
        raise


def _inspect(path: Path) -> bool:
    """Return whether `path` is a store; False where one can be made."""
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise ConfigurationError(
                f"there is no directory {path.parent} to put a store in",
                hint="create the parent directory first",
            ) from None
        return False
    except NotADirectoryError:
        raise NotAStoreError(f"{path} is a file, not the directory of an lmdb store") from None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    if names and "data.mdb" not in names:
        raise NotAStoreError(f"{path} holds other things than an lmdb store")
    return bool(names)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
