"""Runs the trials of cases, in shards that can be interrupted and resumed."""

from __future__ import annotations

import json
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proof.case import Case, Trial


@dataclass(slots=True)
class Tally:
    """What the trials of one case on one engine came to so far.

    Attributes:
        done: Numbers of the trials that are finished.
        counts: What they counted.
        seconds: How long they took.
        refuted: Seed and traceback of each trial that found a counterexample or broke.
        skipped: Why it was not run, or None.
    """

    done: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    refuted: list[dict[str, str]] = field(default_factory=list)
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Attributes:
        seed: All randomness comes from it.
        long: The long form.
        trials: Another number of trials per case and engine.
        shard: This process takes trials with ``index % shards == shard``.
        shards: How many processes share the work.
        directory: Where stores are made.
        state: File that remembers finished trials; the run goes on from it. None: nothing is kept.
    """

    seed: int
    long: bool = False
    trials: int | None = None
    shard: int = 0
    shards: int = 1
    directory: Path | None = None
    state: Path | None = None

    def indexes(self, case: Case) -> Iterator[int]:
        """Yield the numbers of this shard's trials of `case`."""
        total = self.trials or (case.long if self.long else case.quick)
        yield from range(self.shard, total, self.shards)


Progress = Callable[[Case, str, Tally], None]


def run(
    cases: list[Case], engines: list[str], plan: Plan, progress: Progress
) -> dict[tuple[str, str], Tally]:
    """Run every trial of the plan that is not finished; `progress` hears of each."""
    tallies = _load(plan)
    for case in cases:
        for engine in case.engines:
            if engines and engine not in engines:
                continue
            tally = tallies.setdefault((case.name, engine), Tally())
            tally.skipped = case.unable(engine)
            if tally.skipped is None:
                done = set(tally.done)
                for index in plan.indexes(case):
                    if index not in done:
                        _attempt(case, engine, index, plan, tally)
                        progress(case, engine, tally)
                        _save(plan, tallies)
            progress(case, engine, tally)
    return tallies


def trial_seed(plan: Plan, case: Case, engine: str, index: int) -> str:
    """Return the text that a trial's randomness comes from."""
    return f"{plan.seed}/{case.name}/{engine}/{index}"


def _attempt(case: Case, engine: str, index: int, plan: Plan, tally: Tally) -> None:
    seed = trial_seed(plan, case, engine, index)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=plan.directory, prefix="holdfast-proof-") as directory:
        try:
            tally.counts.update(case.run(Trial(engine, index, seed, Path(directory), plan.long)))
        except Exception:  # noqa: BLE001 - whatever breaks is a finding
            tally.refuted.append({"seed": seed, "traceback": traceback.format_exc()})
    tally.seconds += time.perf_counter() - began
    tally.done.append(index)


def _load(plan: Plan) -> dict[tuple[str, str], Tally]:
    if plan.state is None or not plan.state.exists():
        return {}
    kept = json.loads(plan.state.read_text())
    if kept["plan"] != _identity(plan):
        raise SystemExit(
            f"{plan.state} is of another run: {kept['plan']}; delete it, or give the same options"
        )
    return {
        tuple(name.split("/")): Tally(**{**each, "counts": Counter(each["counts"])})  # type: ignore[misc]
        for name, each in kept["tallies"].items()
    }


def _save(plan: Plan, tallies: dict[tuple[str, str], Tally]) -> None:
    if plan.state is None:
        return
    kept = {"plan": _identity(plan), "tallies": to_data(tallies)}
    fresh = plan.state.with_suffix(".new")
    fresh.write_text(json.dumps(kept))
    fresh.replace(plan.state)


def _identity(plan: Plan) -> dict[str, int]:
    return {"seed": plan.seed, "shard": plan.shard, "shards": plan.shards}


def to_data(tallies: dict[tuple[str, str], Tally]) -> dict[str, Any]:
    """Return tallies as JSON types."""
    return {
        "/".join(name): {
            "done": tally.done,
            "counts": dict(tally.counts),
            "seconds": round(tally.seconds, 3),
            "refuted": tally.refuted,
            "skipped": tally.skipped,
        }
        for name, tally in tallies.items()
    }
