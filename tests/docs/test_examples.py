"""Every code block of the README and of the documentation runs and prints what it says."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import blocks, commands, expected_output

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNABLE = [page for page in PAGES if "decisions" not in page.parts]


def run_python(text: str, where: str, line: int, namespace: dict[str, Any]) -> list[str]:
    """Run a block so that its errors name the page and line; return the printed lines."""
    out = io.StringIO()
    code = compile("\n" * (line - 1) + text, where, "exec", dont_inherit=True)
    with contextlib.redirect_stdout(out):
        exec(code, namespace)
    return out.getvalue().splitlines()


def run_command(command: str, where: str, expected: list[str], environment: dict[str, str]) -> None:
    """Run a shell command with the `holdfast` of this environment and compare its output.

    ``export NAME=value`` holds for the rest of the page.
    """
    if command.startswith("export "):
        name, _, value = command.removeprefix("export ").partition("=")
        environment[name] = value
        return
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{where}: $ {command}\n{done.stdout}{done.stderr}"
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    if expected and expected[-1] == "...":
        printed, expected = printed[: len(expected) - 1], expected[:-1]
    elif not expected:
        return
    assert printed == expected, f"{where}: $ {command}"


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks run in order, in one namespace and an empty directory, and print what they say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDFAST_URL", raising=False)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "NO_COLOR": "1", "COLUMNS": "100"}
    name = str(page.relative_to(ROOT))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        for block in blocks(page):
            where = f"{name}:{block.line}"
            if block.skipped:
                continue
            if block.language == "python":
                printed = run_python(block.text, name, block.line, namespace)
                expected = expected_output(block.text)
                assert expected is None or printed == expected, where
            elif block.language == "console":
                for command, output in commands(block.text):
                    run_command(command, where, output, environment)
    finally:
        for made in namespace.values():
            if type(made).__name__ == "StateManager":
                made.close()
