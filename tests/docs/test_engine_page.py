"""The engine that docs/how-to/write-an-engine.md shows keeps the contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.docs.pages import blocks

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-engine.md"


def test_the_engine_of_the_page_passes_the_conformance_kit(tmp_path: Path) -> None:
    """The page's own blocks, put into one file, are a test file that pytest passes."""
    program = "\n".join(each.text for each in blocks(PAGE) if each.language == "python")
    (tmp_path / "test_tiny.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_tiny.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout.splitlines()[-1]
