"""Handles and `fork`: a child never uses, and never closes, what its parent opened.

A child that closed an inherited connection would say goodbye on the parent's.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Protocol


class Handle(Protocol):
    """Something that a child must not use."""

    def disown(self) -> list[object]:
        """Refuse all calls from now on; return the foreign objects, which MUST NOT be freed."""
        ...


_handles: weakref.WeakSet[Handle] = weakref.WeakSet()


def watch(handle: Handle) -> None:
    """Disown `handle` in children."""
    _handles.add(handle)


def _in_child() -> None:
    for handle in list(_handles):
        for kept in handle.disown():
            # Not even at the child's end: the pool's destructor talks to threads that are not here.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


os.register_at_fork(after_in_child=_in_child)
