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
    handles = list(_handles)
    for handle in handles:
        for kept in handle.disown():
            # Not even at the child's end: RocksDB's destructor waits for threads that it has not.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    if handles:
        _skip_exit_handlers()


def _skip_exit_handlers() -> None:
    """Let a child that ends with `sys.exit` not run RocksDB's C exit handler.

    It joins the threads of the parent's pool, which the child does not have, and crashes. What is
    registered last runs first: glibc's `on_exit` hands the status to `_exit`. Python has flushed
    its files and run its own `atexit` functions by then. (multiprocessing ends its children with
    `os._exit` anyway.)
    """
    libc = ctypes.CDLL(None)
    try:
        libc.on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None)
    except AttributeError:  # not glibc: end such children with os._exit
        pass


os.register_at_fork(after_in_child=_in_child)
