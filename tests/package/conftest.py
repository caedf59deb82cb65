"""Fixtures of the package tests: the built distributions, and environments they are put into."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.package.commands import ROOT, run

@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the sdist, and with the wheel that was built from it."""
    made = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", made, ROOT, cwd=made)
    return made


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    """Return the wheel."""
    (found,) = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def sdist(distributions: Path) -> Path:
    """Return the sdist."""
    (found,) = distributions.glob("*.tar.gz")
    return found


def interpreter(version: str) -> str:
    """Return a Python of that minor version, this one or one of pyenv's; skip without one."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{version}.*/bin/python{version}"))
    if not found:
        pytest.skip(f"no Python {version} here")
    return str(found[-1])


@pytest.fixture(scope="session")
def environment(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a function from a Python version to the python of a fresh environment.

    Only the wheel and what it depends on are installed there.
    """
    made: dict[str, Path] = {}

    def make(version: str) -> Path:
        if version not in made:
            home = tmp_path_factory.mktemp(f"python{version}")
            run(interpreter(version), "-m", "venv", home, cwd=home)
            python = home / "bin" / "python"
            run(python, "-m", "pip", "install", "--quiet", wheel, cwd=home)
            made[version] = python
        return made[version]

    return make
