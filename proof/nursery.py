"""Child processes to be killed: a server imports Holdfast once, and forks a child per order.

The server never opens a store, so a child has nothing of its parent's but code. A child speaks
over a socket of its own with `socket.send`, not with ``write``: what is injected into the
writes of a store must not hit its words.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import holdfast
from holdfast import StateError

ROOT = Path(__file__).resolve().parent.parent
Say = Callable[..., None]


def unable() -> str | None:
    """Say why there can be no such children here, or None."""
    return None if sys.platform == "linux" else "needs Linux: pidfd, and packets on Unix sockets"


class Child:
    """A child under way.

    Attributes:
        pid: Its process id.
        words: What it said so far, each a list that begins with a word.
        over: Nothing more will come.
    """

    def __init__(self, pid: int, wire: socket.socket) -> None:
        self.pid = pid
        self.words: list[list[Any]] = []
        self.over = False
        self._wire = wire
        # Numbers of processes are soon used again on a busy machine; a descriptor is this child's.
        self._handle = os.pidfd_open(pid)

    def hear(self, seconds: float | None = None) -> list[Any] | None:
        """Return the next word; None at the end, or after `seconds` without one."""
        if self.over:
            return None
        self._wire.settimeout(seconds)
        try:
            raw = self._wire.recv(1 << 20)
        except TimeoutError:
            return None
        if not raw:
            self.over = True
            return None
        word: list[Any] = json.loads(raw)
        self.words.append(word)
        return word

    def linger(self, seconds: float) -> None:
        """Hear what it says for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.over:
            self.hear(left)

    def tell(self) -> None:
        """Let a child go on that waits in `listen`."""
        self._wire.send(b"go")

    def kill(self) -> None:
        """Kill it if it lives, and take what it had said."""
        if self._handle >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        self.rest()

    def rest(self) -> None:
        """Take what it says until its end."""
        while self.hear() is not None:
            pass
        self._wire.close()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Nursery:
    """The server, and how to order a child of it."""

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [str(ROOT), str(Path(holdfast.__file__).parent.parent)]
        self._server = subprocess.Popen(
            [sys.executable, "-m", "proof.nursery", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.DEVNULL,  # where engines grumble about injected faults
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        )
        theirs.close()
        self._control = ours
        self._children: list[Child] = []
        return self

    def child(self, program: str, order: dict[str, Any]) -> Child:
        """Fork a child that runs ``module:function`` with `order` and a way to say words."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        raw = json.dumps([program, order]).encode()
        socket.send_fds(self._control, [raw], [theirs.fileno()])
        theirs.close()
        born = Child(int(self._control.recv(64)), ours)
        self._control.send(b"mine")
        self._children.append(born)
        return born

    def abandon(self) -> None:
        """Kill the child that is under way, if one is (whoever ordered it gave up)."""
        for child in list(self._children):
            child.kill()
            self.status()

    def status(self) -> int:
        """Return how the last child ended: its exit status, or minus the signal."""
        self._children.pop()
        return int(self._control.recv(64))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abandon()
        self._control.close()
        self._server.wait()


@functools.cache
def shared() -> Nursery:
    """Return this process's one server, which ends with it."""
    nursery = Nursery()
    nursery.__enter__()
    atexit.register(nursery.__exit__, None, None, None)
    return nursery


def listen(wire: socket.socket) -> None:
    """Wait, in a child, until the parent says go."""
    wire.recv(16)


def _live(program: str, order: dict[str, Any], wire: socket.socket) -> None:
    def say(*word: Any) -> None:
        wire.send(json.dumps(word).encode())

    code = 1
    try:
        module, _, name = program.partition(":")
        getattr(importlib.import_module(module), name)(order, say, lambda: listen(wire))
        code = 0
    except BaseException:  # noqa: BLE001 - whatever ends the child is told
        say("broke", traceback.format_exc())
    finally:
        os._exit(code)


def serve(control: socket.socket) -> None:
    """Fork a child per order, one at a time, until the parent closes the control socket."""
    with holdfast.open("memory:") as state:  # so that children find everything imported
        state.set("global", "k", 1)
    for engine in ("sqlite", "rocksdb"):
        with suppress(ImportError, StateError):
            importlib.import_module(f"holdfast.engines.{engine}.opening")
    while True:
        raw, files, _, _ = socket.recv_fds(control, 1 << 16, 1)
        if not raw:
            return
        program, order = json.loads(raw)
        wire = socket.socket(fileno=files[0])
        importlib.import_module(program.partition(":")[0])
        pid = os.fork()
        if pid == 0:
            control.close()
            _live(program, order, wire)
        wire.close()
        control.send(str(pid).encode())
        control.recv(16)  # the parent has its handle: only now may the child be reaped
        _, status = os.waitpid(pid, 0)
        try:
            control.send(str(os.waitstatus_to_exitcode(status)).encode())
        except BrokenPipeError:
            return


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
