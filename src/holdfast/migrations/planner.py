"""Planning: from two versions and the steps that there are to a plan, or to why there is none.

Pure; nothing of the data is touched, or even read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.errors import MigrationPlanError, UnsafeMigrationError
from holdfast.migrations.steps import Step
from holdfast.migrations.transforms import Trace


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps that lead from one version of a schema to another.

    Attributes:
        schema, from_version, to_version: What it leads from and to.
        steps: In the order in which they run: on the way down, the last one first.
        up: It leads to a higher version.
        reasons: Why it loses data; none where it is safe.
    """

    schema: str
    from_version: int
    to_version: int
    steps: tuple[Step, ...]
    up: bool
    reasons: tuple[str, ...]

    @property
    def safe(self) -> bool:
        """Say whether it loses nothing."""
        return not self.reasons

    def refuse_loss(self, allow_loss: bool) -> None:
        """Refuse a plan that loses data, unless that is allowed.

        Raises:
            UnsafeMigrationError: It is not.
        """
        if self.reasons and not allow_loss:
            raise UnsafeMigrationError(
                f"{self.schema} from version {self.from_version} to {self.to_version} loses data: "
                + "; ".join(self.reasons),
                reasons=self.reasons,
            )

    def run(self, value: Any, trace: Trace) -> Any:
        """Return a value of the caller's own as the steps leave it; it may be changed.

        Raises:
            MigrationStepError: A step cannot work on it; `step` names it.
        """
        for step in self.steps:
            change = step.up if self.up else step.down
            assert change is not None
            try:
                value = change(value, trace)
            except Exception as error:
                error.__dict__.setdefault("step", step.name)
                raise
        return value

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return {
            "schema": self.schema,
            "from": self.from_version,
            "to": self.to_version,
            "direction": "up" if self.up else "down",
            "steps": [
                {
                    "name": step.name,
                    "from": step.from_version if self.up else step.to_version,
                    "to": step.to_version if self.up else step.from_version,
                    "lossless": step.lossless,
                }
                for step in self.steps
            ],
            "reasons": list(self.reasons),
        }


def plan(steps: Mapping[int, Step], schema: str, from_version: int, to_version: int) -> Plan:
    """Return the only way from one version to the other, over every registered one between.

    Raises:
        MigrationPlanError: A step is missing, or goes past the end, or has no way back.
    """
    up = from_version <= to_version
    low, high = min(from_version, to_version), max(from_version, to_version)
    found: list[Step] = []
    at = low
    while at < high:
        step = steps.get(at)
        if step is None or step.to_version > high:
            past = "" if step is None else f"; {step.name} goes on to version {step.to_version}"
            raise MigrationPlanError(
                f"no step of {schema} leads from version {at} to {high}{past}",
                schema=schema,
                from_version=from_version,
                to_version=to_version,
            )
        found.append(step)
        at = step.to_version
    if up:
        reasons = [f"{step.name}: {why}" for step in found for why in step.losses]
    else:
        found.reverse()
        for step in found:
            if step.down is None:
                raise MigrationPlanError(
                    f"step {step.name} of {schema} has no way back from version "
                    f"{step.to_version} to {step.from_version}",
                    hint="roll the migration back: that restores what was there",
                    schema=schema,
                    from_version=from_version,
                    to_version=to_version,
                )
        reasons = [f"{step.name} is not declared lossless" for step in found if not step.lossless]
    return Plan(schema, from_version, to_version, tuple(found), up, tuple(reasons))
