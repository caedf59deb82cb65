"""The framing of RocksDB's manifest, looked at before RocksDB opens it.

Records of a log that is written over a recycled one have types of their own, which no manifest
holds. A manifest in which damage made one keeps RocksDB (9.8) reading for ever. What else is
damaged it notices by its checksums (https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format).
"""

from __future__ import annotations

import re
from pathlib import Path

from holdfast.errors import CorruptionError

_BLOCK = 32 * 1024
_HEADER = 7  #: checksum (4), length (2), type (1)
_WHOLE_OR_PART = range(1, 5)
_RECYCLED = range(5, 9)


def check(path: Path) -> None:
    """Refuse a database whose manifest RocksDB would not stop reading.

    Raises:
        CorruptionError: It has a record that manifests do not have.
    """
    try:
        name = (path / "CURRENT").read_bytes().strip()
        if not re.fullmatch(rb"MANIFEST-\d+", name):
            return  # RocksDB says so itself
        with (path / name.decode()).open("rb") as file:
            while block := file.read(_BLOCK):
                _check_block(block, name.decode())
    except OSError:
        return  # RocksDB says so itself


def _check_block(block: bytes, name: str) -> None:
    at = 0
    while at + _HEADER <= len(block):
        length, kind = int.from_bytes(block[at + 4 : at + 6], "little"), block[at + 6]
        if kind in _RECYCLED:
            raise CorruptionError(f"a record of {name} has type {kind}", where=name)
        if kind not in _WHOLE_OR_PART:
            return
        at += _HEADER + length
