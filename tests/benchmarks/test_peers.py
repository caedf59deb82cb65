"""The benchmark beside other stores: its cases and reports; none of the stores is needed here."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.cases import CASES, WrongValueError
from benchmarks.peers.contenders import CONTENDERS, Contender
from benchmarks.peers.figure import Found, merged, percentile
from benchmarks.peers.peer import Peer, Place
from benchmarks.peers.report import page_tables, to_json
from benchmarks.peers.run import Run
from benchmarks.peers.waiting import at_once, call

HERE = [one for one in CONTENDERS if one.name in ("Holdfast memory", "raw dict", "raw sqlite")]
_WHO = ("a store", "sync", "peer")


def a_run(directory: Path) -> Run:
    """Return a run of a hundredth of the work."""
    return Run(directory, None, 0.01, 1, lambda _: None, {})


def test_adapters_import_their_libraries_only_when_they_open() -> None:
    """Making every contender imports no other store, so the tests need none."""
    program = (
        "import sys\n"
        "from benchmarks.peers.contenders import CONTENDERS\n"
        "for each in CONTENDERS: each.make()\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=_root()
    )
    foreign = {"langgraph", "agents", "diskcache", "key_value", "sqlitedict", "matplotlib"}
    assert not foreign & set(eval(done.stdout))


def test_a_contender_is_told_apart_by_name_and_durability() -> None:
    """No two contenders share name and durability, and each says how it comes about."""
    names = Counter((one.name, one.durability) for one in CONTENDERS)
    assert max(names.values()) == 1
    assert {one.durability for one in CONTENDERS} == {"sync", "os", "memory"}
    assert all(one.how for one in CONTENDERS)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contender without its library says which module is missing, and is left out by that."""
    contender = HERE[0]
    assert contender.missing() == []
    monkeypatch.setattr(Contender, "make", lambda _: _Wanting())
    assert contender.missing() == ["no_such_module.at_all"]


class _Wanting(Peer):
    requires = ("json", "no_such_module.at_all")


@pytest.mark.parametrize("name", CASES)
def test_a_case_has_every_figure_of_holdfast(name: str, tmp_path: Path) -> None:
    """A small run of each case on Holdfast and a bare dict gives a figure, or says why not."""
    lines = a_run(tmp_path).measure(name, CASES[name], HERE)
    assert [line.work for line in lines] == [*CASES[name].units] * len(HERE)
    for line in lines:
        assert line.errors == {}
        assert (line.figure is None) == bool(line.note), line
        if line.kind == "holdfast" and line.work != "on disk":
            assert line.figure is not None, line
    assert list(tmp_path.iterdir()) == []


def test_an_increment_that_is_lost_shows() -> None:
    """A store that loses updates ends below the number of its increments."""

    class Forgetful(Peer):
        def __init__(self) -> None:
            self.n = 0

        def start(self, place: Place) -> None:
            self.n = 0

        def increment(self, place: Place) -> None:
            self.n = min(self.n + 1, 7)

        def modify(self, place: Place) -> None:
            raise RuntimeError("database is locked\nat great length")

        def number(self, place: Place) -> int:
            return self.n

    found = Found()
    asyncio.run(CASES["increments"].run(Forgetful(), 1.0, found))
    assert found.figures["one operation"] == 7
    assert found.figures["read, change, write"] == 0
    assert found.errors == {"RuntimeError: database is locked": 1000}


def test_a_wrong_value_is_an_error() -> None:
    """A store that returns another value than it was given does not get a figure for free."""

    class Lying(Peer):
        def set(self, place: Place, value: Any) -> None:
            pass

        def get(self, place: Place) -> Any:
            return {"another": "value"}

    with pytest.raises(WrongValueError):
        asyncio.run(CASES["single-200"].run(Lying(), 0.01, Found()))


def test_calls_that_fail_are_counted_and_the_others_timed() -> None:
    """Of concurrent calls those that fail are errors; only the others have times."""

    async def sometimes(number: int) -> None:
        if number % 2:
            raise ValueError("odd")

    _, spent, errors = asyncio.run(at_once(sometimes, [(n,) for n in range(10)]))
    assert (len(spent), len(errors)) == (5, 5)


def test_blocking_and_awaited_methods_are_called_alike() -> None:
    """`call` returns the result of either kind."""

    async def awaited() -> int:
        return 2

    assert [asyncio.run(call(lambda: 1)), asyncio.run(call(awaited))] == [1, 2]


def test_lines_are_medians_of_rounds_and_percentiles_of_all_calls() -> None:
    """A contender's line has the median of its rounds, and the p99 over every call."""
    rounds = [Found({"set": n}, {"set": [n, n * 10]}) for n in (1.0, 2.0, 9.0)]
    rounds[1].errors["locked"] = 3
    (line,) = merged("case", {"set": "µs"}, _WHO, rounds)
    assert (line.figure, line.p99, line.errors) == (2.0, 90.0, {"locked": 3})
    assert percentile([3, 1, 2], 0.5) == 2


def test_what_failed_or_is_not_offered_is_shown_as_that() -> None:
    """The tables say "failed" and "not offered", and count failed calls; they hide nothing."""
    absent = Found(absent={"one": "not offered: no such thing", "two": "not offered: nor this"})
    broken = Found(figures={"one": 1.0})
    broken.errors["OperationalError: database is locked"] = 12
    units = {"one": "s", "two": "s"}
    lines = merged("increments", units, ("broken", "sync", "peer"), [broken])
    lines += merged("increments", units, ("absent", "sync", "peer"), [absent])
    text = page_tables(to_json(lines, {"contenders": {}}))
    assert "| sync | broken | 1 | failed | 12 x OperationalError: database is locked |" in text
    assert "*not offered:* absent (no such thing)" in text


def test_a_stored_run_can_be_stored() -> None:
    """A run's document is JSON, with the facts before the rows."""
    found = Found({"one": 1234.5678}, {"one": [1.0]})
    stored = to_json(merged("case", {"one": "s"}, _WHO, [found]), {"quick": True})
    assert list(json.loads(json.dumps(stored))) == ["quick", "rows"]
    assert stored["rows"][0]["figure"] == 1235


def _root() -> Path:
    return Path(__file__).parents[2]
