"""What the RocksDB engine does beside the contract: openers, damage, failures, kills, forks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import EngineURL, parse_url
from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.engines.rocksdb import RocksDBSettings, open_engine, upkeep
from holdfast.engines.rocksdb import state as rocksdb_state
from holdfast.engines.rocksdb.engine import RocksDBEngine
from holdfast.errors import (
    BusyError,
    ClosedError,
    ConfigurationError,
    CorruptionError,
    DiskFullError,
    EngineError,
    FormatVersionError,
    NotAStoreError,
    OutcomeUnknownError,
    PoisonedError,
    ReadOnlyError,
)
from holdfast.testing import FakeClock

SYNC, OS, RELAXED = Durability.SYNC, Durability.OS, Durability.RELAXED


def open_at(path: Path, *, read_only: bool = False, clock: Any = None, **options: str) -> Engine:
    """Open the store at `path` with options as in a URL."""
    return open_engine(EngineURL("rocksdb", str(path), options), read_only=read_only, clock=clock)


def put(
    engine: Engine, *pairs: tuple[bytes, bytes], durability: Durability = Durability.OS
) -> None:
    """Commit one batch of puts."""
    engine.write(durability, lambda view: Batch(puts=list(pairs)))


def keys(engine: Engine) -> list[bytes]:
    """Return all keys."""
    with engine.read() as view:
        return [key for key, _ in view.scan(b"\x00", b"\xff" * 9, keys_only=True)]


def contents(path: Path) -> dict[str, bytes]:
    """Return all files below `path`."""
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place where nothing is yet."""
    return tmp_path / "store"


@pytest.fixture
def engine(path: Path) -> Iterator[RocksDBEngine]:
    """An engine over a new store."""
    engine = open_at(path)
    assert isinstance(engine, RocksDBEngine)
    yield engine
    engine.close()


# --- settings -----------------------------------------------------------------------------


def test_settings_come_from_the_url() -> None:
    """The options of the URL become typed settings; `opt.` passes others on."""
    url = parse_url(
        "rocksdb:./state?max_open_files=50&cache_capacity=500MB&compression=off"
        "&bloom_filter_bits=0&block_size=4KiB&write_buffer_size=1MiB&flush_every_ms=20"
        "&opt.set_max_background_jobs=4&opt.set_max_bytes_for_level_multiplier=8.5"
        "&opt.set_optimize_filters_for_hits=true"
    )
    settings = RocksDBSettings.from_url(url)
    assert settings == RocksDBSettings(
        path=Path("./state"),
        max_open_files=50,
        cache_capacity=500_000_000,
        compression=False,
        bloom_filter_bits=0,
        block_size=4096,
        write_buffer_size=1 << 20,
        flush_every_ms=20,
        options={
            "set_max_background_jobs": 4,
            "set_max_bytes_for_level_multiplier": 8.5,
            "set_optimize_filters_for_hits": True,
        },
    )


def test_settings_open_a_store(path: Path) -> None:
    """Typed settings serve as a URL does."""
    settings = RocksDBSettings(path, flush_every_ms=5, options={"set_max_background_jobs": 2})
    engine = open_engine(settings)
    put(engine, (b"a", b"1"))
    engine.close()
    reader = open_engine(settings, read_only=True)
    assert reader.get(b"a") == b"1"
    reader.close()


def test_options_are_used(path: Path) -> None:
    """A store opened with every option works, and RocksDB wrote down what it was given."""
    options: dict[str, Any] = {
        "compression": "no",
        "block_size": "8KiB",
        "max_open_files": "77",
        "opt.set_max_background_jobs": "3",
        "opt.set_optimize_filters_for_hits": "yes",
    }
    engine = open_at(path, **options)
    put(engine, (b"a", b"1"))
    text = next(path.glob("OPTIONS-*")).read_text()
    assert "max_background_jobs=3" in text
    assert "max_open_files=77" in text
    assert "block_size=8192" in text
    assert "optimize_filters_for_hits=true" in text
    assert "compression=kNoCompression" in text
    engine.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cache": "1"}, "cache"),
        ({"block_size": "big"}, "block_size"),
        ({"block_size": "1"}, "at least"),
        ({"max_open_files": "0"}, "max_open_files"),
        ({"reader_lag_ms": "-1"}, "reader_lag_ms"),
        ({"flush_every_ms": "0"}, "flush_every_ms"),
        ({"options": "x"}, "options"),
        ({"opt.set_max_background_job": "4"}, "set_max_background_jobs"),
        ({"opt.set_max_background_jobs": "many"}, "number"),
        ({"opt.set_max_background_jobs": "1.5"}, "refuses"),
        ({"opt.set_wal_dir": "1"}, "set_wal_dir"),
        ({"opt.__class__": "1"}, "__class__"),
    ],
)
def test_wrong_options_are_refused(path: Path, options: dict[str, Any], says: str) -> None:
    """An unknown or impossible option is a ConfigurationError that names it; nothing is made."""
    with pytest.raises(ConfigurationError, match=says):
        open_at(path, **options)
    assert not path.exists()


# --- what is in the directory -------------------------------------------------------------


def test_missing_parent(tmp_path: Path) -> None:
    """A store is not made in a directory that does not exist."""
    with pytest.raises(ConfigurationError, match="no directory"):
        open_at(tmp_path / "no" / "store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_not_a_store(tmp_path: Path, read_only: bool) -> None:
    """Other people's files and directories are refused and left as they are."""
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "CURRENT").write_bytes(b"MANIFEST-000005\n")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "HOLDFAST").write_bytes(b"holdfast rocksdb one\n")
    before = contents(tmp_path)
    for name in ("file", "full", "odd"):
        with pytest.raises(NotAStoreError):
            open_at(tmp_path / name, read_only=read_only)
    assert contents(tmp_path) == before


def test_a_newer_layout_is_left_untouched(path: Path) -> None:
    """A store of a newer layout is a FormatVersionError and nothing in it changes."""
    open_at(path).close()
    (path / "HOLDFAST").write_bytes(b"holdfast rocksdb 2\n")
    before = contents(path)
    for read_only in (False, True):
        with pytest.raises(FormatVersionError, match="layout 2"):
            open_at(path, read_only=read_only)
    assert contents(path) == before


def test_an_interrupted_creation_is_finished(path: Path) -> None:
    """Whatever a crash left of making a store, opening it again makes it."""
    path.mkdir()
    open_at(path).close()
    for kept in (
        set(),
        {"HOLDFAST.new.1"},
        {"HOLDFAST.new"},
        {"HOLDFAST.new", "LOCK", "LOG"},
    ):
        shutil.rmtree(path)
        path.mkdir()
        for name in kept:
            text = b"" if name in ("LOCK", "LOG", "HOLDFAST.new.1") else b"holdfast rocksdb 1\n"
            (path / name).write_bytes(text)
        engine = open_at(path)
        put(engine, (b"a", b"1"))
        engine.close()
        assert (path / "HOLDFAST").read_bytes() == b"holdfast rocksdb 1\n"
        assert not (path / "HOLDFAST.new").exists()
        engine = open_at(path)
        assert engine.get(b"a") == b"1"
        engine.close()


def test_a_disk_that_fails_while_a_store_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the operating system refuses at opening is an EngineError, and passes."""

    def broken(_source: Path, target: Path) -> None:
        if target.name == "HOLDFAST":
            raise OSError(28, "No space left on device")
        os.rename(_source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", broken)
        with pytest.raises(EngineError, match="No space left"):
            open_at(path)
    engine = open_at(path)
    put(engine, (b"a", b"1"))
    engine.close()
    (path / "rocksdict-config.json").unlink()
    (path / "rocksdict-config.json").mkdir()  # a file of rocksdict's own, not of RocksDB's
    with pytest.raises(EngineError):
        open_at(path)
    (path / "rocksdict-config.json").rmdir()
    open_at(path).close()


def test_a_lost_database_is_not_made_anew(path: Path) -> None:
    """A marked store whose database vanished is damage, not an empty store."""
    engine = open_at(path)
    put(engine, (b"a", b"1"))
    engine.close()
    (path / "CURRENT").unlink()
    with pytest.raises(CorruptionError):
        open_at(path)


def test_a_manifest_that_lost_its_end(path: Path, tmp_path: Path) -> None:
    """A manifest cut anywhere is damage, never an earlier state that opens without a word."""
    for key in (b"a", b"b", b"c"):
        engine = open_at(path)
        put(engine, (key, b"1"), durability=SYNC)
        engine.close()
    told: list[str] = []
    for short in range(1, 250, 3):
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
        (manifest,) = copy.glob("MANIFEST-*")
        os.truncate(manifest, manifest.stat().st_size - short)
        try:
            engine = open_at(copy)
        except CorruptionError as error:
            told.append(error.message)
        else:
            assert keys(engine) == [b"a", b"b", b"c"]
            engine.close()
        shutil.rmtree(copy)
    assert any("has been at" in message for message in told)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_manifest_that_rocksdb_would_read_for_ever(path: Path, read_only: bool) -> None:
    """Its second record became one of a recycled log: refused at once, by name."""
    open_at(path).close()
    name = (path / "CURRENT").read_text().strip()
    raw = bytearray((path / name).read_bytes())
    second = 7 + int.from_bytes(raw[4:6], "little")
    assert raw[second + 6] == 1
    raw[second + 6] = 5
    (path / name).write_bytes(raw)
    with pytest.raises(CorruptionError, match="has type 5"):
        open_at(path, read_only=read_only)


@pytest.mark.parametrize("text", [None, b"", b"sequence 99999 00000000\n", b"\xff" * 40])
def test_a_damaged_note_of_what_was_reached(path: Path, text: bytes | None) -> None:
    """The note is a check only: without it, or with one that is damaged, the store opens."""
    engine = open_at(path)
    put(engine, (b"a", b"1"))
    engine.close()
    note = path / "HOLDFAST.reached"
    note.unlink() if text is None else note.write_bytes(text)
    engine = open_at(path)
    assert engine.get(b"a") == b"1"
    engine.close()
    assert note.read_bytes().startswith(b"sequence ")


def test_nothing_to_read(path: Path) -> None:
    """Opening for reading never makes a store."""
    with pytest.raises(NotAStoreError):
        open_at(path, read_only=True)
    assert not path.exists()


# --- other openers ------------------------------------------------------------------------


def test_second_writer_in_this_process(engine: RocksDBEngine, path: Path) -> None:
    """A second handle of the same process is refused and says so; the first goes on."""
    with pytest.raises(BusyError, match="this process"):
        open_at(path)
    put(engine, (b"a", b"1"))
    assert engine.get(b"a") == b"1"


def test_second_writer_in_another_process(engine: RocksDBEngine, path: Path) -> None:
    """Another process is refused with the way out: read_only."""
    code = (
        "import sys; from holdfast.config import EngineURL\n"
        "from holdfast.engines.rocksdb import open_engine\n"
        "from holdfast.errors import BusyError\n"
        "try: open_engine(EngineURL('rocksdb', sys.argv[1]))\n"
        "except BusyError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "another process" in done.stdout
    assert "read_only=True" in done.stdout


def test_what_callers_still_hold_does_not_keep_the_store(path: Path) -> None:
    """A closed view or an error that is being handled does not stop the store's reopening."""
    engine = open_at(path)
    assert isinstance(engine, RocksDBEngine)
    put(engine, (b"a", b"1"))
    with engine.read() as old:
        put(engine, (b"a", b"2"))
    with engine.read() as view:
        pass
    database: Any = engine._database
    engine._database = Failing(database, "flush_wal", after=False)  # type: ignore[assignment]
    try:
        put(engine, (b"a", b"3"), durability=SYNC)
    except OutcomeUnknownError:
        engine._database = database
        engine.close()
        open_at(path).close()
    for each in (old, view):
        with pytest.raises(ClosedError):
            each.get(b"a")
        with pytest.raises(ClosedError):
            each.scan(b"a", b"b")


def test_closing_frees_the_store_at_once(path: Path) -> None:
    """After close the store can be opened again, however many threads were reading."""
    for _ in range(5):
        engine = open_at(path)
        put(engine, (b"a", b"1"))
        stop = threading.Event()

        def read(engine: Engine = engine, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                try:
                    engine.get(b"a")
                    engine.get(b"absent")
                    keys(engine)
                except ClosedError:
                    return

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        engine.close()
        open_at(path).close()
        stop.set()
        for thread in threads:
            thread.join(10)


def test_a_reader_follows_the_writer(engine: RocksDBEngine, path: Path) -> None:
    """A read-only handle sees each commit once it is acknowledged, also after a flush to files."""
    put(engine, (b"a", b"1"))
    reader = open_at(path, read_only=True)
    assert reader.get(b"a") == b"1"
    put(engine, (b"a", b"2"), (b"b", b"2"), durability=SYNC)
    assert reader.get_many([b"a", b"b", b"c"]) == [b"2", b"2", None]
    put(engine, *((b"k%04d" % n, b"x" * 200) for n in range(3000)))
    assert engine.reclaim() >= 0
    assert len(keys(reader)) == 3002
    engine.write(OS, lambda view: Batch(delete_ranges=[(b"k", b"l")]))
    engine.reclaim()
    put(engine, (b"a", b"3"))
    assert keys(reader) == [b"a", b"b"]
    assert reader.get(b"a") == b"3"
    assert reader.stats()["path"] == str(path)
    reader.close()
    assert engine.get(b"a") == b"3"


def test_a_reader_may_lag(engine: RocksDBEngine, path: Path) -> None:
    """With `reader_lag_ms` a reader looks for news only so often."""
    clock = FakeClock()
    put(engine, (b"a", b"1"))
    reader = open_at(path, read_only=True, clock=clock, reader_lag_ms="500")
    put(engine, (b"a", b"2"))
    clock.advance(0.4)
    assert reader.get(b"a") == b"1"
    clock.advance(0.1)
    assert reader.get(b"a") == b"2"
    reader.close()


def test_a_readers_view_stays(engine: RocksDBEngine, path: Path) -> None:
    """A view of a read-only handle is one state, however far the writer goes meanwhile."""
    put(engine, (b"a", b"1"), (b"b", b"1"))
    reader = open_at(path, read_only=True)
    with reader.read() as view:
        put(engine, (b"a", b"2"))
        engine.write(OS, lambda view: Batch(deletes=[b"b"]))
        engine.reclaim()
        assert view.scan(b"a", b"z") == [(b"a", b"1"), (b"b", b"1")]
        assert reader.get_many([b"a", b"b"]) == [b"2", None]
        assert view.get(b"b") == b"1"
    assert reader.get(b"a") == b"2"
    assert keys(reader) == [b"a"]
    reader.close()


def test_a_reader_refuses_writes(engine: RocksDBEngine, path: Path) -> None:
    """Writes and reclaim are ReadOnlyError; after close everything is ClosedError."""
    put(engine, (b"a", b"1"))
    reader = open_at(path, read_only=True)
    with pytest.raises(ReadOnlyError):
        put(reader, (b"a", b"2"))
    with pytest.raises(ReadOnlyError):
        reader.reclaim()
    reader.flush()
    reader.close()
    reader.close()
    calls: list[Callable[[], object]] = [
        lambda: reader.get(b"a"),
        lambda: reader.get_many([]),
        lambda: keys(reader),
        lambda: put(reader),
        reader.flush,
        reader.stats,
        reader.reclaim,
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()


# --- damage -------------------------------------------------------------------------------


def make_files(path: Path, count: int = 4000) -> dict[bytes, bytes]:
    """Make a store whose data is all in table files; return the data."""
    engine = open_at(path, compression="no", block_size="4KiB", bloom_filter_bits="10")
    pairs = {b"k%05d" % n: (b"%05d" % n) * 20 for n in range(count)}
    put(engine, *pairs.items())
    engine.reclaim()
    engine.close()
    return pairs


def test_flipped_bytes_in_a_table(path: Path) -> None:
    """Damage in a file is CorruptionError in get and scan: never a wrong value, never short."""
    pairs = make_files(path)
    table = max(path.glob("*.sst"), key=lambda file: file.stat().st_size)
    sound = table.read_bytes()
    hit = {"get": 0, "forward": 0, "reverse": 0, "keys": 0}
    for place in range(100, len(sound) - 100, len(sound) // 12):
        damaged = bytearray(sound)
        damaged[place] ^= 0x40
        table.write_bytes(damaged)
        try:
            engine = open_at(path)
        except CorruptionError:
            continue
        for key in list(pairs)[::7]:
            try:
                assert engine.get(key) == pairs[key]
            except CorruptionError:
                hit["get"] += 1
        for name, options in (
            ("forward", {}),
            ("reverse", {"reverse": True}),
            ("keys", {"keys_only": True}),
        ):
            with engine.read() as view:
                try:
                    found = view.scan(b"k", b"l", **options)
                except CorruptionError:
                    hit[name] += 1
                else:
                    assert sorted(key for key, _ in found) == list(pairs)
        engine.close()
    table.write_bytes(sound)
    assert min(hit.values()) >= 5, hit


def test_damage_met_by_a_view_held_over_a_commit(path: Path) -> None:
    """The shared iterator of an older state reports damage too."""
    make_files(path)
    table = max(path.glob("*.sst"), key=lambda file: file.stat().st_size)
    damaged = bytearray(table.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    table.write_bytes(damaged)
    engine = open_at(path)
    with engine.read() as view:
        put(engine, (b"z", b"1"))
        for options in ({}, {"reverse": True}):
            with pytest.raises(CorruptionError):
                view.scan(b"k", b"l", **options)
        assert view.scan(b"k", b"l", limit=3, keys_only=True)[0] == (b"k00000", b"")
    engine.close()


def test_a_flipped_bit_in_the_log(path: Path, tmp_path: Path) -> None:
    """A damaged log is not silently opened up to the damage; a torn tail is forgiven."""
    engine = open_at(path)
    for number in range(200):
        put(engine, (b"k%03d" % number, b"v" * 100), durability=OS)
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    engine.close()
    log = max(copy.glob("*.log"), key=lambda file: file.stat().st_size)
    sound = log.read_bytes()
    log.write_bytes(sound[:9000] + bytes([sound[9000] ^ 1]) + sound[9001:])
    with pytest.raises(CorruptionError):
        open_at(copy)
    log.write_bytes(sound[:-30])
    engine = open_at(copy)
    assert keys(engine) == [b"k%03d" % number for number in range(199)]
    engine.close()


# --- failures -----------------------------------------------------------------------------


class Failing:
    """A database of which one method fails, before or after doing its work."""

    def __init__(self, database: Any, method: str, *, after: bool) -> None:
        self._database = database
        self._method = method
        self._after = after
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._database, name)
        if name != self._method:
            return real

        def fail(*arguments: Any) -> None:
            self.calls += 1
            if self._after:
                real(*arguments)
            raise Exception("IO error: No space left on device")

        return fail


@pytest.mark.parametrize(
    ("method", "after", "durability", "landed"),
    [
        ("write", False, OS, False),
        ("write", False, SYNC, False),
        ("flush_wal", False, SYNC, True),
        ("flush_wal", True, SYNC, True),
    ],
)
def test_a_failed_commit_is_unknown_and_poisons(
    path: Path, method: str, after: bool, durability: Durability, landed: bool
) -> None:
    """Readers stay on the last acknowledged state, writers are refused, reopening tells."""
    engine = open_at(path)
    put(engine, (b"a", b"1"), (b"b", b"1"))
    real = engine._database  # type: ignore[attr-defined]
    engine._database = Failing(real, method, after=after)  # type: ignore[attr-defined]
    with pytest.raises(OutcomeUnknownError):
        put(engine, (b"a", b"2"), (b"c", b"2"), durability=durability)
    engine._database = real  # type: ignore[attr-defined]
    assert engine.get_many([b"a", b"c"]) == [b"1", None]
    with engine.read() as view:
        assert view.scan(b"a", b"z") == [(b"a", b"1"), (b"b", b"1")]
        assert view.scan(b"a", b"z", reverse=True) == [(b"b", b"1"), (b"a", b"1")]
    for call in (lambda: put(engine, (b"d", b"1")), engine.flush, engine.reclaim):
        with pytest.raises(PoisonedError):
            call()
    engine.close()
    engine = open_at(path)
    assert engine.get(b"a") == (b"2" if landed else b"1")
    put(engine, (b"d", b"1"), durability=SYNC)
    engine.close()


def test_a_failed_flush_is_unknown_and_poisons(path: Path) -> None:
    """`flush` fails as a commit does."""
    engine = open_at(path)
    put(engine, (b"a", b"1"))
    real = engine._database  # type: ignore[attr-defined]
    engine._database = Failing(real, "flush_wal", after=False)  # type: ignore[attr-defined]
    with pytest.raises(OutcomeUnknownError):
        engine.flush()
    engine._database = real  # type: ignore[attr-defined]
    with pytest.raises(PoisonedError):
        put(engine, (b"a", b"2"))
    engine.close()


def test_readers_see_nothing_that_is_not_on_disk_yet(path: Path) -> None:
    """While a SYNC commit waits for the disk, gets, views and scans show the state before."""
    engine = open_at(path)
    put(engine, (b"a", b"1"), (b"b", b"1"))
    reached, go_on = threading.Event(), threading.Event()

    class Slow(Failing):
        def __getattr__(self, name: str) -> Any:
            if name == "flush_wal":
                reached.set()
                assert go_on.wait(30)
            return getattr(self._database, name)

    real = engine._database  # type: ignore[attr-defined]
    engine._database = Slow(real, "", after=False)  # type: ignore[attr-defined]
    before = [(b"a", b"1"), (b"b", b"1")]
    with engine.read() as early:
        writer = threading.Thread(
            target=lambda: put(engine, (b"a", b"2"), (b"c", b"2"), durability=SYNC)
        )
        writer.start()
        assert reached.wait(30)
        assert engine.get(b"a") == b"1"
        assert engine.get_many([b"a", b"c"]) == [b"1", None]
        with engine.read() as view:
            for each in (early, view):
                assert each.get(b"c") is None
                assert each.scan(b"a", b"z") == before
                assert each.scan(b"a", b"z", reverse=True) == before[::-1]
                assert each.scan(b"a", b"b") == before[:1]
                assert each.scan(b"a", b"b", reverse=True) == before[:1]
                assert each.scan(b"b", b"z", reverse=True, limit=1) == before[1:]
                assert each.scan(b"a", b"z", keys_only=True, limit=1) == [(b"a", b"")]
            go_on.set()
            writer.join(30)
            assert view.scan(b"a", b"z") == before
    engine._database = real  # type: ignore[attr-defined]
    assert keys(engine) == [b"a", b"b", b"c"]
    engine.close()


def test_relaxed_writes_are_flushed_within_the_interval(path: Path) -> None:
    """After a RELAXED write the log is flushed once the interval has passed, and not again."""
    clock = FakeClock()
    engine = open_at(path, clock=clock, flush_every_ms="250")
    real = engine._database  # type: ignore[attr-defined]
    flushed = threading.Event()

    class Watched(Failing):
        def __getattr__(self, name: str) -> Any:
            if name == "flush_wal":
                self.calls += 1
                flushed.set()
            return getattr(self._database, name)

    watched = Watched(real, "", after=False)
    engine._database = watched  # type: ignore[attr-defined]
    put(engine, (b"a", b"1"), durability=OS)
    assert threading.active_count() == 1 or watched.calls == 0
    put(engine, (b"a", b"2"), durability=RELAXED)
    clock.await_waiters()
    clock.advance(0.2)
    assert not flushed.is_set()
    clock.advance(0.05)
    assert flushed.wait(30)
    clock.advance(10)
    put(engine, (b"a", b"3"), durability=RELAXED)
    clock.await_waiters()
    assert watched.calls == 1
    engine._database = real  # type: ignore[attr-defined]
    engine.close()


# --- kills and forks ----------------------------------------------------------------------

WRITER = """
import os, sys
from holdfast.config import EngineURL
from holdfast.engines.base import Batch, Durability
from holdfast.engines.rocksdb import open_engine
engine = open_engine(EngineURL("rocksdb", sys.argv[1], {"write_buffer_size": "64KiB"}))
first = int(sys.argv[2])
for number in range(first, first + 100_000):
    tag = b"%08d" % number
    batch = Batch(puts=[(b"a" + tag, tag * 30), (b"b" + tag, tag), (b"last", tag)])
    if number % 5 == 4:
        batch.deletes.append(b"b%08d" % (number - 2))
        batch.delete_ranges.append((b"a%08d" % (number - 4), b"a%08d" % (number - 2)))
    durability = Durability.SYNC if number % 3 == 0 else Durability.OS
    engine.write(durability, lambda view: batch)
    os.write(1, tag + b"\\n")
"""


def expected(last: int) -> list[bytes]:
    """Return the keys after all writes up to `last`."""
    gone = set()
    for number in range(4, last + 1, 5):
        gone |= {
            b"b%08d" % (number - 2),
            b"a%08d" % (number - 4),
            b"a%08d" % (number - 3),
        }
    names = [space + b"%08d" % n for space in (b"a", b"b") for n in range(last + 1)]
    return [name for name in names if name not in gone] + ([b"last"] if last >= 0 else [])


def test_kill_a_writer(path: Path) -> None:
    """After kill -9 every acknowledged write is there, no batch is torn, twenty times over."""
    reached = -1
    for cycle in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(reached + 1)],
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdout is not None
            for _ in range(5 + cycle * 7):
                acknowledged = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            for line in child.stdout.read().split(b"\n"):
                if len(line) == 8:
                    acknowledged = int(line)
        engine = open_at(path)
        last = engine.get(b"last")
        assert last is not None
        reached = int(last)
        # One write may have been committed without having been acknowledged: whole or not at all.
        assert reached in (acknowledged, acknowledged + 1)
        assert keys(engine) == expected(reached)
        assert engine.get(b"b" + last) == last
        engine.close()


SYNCER = """
import os, sys
from holdfast.config import EngineURL
from holdfast.engines.base import Batch, Durability
from holdfast.engines.rocksdb import open_engine
from holdfast.errors import OutcomeUnknownError, PoisonedError
engine = open_engine(EngineURL("rocksdb", sys.argv[1]))
for number in range(6):
    batch = Batch(puts=[(b"k%d" % number, b"v")])
    try:
        engine.write(Durability.SYNC, lambda view: batch)
    except OutcomeUnknownError:
        print("unknown", number)
    except PoisonedError:
        print("refused", number)
    else:
        print("done", number)
os._exit(0)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("failing", range(1, 7))
def test_a_sync_that_fails(path: Path, failing: int) -> None:
    """When the n-th fdatasync of the log fails, that write is unknown and no later one is done."""
    open_at(path).close()
    inject = ["-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={failing}"]
    names = [arg for n in range(1, 30) for arg in ("-P", str(path / f"{n:06}.log"))]
    traced = ["strace", "-f", "-qq", "-o", os.devnull, *inject, *names]
    done = subprocess.run(
        [*traced, sys.executable, "-c", SYNCER, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    told = [line.split()[0] for line in done.stdout.splitlines()]
    assert told == ["done"] * (failing - 1) + ["unknown"] + ["refused"] * (6 - failing)
    engine = open_at(path)
    # The write whose sync failed is there: RocksDB had handed it to the kernel. Unknown it is.
    assert keys(engine) == [b"k%d" % n for n in range(failing)]
    engine.close()


def test_a_forked_child_cannot_use_the_handle(engine: RocksDBEngine, path: Path) -> None:
    """In a child every call is ForkedError, close does nothing, and the parent goes on."""
    put(engine, (b"a", b"1"))
    code = (
        "import os, sys\n"
        "from holdfast.config import EngineURL\n"
        "from holdfast.engines.base import Batch, Durability\n"
        "from holdfast.engines.rocksdb import open_engine\n"
        "from holdfast.errors import ForkedError\n"
        "engine = open_engine(EngineURL('rocksdb', sys.argv[1]))\n"
        "reader = open_engine(EngineURL('rocksdb', sys.argv[1]), read_only=True)\n"
        "engine.write(Durability.RELAXED, lambda view: Batch(puts=[(b'a', b'1')]))\n"
        "def scan(handle):\n"
        "    with handle.read() as view: view.get(b'a')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    refused = 0\n"
        "    for handle in (engine, reader):\n"
        "        for call in (lambda: handle.get(b'a'), lambda: handle.get_many([b'a']),\n"
        "            lambda: scan(handle), handle.flush, handle.stats, handle.reclaim,\n"
        "            lambda: handle.write(Durability.OS, lambda view: Batch())):\n"
        "            try: call()\n"
        "            except ForkedError: refused += 1\n"
        "        handle.close()\n"
        "    del engine, reader, handle\n"
        "    sys.exit(refused)\n"
        "_, status = os.waitpid(child, 0)\n"
        "print('child', os.waitstatus_to_exitcode(status))\n"
        "engine.write(Durability.SYNC, lambda view: Batch(puts=[(b'b', b'2')]))\n"
        "print(engine.get(b'a'), engine.get(b'b'), reader.get(b'b'))\n"
        "engine.close()\n"
        "reader.close()\n"
    )
    other = path.parent / "other"
    done = subprocess.run(
        [sys.executable, "-c", code, str(other)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["child 14", "b'1' b'2' b'2'"], done.stderr
    reopened = open_at(other)
    assert keys(reopened) == [b"a", b"b"]
    reopened.close()


# --- upkeep -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "size", "looks"),
    [
        pytest.param(3 << 30, 100, 1, id="ample"),
        pytest.param(1 << 30, 100, 5, id="no GiB to spare"),
        pytest.param(3 << 30, 256 << 20, 2, id="ample until much of it is written"),
    ],
)
def test_the_free_space_is_looked_at_whenever_it_can_have_become_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, size: int, looks: int
) -> None:
    """Five writes within a moment; then the moment is over, and the disk is full."""
    found: list[int] = []

    class Facts:
        f_frsize = 1

        @property
        def f_bavail(self) -> int:
            found.append(free)
            return free

    class Value(bytes):
        def __len__(self) -> int:
            return size

    now = 100.0
    monkeypatch.setattr(upkeep.os, "statvfs", lambda _: Facts())
    monkeypatch.setattr(upkeep.time, "monotonic", lambda: now)
    room = upkeep.Room(tmp_path, 1 << 20)
    for _ in range(5):
        room.refuse_full(Batch(puts=[(b"", Value())]))
    assert len(found) == looks
    now, free = 100.1, 1000
    with pytest.raises(DiskFullError):
        room.refuse_full(Batch(puts=[(b"", Value())]))


def test_reclaim_gives_space_back(engine: RocksDBEngine) -> None:
    """After most of a large store is deleted, reclaim returns about its bytes."""
    put(engine, *((b"k%05d" % n, os.urandom(1000)) for n in range(4000)))
    engine.reclaim()
    full = int(engine.stats()["disk_bytes"])
    engine.write(OS, lambda view: Batch(deletes=[b"k%05d" % n for n in range(10, 4000)]))
    given = engine.reclaim()
    assert given > 3_000_000
    assert int(engine.stats()["disk_bytes"]) < full - 3_000_000
    assert len(keys(engine)) == 10


def test_reclaim_with_a_budget(engine: RocksDBEngine) -> None:
    """With a budget space is given back too, and nothing that is alive changes."""
    put(engine, *((b"k%05d" % n, os.urandom(1000)) for n in range(2000)))
    engine.reclaim()
    engine.write(OS, lambda view: Batch(deletes=[b"k%05d" % n for n in range(10, 2000)]))
    assert sum(engine.reclaim(500_000) for _ in range(5)) > 400_000
    assert len(keys(engine)) == 10


def test_stats(engine: RocksDBEngine, path: Path) -> None:
    """The facts of `info()` are there and plausible."""
    put(engine, *((b"k%05d" % n, b"v" * 100) for n in range(1000)))
    stats = engine.stats()
    assert stats["path"] == str(path)
    assert str(stats["version"]).startswith("rocksdict 0.")
    assert int(stats["disk_bytes"]) >= int(stats["wal_bytes"]) > 100_000
    assert int(stats["free_bytes"]) > 0
    assert stats["estimated_keys"] == 1000
    assert int(stats["block_cache_bytes"]) >= 0
    assert stats["background_errors"] == 0


def test_a_view_that_is_never_closed_does_not_hold_a_writer_up(
    engine: RocksDBEngine,
) -> None:
    """Views are not locks: writes go on beside one, in the same thread."""
    put(engine, (b"a", b"1"))
    with engine.read() as view:
        for number in range(50):
            put(
                engine,
                (b"a", b"%d" % number),
                durability=SYNC if number % 10 == 0 else OS,
            )
        assert view.get(b"a") == b"1"
        assert view.scan(b"a", b"b") == [(b"a", b"1")]
    assert engine.get(b"a") == b"49"


def test_an_upside_down_range_is_harmless(engine: RocksDBEngine) -> None:
    """RocksDB would accept such a range delete and fail ever after; it never gets one."""
    engine.write(SYNC, lambda view: Batch(puts=[(b"a", b"1")], delete_ranges=[(b"z", b"a")]))
    assert keys(engine) == [b"a"]


@pytest.mark.parametrize("total", [0, 1, 15, 16, 17, 18, 33, 300])
def test_scans_of_every_length(engine: RocksDBEngine, total: int) -> None:
    """Ranges of any length, whole or limited, both ways, where the way of reading changes."""
    pairs = [(b"k%04d" % n, b"%d" % n) for n in range(total)]
    put(engine, (b"j", b""), *pairs, (b"l", b""))
    for pinned in (False, True):
        with engine.read() as view:
            if pinned:
                put(engine, (b"k9999", b"later"))
            for limit in (None, 1, 15, 16, 17, 32, total, total + 1):
                assert view.scan(b"k", b"l", limit=limit) == pairs[:limit]
                assert view.scan(b"k", b"l", limit=limit, reverse=True) == pairs[::-1][:limit]
                names = [(key, b"") for key, _ in pairs]
                assert view.scan(b"k", b"l", limit=limit, keys_only=True) == names[:limit]


def test_a_state_pinned_in_the_middle_of_a_scan(
    engine: RocksDBEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit between the first and the later pairs of a scan does not show in it."""
    pairs = [(b"k%04d" % n, b"%d" % n) for n in range(100)]
    put(engine, *pairs)
    walk, late = rocksdb_state._walk, [pair for pair in pairs if pair[0] != b"k0050"]

    def interrupted(*arguments: Any, **options: Any) -> Any:
        found = walk(*arguments, **options)
        if len(found) == rocksdb_state._FEW:
            engine.write(OS, lambda view: Batch(deletes=[b"k0050"]))
        return found

    monkeypatch.setattr(rocksdb_state, "_walk", interrupted)
    for reverse in (False, True):
        with engine.read() as view:
            expected_pairs = late if reverse else pairs
            found = view.scan(b"k", b"l", reverse=reverse)
            assert found == (expected_pairs[::-1] if reverse else expected_pairs)
    monkeypatch.undo()


def test_the_body_may_scan_what_a_reader_holds(engine: RocksDBEngine) -> None:
    """A body reads the state before while a view of it is open elsewhere."""
    put(engine, (b"a", b"1"))
    seen = []

    def body(view: View) -> Batch:
        seen.append(view.scan(b"a", b"z"))
        return Batch(puts=[(b"b", b"2")])

    with engine.read():
        engine.write(SYNC, body)
        engine.write(OS, body)
    assert seen == [[(b"a", b"1")], [(b"a", b"1"), (b"b", b"2")]]
