"""Migrations: stored values from one version of their schema to another, and back.

`MigrationEngine` runs them, `Versioned` shows values at one version while programs of several are
at work. Parts: `paths`, `transforms` and `converting` (pure functions over values), `functions`
and `steps` (what a step is), `catalogue` (where steps come from), `planner` (the way), `settings`,
`selection`, `batch`, `restoring`, `ledger` and `report` (a run), `engine`, `lazy`.
"""

from holdfast.migrations.catalogue import Catalogue
from holdfast.migrations.engine import MigrationEngine
from holdfast.migrations.functions import migration, predicate, transformer, validator
from holdfast.migrations.lazy import Versioned
from holdfast.migrations.planner import Plan
from holdfast.migrations.report import DryRun, KeyChange, MigrationResult, Run
from holdfast.migrations.settings import RunSettings
from holdfast.migrations.steps import Condition, MigrationStep
from holdfast.migrations.transformations import (
    Convert,
    Copy,
    Custom,
    Default,
    Map,
    Merge,
    Move,
    Remove,
    Rename,
    Split,
    Validation,
)
from holdfast.migrations.transforms import apply
from holdfast.store.value import MISSING, MigrationInfo

__all__ = [
    "MISSING",
    "Catalogue",
    "Condition",
    "Convert",
    "Copy",
    "Custom",
    "Default",
    "DryRun",
    "KeyChange",
    "Map",
    "Merge",
    "MigrationEngine",
    "MigrationInfo",
    "MigrationResult",
    "MigrationStep",
    "Move",
    "Plan",
    "Remove",
    "Rename",
    "Run",
    "RunSettings",
    "Split",
    "Validation",
    "Versioned",
    "apply",
    "migration",
    "predicate",
    "transformer",
    "validator",
]
