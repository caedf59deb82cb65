"""`holdfast migrate`: plan, dry run, apply, status, rollback and resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cli.conftest import Holdfast

STEPS = Path(__file__).parent / "migrate_steps.toml"


def test_migrate(holdfast_command: Holdfast, tmp_path: Path) -> None:
    """A migration from its plan to its rollback, with what each command says."""
    shutil.copy(STEPS, tmp_path / "steps.toml")
    steps = ["--steps", "steps.toml"]
    store = ["--store", "s.db"]
    value = '{"price": 5, "items": "2", "old": "gone"}'
    assert holdfast_command("set", "user:ada", "order", value, *store).status == 0
    plan = holdfast_command("migrate", "plan", "order", "--from", "1", "--to", "2", *steps)
    assert "cost\t1\t2" in plan.out
    assert "loses data: cost: old is removed" in plan.out
    gap = holdfast_command("migrate", "plan", "order", "--from", "1", "--to", "3", *steps)
    assert gap.status == 5

    said = ["order", "--to", "2", "--scope", "user:*", *steps, *store]
    tried = holdfast_command("migrate", "dry-run", *said)
    assert "price: 5 → (absent)" in tried.out
    assert "1 value to migrate" in tried.out
    lines = holdfast_command("migrate", "dry-run", *said, "--json").out.splitlines()
    assert json.loads(lines[0])["lost"] == ["old"]
    refused = holdfast_command("migrate", "apply", *said)
    assert refused.status == 5
    assert "--allow-loss" in refused.err
    applied = holdfast_command("migrate", "apply", *said, "--allow-loss", "--json")
    run = json.loads(applied.out)
    assert (run["state"], run["migrated"]) == ("completed", 1)
    shown = holdfast_command("get", "user:ada", "order", *store)
    assert json.loads(shown.out) == {"items": 2, "cost": {"amount": 5}}

    listed = holdfast_command("migrate", "status", *store)
    assert run["id"] in listed.out
    one = holdfast_command("migrate", "status", run["id"], *store)
    assert f"{run['id']}: order to version 2: completed; 1 migrated" in one.out
    again = holdfast_command("migrate", "resume", run["id"], *steps, *store)
    assert "completed" in again.out
    back = holdfast_command("migrate", "rollback", run["id"], *store)
    assert "rolled_back" in back.out
    assert "1 restored, 0 changed since" in back.out
    assert holdfast_command("get", "user:ada", "order", *store).out.strip() == value
    assert holdfast_command("migrate", "status", "f" * 32, *store).status == 3
