"""What the tests of Holdfast are made of, for those who write engines and stores of their own.

- `EngineConformance`: the contract of `holdfast.engines.base`, as a class to subclass (pytest).
- `FaultyEngine`, `FaultPlan`, `Fault`: an engine that fails at the call you choose.
- `FakeClock`: time that moves when a test says so.

The conformance kit needs the extra ``test`` (pytest, hypothesis) and is imported only when it is
asked for; the rest needs nothing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from holdfast.testing.clock import FakeClock
from holdfast.testing.faults import Fault, FaultPlan, FaultyEngine

if TYPE_CHECKING:
    from holdfast.testing.conformance import EngineConformance

__all__ = ["EngineConformance", "FakeClock", "Fault", "FaultPlan", "FaultyEngine"]

if "pytest" in sys.modules:  # so that the kit's plain asserts explain themselves
    sys.modules["pytest"].register_assert_rewrite("holdfast.testing.conformance")


def __getattr__(name: str) -> Any:
    if name == "EngineConformance":
        from holdfast.testing.conformance import EngineConformance

        return EngineConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
