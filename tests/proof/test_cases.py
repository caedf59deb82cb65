"""The proof suite's quick form, one test per case and engine; ``make proof`` is the command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proof.cases import CASES
from proof.runner import Plan, run

#: One seed, so that a failure is of the change at hand; `make proof` takes another in every run.
SEED = int(os.environ.get("HOLDFAST_PROOF_SEED", "1"))
PAIRS = [(c.name, engine) for c in CASES.values() if c.tested for engine in c.engines]


@pytest.mark.parametrize(("name", "engine"), PAIRS)
def test_claim_stands(name: str, engine: str, tmp_path: Path) -> None:
    """The quick form refutes no claim; a failure prints the seed that shows it."""
    plan = Plan(SEED, trials=CASES[name].in_tests, directory=tmp_path)
    tally = run([CASES[name]], [engine], plan, lambda *_: None)[name, engine]
    if tally.skipped is not None:
        pytest.skip(tally.skipped)
    print(f"{name}/{engine}: seed {plan.seed}, {len(tally.done)} trials, {dict(tally.counts)}")
    for each in tally.refuted:
        print(f"refuted, seed {each['seed']}\n{each['traceback']}")
    assert not tally.refuted
