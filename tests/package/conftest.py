"""Fixtures of the package tests: the built distributions, and environments they are put into.

Building and installing take seconds, so the processes of one test run share them.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.package.commands import ROOT, run


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def made_once(home: Path) -> Iterator[bool]:
    """Hold the lock of `home` and say whether it is still to be made."""
    stamp = home.with_name(f"{home.name}.made")
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not stamp.exists()
        stamp.touch()


@pytest.fixture(scope="session")
def distributions(shared: Path) -> Path:
    """Return a directory with the sdist, and with the wheel that was built from it."""
    home = shared / "dist"
    with made_once(home) as missing:
        if missing:
            run(sys.executable, "-m", "build", "--no-isolation", "--outdir", home, ROOT, cwd=shared)
    return home


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
def environment(wheel: Path, shared: Path) -> Callable[[str], Path]:
    """Return a function from a Python version to the python of a fresh environment.

    Only the wheel and what it depends on are installed there.
    """

    def make(version: str) -> Path:
        home = shared / f"python{version}"
        python = home / "bin" / "python"
        base = interpreter(version)
        with made_once(home) as missing:
            if missing:
                run(base, "-m", "venv", "--without-pip", home, cwd=shared)
                pip = (sys.executable, "-m", "pip", "--python", python, "--quiet")
                run(*pip, "install", "--no-compile", wheel, cwd=shared)
        return python

    return make
