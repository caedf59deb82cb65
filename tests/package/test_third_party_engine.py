"""An engine that is no part of the package: installed from its own wheel, found by its entry point.

The example in ``examples/holdfast-lmdb`` has tests of its own, the conformance kit among them;
pytest collects them with ours. Here is what only a second distribution can show.
"""

from __future__ import annotations

import json
import random
import sys
import zipfile
from collections.abc import Callable
from email import message_from_string
from pathlib import Path

import pytest

from proof.modelled.case import attempt, draw
from tests.package.commands import ROOT, run
from tests.package.conftest import made_once

PROGRAM = """
import sys
from pathlib import Path
import holdfast
from holdfast_lmdb import LmdbSettings

assert "site-packages" in holdfast.__file__, holdfast.__file__
with holdfast.open(f"lmdb:{sys.argv[1]}?map_size=1GiB") as state:
    first = state.set("agent:a", "k", 1)
    state.set("agent:a", "k", 2)
with holdfast.open(LmdbSettings(Path(sys.argv[1])), read_only=True) as state:
    assert state.info()["engine"] == "lmdb"
    assert (state.get("agent:a", "k"), state.get("agent:a", "k", as_of=first)) == (2, 1)
"""


@pytest.fixture(scope="session")
def engine_wheel(shared: Path) -> Path:
    """Return the example's wheel."""
    home = shared / "lmdb-dist"
    source = ROOT / "examples" / "holdfast-lmdb"
    with made_once(home) as missing:
        if missing:
            build = (sys.executable, "-m", "build", "--wheel", "--no-isolation")
            run(*build, "--outdir", home, source, cwd=shared)
    (found,) = home.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(environment: Callable[[str], Path], engine_wheel: Path, shared: Path) -> Path:
    """Return the python of an environment with both wheels, Holdfast's own left as it was."""
    base = environment(f"{sys.version_info.major}.{sys.version_info.minor}")
    home = shared / "lmdb-environment"
    python = home / "bin" / "python"
    with made_once(home) as missing:
        if missing:
            run(base, "-m", "venv", "--without-pip", home, cwd=shared)
            paths = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
            below, here = (run(each, "-c", paths, cwd=shared).strip() for each in (base, python))
            Path(here, "holdfast.pth").write_text(below)
            pip = (sys.executable, "-m", "pip", "--python", python, "--quiet")
            run(*pip, "install", "--no-compile", engine_wheel, cwd=shared)
    return python


@pytest.mark.slow
def test_the_wheel_names_its_engine(engine_wheel: Path) -> None:
    """The example's wheel is typed, needs Holdfast and LMDB, and registers its scheme."""
    archive = zipfile.ZipFile(engine_wheel)
    (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
    needed = metadata.get_all("Requires-Dist") or []
    assert [each for each in needed if "extra" not in each] == ["holdfast<0.2,>=0.1", "lmdb>=3.0"]
    assert "holdfast_lmdb/py.typed" in archive.namelist()
    assert archive.read(f"{info}/entry_points.txt").decode().split("\n")[:2] == [
        "[holdfast.engines]",
        "lmdb = holdfast_lmdb:open_engine",
    ]


@pytest.mark.slow
def test_the_installed_engine_serves_programs_and_the_command(
    installed: Path, tmp_path: Path
) -> None:
    """After installing the wheel, `holdfast.open` and the command take URLs of its scheme."""
    run(installed, "-c", PROGRAM, tmp_path / "made", cwd=tmp_path)

    def holdfast(*words: str) -> str:
        return run(installed, "-m", "holdfast.cli", *words, cwd=tmp_path)

    assert holdfast("get", "--store", "lmdb:made", "agent:a", "k") == "2\n"
    holdfast("set", "--store", "lmdb:made?map_size=2GiB", "agent:a", "k", "[1, 2]")
    holdfast("copy", "lmdb:made", "lmdb:copied")
    assert json.loads(holdfast("get", "--store", "lmdb:copied", "agent:a", "k")) == [1, 2]


@pytest.mark.parametrize("partitions", [1, 4])
def test_a_store_on_a_third_party_engine_is_a_store(tmp_path: Path, partitions: int) -> None:
    """The plain model of a store holds over an engine that the package does not know."""
    _, failure, _ = attempt(draw(random.Random(7), 200), "lmdb", tmp_path / "store", partitions)
    assert failure is None
