"""Writing: a batch into a transaction, in the contract's order. It neither begins nor commits."""

from __future__ import annotations

import lmdb

from holdfast.engines.base import Batch
from holdfast_lmdb.failure import translate


def apply(txn: lmdb.Transaction[bytes], batch: Batch, where: object) -> None:
    """Apply `batch` to `txn`; after an error the transaction can only be aborted."""
    try:
        for start, stop in batch.delete_ranges:
            with txn.cursor() as cursor:
                there = cursor.set_range(start)
                while there and cursor.key() < stop:
                    cursor.delete()  # steps to the next key, which may be none
                    there = bool(cursor.key())
        for key in batch.deletes:
            txn.delete(key)
        for key, value in batch.puts:
            txn.put(key, value)
    except lmdb.Error as error:
        raise translate(error, where) from error
