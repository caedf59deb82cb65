"""What the kit cannot know: LMDB's processes, its map, its forks, its failures."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.config import parse_url
from holdfast.engines.base import Batch, Durability, View
from holdfast.errors import (
    BusyError,
    ConfigurationError,
    DiskFullError,
    ForkedError,
    LimitExceededError,
    NotAStoreError,
    ReadOnlyError,
)
from holdfast_lmdb import LmdbEngine, LmdbSettings, open_engine

CHILD = Path(__file__).with_name("child.py")


def put(engine: LmdbEngine, *pairs: tuple[bytes, bytes]) -> None:
    """Commit pairs."""
    engine.write(Durability.OS, lambda view: Batch(puts=list(pairs)))


def start(verb: str, path: Path) -> subprocess.Popen[str]:
    """Start a verb of `child.py`."""
    command = [sys.executable, str(CHILD), verb, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def in_fork(act: Callable[[], None]) -> bool:
    """Run `act` in a forked child; return whether it raised nothing."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:  # noqa: BLE001 - the parent is told by the status
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """After kill -9 between any two steps every acknowledged commit is there, each whole."""
    acknowledged = 0
    for turns in (1, 7, 40):
        writer = start("endless", tmp_path / "s")
        assert writer.stdout is not None
        for _ in range(turns):
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, re.findall(r"(\d+)\n", writer.stdout.read()))])
        writer.wait()
        engine = open_engine(LmdbSettings(tmp_path / "s"))
        with engine.read() as view:
            values = {int(value) for _, value in view.scan(b"\x00", b"\xff")}
        assert len(values) == 1, "half a batch"
        assert values.pop() - acknowledged in (0, 1)  # one commit may not have been said yet
        put(engine, (b"after", str(acknowledged).encode()))
        engine.write(Durability.SYNC, lambda view: Batch(deletes=[b"after"]))
        engine.close()


def test_a_writer_killed_in_its_body_releases_the_lock(tmp_path: Path) -> None:
    """The next writer gets the lock of a killed one, whose batch was not written."""
    engine = open_engine(LmdbSettings(tmp_path / "s", max_readers=2))
    put(engine, (b"k", b"1"))
    for _ in range(3):  # more than there are slots for readers
        assert start("die", tmp_path / "s").wait() == -signal.SIGKILL
        with engine.read() as view, engine.read() as other:
            assert view.get(b"k") == other.get(b"k") == b"1"
        put(engine, (b"k", b"1"))
    engine.close()


def test_writers_of_two_processes_lose_no_update(tmp_path: Path) -> None:
    """Two processes that each add one 200 times, at once, make 400."""
    writers = [start("add", tmp_path / "s") for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.communicate("go\n")[0] == ""
        assert writer.returncode == 0
    with open_engine(LmdbSettings(tmp_path / "s"), read_only=True).read() as view:
        assert view.get(b"n") == b"400"


def test_a_failed_commit_poisons_the_handle(tmp_path: Path) -> None:
    """A commit that the system cuts off is unknown; the handle then reads only; reopening heals."""
    child = start("fail", tmp_path / "s")
    assert child.communicate()[0].splitlines() == [
        *("unknown", "poisoned", "poisoned", "b'old'"),
        "b'old' None",
    ]


def test_a_full_map_is_definite(tmp_path: Path) -> None:
    """A batch that outgrows the map is a DiskFullError without effect; work goes on."""
    engine = open_engine(LmdbSettings(tmp_path / "s", map_size=1 << 20))
    put(engine, (b"a", b"1"))
    with pytest.raises(DiskFullError, match="map_size"):
        put(engine, (b"a", b"2"), (b"b", b"x" * (1 << 20)))
    filled = 0
    with pytest.raises(DiskFullError):
        for filled in range(10_000):
            put(engine, (b"k%d" % filled, b"x" * 3000))
    assert filled > 100
    assert engine.get(b"a") == b"1"
    assert engine.get_many([b"k%d" % (filled - 1), b"k%d" % filled]) == [b"x" * 3000, None]
    engine.close()
    engine = open_engine(LmdbSettings(tmp_path / "s", map_size=8 << 20))
    put(engine, (b"k%d" % filled, b"x" * 3000))
    engine.close()


def test_a_nearly_full_disk_is_met_before_the_commit(tmp_path: Path) -> None:
    """With less than `keep_free` left puts are refused and deletes and reads go on."""
    engine = open_engine(LmdbSettings(tmp_path / "s"))
    put(engine, (b"a", b"1"), (b"b", b"1"))
    engine.close()
    engine = open_engine(LmdbSettings(tmp_path / "s", keep_free=1 << 61))
    with pytest.raises(DiskFullError):
        put(engine, (b"a", b"2"))
    engine.write(Durability.SYNC, lambda view: Batch(deletes=[b"b"]))
    assert engine.get_many([b"a", b"b"]) == [b"1", None]
    engine.close()


def test_a_key_too_long_is_refused_whole(tmp_path: Path) -> None:
    """A batch with a key of 512 bytes writes nothing, and the handle works on."""
    engine = open_engine(LmdbSettings(tmp_path / "s"))
    assert engine.traits.max_key_bytes == 511
    with pytest.raises(LimitExceededError):
        put(engine, (b"a", b"1"), (b"x" * 512, b"1"))
    assert engine.get(b"a") is None
    put(engine, (b"x" * 511, b"1"))
    engine.close()


def test_one_handle_in_a_process(tmp_path: Path) -> None:
    """A second handle of the same process is refused, under any name; in order it is none."""
    engine = open_engine(LmdbSettings(tmp_path / "s"))
    (tmp_path / "link").symlink_to(tmp_path / "s")
    for name in ("s", "link"):
        with pytest.raises(BusyError, match="this process"):
            open_engine(LmdbSettings(tmp_path / name), read_only=True)
    engine.close()
    open_engine(LmdbSettings(tmp_path / "link")).close()


def test_a_forked_child_has_nothing_of_its_parent(tmp_path: Path) -> None:
    """A child's inherited handle raises ForkedError; it can open the store, beside the parent."""
    engine = open_engine(LmdbSettings(tmp_path / "s"))
    put(engine, (b"a", b"1"))

    def child() -> None:
        for call in (lambda: engine.get(b"a"), lambda: put(engine, (b"a", b"2")), engine.stats):
            with pytest.raises(ForkedError):
                call()
        engine.close()
        own = open_engine(LmdbSettings(tmp_path / "s"))
        assert own.get(b"a") == b"1"
        put(own, (b"child", b"1"))
        own.close()

    assert in_fork(child)
    assert engine.get(b"child") == b"1"
    put(engine, (b"a", b"3"))
    engine.close()


def test_a_fork_inside_a_body_leaves_the_parent_its_transaction(tmp_path: Path) -> None:
    """The child's copies of a write and a view end in ForkedError, and both stay the parent's."""
    engine = open_engine(LmdbSettings(tmp_path / "s"))
    before = [(b"k%03d" % n, b"old" * 20) for n in range(500)]
    put(engine, *before)
    statuses: list[int] = []

    def body(view: View) -> Batch:
        child = os.fork()
        if child:
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return Batch(puts=[(b"by", b"parent" if child else b"child")])

    parent = os.getpid()
    try:
        with engine.read() as view:
            engine.write(Durability.OS, body)
            for _ in range(5):  # pages that the view still needs would be used again by now
                put(engine, *((key, b"new" * 20) for key, _ in before))
            assert view.scan(b"\x00", b"\xff") == before
    except ForkedError:
        if os.getpid() == parent:
            raise
        os._exit(7)
    except BaseException:
        if os.getpid() == parent:
            raise
        os._exit(8)
    assert statuses == [7]
    assert engine.get(b"by") == b"parent"
    put(engine, (b"by", b"parent again"))
    engine.close()


def test_close_waits_for_views(tmp_path: Path) -> None:
    """Closing lets a view of another thread finish what it reads."""
    engine = open_engine(LmdbSettings(tmp_path / "s"))
    put(engine, (b"a", b"1"))
    with engine.read() as view:
        closing = threading.Thread(target=engine.close)
        closing.start()
        while engine._dead is None:  # until it has begun to close
            closing.join(0.001)
        assert view.scan(b"a", b"b") == [(b"a", b"1")]
        assert closing.is_alive()
    closing.join()


def test_reading_beside_a_writer(tmp_path: Path) -> None:
    """`read_only` needs a store, refuses writes, and sees what another process commits."""
    with pytest.raises(NotAStoreError):
        open_engine(LmdbSettings(tmp_path / "s"), read_only=True)
    assert not (tmp_path / "s").exists()
    open_engine(LmdbSettings(tmp_path / "s")).close()
    reader = open_engine(LmdbSettings(tmp_path / "s"), read_only=True)
    for call in (lambda: put(reader, (b"a", b"1")), reader.reclaim):
        with pytest.raises(ReadOnlyError):
            call()
    writer = start("add", tmp_path / "s")
    writer.communicate("go\n")
    assert reader.get(b"n") == b"200"
    reader.flush()
    reader.close()


def test_what_else_lies_at_the_path(tmp_path: Path) -> None:
    """Files, other directories and other people's data are refused and left alone."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme").write_text("x")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "data.mdb").write_bytes(b"x" * 9000)
    for name in ("file", "other", "junk"):
        with pytest.raises(NotAStoreError):
            open_engine(LmdbSettings(tmp_path / name))
    assert os.listdir(tmp_path / "other") == ["readme"]
    with pytest.raises(ConfigurationError, match="parent"):
        open_engine(LmdbSettings(tmp_path / "no" / "s"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("lmdb:", "directory"),
        ("lmdb:s?mapsize=1", "did you mean 'map_size'"),
        ("lmdb:s?map_size=many", "must be int"),
        ("lmdb:s?map_size=1", "at least"),
        ("lmdb:s?path=t", "before the"),
    ],
)
def test_wrong_urls_say_what_is_wrong(url: str, says: str) -> None:
    """An option that cannot be is refused before anything is made."""
    with pytest.raises(ConfigurationError, match=says):
        open_engine(parse_url(url))


@pytest.mark.parametrize("slashes", ["", "//"])
def test_slashes_before_the_path_are_the_urls(slashes: str, tmp_path: Path) -> None:
    """``lmdb:/dir`` and ``lmdb:///dir`` are one store, as ``lmdb:dir`` and ``lmdb://dir``."""
    settings = LmdbSettings.from_url(parse_url(f"lmdb:{slashes}{tmp_path}/s?max_readers=7"))
    assert str(settings.path) == f"{tmp_path}/s"
    assert LmdbSettings.from_url(parse_url(f"lmdb:{slashes}s")).path == Path("s")


def test_the_url_and_the_settings_open_the_same_store(tmp_path: Path) -> None:
    """Options stand in the URL or in the typed settings; the entry point serves both."""
    with holdfast.open(f"lmdb:{tmp_path}/s?map_size=1GiB&max_readers=9") as state:
        state.set("agent:a", "k", 1)
        stats = state._kernel.engine.stats()
        assert (stats["map_bytes"], stats["max_readers"]) == (1 << 30, 9)
    with holdfast.open(LmdbSettings(tmp_path / "s")) as state:
        assert state.get("agent:a", "k") == 1
        assert state.verify() == []
