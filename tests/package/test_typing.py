"""Callers see the types that the documentation promises."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.package.commands import run


@pytest.mark.slow
def test_a_program_against_the_wheel_type_checks(
    environment: Callable[[str], Path], tmp_path: Path
) -> None:
    """mypy --strict finds py.typed in the installed wheel and infers exactly what is asserted."""
    program = tmp_path / "typed_program.py"
    program.write_text(Path(__file__).with_name("typed_program.py").read_text())
    python = environment(f"{sys.version_info.major}.{sys.version_info.minor}")
    said = run(
        *(sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file="),
        *("--python-executable", python, program),
        cwd=tmp_path,
    )
    assert said.strip() == "Success: no issues found in 1 source file"
