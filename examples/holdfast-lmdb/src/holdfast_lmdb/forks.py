"""Forks: an LMDB handle is its process's own. A child must neither use it nor abort its work.

The reader slots and the writer's lock are in memory that the child shares with its parent, so
ending an inherited transaction would end the parent's. What a child inherits idle it closes, which
touches nothing shared and lets it open the store for itself. What it inherits in use it keeps for
ever: not even freeing it at the child's end may run.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Protocol


class Handle(Protocol):
    """Something that a child must not use."""

    def disown(self) -> None:
        """Refuse all calls from now on."""
        ...


_handles: weakref.WeakSet[Handle] = weakref.WeakSet()


def watch(handle: Handle) -> None:
    """Have `handle` disowned in children."""
    _handles.add(handle)


def keep(inherited: object) -> None:
    """See to it that `inherited` is never freed in this process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _in_child() -> None:
    for handle in list(_handles):
        handle.disown()


os.register_at_fork(after_in_child=_in_child)
