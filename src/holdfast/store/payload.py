"""Payloads: from a value to what a record carries, and back.

Joins the codec and the compression under one set of limits. All of it runs in the caller's
thread, before the commit lane, except for transforms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.errors import CorruptionError, FormatVersionError
from holdfast.store import record
from holdfast.store.codec import decode, encode
from holdfast.store.compression import (
    COMPRESS_FROM,
    DELTA_FROM,
    MAX_RUN,
    Compressor,
    apply_delta,
    make_delta,
)
from holdfast.store.intent import Prepared
from holdfast.store.record import Record

_PLAIN = record.MSGPACK | record.PLAIN


class Payloads:
    """Encodes, compresses and restores payloads.

    Args:
        compress: Compress payloads from 4 KiB on (and small ones where there is a dictionary).
        max_bytes: The longest encoding of a value.
        level: zstd level.
        load_dictionary: From a dictionary's id to its bytes, or None if the store has none such.
    """

    def __init__(
        self,
        *,
        compress: bool = True,
        max_bytes: int = 64 * 1024 * 1024,
        level: int = 1,
        load_dictionary: Callable[[int], bytes | None] = lambda _: None,
    ) -> None:
        self.compress = compress
        self.max_bytes = max_bytes
        self._compressor = Compressor(level)
        self._dictionaries: dict[int, Compressor] = {}
        self._load_dictionary = load_dictionary
        self.dictionary: Compressor | None = None
        self._dictionary_id = 0

    def use_dictionary(self, dictionary_id: int) -> None:
        """Compress small payloads with the store's dictionary of that id from now on."""
        self.dictionary = self._dictionary(dictionary_id, "dictionary")
        self._dictionary_id = dictionary_id

    def has_dictionary(self, payload: bytes) -> bool:
        """Say whether a payload's dictionary was read before, so that the store is not asked."""
        return int.from_bytes(payload[:4]) in self._dictionaries

    def prepare(self, value: Any) -> Prepared:
        """Encode and compress `value`.

        Raises:
            InvalidValueError, LimitExceededError: See `codec.encode`.
        """
        payload = encode(value, max_bytes=self.max_bytes)
        size = len(payload)
        if self.compress and (size >= COMPRESS_FROM or self.dictionary is not None):
            return self.pack(payload)
        return Prepared(_PLAIN, payload, size)

    def plain(self, value: Any) -> Any:
        """Return `value` as it will read back: nobody can change that while a write waits.

        Raises:
            InvalidValueError, LimitExceededError: See `codec.encode`.
        """
        return decode(encode(value, max_bytes=self.max_bytes))

    def pack(self, payload: bytes) -> Prepared:
        """Compress an encoded payload where that pays."""
        size = len(payload)
        if self.compress:
            if size >= COMPRESS_FROM:
                frame = self._compressor.compress(payload)
                if frame is not None:
                    return Prepared(record.MSGPACK | record.ZSTD, frame, size, payload)
            elif self.dictionary is not None and size >= 64:
                frame = self.dictionary.compress_small(payload)
                if frame is not None:
                    packed = self._dictionary_id.to_bytes(4) + frame
                    return Prepared(record.MSGPACK | record.ZSTD_DICTIONARY, packed, size)
        return Prepared(_PLAIN, payload, size)

    def add_delta(self, place: bytes, prepared: Prepared, old: Record) -> None:
        """Give `prepared` a delta against the live record `old`, where that pays."""
        if prepared.size < DELTA_FROM or old.size < DELTA_FROM or old.run >= MAX_RUN:
            return
        payload = prepared.plain
        if payload is None:
            payload = self.unpack(place, prepared.encoding, prepared.payload, prepared.size)
        delta = make_delta(self.restore(place, old), payload)
        if delta is not None:
            prepared.delta, prepared.base = delta, old.revision

    def restore(self, place: bytes, stored: Record) -> bytes:
        """Return the encoded payload of a full record.

        Raises:
            CorruptionError: It does not decompress.
        """
        if stored.encoding == _PLAIN:
            return stored.payload
        return self.unpack(place, stored.encoding, stored.payload, stored.size)

    def apply(self, place: bytes, base: bytes, delta: Record) -> bytes:
        """Return the encoded payload that `delta` makes of the previous version's, `base`."""
        if delta.encoding & 0xF0 == record.SAME:
            return base
        return apply_delta(base, delta.payload, delta.size, record.describe(place))

    def value(self, place: bytes, stored: Record) -> Any:
        """Return the decoded value of a full record: a fresh object."""
        if stored.encoding == _PLAIN:
            return decode(stored.payload)
        return decode(self.unpack(place, stored.encoding, stored.payload, stored.size))

    def unpack(self, place: bytes, encoding: int, payload: bytes, size: int) -> bytes:
        """Decompress a stored payload."""
        where = record.describe(place)
        if encoding & 0x0F != record.MSGPACK:
            raise FormatVersionError(f"{where} is stored in an unknown codec ({encoding & 0x0F})")
        compression = encoding & 0xF0
        if compression == record.PLAIN:
            return payload
        if compression == record.ZSTD:
            return self._compressor.decompress(payload, size, where)
        if compression == record.ZSTD_DICTIONARY:
            dictionary = self._dictionary(int.from_bytes(payload[:4]), where)
            return dictionary.decompress_small(payload[4:], size, where)
        raise FormatVersionError(f"{where} is stored in an unknown compression ({compression})")

    def _dictionary(self, dictionary_id: int, where: str) -> Compressor:
        known = self._dictionaries.get(dictionary_id)
        if known is None:
            data = self._load_dictionary(dictionary_id)
            if data is None:
                raise CorruptionError("its compression dictionary is missing", where=where)
            known = self._dictionaries[dictionary_id] = Compressor(dictionary=data)
        return known
