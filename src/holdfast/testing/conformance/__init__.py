"""The engine contract as tests: subclass, say how to open, run pytest.

    class TestMine(EngineConformance):
        def open(self, path, **options):
            return MyEngine(path, **options)

Every test states one sentence of `holdfast.engines.base`. The kit knows no engine; what an
engine does beside the contract (locks between processes, crashes, damage) is for its own tests.
"""

from __future__ import annotations

from holdfast.testing.conformance.batches import BatchRules
from holdfast.testing.conformance.kit import Kit
from holdfast.testing.conformance.life import LifeRules
from holdfast.testing.conformance.partitions import PartitionRules

# isort: split  (the kit goes first: it says which extra is missing)
from holdfast.testing.conformance.reading import ReadingRules
from holdfast.testing.conformance.threads import ThreadRules

__all__ = ["EngineConformance", "Kit"]


class EngineConformance(ReadingRules, BatchRules, ThreadRules, PartitionRules, LifeRules):
    """The contract of `holdfast.engines.base`, for an engine that a subclass opens.

    A subclass overrides `open`, and may set the attributes of `Kit`. Tests of abilities that the
    engine's traits do not claim are skipped.
    """
