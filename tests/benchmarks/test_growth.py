"""The benchmark of growing stores measures what it says, on stores that are small here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import holdfast
from benchmarks.growth import size, tails
from benchmarks.growth.figure import Figure, spread
from benchmarks.growth.report import page_tables
from benchmarks.growth.run import Run
from benchmarks.growth.store import Shape, fill_new


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_a_store_is_filled_and_measured(engine: str, tmp_path: Path) -> None:
    """Every place of a shape holds a value once it is filled, and each work has a figure."""
    path = tmp_path / "store"
    shape = Shape(engine, f"{engine}:{path}", path, 300, 3)
    fill_new(shape)
    with holdfast.open(shape.url) as state:
        assert state.info()["records"] == 300
        assert [state.count(scope) for scope in state.scopes()] == [100, 100, 100]
        assert all(state.exists(*place) for place in shape.chosen(50, 3))
    works = [figure.work for figure in size.measure(shape)]
    assert len(works) == len(set(works)) == 14


def test_tails_are_measured_beside_other_work() -> None:
    """Calls are timed alone, beside a busy thread at two intervals, and beside `compact`."""
    figures = tails.measure(Shape("memory", "memory:", None, 2000, 2))
    assert len(figures) == 8
    assert all(one.figure <= one.p99 <= one.highest for one in figures if one.p99 is not None)


@pytest.mark.slow
def test_a_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """Rows name case, engine, keys and scopes; the store is gone afterwards."""
    rows = Run(tmp_path, None, lambda _: None).sizes("sqlite", 200)
    assert {(r["case"], r["engine"], r["keys"], r["scopes"]) for r in rows} == {
        ("size", "sqlite", 200, 1)
    }
    json.dumps(rows)
    assert list(tmp_path.iterdir()) == []


def test_memory_stops_at_a_million() -> None:
    """The memory engine is not asked for more keys than a machine may hold."""
    assert Run(Path("nowhere"), None, lambda _: None).sizes("memory", 5_000_000) == []


def test_a_spread_is_median_p99_and_highest() -> None:
    """Times in seconds become figures in the unit that is asked for."""
    found = spread("get", "µs", [n / 1e6 for n in range(1, 201)])
    assert (round(found.figure), round(found.p99 or 0), round(found.highest or 0)) == (
        101,
        199,
        200,
    )


def test_sizes_stand_side_by_side() -> None:
    """A work is a row, a size is a column; tails are p50, p99 and the highest."""
    row = {"case": "size", "engine": "sqlite", "scopes": 1}
    rows = [
        {**row, "keys": keys, **Figure("get", "µs", 5.0, 9.0, 12.0).to_data()} for keys in (10, 100)
    ]
    rows.append({**row, "keys": 100, "case": "tails", **Figure("set", "µs", 1, 2, 3).to_data()})
    text = page_tables({"rows": rows})
    assert "| sqlite | get, µs | 5 (9) | 5 (9) |" in text
    assert "| set | µs | 1 / 2 / 3 |" in text
