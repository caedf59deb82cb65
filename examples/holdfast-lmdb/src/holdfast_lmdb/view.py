"""Reading: one LMDB transaction is one consistent state. It knows no engine.

py-lmdb gives a read transaction's slot back when the object is freed, not when it is aborted. So a
view lets go of its transaction at its end, whoever may still hold the view.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, takewhile

import lmdb

from holdfast.errors import ClosedError
from holdfast_lmdb.failure import translate


class LmdbView:
    """A view over a transaction, for as long as that is open.

    LMDB copies what it changes, so a read transaction never sees a later commit. In a write
    transaction that has changed nothing yet the state is the one before.
    """

    __slots__ = ("_live", "_where")

    def __init__(self, txn: lmdb.Transaction[bytes], where: object) -> None:
        self._live: lmdb.Transaction[bytes] | None = txn
        self._where = where

    @property
    def _txn(self) -> lmdb.Transaction[bytes]:
        if self._live is None:
            raise ClosedError(f"this view of lmdb store {self._where} is closed")
        return self._live

    def end(self) -> lmdb.Transaction[bytes]:
        """Hand back the transaction; the view cannot be used any more."""
        txn, self._live = self._txn, None
        return txn

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        try:
            return self._txn.get(key)
        except lmdb.Error as error:
            raise translate(error, self._where) from error

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        try:
            get = self._txn.get
            return [get(key) for key in keys]
        except lmdb.Error as error:
            raise translate(error, self._where) from error

    def scan(
        self,
        start: bytes,
        stop: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Return the pairs of a range; a cursor that meets damage raises, so it is never short."""
        if start >= stop:
            return []
        try:
            with self._txn.cursor() as cursor:
                if reverse:  # stand on the last key below `stop`
                    there = cursor.prev() if cursor.set_range(stop) else cursor.last()
                else:
                    there = cursor.set_range(start)
                if not there:  # a cursor that stands nowhere would iterate over everything
                    return []
                walk = cursor.iterprev if reverse else cursor.iternext
                pairs: Iterable[tuple[bytes, bytes]]
                if keys_only:
                    pairs = ((key, b"") for key in walk(keys=True, values=False))
                else:
                    pairs = walk(keys=True, values=True)
                if reverse:
                    inside = takewhile(lambda pair: pair[0] >= start, pairs)
                else:
                    inside = takewhile(lambda pair: pair[0] < stop, pairs)
                return list(islice(inside, limit))
        except lmdb.Error as error:
            raise translate(error, self._where) from error
