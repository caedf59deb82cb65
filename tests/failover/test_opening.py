"""Opening: URLs and settings, whose spill it is, and a primary that is away from the start."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

import holdfast
from holdfast import DegradedError, FailoverSettings
from holdfast.cli.app import run
from holdfast.cli.options import metadata_fields
from holdfast.config import EngineURL, parse_url
from holdfast.engines.postgres.settings import PostgresSettings
from holdfast.errors import (
    BusyError,
    ConfigurationError,
    DivergedError,
    ForkedError,
    NotAStoreError,
)
from holdfast.failover.settings import REMOTE_TIMEOUT
from holdfast.opening import impatient
from tests.failover.conftest import World

A = "agent:a"


def url(directory: Path, **options: object) -> str:
    """Return a failover URL."""
    more = "".join(f"&{name}={value}" for name, value in options.items())
    primary, spill = quote(f"sqlite:{directory}/p.db?wal_limit=1MB"), quote(f"{directory}/s.db")
    return f"failover:?primary={primary}&spill={spill}{more}"


def test_by_settings_and_by_url(tmp_path: Path) -> None:
    """Both forms open the same store with the same spill."""
    failover = FailoverSettings(spill=tmp_path / "s.db")
    with holdfast.open(tmp_path / "p.db", failover=failover) as state:
        state.set(A, "k", 1)
        assert state.failover.status().state == "closed"
    with holdfast.open(url(tmp_path, on_conflict="keep_theirs", probe_every="0.1")) as state:
        assert state.get(A, "k") == 1
        assert state._kernel.failover.on_conflict == "keep_theirs"  # type: ignore[attr-defined]


def test_off_unless_configured(tmp_path: Path) -> None:
    """A store without failover has none, and says how to get it."""
    with holdfast.open(tmp_path / "p.db") as state:
        with pytest.raises(ConfigurationError, match="FailoverSettings"):
            state.failover.status()
        assert "failover" not in state.health().components


@pytest.mark.parametrize(
    "target",
    [
        "failover:",
        "failover:?spill=s.db",
        "failover:?primary=p.db",
        "failover:p.db?spill=s.db",
        "failover:?primary=failover%3A%3Fprimary%3Dp.db&spill=s.db",
        "failover:?primary=p.db&spill=s.db&nonsense=1",
        "failover:?primary=p.db&spill=s.db&on_conflict=shrug",
        "failover:?primary=p.db&spill=s.db&threshold=0",
        "failover:?primary=p.db&spill=s.db&heartbeat=0",
        "failover:?primary=p.db&spill=",
    ],
)
def test_urls_that_cannot_be(target: str) -> None:
    """A URL without a primary or a spill, or with an impossible option, is refused."""
    with pytest.raises(ConfigurationError):
        holdfast.open(target)


def test_a_reader_needs_no_spill(tmp_path: Path) -> None:
    """A store opened for reading reads the primary, and leaves the spill to its writer."""
    with holdfast.open(url(tmp_path)) as state:
        state.set(A, "k", 1)
        with holdfast.open(url(tmp_path), read_only=True) as reader:
            assert reader.get(A, "k") == 1


def test_servers_are_given_up_soon() -> None:
    """However a server is named, its time-out is short, unless somebody has said otherwise."""
    dsn = "postgresql://u@h/d"
    for short in (parse_url(dsn), PostgresSettings(dsn)):
        found = impatient(short)
        timeout = found.params["timeout"] if isinstance(found, EngineURL) else found.timeout
        assert float(timeout) == REMOTE_TIMEOUT
    for said in (
        parse_url(f"{dsn}?timeout=7"),
        PostgresSettings(dsn, timeout=7),
        parse_url("a.db"),
    ):
        assert impatient(said) == said


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command takes a failover URL wherever it takes one."""
    for line in (["set", A, "k", "1"], ["get", A, "k"]):
        assert run(["--store", url(tmp_path), *line]) == 0
    assert capsys.readouterr().out.strip().endswith("1")


def test_the_command_line_marks_what_is_degraded(world: World) -> None:
    """Where the spill has answered, the metadata that the command shows says so."""
    state = world.open()
    state.set(A, "k", 1)
    for degraded in (False, True):
        found = state.get_with_metadata(A, "k")
        assert found is not None
        assert metadata_fields(found.metadata).get("degraded", False) is degraded
        world.cut.set()


def test_one_process_at_a_time(world: World) -> None:
    """A spill in use is refused; another one beside it is fine."""
    world.open()
    with pytest.raises(BusyError, match="spill"):
        world.open()
    world.open("another")


def test_a_primary_never_met(world: World) -> None:
    """A new spill cannot stand in for a primary that was never seen."""
    world.cut.set()
    with pytest.raises(DegradedError, match="is new"):
        world.open()
    world.cut.clear()
    world.open()


def test_a_primary_that_is_away_at_opening(world: World) -> None:
    """A spill that knows the primary opens degraded, with all that it knows."""
    state = world.open()
    state.set(A, "k", 1)
    state.close()
    world.cut.set()
    state = world.open()
    assert state.failover.status().state == "open"
    assert state.get(A, "k") == 1
    state.set(A, "k", 2)
    world.cut.clear()
    assert state.failover.probe()
    assert world.others().get(A, "k") == 2


def test_what_was_left_behind_comes_first(world: World) -> None:
    """Writes of an earlier process are at the primary when the store is open again."""
    state = world.open()
    world.cut.set()
    state.set(A, "k", 1)
    state.close()
    state = world.open()
    assert state.get(A, "k") == 1
    state.set(A, "k", 2)
    state.close()
    world.cut.clear()
    state = world.open()
    assert state.failover.status().state == "closed"
    assert [c.value for c in world.others().history(A, "k")] == [2, 1]


def test_another_store(world: World, tmp_path: Path) -> None:
    """A spill is refused for any store but its own."""
    world.open().close()
    holdfast.open(tmp_path / "other.db").close()
    failover = FailoverSettings(spill=tmp_path / "spill.db")
    with pytest.raises(DivergedError, match="another store"):
        holdfast.open(tmp_path / "other.db", failover=failover)


def test_a_primary_put_back_to_an_earlier_state(
    world: World, until: Callable[[Callable[[], bool]], None]
) -> None:
    """A primary that has lost what was seen in it is not written to; health says failed."""
    state = world.open()
    state.close()
    copy = (world.directory / "primary.db").read_bytes()
    state = world.open()
    state.set(A, "k", 1)
    world.cut.set()
    state.set(A, "k", 2)
    # The handle that was given up is closed in the background, and writes its log back then.
    until(lambda: all(thread.name != "holdfast-abandon" for thread in threading.enumerate()))
    (world.directory / "primary.db").write_bytes(copy)
    for suffix in ("-wal", "-shm"):
        Path(f"{world.directory / 'primary.db'}{suffix}").unlink(missing_ok=True)
    world.cut.clear()
    assert not state.failover.probe()
    assert state.failover.status().code == "diverged"
    assert state.health().status == "failed"
    assert state.get(A, "k") == 2


def test_a_primary_whose_file_is_gone_is_not_made_anew(world: World) -> None:
    """Coming back never makes a store: an empty one in its place would hide the loss."""
    state = world.open()
    state.set(A, "k", 1)
    state.close()
    kept = world.directory / "kept"
    for path in world.directory.glob("primary.db*"):
        path.rename(f"{kept}{path.name.removeprefix('primary')}")
    with pytest.raises(NotAStoreError):
        world.open()


def test_a_fork_is_refused(world: World) -> None:
    """A child says that what it inherited is its parent's; the parent goes on."""
    state = world.open()
    state.set(A, "k", 1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            state.get(A, "k")
        except ForkedError:
            try:
                state.set(A, "k", 2)
            except ForkedError:
                status = 0
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert state.set(A, "k", 3) == 2
