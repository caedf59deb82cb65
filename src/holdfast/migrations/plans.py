"""The plans of one run: its values may be at several versions."""

from __future__ import annotations

from xxhash import xxh3_128_hexdigest

from holdfast.errors import MigrationPlanError
from holdfast.migrations.catalogue import Catalogue
from holdfast.migrations.planner import Plan, plan
from holdfast.store.codec import encode


class Plans:
    """The plans of a run, one for each version that is met; safe for many threads."""

    def __init__(self, catalogue: Catalogue, schema: str, to_version: int) -> None:
        self._schema, self.to_version = schema, to_version
        self._steps = catalogue.steps(schema)
        self.made: dict[int, Plan] = {}
        if not self._steps:
            raise MigrationPlanError(
                f"no step of {schema} is known", hint="load the steps: a file, or a module"
            )

    def __call__(self, version: int) -> Plan:
        """Return the plan from a version."""
        found = self.made.get(version)
        if found is None:
            found = plan(self._steps, self._schema, version, self.to_version)
            self.made[version] = found
        return found

    def digest(self) -> str:
        """Return what tells these steps from others: their data; of functions only the name."""
        steps = [
            [each.from_version, each.to_version, each.name, each.lossless, each.data]
            for each in sorted(self._steps.values(), key=lambda step: step.from_version)
        ]
        return xxh3_128_hexdigest(encode(steps, max_bytes=1 << 24))
