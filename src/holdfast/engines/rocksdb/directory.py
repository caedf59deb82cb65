"""What lies in a store's directory, before RocksDB touches it. It knows no RocksDB.

A small file ``HOLDFAST`` marks a directory as a store of ours and names the layout's version.
It is written last when a store is made (``HOLDFAST.new`` stands for it until then): a directory
with the marker held a whole database once, so a database missing there is damage, never made
anew over what is left.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import ConfigurationError, EngineError, FormatVersionError, NotAStoreError

LAYOUT = 1
MARKER = "HOLDFAST"
UNFINISHED = "HOLDFAST.new"

_TEXT = re.compile(rb"holdfast rocksdb ([1-9][0-9]{0,8})\n\Z")


def inspect(path: Path) -> bool:
    """Return whether `path` is a finished store; False where one can be made.

    Raises:
        ConfigurationError: The parent directory is missing.
        NotAStoreError: Something else is there.
        FormatVersionError: A store of a newer layout is there.
    """
    try:
        names = set(os.listdir(path))
    except FileNotFoundError:
        if not path.absolute().parent.is_dir():
            raise ConfigurationError(
                f"there is no directory {path.absolute().parent} to put a store in",
                hint="create the parent directory first",
            ) from None
        return False
    except NotADirectoryError:
        raise NotAStoreError(f"{path} is a file, not a directory of a RocksDB store") from None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    if MARKER in names:
        _check(path / MARKER)
        return True
    if UNFINISHED in names:
        _check(path / UNFINISHED)
        return False
    if all(name.startswith(f"{UNFINISHED}.") for name in names):  # empty, or not even begun
        return False
    raise NotAStoreError(f"{path} holds other things than a Holdfast RocksDB store")


def begin(path: Path) -> None:
    """Make the directory and mark it as becoming a store.

    Raises:
        ConfigurationError: The operating system refuses.
    """
    try:
        path.mkdir(exist_ok=True)
        _sync_directory(path.absolute().parent)
        if not (path / UNFINISHED).exists():
            # Renamed into place whole: a marker that is there is never half written.
            draft = path / f"{UNFINISHED}.{os.getpid()}"
            with open(draft, "wb") as file:
                file.write(b"holdfast rocksdb %d\n" % LAYOUT)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path / UNFINISHED)
        _sync_directory(path)
    except OSError as error:
        raise ConfigurationError(f"cannot make a store at {path}: {error.strerror}") from None


def finish(path: Path) -> None:
    """Mark the store as whole; call it while the database is open, before the first write.

    Raises:
        EngineError: The operating system refuses; opening again takes up from there.
    """
    try:
        if (path / UNFINISHED).exists():
            os.replace(path / UNFINISHED, path / MARKER)
            _sync_directory(path)
    except OSError as error:
        raise EngineError(f"cannot finish the store at {path}: {error.strerror}") from None


def sizes(path: Path) -> tuple[int, int, int]:
    """Return the bytes of all files, of the write-ahead logs, and free on the filesystem.

    Raises:
        EngineError: The operating system refuses.
    """
    try:
        return _sizes(path)
    except OSError as error:
        raise EngineError(f"cannot look into {path}: {error.strerror}") from None


def _sizes(path: Path) -> tuple[int, int, int]:
    total = logs = 0
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                size = entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:  # RocksDB deletes files beside us
                continue
            total += size
            if entry.name.endswith(".log"):
                logs += size
    filesystem = os.statvfs(path)
    return total, logs, filesystem.f_bavail * filesystem.f_frsize


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells one moment of a writer's files from another.

    Attributes:
        files: Names of logs, and names and sizes of manifests: change with RocksDB's files.
        logs: The sizes of the logs: change with every commit.
    """

    files: tuple[tuple[str, int], ...]
    logs: tuple[int, ...]


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint of a store that another process may be writing."""
    files, logs = [], []
    with os.scandir(path) as entries:
        names = [e.name for e in entries if e.name.endswith(".log") or e.name.startswith("MANI")]
    for name in sorted(names):
        try:
            size = os.stat(path / name).st_size
        except FileNotFoundError:
            size = -1
        if name.endswith(".log"):
            logs.append(size)
            files.append((name, 0))
        else:
            files.append((name, size))
    return Fingerprint(tuple(files), tuple(logs))


def _check(marker: Path) -> None:
    try:
        with open(marker, "rb") as file:
            match = _TEXT.match(file.read(64))
    except OSError as error:
        raise NotAStoreError(f"cannot read {marker}: {error.strerror}") from None
    if match is None:
        raise NotAStoreError(f"{marker} is not the marker of a Holdfast RocksDB store")
    found = int(match[1])
    if found > LAYOUT:
        raise FormatVersionError(f"{marker.parent} has layout {found}; this version reads {LAYOUT}")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
