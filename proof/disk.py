"""A disk that remembers: every write and every flush that a real filesystem sends it.

A loop device lies on the one file of a FUSE filesystem, which is served here and kept in memory.
ext4 on the loop device writes blocks and flushes as it would on hardware, and each arrives as
FUSE_WRITE or FUSE_FSYNC (the loop driver turns a flush into an fsync of its file). So the log of
these is what a disk with a volatile cache had received when the power went.

Run as a program it is the server: ``python -m proof.disk FUSE_FD CONTROL_FD IMAGE LOG``.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
from pathlib import Path
from typing import BinaryIO

_IN = struct.Struct("<IIQQIIIHH")  # linux/fuse.h, fuse_in_header
_OUT = struct.Struct("<IiQ")  # fuse_out_header
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_ROOT, _DISK = 1, 2
_LOOKUP, _FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS = 1, 2, 3, 4, 14, 15, 16, 17
_RELEASE, _FSYNC, _FLUSH, _INIT, _INTERRUPT, _DESTROY, _FORGET_MANY = 18, 20, 25, 26, 36, 38, 42
_SILENT = {_FORGET, _INTERRUPT, _FORGET_MANY}
_DONE = {_RELEASE, _FLUSH, _DESTROY}
_NAME = b"disk\0"
_MOST = 128 * 1024
_ENOENT, _ENOSYS = 2, 38
_LARGE = (1 << 5) | (1 << 22)  # FUSE_BIG_WRITES, FUSE_MAX_PAGES

#: One entry of the log: offset and length of a write; length 0 is a flush. Data follows.
ENTRY = struct.Struct("<QI")


class Disk:
    """The served file and the log of what was done to it."""

    def __init__(self, image: bytearray, log: BinaryIO) -> None:
        self._image, self._log = image, log

    def answer(self, opcode: int, node: int, body: bytes) -> bytes | int:
        """Return the answer's bytes, or the number of an error."""
        if opcode == _INIT:
            return struct.pack(
                "<IIIIHHIIHHI28x", 7, 31, _MOST, _LARGE, 16, 12, _MOST, 1, _MOST >> 12, 0, 0
            )
        if opcode == _LOOKUP:
            if body != _NAME:
                return _ENOENT
            return struct.pack("<QQQQII", _DISK, 0, 3600, 3600, 0, 0) + self._attributes(_DISK)
        if opcode in (_GETATTR, _SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self._attributes(node)
        if opcode == _OPEN:
            return struct.pack("<QII", 1, 2, 0)  # FOPEN_KEEP_CACHE
        if opcode == _READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return bytes(self._image[offset : offset + size])
        if opcode == _WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            data = body[40 : 40 + size]
            self._image[offset : offset + size] = data
            self._log.write(ENTRY.pack(offset, size) + data)
            return struct.pack("<II", size, 0)
        if opcode == _FSYNC:
            self._log.write(ENTRY.pack(0, 0))
            return b""
        if opcode == _STATFS:
            return struct.pack("<QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 9, 9, 4096, 255, 4096, 0)
        return b"" if opcode in _DONE else _ENOSYS

    def _attributes(self, node: int) -> bytes:
        folder = node == _ROOT
        mode, size = (0o40755, 0) if folder else (0o100600, len(self._image))
        times = 0, 0, 0, 0, 0, 0
        return _ATTR.pack(node, size, size // 512, *times, mode, 1, 0, 0, 0, 4096, 0)


def serve(kernel: int, control: socket.socket, disk: Disk, log: BinaryIO) -> None:
    """Answer the kernel, and say on `control` how long the log is whenever it is asked."""
    while True:
        ready, _, _ = select.select([kernel, control], [], [])
        if kernel in ready:
            try:
                raw = os.read(kernel, _MOST + 8192)
            except OSError:
                return  # unmounted
            _, opcode, unique, node, *_ = _IN.unpack_from(raw)
            answer = disk.answer(opcode, node, raw[_IN.size :])
            if opcode not in _SILENT:
                error, data = (-answer, b"") if isinstance(answer, int) else (0, answer)
                os.write(kernel, _OUT.pack(_OUT.size + len(data), error, unique) + data)
        elif control in ready:
            if not control.recv(16):
                return
            log.flush()
            control.send(str(log.tell()).encode())


def read_log(path: Path, length: int) -> list[tuple[int, bytes]]:
    """Return the first `length` bytes of a log as writes; one without data is a flush."""
    raw = path.read_bytes()[:length]
    entries, at = [], 0
    while at < length:
        offset, size = ENTRY.unpack_from(raw, at)
        at += ENTRY.size
        entries.append((offset, raw[at : at + size]))
        at += size
    return entries


if __name__ == "__main__":
    with open(sys.argv[4], "wb") as out:
        content = bytearray(Path(sys.argv[3]).read_bytes())
        wire = socket.socket(fileno=int(sys.argv[2]))
        serve(int(sys.argv[1]), wire, Disk(content, out), out)
