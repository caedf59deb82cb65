"""What users install: the built wheel and sdist hold what they should, and run."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from email import message_from_string
from pathlib import Path

import pytest

import holdfast
from tests.package.commands import ROOT, run

SMOKE = Path(__file__).with_name("smoke.py")


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every source file is in the wheel, with py.typed and the licence; tests are not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"holdfast-{holdfast.__version__}.dist-info"
    sources = {
        str(file.relative_to(ROOT / "src"))
        for file in (ROOT / "src" / "holdfast").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert "holdfast/py.typed" in sources
    assert names == sources | {
        f"{info}/METADATA",
        f"{info}/RECORD",
        f"{info}/WHEEL",
        f"{info}/entry_points.txt",
        f"{info}/licenses/LICENSE",
    }


@pytest.mark.slow
def test_the_metadata_says_what_is_needed(wheel: Path) -> None:
    """Name, version, licence, Python and the mandatory dependencies stand in the metadata."""
    archive = zipfile.ZipFile(wheel)
    info = f"holdfast-{holdfast.__version__}.dist-info"
    metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
    assert metadata["Name"] == "holdfast"
    assert metadata["Version"] == holdfast.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    needed = metadata.get_all("Requires-Dist") or []
    assert sorted(each.split(">")[0] for each in needed if "extra ==" not in each) == [
        "apsw",
        "msgspec",
        "rich",
        "semver",
        "typer",
        "xxhash",
        "zstandard",
    ]
    extras = {"dev", "otel", "postgres", "rocksdb", "schemas", "test"}
    assert set(metadata.get_all("Provides-Extra") or []) == extras
    licence = archive.read(f"{info}/licenses/LICENSE").decode()
    assert licence == (ROOT / "LICENSE").read_text()
    entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert "holdfast = holdfast.cli:main" in entry_points


@pytest.mark.slow
def test_the_sdist_holds_tests_docs_and_the_means_to_run_them(sdist: Path) -> None:
    """What is needed to test a release from its source is in the sdist."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in (
        *("LICENSE", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "mkdocs.yml"),
        *("src/holdfast/py.typed", "tests/package/test_wheel.py", "docs/index.md"),
        "examples/demo.py",
    ):
        assert wanted in names, wanted
    assert not [name for name in names if ".venv" in name or "__pycache__" in name]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_wheel_runs_on(
    version: str, environment: Callable[[str], Path], tmp_path: Path
) -> None:
    """In a fresh environment a store opens, writes, reads its past; the command answers."""
    python = environment(version)
    assert run(python, "-I", SMOKE, tmp_path / "state.db", cwd=tmp_path) == "sound\n"
    said = run(python.with_name("holdfast"), "--version", cwd=tmp_path)
    assert holdfast.__version__ in said
