"""Faults at random calls of an engine."""

from __future__ import annotations

import random
import threading
from collections import Counter

from holdfast.testing import Fault, FaultPlan


class RandomFaults(FaultPlan):
    """Faults at random calls."""

    def __init__(self, seed: str) -> None:
        super().__init__()
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self.taken: Counter[str] = Counter()

    def take(self, point: str, number: int) -> Fault | None:
        """Return a fault now and then."""
        with self._lock:
            chance = self._rng.random()
            if point == "ack":
                fault = Fault.LANDED if chance < 0.02 else None
            elif point == "commit":
                some = (Fault.LOST, Fault.LANDED, Fault.ERROR, Fault.DISK_FULL, Fault.TWICE)
                fault = self._rng.choice(some) if chance < 0.06 else None
            else:
                fault = Fault.ERROR if point == "get" and chance < 0.005 else None
            if fault is not None:
                self.taken[f"{fault.value} at {point}"] += 1
            return fault
