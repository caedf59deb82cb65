"""A client of the failover proof, in a process of its own: writes, and notes what is acknowledged.

Run as ``python -m proof.failover_writer URL SPILL LOG NAME``. Standard output gets one JSON object
a line: each change of the breaker's state with its time, and at the end what the client met. It
ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

import holdfast
from holdfast import FailoverSettings, StateManager
from holdfast.failover.kernel import FailoverKernel

THREADS = 4
SCOPE = "agent:proof"
_PAUSE = 0.02  # between two writes of a thread


def tell(**facts: Any) -> None:
    """Print one line."""
    print(json.dumps(facts), flush=True)


class Client:
    """The threads that write."""

    def __init__(self, state: StateManager, log: str, name: str) -> None:
        self._state, self._name = state, name
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.ending = threading.Event()
        self.longest = 0.0
        self.errors: list[str] = []

    def write(self, thread: int) -> None:
        """Write numbers: each once to a key of its own, and all in turn to one key."""
        number, who = 0, f"{self._name}{thread}"
        while not self.ending.wait(_PAUSE):
            number += 1
            for key in (f"{who}-{number}", who):
                began = time.monotonic()
                try:
                    self._state.set(SCOPE, key, number)
                    if self._state.get(SCOPE, key) != number:
                        self.errors.append(f"{key} does not read back")
                except holdfast.StateError as error:
                    self.errors.append(f"{key}: {error.code} {error}")
                else:
                    os.write(self._log, f"{key} {number}\n".encode())
                self.longest = max(self.longest, time.monotonic() - began)

    def watch(self) -> None:
        """Tell of every change between primary and spill."""
        kernel = self._state._kernel
        assert isinstance(kernel, FailoverKernel)
        before = None
        while not self.ending.wait(0.002):
            now = kernel.degraded
            if now != before:
                tell(degraded=now, at=time.monotonic(), code=kernel.breaker.code)
                before = now


def main() -> None:
    """Open the store, write until standard input ends, and tell what happened."""
    url, spill, log, name = sys.argv[1:]
    state = holdfast.open(url, failover=FailoverSettings(spill=spill))
    client = Client(state, log, name)
    threads = [threading.Thread(target=client.watch)]
    threads += [threading.Thread(target=client.write, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    client.ending.set()
    for thread in threads:
        thread.join()
    status = state.failover.status()
    state.close()
    tell(
        done=True,
        errors=client.errors[:10],
        longest=client.longest,
        conflicts=status.conflicts,
        pending=status.pending,
        replayed=status.replayed,
        state=status.state,
    )


if __name__ == "__main__":
    main()
