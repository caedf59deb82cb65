"""Can this library and this filesystem keep the engine's promises? Pure functions over facts.

It knows no connection and opens no store; the two `require_…` shells collect the facts.
"""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path

import apsw
import apsw.sqlite_extra

from holdfast.errors import MissingExtraError, UnsupportedPlatformError

#: Name of the checksumming VFS that apsw's ``cksumvfs`` registers.
CHECKSUM_VFS = "cksmvfs"

#: Filesystems on which memory shared between hosts (or with the host) is not coherent, or
#: whose locks are not trustworthy.
_UNSAFE = frozenset(
    (
        "9p",
        "afs",
        "afpfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fuse",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    )
)
#: FUSE filesystems over a local disk whose kernel caches are coherent on one host.
_SAFE_FUSE = frozenset({"fuseblk", "fuse.fuse-overlayfs"})


def wal_reset_bug(version: str) -> bool:
    """Tell whether SQLite `version` has the WAL-reset bug.

    A checkpoint that races the reset of the log by another connection loses committed
    transactions: 3.7.0 to 3.51.2, fixed in 3.51.3 and backported to 3.50.7 and 3.44.6.
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if not found:
        return True
    major, minor, patch = (int(part or 0) for part in found.groups())
    triple = (major, minor, patch)
    if triple < (3, 7, 0) or triple >= (3, 51, 3):
        return False
    backports = {50: 7, 44: 6}
    return not (minor in backports and patch >= backports[minor])


def require_library(version: str | None = None) -> None:
    """Refuse a SQLite library that loses committed writes.

    Raises:
        UnsupportedPlatformError: The library has the WAL-reset bug, or has no WAL.
    """
    version = apsw.sqlite_lib_version() if version is None else version
    if wal_reset_bug(version) or version.startswith(("2.", "3.6.", "3.5.")):
        raise UnsupportedPlatformError(
            f"SQLite {version} can lose committed transactions (the WAL-reset bug)",
            hint="install the apsw wheel from PyPI, which bundles SQLite 3.51.3 or later",
        )


def require_checksums() -> None:
    """Register the checksumming VFS in this process's SQLite library, once.

    The extension makes its VFS the default for every later connection of the library; the
    former default is put back at once, so other users of apsw are left as they were. (It also
    gives every later connection the harmless SQL function ``verify_checksum``.)

    Raises:
        MissingExtraError: apsw comes without the extension.
    """
    names = apsw.vfs_names()
    if CHECKSUM_VFS in names:
        return
    try:
        with closing(apsw.Connection(":memory:")) as db:
            apsw.sqlite_extra.load(db, "cksumvfs")
    except (LookupError, OSError, apsw.Error, apsw.sqlite_extra.NotAvailable) as error:
        raise MissingExtraError(
            f"apsw comes without its extension cksumvfs ({error})",
            hint="install the apsw wheel from PyPI, which bundles SQLite's extensions",
        ) from error
    finally:
        apsw.set_default_vfs(names[0])


def filesystem_of(path: str, mountinfo: str) -> str | None:
    """Return the type of the filesystem that `path` is on, by the text of mountinfo.

    Args:
        path: An absolute path without symbolic links.
        mountinfo: The text of ``/proc/self/mountinfo`` (proc(5)).
    """
    best, kind = "", None
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if not separator or len(fields) < 5:
            continue
        # Octal escapes stand for space, tab, newline and backslash.
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), fields[4])
        inside = point == "/" or path == point or path.startswith(point + "/")
        # A later mount on the same point hides the earlier one.
        if inside and len(point) >= len(best):
            best, kind = point, tail[0]
    return kind


def shares_memory(kind: str | None) -> bool:
    """Tell whether WAL's shared memory works on filesystem type `kind` (unknown counts as yes)."""
    if kind is None or kind in _SAFE_FUSE:
        return True
    return kind.partition(".")[0] not in _UNSAFE


def require_filesystem(folder: Path, *, exclusive: bool) -> None:
    """Refuse a filesystem on which WAL is unsafe between processes.

    Raises:
        UnsupportedPlatformError: A network or host-shared filesystem, without `exclusive`.
    """
    if exclusive:
        return
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return  # Not Linux: there is nothing to go by.
    kind = filesystem_of(os.path.realpath(folder), text)
    if not shares_memory(kind):
        raise UnsupportedPlatformError(
            f"{folder} is on {kind}, where processes cannot share SQLite's write-ahead log",
            hint="use a local disk, or exclusive=true if only one process ever opens the store",
        )
