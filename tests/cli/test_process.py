"""The command as a process: its entry point, signals and pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast

COMMAND = [sys.executable, "-m", "holdfast.cli"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Make a store with more output than a pipe holds."""
    path = tmp_path / "state.db"
    with holdfast.open(path) as state:
        items = [holdfast.SetOperation("agent:a", f"k{n:05}", "x" * 100) for n in range(3000)]
        state.set_batch(items)
    return path


def test_version_is_the_packages() -> None:
    """Holdfast --version prints name and version."""
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"holdfast {holdfast.__version__}\n"


def test_console_script_is_installed() -> None:
    """The script that pip installs runs the same program."""
    script = Path(sys.executable).with_name("holdfast")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"holdfast {holdfast.__version__}\n"


@pytest.mark.parametrize("command", [["ls", "agent:a", "-l"], ["export"], ["changes", "--json"]])
def test_broken_pipe_is_quiet(store: Path, command: list[str]) -> None:
    """A reader that goes away ends the command with status 141 and not a word."""
    with subprocess.Popen(
        [*COMMAND, *command, "-s", str(store)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_interrupt_ends_with_130(tmp_path: Path) -> None:
    """Ctrl-C ends a command with status 130, one word and no traceback."""
    with subprocess.Popen(
        [*COMMAND, "set", "global", "k", "-", "-s", str(tmp_path / "state.db")],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A runner of tests in the background may have passed on that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"x" * (1 << 20))  # more than a pipe holds: it is being read
        for _ in range(30):  # a signal between two reads is seen by Python after the next one
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=1)
                break
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        assert process.stderr.read() == b"interrupted\n"
    assert process.returncode == 130


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_output_that_cannot_be_written_is_an_error(store: Path) -> None:
    """A full disk under standard output is an error with status 2, not a traceback."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "ls", "agent:a", "-s", str(store)],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error[file]: cannot read or write: No space left")


def test_store_from_the_environment(store: Path) -> None:
    """HOLDFAST_URL names the store, and --store wins over it."""
    environment = os.environ | {"HOLDFAST_URL": str(store)}
    done = subprocess.run(
        [*COMMAND, "scopes", "--count", "--json"], env=environment, capture_output=True, check=True
    )
    assert done.stdout == b'{"scope": "agent:a", "keys": 3000}\n'
    done = subprocess.run(
        [*COMMAND, "-s", "none.db", "scopes"], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 10


def test_reading_works_beside_a_program_that_writes(store: Path) -> None:
    """A command reads a store that another process has open for writing."""
    with holdfast.open(store) as state:
        state.set("global", "live", True)
        done = subprocess.run(
            [*COMMAND, "get", "global", "live", "-s", str(store)], capture_output=True, check=True
        )
        assert done.stdout == b"true\n"
        done = subprocess.run(
            [*COMMAND, "set", "global", "live", "2", "-s", str(store)],
            capture_output=True,
            check=True,
        )
        assert state.get("global", "live") == 2
