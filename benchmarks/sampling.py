"""Where the time goes: samples of every thread's stack while Holdfast works.

A sampler costs the same for short and long functions, where a tracing profiler makes short ones
look expensive. A thread can only look when it has the GIL, so work inside a C call counts for the
line that called it. Waiting threads are left out.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from types import FrameType

_INTERVAL = 0.0005
#: Innermost functions of threads that wait for something to do.
_IDLE = {
    ("threading", "wait"),
    ("holdfast.clock", "wait"),
    ("holdfast.store.lane", "submit"),
    ("selectors", "select"),
    ("concurrent.futures.thread", "_worker"),
}


class Sampler:
    """Counts in which of Holdfast's functions time is spent, and below which.

    Attributes:
        own: Samples by innermost function of Holdfast's and line.
        total: Samples by each function of Holdfast's on the stack.
        samples: How many.
    """

    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self.total: Counter[str] = Counter()
        self.samples = 0
        self._on = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="benchmarks-sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0001)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._on.set()
        self._thread.join()
        sys.setswitchinterval(self._interval)

    def resume(self) -> None:
        """Begin, or go on, to look."""
        self._on.set()

    def pause(self) -> None:
        """Look no more until told."""
        self._on.clear()

    def _run(self) -> None:
        pause = threading.Event()
        me = threading.get_ident()
        while True:
            self._on.wait()
            if self._ended:
                return
            for ident, frame in sys._current_frames().items():
                if ident != me:
                    self._note(frame)
            pause.wait(_INTERVAL)

    def _note(self, innermost: FrameType) -> None:
        frame: FrameType | None = innermost
        if (_module(innermost), innermost.f_code.co_name) in _IDLE:
            return
        seen: set[str] = set()
        own = ""
        while frame is not None:
            module = _module(frame)
            if module.startswith("holdfast"):
                name = f"{module.removeprefix('holdfast.')}:{frame.f_code.co_qualname}"
                own = own or f"{name}:{frame.f_lineno}"
                seen.add(name)
            frame = frame.f_back
        if own:
            self.samples += 1
            self.own[own] += 1
            self.total.update(seen)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
