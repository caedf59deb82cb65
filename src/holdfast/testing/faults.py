"""An engine that fails where a test wants it to.

It wraps any engine and knows only the contract. A plan names the call (by its point and number)
and what happens there; calls are counted, so a test can run once without faults, read the
counts, and then run again for every call there was.
"""

from __future__ import annotations

import enum
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, cast

from holdfast.engines.base import (
    Batch,
    Body,
    ClockedView,
    Durability,
    Engine,
    SequencedView,
    View,
)
from holdfast.errors import (
    CorruptionError,
    DiskFullError,
    EngineError,
    OutcomeUnknownError,
    PoisonedError,
)

Point = Literal["get", "scan", "body", "commit", "ack", "flush"]
"""Where a fault can happen. ``get`` counts `get` and `get_many`, of the engine and of views;
``body`` each call of a write's body; ``commit`` is after the body and before anything is written;
``ack`` is after the commit and before `write` returns."""


class Fault(enum.Enum):
    """What happens at a call."""

    ERROR = "error"  #: `EngineError`: nothing was done (on flush and ack: as LOST and LANDED)
    DISK_FULL = "disk full"  #: `DiskFullError` before the commit: nothing was written
    LOST = "lost"  #: `OutcomeUnknownError`; in truth nothing was written
    LANDED = "landed"  #: `OutcomeUnknownError`; in truth it was written
    CORRUPT = "corrupt"  #: `CorruptionError`, of a read
    TWICE = "twice"  #: the body's first call is rolled back and the write starts again


Hook = Callable[[], None]

_FITS: dict[Fault, set[str]] = {
    Fault.ERROR: {"get", "scan", "body", "commit", "ack", "flush"},
    Fault.DISK_FULL: {"body", "commit"},
    Fault.LOST: {"commit", "flush"},
    Fault.LANDED: {"commit", "ack", "flush"},
    Fault.CORRUPT: {"get", "scan"},
    Fault.TWICE: {"body", "commit"},
}


class FaultPlan:
    """What happens at which call.

    A plan maps (point, number from 0) to a `Fault`, to an exception to raise as it is, or to a
    hook: a callable without arguments, run at that place, in which a test can block or act.
    """

    def __init__(
        self, faults: Mapping[tuple[Point, int], Fault | BaseException | Hook] | None = None
    ) -> None:
        self._faults: dict[tuple[str, int], Fault | BaseException | Hook] = {}
        for (point, number), fault in (faults or {}).items():
            self.at(point, number, fault)

    def at(self, point: Point, number: int, fault: Fault | BaseException | Hook) -> FaultPlan:
        """Add one fault; return the plan.

        Raises:
            ValueError: The fault cannot happen at that point.
        """
        if isinstance(fault, Fault) and point not in _FITS[fault]:
            raise ValueError(f"{fault.name} cannot happen at {point!r}")
        self._faults[point, number] = fault
        return self

    def take(self, point: str, number: int) -> Fault | BaseException | Hook | None:
        """Return what happens at this call, or None."""
        return self._faults.get((point, number))


class _RollBackError(Exception):
    """Leaves the wrapped engine's write with nothing written."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class FaultyEngine:
    """Any engine, with faults.

    Attributes:
        inner: The wrapped engine.
        counts: Calls so far by point.
        poisoned: Whether an unknown outcome happened since the last `reopen`.

    Args:
        inner: The engine that does the work.
        plan: What happens when; nothing by default.
        opener: Opens the wrapped engine again, for `reopen`; without it the same one goes on.
    """

    def __init__(
        self,
        inner: Engine,
        plan: FaultPlan | None = None,
        *,
        opener: Callable[[], Engine] | None = None,
    ) -> None:
        self.inner = inner
        self.plan = plan or FaultPlan()
        self.traits = inner.traits
        self.counts: Counter[str] = Counter()
        self.poisoned = False
        self._opener = opener
        self._lock = threading.Lock()

    def reopen(self) -> None:
        """Close the wrapped engine and open it again, which ends the poisoning."""
        if self._opener is not None:
            self.inner.close()
            self.inner = self._opener()
        self.poisoned = False

    def get(self, key: bytes) -> bytes | None:
        """Read, or fail as planned at ``get``."""
        self._read_point("get")
        return self.inner.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read, or fail as planned at ``get``."""
        self._read_point("get")
        return self.inner.get_many(keys)

    @contextmanager
    def read(self) -> Iterator[View]:
        """Open a view whose reads fail as planned."""
        with self.inner.read() as view:
            yield _FaultyView(view, self)

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Write, or fail as planned at ``body``, ``commit`` or ``ack``."""
        self._refuse_if_poisoned()
        landed = False

        def faulty(view: View) -> Batch:
            nonlocal landed
            landed = False
            # A commit may have been in flight when another one poisoned the engine.
            self._refuse_if_poisoned()
            self._write_point("body")
            batch = body(_FaultyView(view, self))
            landed = self._write_point("commit")
            return batch

        while True:
            try:
                self.inner.write(durability, faulty, partitions)
            except _RollBackError as stop:
                if stop.fault is Fault.TWICE:
                    continue
                raise self._unknown("the commit", stop.fault) from None
            break
        if landed:
            raise self._unknown("the commit", Fault.LANDED)
        fault = self._next("ack")
        if isinstance(fault, Fault):
            raise self._unknown("the commit", Fault.LANDED)
        if fault is not None:
            raise fault

    def flush(self) -> None:
        """Flush, or fail as planned at ``flush``: its outcome is then unknown."""
        self._refuse_if_poisoned()
        fault = self._next("flush")
        if fault in (Fault.ERROR, Fault.LOST):
            raise self._unknown("the flush", Fault.LOST)
        if isinstance(fault, BaseException):
            raise fault
        self.inner.flush()
        if fault is Fault.LANDED:
            raise self._unknown("the flush", Fault.LANDED)

    def reclaim(self, budget: int | None = None) -> int:
        """Pass on."""
        self._refuse_if_poisoned()
        return self.inner.reclaim(budget)

    def stats(self) -> Mapping[str, int | float | str]:
        """Pass on."""
        return self.inner.stats()

    def close(self) -> None:
        """Pass on."""
        self.inner.close()

    def _next(self, point: Point) -> Fault | BaseException | None:
        """Count a call; run its hook, or return its fault."""
        with self._lock:
            number = self.counts[point]
            self.counts[point] += 1
        planned = self.plan.take(point, number)
        if isinstance(planned, OutcomeUnknownError):
            self.poisoned = True
        if planned is None or isinstance(planned, Fault | BaseException):
            return planned
        planned()
        return None

    def _read_point(self, point: Point) -> None:
        fault = self._next(point)
        if isinstance(fault, BaseException):
            raise fault
        if fault is Fault.CORRUPT:
            raise CorruptionError(f"planned damage at a {point}", where=point)
        if fault is not None:
            raise EngineError(f"planned failure of a {point}")

    def _write_point(self, point: Point) -> bool:
        """Fail as planned, inside the wrapped engine's write; return whether to fail after it."""
        fault = self._next(point)
        if fault is None:
            return False
        if isinstance(fault, BaseException):
            raise fault
        if fault is Fault.DISK_FULL:
            raise DiskFullError("planned: no space left before the commit")
        if fault is Fault.ERROR:
            raise EngineError(f"planned failure before the commit, at {point}")
        if fault is Fault.LANDED:
            return True
        raise _RollBackError(fault)

    def _unknown(self, what: str, fault: Fault) -> OutcomeUnknownError:
        self.poisoned = True
        return OutcomeUnknownError(f"planned: {what} failed ({fault.value})")

    def _refuse_if_poisoned(self) -> None:
        if self.poisoned:
            raise PoisonedError("an earlier commit's outcome is unknown")


class _FaultyView:
    __slots__ = ("_owner", "_view")

    def __init__(self, view: View, owner: FaultyEngine) -> None:
        self._view = view
        self._owner = owner

    def get(self, key: bytes) -> bytes | None:
        self._owner._read_point("get")
        return self._view.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self._owner._read_point("get")
        return self._view.get_many(keys)

    def scan(
        self,
        start: bytes,
        stop: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        self._owner._read_point("scan")
        return self._view.scan(start, stop, reverse=reverse, limit=limit, keys_only=keys_only)

    def now_ns(self) -> int:
        return cast(ClockedView, self._view).now_ns()

    def sequence(self) -> int:
        return cast(SequencedView, self._view).sequence()
