"""How far a database had come when it was last opened or closed, kept beside it.

RocksDB takes a manifest whose end is missing for an earlier one: it opens without a word, lacks
what the lost entries named, and deletes those files. So the sequence number that a database has
reached on disk is noted in a file ``HOLDFAST.reached``, and a database that is behind it is
refused. The note is a lower bound: without it, or where it cannot be read, nothing is refused.
It knows no RocksDB.
"""

from __future__ import annotations

import os
import re
import zlib
from contextlib import suppress
from pathlib import Path

from holdfast.errors import CorruptionError

NAME = "HOLDFAST.reached"

_TEXT = re.compile(rb"(sequence ([0-9]{1,20})) ([0-9a-f]{8})\n\Z")


def note(path: Path, sequence: int) -> None:
    """Note what is on disk; call it only when that much is synced."""
    text = b"sequence %d" % sequence
    draft = path / f"{NAME}.new"
    # A note that cannot be written leaves the one before, which is also true.
    with suppress(OSError):
        with open(draft, "wb") as file:
            file.write(b"%b %08x\n" % (text, zlib.crc32(text)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path / NAME)


def check(path: Path, sequence: int) -> None:
    """Refuse a database that has not come as far as the note says.

    Raises:
        CorruptionError: It has lost its end.
    """
    noted = _noted(path)
    if sequence < noted:
        raise CorruptionError(
            f"the RocksDB database at {path} ends at sequence number {sequence}, and has been at "
            f"{noted}: the end of its manifest or of a log is lost",
            where="MANIFEST",
            hint="restore a backup; repair(into=...) salvages the earlier state that is left",
        )


def _noted(path: Path) -> int:
    try:
        match = _TEXT.match((path / NAME).read_bytes())
    except OSError:
        return 0
    if match is None or int(match[3], 16) != zlib.crc32(match[1]):
        return 0
    return int(match[2])
