"""Compression of payloads: zstd, zstd with a dictionary of the store, and deltas between versions.

A delta is a zstd frame of the new payload with the previous payload as its prefix, so it costs
about what changed. Every frame carries its content size and checksum; both are checked before
anything is believed, so a frame cannot blow up memory. It knows no engine and no record.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import zstandard

from holdfast.errors import CorruptionError

#: Payloads below this are stored as they are (compressing them costs more than it gives).
COMPRESS_FROM: Final = 4096
#: Payloads below this are journaled in full.
DELTA_FROM: Final = 4096
#: A full copy is journaled at least this often.
MAX_RUN: Final = 31
#: Payloads below this are not worth a dictionary.
SMALL_FROM: Final = 64
#: The fewest samples to train on: zstd's trainer was seen to crash the process on a handful.
_SAMPLES: Final = 100
#: From here on a level of 3 saves a fifth more, in a time that the rest of such a write dwarfs.
_LARGE: Final = 32 * 1024
_MAX_WINDOW_LOG: Final = 27  # 128 MiB, the most a decoder is asked to hold


class Compressor:
    """Compresses and restores payloads, with reused contexts per thread.

    Args:
        level: zstd level for full payloads.
        dictionary: Trained on the store, or None.
    """

    def __init__(self, level: int = 1, dictionary: bytes | None = None) -> None:
        self._level = level
        self._local = threading.local()
        self._dictionary = (
            zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_FULLDICT)
            if dictionary
            else None
        )

    def compress(self, payload: bytes) -> bytes | None:
        """Return a frame of `payload`, or None where it would not save a tenth."""
        large = len(payload) >= _LARGE
        name = "large" if large else "plain"
        context = getattr(self._local, name, None)
        if context is None:
            level = max(self._level, 3) if large else self._level
            context = zstandard.ZstdCompressor(level=level, write_checksum=True)
            setattr(self._local, name, context)
        frame: bytes = context.compress(payload)
        return frame if len(frame) * 10 < len(payload) * 9 else None

    def compress_small(self, payload: bytes) -> bytes | None:
        """Return a frame made with the dictionary, or None without one or without a saving."""
        if self._dictionary is None:
            return None
        context = getattr(self._local, "small", None)
        if context is None:
            context = zstandard.ZstdCompressor(
                level=3, dict_data=self._dictionary, write_checksum=False
            )
            self._local.small = context
        frame: bytes = context.compress(payload)
        return frame if len(frame) * 10 < len(payload) * 9 else None

    def decompress(self, frame: bytes, size: int, where: str) -> bytes:
        """Restore a payload of `size` bytes.

        Raises:
            CorruptionError: The frame is damaged or is not of that size.
        """
        context = getattr(self._local, "restore", None)
        if context is None:
            context = zstandard.ZstdDecompressor(max_window_size=1 << _MAX_WINDOW_LOG)
            self._local.restore = context
        return _restore(context, frame, size, where)

    def decompress_small(self, frame: bytes, size: int, where: str) -> bytes:
        """Restore what `compress_small` made.

        Raises:
            CorruptionError: The dictionary is another one, or the frame is damaged.
        """
        context = getattr(self._local, "restore_small", None)
        if context is None:
            if self._dictionary is None:
                raise CorruptionError("the compression dictionary is missing", where=where)
            context = zstandard.ZstdDecompressor(dict_data=self._dictionary)
            self._local.restore_small = context
        return _restore(context, frame, size, where)


def make_delta(base: bytes, payload: bytes) -> bytes | None:
    """Return `payload` as a delta against `base`, or None where that would not halve it."""
    window = max(len(base) + len(payload), 1 << 10).bit_length()
    if window > _MAX_WINDOW_LOG:
        return None
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, window_log=window, write_checksum=True, enable_ldm=len(base) > 1 << 18
    )
    prefix = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    frame = zstandard.ZstdCompressor(compression_params=parameters, dict_data=prefix).compress(
        payload
    )
    return frame if len(frame) * 2 < len(payload) else None


def apply_delta(base: bytes, delta: bytes, size: int, where: str) -> bytes:
    """Restore the payload of `size` bytes that `make_delta` took against `base`.

    Raises:
        CorruptionError: The delta is damaged or was taken against another base.
    """
    prefix = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    context = zstandard.ZstdDecompressor(dict_data=prefix, max_window_size=1 << _MAX_WINDOW_LOG)
    return _restore(context, delta, size, where)


def train(samples: Sequence[bytes], size: int = 64 * 1024) -> bytes | None:
    """Train a dictionary on payloads, or return None where they are too few or too alike."""
    useful: list[bytes | bytearray | memoryview] = [
        sample for sample in samples if len(sample) >= SMALL_FROM
    ]
    if len(useful) < _SAMPLES:
        return None
    try:
        return zstandard.train_dictionary(size, list(useful), level=3).as_bytes()
    except zstandard.ZstdError:
        return None


def _restore(context: zstandard.ZstdDecompressor, frame: bytes, size: int, where: str) -> bytes:
    try:
        # python-zstandard trusts the frame's own size, so that is checked first.
        if zstandard.frame_content_size(frame) != size:
            raise CorruptionError("a compressed value is not of its stated size", where=where)
        payload: bytes = context.decompress(frame, max_output_size=size)
    except zstandard.ZstdError as error:
        raise CorruptionError(f"a compressed value is damaged: {error}", where=where) from None
    if len(payload) != size:
        raise CorruptionError("a compressed value is not of its stated size", where=where)
    return payload
