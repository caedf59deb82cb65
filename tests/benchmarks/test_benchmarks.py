"""The benchmarks run and store what they should; how fast anything is, is not asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.cases import CASES
from benchmarks.measure import Bench, Target, pair_of
from benchmarks.report import to_json
from benchmarks.sampling import Sampler

_ROW = {
    "case": str,
    "engine": str,
    "work": str,
    "unit": str,
    "ours": float,
    "yardstick": float | None,
    "figure": float | None,
    "low": float | None,
    "high": float | None,
    "target": str | None,
    "reached": bool | None,
    "note": str,
}
_ENGINES = {
    "memory": {"memory"},
    "durable": {"sqlite", "rocksdb"},
    "writers": {"sqlite", "rocksdb"},
    "batch": {"sqlite", "rocksdb"},
    "get": {"memory", "sqlite", "rocksdb"},
    "scan": {"memory", "sqlite", "rocksdb"},
    "turns": {"sqlite", "rocksdb"},
    "engines": {"memory", "sqlite", "rocksdb", "postgres"},
    "timeline": {"memory", "sqlite", "rocksdb"},
    "observe": {"memory"},
    "hooks": {"memory"},
    "migrations": {"sqlite", "rocksdb"},
    "flows": {"sqlite", "rocksdb"},
    "streams": {"sqlite", "rocksdb"},
}


def test_every_case_is_tested() -> None:
    """The cases of the command are those that the tests know."""
    assert set(CASES) == set(_ENGINES)


@pytest.mark.parametrize("name", CASES)
def test_a_case_measures_its_engines(name: str, tmp_path: Path) -> None:
    """A tiny run of a case has rows of the stated shape for each of its engines."""
    rows = CASES[name].run(Bench(tmp_path, factor=0.002, rounds=1))
    stored = json.loads(json.dumps(to_json(rows, {"quick": True})))
    assert stored["quick"] is True
    assert {row["engine"] for row in stored["rows"]} == _ENGINES[name]
    for row in stored["rows"]:
        assert row["case"] == name
        assert list(row) == list(_ROW)
        for field, kind in _ROW.items():
            assert isinstance(row[field], kind), (field, row)
        assert (row["reached"] is None) == (row["target"] is None)


def test_the_command_stores_what_it_measured(tmp_path: Path) -> None:
    """`--case`, `--engine` and `--output` choose what is measured and where it goes."""
    file = tmp_path / "result.json"
    chosen = ["--case", "batch", "--engine", "sqlite", "--quick", "--rounds", "1"]
    assert main([*chosen, "--dir", str(tmp_path), "--output", str(file)]) == 0
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert list(stored) == ["started_at", "quick", "rounds", "machine", "rows"]
    assert [(row["case"], row["engine"]) for row in stored["rows"]] == [("batch", "sqlite")]
    assert [path for path in tmp_path.iterdir() if path != file] == []


def test_a_profile_counts_the_functions_of_holdfast(tmp_path: Path) -> None:
    """Samples name modules below `holdfast` only, and there is nothing to see while paused."""
    with Sampler() as sampler:
        CASES["batch"].run(Bench(tmp_path, factor=0.2, rounds=3, sampler=sampler))
    assert sampler.samples == sum(sampler.own.values())
    assert all(":" in name and not name.startswith("benchmarks") for name in sampler.total)


def test_ratios_are_taken_round_by_round() -> None:
    """The ratio is the median of the rounds' ratios, not the ratio of the medians."""
    pair = pair_of([10.0, 40.0, 90.0], [10.0, 20.0, 30.0])
    assert (pair.ours, pair.theirs, pair.ratio) == (40.0, 20.0, 2.0)


def test_targets_are_bounds_from_above_or_below() -> None:
    """A target says its bound and which side of it is right."""
    assert str(Target(1.25)) == "≤ 1.25x"
    assert [Target(1.25).reached(figure) for figure in (1.25, 1.26)] == [True, False]
    assert str(Target(40, "ms")) == "≤ 40 ms"
    floor = Target(0.6, at_least=True)
    assert str(floor) == "≥ 0.6x"
    assert [floor.reached(figure) for figure in (0.6, 0.5)] == [True, False]
