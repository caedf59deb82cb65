"""The demo: what newcomers run first does what it says, to the end."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_demo_loses_nothing_and_its_commands_work(tmp_path: Path) -> None:
    """A killed writer loses nothing acknowledged, every check holds, and what to do next works."""
    done = subprocess.run(
        [sys.executable, "examples/demo.py", str(tmp_path / "demo")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert done.stdout.count("✓") == 13
    summary = re.search(
        r"acknowledged (\d+)\s+found (\d+)\s+lost (\d+)\s+failed checks (\d+)", done.stdout
    )
    assert summary is not None
    acknowledged, found, lost, failed = map(int, summary.groups())
    assert acknowledged >= 500  # the kill comes then, and the writer may be quicker
    assert (found, lost, failed) == (acknowledged, 0, 0)

    commands = re.findall(r"^  (\S*holdfast -s .*)$", done.stdout, re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        shown = subprocess.run(
            shlex.split(command), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert shown.returncode == 0, command + shown.stderr
        assert shown.stdout


def test_the_demo_refuses_a_used_directory(tmp_path: Path) -> None:
    """A directory that holds a demo already is not touched."""
    (tmp_path / "state.db").write_bytes(b"mine")
    done = subprocess.run(
        [sys.executable, "examples/demo.py", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert (tmp_path / "state.db").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["state.db"]
