"""Transcripts: what people type and what they see, as text files in ``transcripts/``.

A line that starts with ``$`` is a command, ``<`` a line of its standard input, ``!`` of its
standard error, ``?`` its exit status where that is not 0; all else is standard output. What
differs from run to run is replaced by a word in angle brackets. After a change that is meant,
``HOLDFAST_UPDATE=1 pytest tests/cli/test_transcripts.py`` writes the files anew: read the diff.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Holdfast, Result

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))

_VOLATILE = [
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), "<time>"),
    (re.compile(r"\b(?:[0-9a-f]{32}){1,2}\b"), "<hex>"),
    (re.compile(r"(?<=  duration )[\d.]+ \w+"), "<duration>"),
    (re.compile(r"\+[\d.]+(?: \w+)? +(?=r\d)"), "+<offset> "),
    (re.compile(r'(?<=_us": )\d+'), "<duration>"),
    (re.compile(r'(?<=_bytes": )\d+|(?<=freed )[\d.]+ k?B'), "<size>"),
]


def normal(text: str) -> str:
    """Return the text with what differs from run to run replaced."""
    for pattern, word in _VOLATILE:
        text = pattern.sub(word, text)
    return text


def commands(transcript: str) -> list[tuple[str, list[str]]]:
    """Return each command of a transcript with the lines of its standard input."""
    found: list[tuple[str, list[str]]] = []
    for line in transcript.splitlines():
        if line.startswith("$ "):
            found.append((line, []))
        elif line.startswith("< "):
            found[-1][1].append(line[2:])
    return found


def shown(line: str, inputs: list[str], result: Result) -> list[str]:
    """Return the lines that a transcript has for a command that was run."""
    lines = [line, *(f"< {text}" for text in inputs)]
    lines += normal(result.out).splitlines()
    lines += [f"! {text}" for text in normal(result.err).splitlines()]
    if result.status:
        lines.append(f"? {result.status}")
    return lines


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, holdfast_command: Holdfast, tmp_path: Path) -> None:
    """Each command of the transcript prints what stands there and exits as it says."""
    beside = path.parents[1] / f"audit_{path.stem}.py"  # a module that it names
    if beside.exists():
        shutil.copy(beside, tmp_path)
    if path.with_suffix("").is_dir():  # files that it names
        shutil.copytree(path.with_suffix(""), tmp_path, dirs_exist_ok=True)
    transcript = path.read_text()
    comments = [line for line in transcript.splitlines() if line.startswith("#")]
    lines: list[str] = []
    for line, inputs in commands(transcript):
        program, *arguments = shlex.split(line[2:])
        assert program == "holdfast"
        stdin = "".join(f"{text}\n" for text in inputs)
        result = holdfast_command(*arguments, stdin=stdin.encode())
        lines += shown(line, inputs, result)
    if "HOLDFAST_UPDATE" in os.environ:
        path.write_text("\n".join([*comments, *lines]) + "\n")
        return
    assert lines == [line for line in transcript.splitlines() if not line.startswith("#")]
