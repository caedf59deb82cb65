"""How programs end, and what they leave behind; and a store that cannot be written at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import holdfast
from holdfast import StateManager
from holdfast.errors import InvalidArgumentError


def test_a_program_that_does_not_close_leaves_a_whole_file(tmp_path: Path) -> None:
    """After a normal end without close() the file alone holds everything."""
    program = (
        "import holdfast\n"
        f"state = holdfast.open({str(tmp_path / 'state.db')!r})\n"
        "for n in range(50): state.set('agent:a', f'k{n}', n)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    shutil.copy(tmp_path / "state.db", tmp_path / "copy.db")
    with holdfast.open(tmp_path / "copy.db") as state:
        assert state.count("agent:a") == 50
        assert state.verify() == []


@pytest.mark.skipif(
    os.getuid() == 0 and shutil.which("setpriv") is None,
    reason="root writes anywhere, unless setpriv takes that away",
)
def test_read_only_directory() -> None:
    """A closed store in a directory that its reader cannot write is read all the same."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        with holdfast.open(place / "state.db") as state:
            state.set("agent:a", "k", "value")
        for file in place.iterdir():
            file.chmod(0o444)
        place.chmod(0o555)
        program = (
            "import holdfast\n"
            f"state = holdfast.open({str(place / 'state.db')!r}, read_only=True)\n"
            "assert state.get('agent:a', 'k') == 'value' and state.verify() == []\n"
            "state.close()\n"
        )
        powerless = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []
        done = subprocess.run(
            [*powerless, sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        place.chmod(0o755)
        assert done.returncode == 0, done.stderr


def test_a_function_that_changes_in_place_is_refused(state: StateManager) -> None:
    """update() with list.append and the like is an error, and the value stays."""
    state.set("agent:a", "k", [1])
    with pytest.raises(InvalidArgumentError):
        state.update("agent:a", "k", lambda value: value.append(2))
    with pytest.raises(InvalidArgumentError), state.transaction() as tx:
        tx.update("agent:a", "k", lambda value: value.append(2))
    assert state.get("agent:a", "k") == [1]
