"""Child processes that speak in lines of JSON: what a dying one had said before is not lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_SAYING = threading.Lock()


class Child:
    """One child, started as ``python -m MODULE ARGUMENTS``."""

    def __init__(self, module: str, arguments: dict[str, Any]) -> None:
        command = [sys.executable, "-m", module, json.dumps(arguments)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=_ROOT
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def start(self) -> None:
        """Let a child that waits in `ready` go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def line(self) -> Any:
        """Return the next line, or None when there will be none."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        return json.loads(text) if text.endswith("\n") else None  # a torn line was never said

    def lines(self) -> Iterator[Any]:
        """Yield every line until the child ends."""
        while (line := self.line()) is not None:
            yield line

    def kill(self) -> None:
        """Kill it, as ``kill -9`` does."""
        self._process.kill()

    def end(self) -> int:
        """Wait for its end and return its status."""
        status = self._process.wait(120)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return status


@contextmanager
def children(module: str, arguments: list[dict[str, Any]]) -> Iterator[list[Child]]:
    """Start children and wait until every one is `ready`; whatever happens, none is left."""
    started = [Child(module, each) for each in arguments]
    try:
        for child in started:
            child.line()
        yield started
    finally:
        for child in started:
            child.kill()
            child.end()


def say(line: Any) -> None:
    """Say one line to the parent (in a child); it is out when this returns, from any thread."""
    rest = json.dumps(line).encode() + b"\n"
    with _SAYING:
        while rest:
            rest = rest[os.write(1, rest) :]


def ready() -> None:
    """Say that the child is ready, and wait for the parent's `start`."""
    say("ready")
    sys.stdin.readline()
