"""Errors of the command line itself: how words are typed, and how they are answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Holdfast

S = ("-s", "state.db")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("gte", "global", "k"), "see holdfast --help"),
        (("get", "global"), "see holdfast get --help"),
        (("get", "global", "k", "--metta"), "see holdfast get --help"),
        (("set", "global", "k", "two", "words"), "see holdfast set --help"),
        (("set", "global", "k", "1", "--class", "ephemeral"), "see holdfast set --help"),
        (("ls", "global", "--limit", "0"), "see holdfast ls --help"),
        (("ls", "global", "--limit", "many"), "see holdfast ls --help"),
    ],
)
def test_what_is_typed_wrong_is_a_usage_error(
    holdfast_command: Holdfast, arguments: tuple[str, ...], hint: str
) -> None:
    """Unknown commands, options and choices: status 2, code usage, where to read on."""
    result = holdfast_command(*arguments)
    assert result.status == 2
    assert result.out == ""
    first, second = result.err.splitlines()
    assert first.startswith("error[usage]: ")
    assert second == f"hint: {hint}"


@pytest.mark.parametrize("place", ["before", "behind"])
def test_json_error_is_one_object(holdfast_command: Holdfast, place: str) -> None:
    """With --json, in front of the command or behind it, an error is one object on stderr."""
    command = ("get", "global", "k", "--nonsense")
    arguments = ("--json", *command) if place == "before" else (*command, "--json")
    result = holdfast_command(*arguments)
    error = json.loads(result.err)["error"]
    assert (result.status, result.out) == (2, "")
    assert sorted(error) == ["code", "hint", "message", "retryable"]
    assert (error["code"], error["retryable"]) == ("usage", False)


def test_conflict_is_retryable_in_json(holdfast_command: Holdfast) -> None:
    """The JSON of a conflict says that trying again can help."""
    holdfast_command("set", "global", "k", "1", *S)
    result = holdfast_command("set", "global", "k", "2", "--if-revision", "0", *S, "--json")
    assert json.loads(result.err)["error"]["retryable"] is True
    assert result.status == 4


@pytest.mark.parametrize("url", ["none.db", "sqlite:none.db", "rocksdb:none"])
@pytest.mark.parametrize(
    "command",
    [
        ("get", "global", "k"),
        ("ls", "global"),
        ("scopes",),
        ("history", "global", "k"),
        ("diff", "0"),
        ("changes",),
        ("rewind", "global", "--to", "0"),
        ("delete", "global", "k"),
        ("compact",),
        ("verify",),
        ("info",),
        ("health",),
        ("export",),
    ],
)
def test_a_wrong_path_never_makes_a_store(
    holdfast_command: Holdfast, tmp_path: Path, command: tuple[str, ...], url: str
) -> None:
    """Commands that need a store refuse a path with nothing at it, and leave nothing there."""
    result = holdfast_command(*command, "-s", url)
    assert (result.status, result.out) == (10, "")
    assert result.err.startswith("error[not_a_store]: there is no store at none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", [("repair", "none.db", "--into", "new.db"), ("copy", "none.db", "new.db")]
)
def test_a_wrong_source_makes_no_target(
    holdfast_command: Holdfast, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Copy and repair of a path with nothing at it leave nothing anywhere."""
    assert holdfast_command(*command).status == 10
    assert list(tmp_path.iterdir()) == []


def test_refused_arguments_make_no_store(holdfast_command: Holdfast, tmp_path: Path) -> None:
    """A set whose words are wrong does not even make the file."""
    for words in (
        ("global", "k", "{"),
        ("nowhere", "k", "1"),
        ("global", "k", "1", "--expires-in", "x"),
    ):
        assert holdfast_command("set", *words, *S).status == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_store_is_left_as_it_is(
    holdfast_command: Holdfast, tmp_path: Path
) -> None:
    """A file of something else is refused by every kind of command, untouched."""
    text = "Dear diary, today I was nearly overwritten.\n" * 100
    (tmp_path / "state.db").write_text(text)
    for command in (("get", "global", "k"), ("set", "global", "k", "1"), ("verify",)):
        result = holdfast_command(*command, *S)
        assert result.status == 10
        assert result.err.startswith("error[not_a_store]: ")
        assert "hint: " in result.err
    assert (tmp_path / "state.db").read_text() == text


def test_input_that_is_not_utf8_is_refused(holdfast_command: Holdfast) -> None:
    """Bytes that are no text are refused as JSON and as text, and taken as bytes."""
    for option in ((), ("--text",)):
        result = holdfast_command("set", "global", "k", "-", *option, *S, stdin=b"\xff\xfe")
        assert result.status == 2
        assert result.err == (
            "error[invalid_value]: the input is not UTF-8 (byte 0)\n"
            "hint: store it as it is with --bytes\n"
        )
    assert holdfast_command("set", "global", "k", "-", "--bytes", *S, stdin=b"\xff\xfe").status == 0
    shown = holdfast_command("get", "global", "k", *S).out
    assert json.loads(shown) == {"$holdfast": "bytes", "value": "//4="}


def test_deep_and_long_json_is_refused(holdfast_command: Holdfast) -> None:
    """JSON beyond what Python reads is an error with a hint, not a traceback."""
    deep = b"[" * 100_000 + b"]" * 100_000
    long = b"9" * 5000
    for data in (deep, long):
        result = holdfast_command("set", "global", "k", "-", *S, stdin=data)
        assert result.status == 2
        assert result.err.startswith("error[")
        assert "\nhint: " in result.err
