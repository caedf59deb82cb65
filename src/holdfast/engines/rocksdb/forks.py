"""Handles and `fork`: a child never uses, and never closes, what its parent opened."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any, Protocol


class Handle(Protocol):
    """Something that a child must not use."""

    def disown(self) -> list[Any]:
        """Refuse all calls from now on; return the foreign objects, which MUST NOT be freed."""
        ...


_handles: weakref.WeakSet[Any] = weakref.WeakSet()


def watch(handle: Handle) -> None:
    """Disown `handle` in children."""
    _handles.add(handle)


def _in_child() -> None:
    for handle in list(_handles):
        for kept in handle.disown():
            # Not even at the child's end: RocksDB's destructor waits for threads that it has not.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


os.register_at_fork(after_in_child=_in_child)
