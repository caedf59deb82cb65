"""Exit statuses: one for every error there is, and the manual says the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import typer

from holdfast.cli.app import app
from holdfast.cli.exits import EXITS, HINTS, MEANINGS, exit_status, hint_of
from holdfast.errors import ConflictError, EngineError, StateError
from tests.cli.conftest import Holdfast

MANUAL = Path(__file__).parents[2] / "docs" / "cli.md"


def classes(root: type[StateError] = StateError) -> Iterator[type[StateError]]:
    """Yield Holdfast's own error classes, but for those that share their base class's code."""
    if root.__module__.startswith("holdfast.") and "code" in vars(root):
        yield root
    for kind in root.__subclasses__():
        yield from classes(kind)


def test_every_error_class_has_a_status() -> None:
    """The table names the code of every class, and nothing that is no class."""
    assert {kind.code for kind in classes()} == set(EXITS)


def test_codes_belong_to_one_class() -> None:
    """No two classes share a code, so a status says one thing."""
    codes = [kind.code for kind in set(classes())]
    assert len(codes) == len(set(codes))


def test_every_status_has_a_meaning() -> None:
    """Each status of the table is explained in the help."""
    assert set(EXITS.values()) <= set(MEANINGS)


def test_status_of_a_foreign_class_is_its_base_class_status() -> None:
    """An error class of a third party exits as the nearest class of Holdfast's does."""

    class LostConnectionError(EngineError):
        code = "lost_connection"

    assert exit_status(LostConnectionError("gone")) == EXITS["engine"]
    assert exit_status(ConflictError("moved")) == 4


def test_manual_has_the_same_table() -> None:
    """The table in docs/cli.md gives every code the status that the program gives it."""
    documented = {}
    statuses = set()
    for line in MANUAL.read_text().splitlines():
        row = re.fullmatch(r"\| (\d+) \| .* \| (.*) \|", line) or re.fullmatch(
            r"\| (\d+) \| .* \|( )\|", line
        )
        if row is not None:
            statuses.add(int(row[1]))
            documented.update(dict.fromkeys(re.findall(r"`(\w+)`", row[2]), int(row[1])))
    assert documented == EXITS
    assert statuses == set(MEANINGS)


def test_help_lists_the_statuses(holdfast_command: Holdfast) -> None:
    """The help ends with every status and its meaning."""
    shown = " ".join(holdfast_command("--help").out.split())
    for status, words in MEANINGS.items():
        assert f"{status} {words}" in shown


def test_manual_names_every_command() -> None:
    """Every command of the help stands in docs/cli.md, with what it does."""
    manual = MANUAL.read_text()
    names = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    expected = """agent analyze bench changes compact consumers copy delete diff events export get
        health history hooks import info inspect ls metrics migrate repair replay rewind schema
        scopes session set timeline verify watch workflow"""
    assert sorted(names) == expected.split()
    for name in names:
        assert f"| `{name}" in manual


def test_hints_speak_of_commands() -> None:
    """No hint of the command line tells people to write Python."""
    for code in HINTS:
        assert code in EXITS
        assert "()" not in HINTS[code]
    assert hint_of(ConflictError("moved")) == HINTS["conflict"]
    assert hint_of(ConflictError("moved", hint="so")) == "so"
    assert hint_of(ConflictError("there", reason="exists")) == "leave --if-absent out to replace it"
