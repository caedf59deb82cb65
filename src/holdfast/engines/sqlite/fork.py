"""Forking: the child closes what it inherited and opens its own connections.

SQLite keeps a table of the files and POSIX locks of its process, and the kernel does not hand
those locks to a child. A connection inherited and merely *kept* poisons that table: a new one on
the same file finds the locks "already held", takes none, and runs unprotected (seen in
/proc/locks). Closing the inherited connections clears the table and cannot hurt the parent,
whose locks are its own, as long as the close does not checkpoint or delete the log: all
connections carry ``SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE``. Only idle connections can be closed, so
forking waits for calls in flight. If they do not end soon (say, the forking thread itself holds
a view), the child keeps everything untouched for ever, and its handle raises `ForkedError`.
"""

from __future__ import annotations

import os
import threading
import weakref

from holdfast.engines.sqlite.checkpoint import Checkpointer
from holdfast.engines.sqlite.connections import Connections
from holdfast.engines.sqlite.log import LogFile
from holdfast.engines.sqlite.pool import ReaderPool
from holdfast.engines.sqlite.turnstile import Turnstile

PATIENCE = 2.0  #: seconds that a fork waits for calls in flight


class Forkable:
    """The parts of one engine, and what happens to them around a fork."""

    def __init__(
        self,
        checkpointer: Checkpointer,
        turnstile: Turnstile,
        connections: Connections,
        log: LogFile,
    ) -> None:
        self._checkpointer, self._turnstile = checkpointer, turnstile
        self._connections, self._log = connections, log

    def pause(self, timeout: float) -> bool:
        """Let no call run; return whether that worked within `timeout` seconds each."""
        if self._connections.closed or self._connections.forked:
            return False
        done: list[Checkpointer | Turnstile | ReaderPool] = []
        for step in (self._checkpointer, self._turnstile, self._connections.readers):
            if not step.pause(timeout):
                for earlier in reversed(done):
                    earlier.resume()
                return False
            done.append(step)
        return True

    def resume(self) -> None:
        """Undo `pause`, in the parent. Called only if that worked."""
        self._connections.readers.resume()
        self._turnstile.resume()
        self._checkpointer.resume()

    def child(self, *, quiet: bool) -> None:
        """Start afresh in the child; `quiet` says whether `pause` worked."""
        if self._connections.closed:
            return
        if not quiet or self._connections.exclusive:
            self._connections.disown()
            self._turnstile.disown()
            return
        self._connections.reborn()
        self._turnstile.reborn()
        self._log.reborn()
        self._checkpointer.reborn()


class _Forks:
    """The one registry of a process (`os.register_at_fork` cannot be undone)."""

    def __init__(self) -> None:
        self._handles: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self._one = threading.Lock()  # held from before a fork until after it
        self._paused: list[tuple[Forkable, bool]] = []
        #: What a child inherited in use. Never freed: freeing a connection closes it.
        self._graveyard: list[Forkable] = []

    def watch(self, handle: Forkable) -> None:
        self._handles.add(handle)

    def before(self) -> None:
        self._one.acquire()
        for handle in list(self._handles):
            self._paused.append((handle, handle.pause(PATIENCE)))

    def in_parent(self) -> None:
        while self._paused:
            handle, quiet = self._paused.pop()
            if quiet:
                handle.resume()
        self._one.release()

    def in_child(self) -> None:
        self._one = threading.Lock()
        while self._paused:
            handle, quiet = self._paused.pop()
            if not quiet:
                self._graveyard.append(handle)
            handle.child(quiet=quiet)


_forks = _Forks()
#: Have a handle told of forks, for as long as it lives.
watch = _forks.watch

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_forks.before,
        after_in_parent=_forks.in_parent,
        after_in_child=_forks.in_child,
    )
