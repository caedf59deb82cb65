"""How results look: on a terminal, in a pipe, as JSON; and that stored text steers nothing."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.cli.difference import value_changes
from holdfast.cli.inputs import parse_duration, parse_value
from holdfast.cli.render import escape, plural, size_text, value_text
from holdfast.store.value import MISSING
from tests.cli.conftest import Holdfast

S = ("-s", "state.db")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


@pytest.fixture
def on_terminal(
    holdfast_command: Holdfast, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Run a command on a terminal of some width and return the lines without colours."""

    def call(width: int, *arguments: str) -> list[str]:
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            patch.setenv("COLUMNS", str(width))
            patch.setenv("TERM", "xterm-256color")
            holdfast_command(*arguments)
        return [line.rstrip() for line in _COLOUR.sub("", terminal.getvalue()).splitlines()]

    return call


def test_tables_fit_the_terminal(
    holdfast_command: Holdfast, on_terminal: Callable[..., list[str]]
) -> None:
    """At 80 and at 120 columns no line is longer, and the short columns are never cut."""
    value = json.dumps({"text": "words " * 100})
    holdfast_command("set", "agent:researcher-7", "messages", value, *S, "--actor", "planner")
    for command in (
        ("history", "agent:researcher-7", "messages"),
        ("changes",),
        ("ls", "agent:researcher-7", "--long"),
    ):
        for width in (80, 120):
            lines = on_terminal(width, *command, *S)
            assert max(map(len, lines)) <= width
            table = "\n".join(lines)
            assert re.search(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", table)
            assert "messages" in table or command[0] == "history"
            assert "…" in table


def test_value_on_a_terminal_is_indented(
    holdfast_command: Holdfast, on_terminal: Callable[..., list[str]]
) -> None:
    """A terminal shows a value on several lines; a pipe gets it on one."""
    holdfast_command("set", "global", "k", '{"a": [1]}', *S)
    assert on_terminal(80, "get", "global", "k", *S) == [
        "{",
        '  "a": [',
        "    1",
        "  ]",
        "}",
    ]
    assert holdfast_command("get", "global", "k", *S).out == '{"a": [1]}\n'


def test_stored_text_cannot_steer_a_terminal(
    holdfast_command: Holdfast, on_terminal: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Escape sequences, C1 controls, bidi marks and rich's markup come out as they are named."""
    hostile = "\x1b[2J\x9b31m\u202e[bold]x[/bold]\u2028"
    with holdfast.open(tmp_path / "state.db") as state:
        state.set("agent:a", "[red]k[/red]", hostile, actor=hostile)
    commands = (
        ("get", "agent:a", "[red]k[/red]"),
        ("get", "agent:a", "[red]k[/red]", "--meta"),
        ("history", "agent:a", "[red]k[/red]"),
        ("changes",),
        ("ls", "agent:a", "--long"),
        ("ls", "agent:a"),
        ("diff", "0"),
        ("export",),
    )
    for command in commands:
        for option in ((), ("--json",)):
            out = holdfast_command(*command, *option, *S).out
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", out.replace("\t", ""))
        shown = "\n".join(on_terminal(300, *command, *S))
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", shown)
        if command[0] not in ("get", "history"):
            assert "[red]k[/red]" in shown
    plain = holdfast_command("get", "agent:a", "[red]k[/red]", *S).out
    assert json.loads(plain) == hostile
    error = holdfast_command("get", "agent:a", "\x1b[2J", *S).err
    assert "\x1b" not in error


def test_json_of_every_listing_is_one_object_per_line(holdfast_command: Holdfast) -> None:
    """With --json each line of output is an object, whatever the command."""
    holdfast_command("set", "agent:a", "k", "1", *S)
    holdfast_command("set", "agent:a", "k", "2", *S)
    for command in (
        ("get", "agent:a", "k"),
        ("ls", "agent:a"),
        ("ls", "agent:a", "-l"),
        ("scopes",),
        ("scopes", "-c"),
        ("history", "agent:a", "k"),
        ("changes",),
        ("diff", "0"),
        ("rewind", "agent:a", "--to", "1"),
        ("info",),
        ("health",),
        ("verify",),
        ("compact",),
        ("export",),
        ("delete", "agent:a", "k"),
        ("bench", "-n", "2"),
    ):
        result = holdfast_command(*command, *S, "--json")
        assert result.status == 0, command
        lines = result.out.splitlines()
        assert lines, command
        assert all(isinstance(json.loads(line), dict) for line in lines), command


def test_info_names_engine_revision_and_retention(holdfast_command: Holdfast) -> None:
    """Info has the store's facts, and the history policy that compact --save stored."""
    holdfast_command("set", "agent:a", "k", "1", *S)
    holdfast_command("compact", "--max-age", "30d", "--scope", "agent:*", "--save", *S)
    found = json.loads(holdfast_command("info", *S, "--json").out)
    assert (found["engine"], found["records"], found["scopes"]) == ("sqlite", 1, 1)
    assert found["retention"] == [
        {
            "scopes": "agent:*",
            "class": None,
            "max_age_seconds": 30 * 86400.0,
            "max_versions": None,
            "max_bytes": None,
        }
    ]
    assert "retention\tmax_age_seconds=2592000.0 in agent:*\n" in holdfast_command("info", *S).out


def test_export_is_lossless_through_a_pipe(holdfast_command: Holdfast, tmp_path: Path) -> None:
    """What get and export print goes back in by set and import, equal."""
    value = {"at": {"$holdfast": "x"}, "n": 2**70, "s": {1, 2}, "b": b"\0\xff", "f": 1.0}
    with holdfast.open(tmp_path / "state.db") as state:
        state.set("agent:a", "k", value)
    shown = holdfast_command("get", "agent:a", "k", *S).out
    holdfast_command("set", "agent:b", "k", "-", *S, stdin=shown.encode())
    exported = holdfast_command("export", *S).out
    assert holdfast_command("import", "-", "-s", "new.db", stdin=exported.encode()).status == 0
    with holdfast.open(tmp_path / "new.db") as state:
        for scope in ("agent:a", "agent:b"):
            assert state.get(scope, "k") == value
            assert type(state.get(scope, "k")["f"]) is float


def test_damage_is_listed_by_name(holdfast_command: Holdfast, tmp_path: Path) -> None:
    """Verify of a store whose file is damaged names it, with a status of its own."""
    with holdfast.open(tmp_path / "state.db") as state:
        for number in range(300):
            state.set("agent:a", f"k{number:03}", {"text": f"{number} " * 100})
    with (tmp_path / "state.db").open("r+b") as file:
        file.seek(100_000)
        file.write(b"\xa5" * 4096)
    result = holdfast_command("verify", *S)
    assert result.status in (7, 9)
    assert result.err.startswith(("error[problems_found]: ", "error[corruption]: "))
    assert "holdfast repair" in result.err
    assert holdfast_command("repair", "state.db", "--into", "new.db").status in (0, 7)
    assert holdfast_command("verify", "-s", "new.db").status == 0
    assert len(holdfast_command("ls", "agent:a", "-s", "new.db").out.splitlines()) > 200


def test_escape_leaves_ordinary_text_alone() -> None:
    """Letters, emoji and accents are shown; what steers is shown as its number."""
    assert escape("é 특수 🎉 \\ [b]") == "é 특수 🎉 \\ [b]"
    assert escape("a\x1bb\x85c\n") == "a\\u001bb\\u0085c\\u000a"
    assert json.loads(value_text("\x7f\x85")) == "\x7f\x85"


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (8_500_000_000, "8.5 GB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_sizes_in_their_unit(size: int, words: str) -> None:
    """Bytes are shown in the unit that suits them, rounded into the next one where due."""
    assert size_text(size) == words


def test_nouns_agree_with_numbers() -> None:
    """One thing is singular, all other numbers are plural."""
    assert [plural(n, "key") for n in (0, 1, 2)] == ["0 keys", "1 key", "2 keys"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1.5h", 5400), ("500ms", 0.5), ("1h30m", 5400), ("2w", 1209600), ("0s", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    """Durations are numbers with units, several in a row added up."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "1 h", "-1h", "1h x", "1y", "1e3s", "9" * 20 + "w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A number without a unit, or anything else, is an error with a hint."""
    with pytest.raises(holdfast.UsageError) as caught:
        parse_duration(text)
    assert caught.value.code == "invalid_argument"


def test_json_keeps_its_types() -> None:
    """Numbers with a point are floats, without one integers of any size."""
    assert parse_value("123456789012345678901234567890") == 123456789012345678901234567890
    kinds = [type(item) for item in parse_value("[1, 1.0, true, null]")]
    assert kinds == [int, float, bool, type(None)]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (1, 1, []),
        (1, 1.0, [("$", 1, 1.0)]),
        (1, True, [("$", 1, True)]),
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2, "b c": None}, [("$.a", 1, 2), ("$['b c']", MISSING, None)]),
        ({"a": {"b": [1]}}, {"a": {}}, [("$.a.b", [1], MISSING)]),
        ([1, 2, 3], [1, 3], [("$[1]", 2, MISSING)]),
        ([1, 3], [1, 2, 3], [("$[1]", MISSING, 2)]),
        ([1, 2], [1, 2, 3], [("$[2]", MISSING, 3)]),
        ([], {}, [("$", [], {})]),
        ([[1], [2]], [[1], [5]], [("$[1][0]", 2, 5)]),
        ([1, 1.0], [1, 1], [("$[1]", 1.0, 1)]),
    ],
)
def test_differences_of_values(
    before: object, after: object, changes: list[tuple[str, object, object]]
) -> None:
    """Differences name the path, with types told apart and lists aligned at both ends."""
    found = list(value_changes(before, after))
    assert found == changes
    assert [type(item[1]) for item in found] == [type(item[1]) for item in changes]
