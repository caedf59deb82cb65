"""What is special to SQLite: its files, its failures, its processes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import pytest

from holdfast.clock import SystemClock
from holdfast.config import EngineURL, parse_url
from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.engines.sqlite import SqliteEngine, SqliteSettings, open_engine, wal_reset_bug
from holdfast.engines.sqlite import log as log_module
from holdfast.engines.sqlite.opening import Opening
from holdfast.engines.sqlite.platform import filesystem_of, require_library, shares_memory
from holdfast.engines.sqlite.session import Session
from holdfast.errors import (
    BusyError,
    ClosedError,
    ConfigurationError,
    CorruptionError,
    EngineError,
    FormatVersionError,
    InvalidArgumentError,
    NotAStoreError,
    OutcomeUnknownError,
    PoisonedError,
    ReadOnlyError,
    StateError,
    UnsupportedPlatformError,
)

SYNC, OS, RELAXED = Durability.SYNC, Durability.OS, Durability.RELAXED


def start(path: Path, *, read_only: bool = False, **options: Any) -> SqliteEngine:
    """Open a store with options as a URL gives them."""
    params = {name: str(value) for name, value in options.items()}
    engine = open_engine(EngineURL("sqlite", str(path), params), read_only=read_only)
    assert isinstance(engine, SqliteEngine)
    return engine


def put(engine: Engine, *pairs: tuple[bytes, bytes], durability: Durability = OS) -> None:
    """Write pairs in one batch."""
    engine.write(durability, lambda view: Batch(puts=list(pairs)))


def add(engine: Engine, key: bytes = b"\x01n", durability: Durability = OS) -> None:
    """Add one to a number, through the view."""

    def body(view: View) -> Batch:
        return Batch(puts=[(key, b"%d" % (int(view.get(key) or b"0") + 1))])

    engine.write(durability, body)


def everything(engine: Engine) -> dict[bytes, bytes]:
    """Return all pairs."""
    with engine.read() as view:
        return dict(view.scan(b"\0", b"\xff" * 9))


def listing(folder: Path) -> dict[str, bytes | None]:
    """Return the files of a folder with what is in them."""
    return {f.name: f.read_bytes() if f.is_file() else None for f in folder.iterdir()}


PRELUDE = """
import os, sys
from holdfast.config import EngineURL
from holdfast.engines.base import Batch, Durability
from holdfast.engines.sqlite import open_engine
SYNC, OS, RELAXED = Durability.SYNC, Durability.OS, Durability.RELAXED
def start(path, read_only=False, **options):
    return open_engine(EngineURL("sqlite", path, options), read_only=read_only)
def put(engine, key, value, durability=OS):
    engine.write(durability, lambda view: Batch(puts=[(key, value)]))
def add(engine, key=b"\\x01n", durability=OS):
    engine.write(durability, lambda view: Batch(
        puts=[(key, b"%d" % (int(view.get(key) or b"0") + 1))]))
def say(*words):
    print(*words, flush=True)
"""


def program(code: str, *args: object, under: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Run Python code in a process of its own, with a pipe to and from it."""
    source = PRELUDE + textwrap.dedent(code)
    return subprocess.Popen(
        [*under, sys.executable, "-c", source, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a program to end well; return what it printed."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store may be made, alone in a folder."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder / "state.db"


@pytest.fixture
def engine(path: Path) -> Iterator[SqliteEngine]:
    """Open a store and close it after the test."""
    engine = start(path)
    yield engine
    engine.close()


# --- the platform -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "bug"),
    [
        ("3.6.23", False),
        ("3.7.0", True),
        ("3.40.1", True),
        ("3.44.5", True),
        ("3.44.6", False),
        ("3.44.10", False),
        ("3.45.9", True),
        ("3.50.6", True),
        ("3.50.7", False),
        ("3.51.0", True),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.51", True),
        ("3.52.0", False),
        ("3.54.1", False),
        ("4.0.0", False),
        ("nonsense", True),
    ],
)
def test_wal_reset_bug(version: str, bug: bool) -> None:
    """Libraries from 3.7.0 to 3.51.2 are affected, but for the backports; unknown ones count."""
    assert wal_reset_bug(version) is bug


def test_affected_library_is_refused() -> None:
    """A library with the bug is an error with a way out; the one in use is sound."""
    with pytest.raises(UnsupportedPlatformError, match="WAL-reset"):
        require_library("3.40.1")
    require_library()


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:5 / /dev rw - devtmpfs devtmpfs rw
41 22 0:40 / /mnt/share rw - nfs4 server:/x rw,vers=4.2
42 22 0:41 / /mnt/with\\040space rw - cifs //server/x rw
43 41 0:42 / /mnt/share/local rw - tmpfs tmpfs rw
44 22 0:43 / /home rw shared:2 master:3 - fuse.sshfs me@host: rw
45 22 0:44 / /vm rw - virtiofs tag rw
46 22 0:45 / /vm rw - ext4 /dev/vdb rw
a broken line
"""


@pytest.mark.parametrize(
    ("path", "kind", "safe"),
    [
        ("/", "ext4", True),
        ("/etc/x", "ext4", True),
        ("/mnt/share", "nfs4", False),
        ("/mnt/share/deep/x", "nfs4", False),
        ("/mnt/shared", "ext4", True),
        ("/mnt/share/local/x", "tmpfs", True),
        ("/mnt/with space/x", "cifs", False),
        ("/home/me", "fuse.sshfs", False),
        ("/vm/x", "ext4", True),
    ],
)
def test_filesystem_of(path: str, kind: str, safe: bool) -> None:
    """The innermost, latest mount decides; network and host-shared kinds are unsafe."""
    assert filesystem_of(path, MOUNTS) == kind
    assert shares_memory(kind) is safe


def test_unknown_filesystems_are_trusted() -> None:
    """Nothing known of a mount is no reason to refuse."""
    assert filesystem_of("/x", "") is None
    assert shares_memory(None)
    assert shares_memory("fuse.fuse-overlayfs")
    assert not shares_memory("9p")


def test_network_filesystem_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WAL on a network filesystem needs exclusive=true; nothing is made before that."""
    monkeypatch.setattr("holdfast.engines.sqlite.platform.filesystem_of", lambda *a: "nfs4")
    with pytest.raises(UnsupportedPlatformError, match="exclusive"):
        start(path)
    assert not listing(path.parent)
    start(path, exclusive=True).close()


def test_default_vfs_is_left_alone(engine: SqliteEngine) -> None:
    """Loading the checksum extension does not change other users of the library."""
    assert apsw.vfs_names()[0] == "unix"
    assert "cksmvfs" in apsw.vfs_names()


# --- settings ---------------------------------------------------------------------------------


def test_settings_from_url() -> None:
    """Options become settings, sizes take units."""
    url = parse_url("sqlite:/x/state.db?cache_capacity=5MiB&use_compression=no&page_size=8192")
    settings = SqliteSettings.from_url(url)
    assert settings.path == Path("/x/state.db")
    assert settings.cache_capacity == 5 << 20
    assert settings.use_compression is False
    assert settings.page_size == 8192


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:",
        "sqlite::memory:",
        "sqlite:x.db?page_size=1000",
        "sqlite:x.db?wal_limit=1",
        "sqlite:x.db?checkpoint_every_ms=0",
        "sqlite:x.db?cache_size=1",
        "sqlite:x.db?temp_store=cloud",
        "sqlite:x.db?path=y.db",
    ],
)
def test_bad_settings(url: str) -> None:
    """A bad option is an error before anything is touched."""
    with pytest.raises(ConfigurationError):
        SqliteSettings.from_url(parse_url(url))


@pytest.mark.parametrize("page_size", [512, 4096, 16384, 65536])
def test_page_sizes(path: Path, page_size: int) -> None:
    """Every page size that SQLite knows works, with checksums; an existing file keeps its own."""
    engine = start(path, page_size=page_size)
    put(engine, *((b"\x03%d" % n, os.urandom(n * 7)) for n in range(300)))
    before = everything(engine)
    assert engine.stats()["page_size"] == page_size
    engine.close()
    again = start(path)
    assert everything(again) == before
    assert again.stats()["page_size"] == page_size
    again.close()


# --- what a path may be -----------------------------------------------------------------------


def foreign(path: Path) -> None:
    """Make a SQLite file of somebody else's."""
    with_sqlite = apsw.Connection(str(path))
    with_sqlite.execute("CREATE TABLE t(x); INSERT INTO t VALUES(1)")
    with_sqlite.close()


def foreign_wal(path: Path) -> None:
    """Make a SQLite file of somebody else's, in WAL mode."""
    with_sqlite = apsw.Connection(str(path))
    with_sqlite.execute("PRAGMA journal_mode=WAL; CREATE TABLE t(x)")
    with_sqlite.close()


def cut(at: float) -> Callable[[Path], None]:
    """Make stores that end too early."""

    def make(path: Path) -> None:
        start(path).close()
        for sidecar in ("-turn", "-lock"):
            Path(f"{path}{sidecar}").unlink()
        os.truncate(path, int(path.stat().st_size * at))

    return make


PAGE_SIZE = SqliteSettings(path=Path()).page_size


def torn(path: Path) -> None:
    """Copy a store with a log in use, and cut the copy inside the last page that is written."""
    live = path.parent / "live.db"
    engine = start(live, checkpoint_every_ms=3_600_000)
    put(engine, *((b"\x01%04d" % at, b"x" * 100) for at in range(400)))
    engine.close()
    engine = start(live, checkpoint_every_ms=3_600_000)
    put(engine, (b"\x02a", b"in the log"))
    shutil.copy(live, path)
    shutil.copy(f"{live}-wal", f"{path}-wal")
    engine.close()
    os.truncate(path, path.stat().st_size - PAGE_SIZE // 2)


def test_a_file_cut_inside_a_page_is_an_error_though_it_has_a_log(path: Path) -> None:
    """SQLite would read the rest of the page as zeros: values as NULL, keys as absent."""
    torn(path)
    with pytest.raises(CorruptionError, match="ends inside a page"):
        start(path, read_only=True)
    engine = start(path)
    with engine.read() as view, pytest.raises(CorruptionError, match="checksum"):
        view.scan(b"\x01", b"\x02")
    assert engine.get(b"\x02a") == b"in the log"
    engine.close()


def test_a_page_torn_by_a_power_cut_in_a_checkpoint_comes_from_the_log(path: Path) -> None:
    """The log holds it whole: opening for writing ends the checkpoint."""
    live = path.parent / "live.db"
    engine = start(live, checkpoint_every_ms=3_600_000)
    pairs = [(b"\x01%04d" % at, b"x" * 100) for at in range(400)]
    put(engine, *pairs)
    shutil.copy(live, path)
    shutil.copy(f"{live}-wal", f"{path}-wal")
    engine.close()
    with path.open("ab") as file:
        file.write(bytes(PAGE_SIZE // 2))
    with pytest.raises(CorruptionError, match="ends inside a page") as raised:
        start(path, read_only=True)
    assert "open it for writing" in str(raised.value)
    again = start(path)
    with again.read() as view:
        assert view.scan(b"\x01", b"\x02") == pairs
    again.close()
    assert path.stat().st_size % PAGE_SIZE == 0


@pytest.mark.parametrize(
    "make",
    [
        foreign,
        foreign_wal,
        cut(0.0),
        cut(0.004),
        cut(0.3),
        cut(0.99),
        Path.mkdir,
        Path.touch,
        lambda path: path.write_bytes(b"SQLite format 3\0"),
        lambda path: path.write_text("hello " * 1000),
        lambda path: path.symlink_to(path.parent / "nowhere"),
        os.mkfifo,
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_not_a_store(path: Path, make: Callable[[Path], None], read_only: bool) -> None:
    """What is no store is refused, untouched, and nothing is left beside it."""
    make(path)
    before = {} if path.is_fifo() else listing(path.parent)
    with pytest.raises(NotAStoreError):
        start(path, read_only=read_only)
    if before:
        assert listing(path.parent) == before


def test_newer_format(path: Path) -> None:
    """A store of a later layout is refused, untouched."""
    start(path).close()
    db = apsw.Connection(str(path), vfs="cksmvfs")
    db.execute("PRAGMA user_version=2")
    db.close()
    before = listing(path.parent)
    for read_only in (False, True):
        with pytest.raises(FormatVersionError):
            start(path, read_only=read_only)
    assert listing(path.parent) == before


def test_missing(path: Path) -> None:
    """A missing directory is a configuration error; a missing file cannot be opened to read."""
    with pytest.raises(ConfigurationError, match="no directory"):
        start(path.parent / "nowhere" / "state.db")
    with pytest.raises(NotAStoreError):
        start(path, read_only=True)
    assert not listing(path.parent)


def test_files(path: Path) -> None:
    """The last close leaves one file and the two empty sidecars; opening again finds all."""
    one, other = start(path), start(path)
    put(one, (b"\x03a", b"1"))
    put(other, (b"\x03b", b"2"))
    one.close()
    assert other.get(b"\x03a") == b"1"
    other.close()
    assert set(listing(path.parent)) == {"state.db", "state.db-turn", "state.db-lock"}
    assert listing(path.parent)["state.db-turn"] == b""
    engine = start(path)
    assert everything(engine) == {b"\x03a": b"1", b"\x03b": b"2"}
    engine.close()


def test_interrupted_creation(path: Path) -> None:
    """What a killed creation left is no obstacle, and is gone afterwards."""
    Path(f"{path}-new").write_bytes(b"half")
    start(path).close()
    assert set(listing(path.parent)) == {"state.db", "state.db-turn", "state.db-lock"}


def test_odd_names(tmp_path: Path) -> None:
    """Names with characters that mean something in URIs work, read-only too."""
    path = tmp_path / "a?b#c%41 ü.db"
    engine = start(path)
    put(engine, (b"\x03a", b"1"))
    engine.close()
    engine = start(path, read_only=True)
    assert engine.get(b"\x03a") == b"1"
    engine.close()


def test_links_and_directories(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store opened by a link, or by a relative path before chdir, is the same store."""
    link = path.parent / "link.db"
    one = start(path)
    link.symlink_to(path)
    other = start(link)
    add(one)
    add(other, durability=SYNC)
    other.flush()
    assert one.get(b"\x01n") == b"2"
    other.close()
    one.close()
    assert set(listing(path.parent)) == {"state.db", "state.db-turn", "state.db-lock", "link.db"}
    monkeypatch.chdir(path.parent)
    engine = start(Path("state.db"))
    monkeypatch.chdir("/")
    add(engine, durability=SYNC)
    engine.flush()
    engine.close()
    engine = start(path)
    assert engine.get(b"\x01n") == b"3"
    engine.close()


@pytest.mark.parametrize("replace", [False, True])
def test_moved_file(path: Path, replace: bool) -> None:
    """A file removed or replaced while it is open takes no more writes."""
    engine = start(path)
    put(engine, (b"\x03a", b"1"))
    path.rename(path.parent / "moved.db")
    if replace:
        path.write_bytes(b"another")
    with pytest.raises(PoisonedError, match="moved"):
        put(engine, (b"\x03b", b"2"))
    assert engine.get(b"\x03a") == b"1"
    engine.close()


# --- reading only -----------------------------------------------------------------------------


def test_read_only(path: Path) -> None:
    """A read-only handle reads what others write and refuses to write."""
    writer = start(path)
    put(writer, (b"\x03a", b"1"))
    reader = start(path, read_only=True)
    put(writer, (b"\x03b", b"2"))
    assert everything(reader) == {b"\x03a": b"1", b"\x03b": b"2"}
    with pytest.raises(ReadOnlyError):
        put(reader, (b"\x03c", b"3"))
    with pytest.raises(ReadOnlyError):
        reader.reclaim()
    reader.flush()
    assert reader.stats()["page_size"] == 4096
    reader.close()
    with pytest.raises(ClosedError):
        reader.get(b"\x03a")
    writer.close()


def in_mounts(code: str, *args: object) -> str:
    """Run code in a mount namespace of its own."""
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs root and unshare")
    process = program(code, *args, under=("unshare", "--mount"))
    out, err = process.communicate(timeout=120)
    if process.returncode and ("Operation not permitted" in err or "permission denied" in err):
        pytest.skip("mounting is not permitted here")
    assert process.returncode == 0, err
    return out


def test_read_only_directory(path: Path) -> None:
    """A file in a read-only directory is read as it is; to write it is an error with a hint."""
    engine = start(path)
    put(engine, (b"\x03a", b"1"))
    engine.close()
    code = """
    import subprocess
    from holdfast.errors import ReadOnlyError
    path = sys.argv[1]; folder = os.path.dirname(path)
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    try:
        start(path)
    except ReadOnlyError as error:
        say("read_only=True" in str(error))
    engine = start(path, read_only=True)
    say(engine.get(b"\\x03a"), engine.get(b"\\x03b"), engine.stats()["pages"] > 0)
    with engine.read() as view:
        say(view.scan(b"\\0", b"\\xff"))
    engine.close()
    """
    before = listing(path.parent)
    out = in_mounts(code, path)
    assert out.splitlines() == ["True", "b'1' None True", "[(b'\\x03a', b'1')]"]
    assert listing(path.parent) == before


def test_immutable_file_that_changes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file read as one that cannot change says so when it does, instead of lying."""
    engine = start(path)
    put(engine, (b"\x03a", b"1"))
    engine.close()
    from holdfast.engines.sqlite.opening import Opening

    monkeypatch.setattr(Opening, "_choose_read_only", Opening._become_immutable)
    reader = start(path, read_only=True)
    assert reader.get(b"\x03a") == b"1"
    writer = start(path)
    put(writer, (b"\x03a", b"2"))
    with pytest.raises(CorruptionError, match="changed"):
        reader.get(b"\x03a")
    with pytest.raises(CorruptionError, match="changed"), reader.read():
        pass
    reader.close()
    writer.close()


# --- damage -----------------------------------------------------------------------------------


def test_flipped_bits(path: Path) -> None:
    """A flipped bit anywhere in the file is noticed, in gets and scans, or harmless."""
    rng = random.Random(5)
    engine = start(path)
    truth: dict[bytes, bytes] = {}
    for space in (1, 3, 4, 5):
        for n in range(150):
            truth[bytes([space]) + b"key%05d" % n] = rng.randbytes(rng.choice((0, 20, 250, 2000)))
    truth[b"\x03large"] = rng.randbytes(64_000)
    put(engine, *truth.items())
    engine.write(OS, lambda view: Batch(deletes=[b"\x03key00007"]))
    del truth[b"\x03key00007"]
    engine.close()
    sound = path.read_bytes()
    noticed = 0
    places = [*range(100), *(rng.randrange(len(sound)) for _ in range(150))]
    for number, place in enumerate(places):
        data = bytearray(sound)
        data[place] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            engine = start(path, read_only=number % 2 == 0)
        except (CorruptionError, NotAStoreError, FormatVersionError):
            noticed += 1
            continue
        try:
            bad = False
            for key in rng.sample(sorted(truth), 20):
                try:
                    assert engine.get(key) == truth[key]
                except CorruptionError:
                    bad = True
            try:
                assert everything(engine) == truth
            except CorruptionError:
                bad = True
            noticed += bad
        finally:
            engine.close()
            for suffix in ("-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
    assert noticed >= len(places) * 0.9  # The rest hit the unused parts of pages without content.


def test_corruption_on_write(path: Path) -> None:
    """A write that meets damage raises CorruptionError and writes nothing."""
    engine = start(path)
    put(engine, *((b"\x03%05d" % n, os.urandom(200)) for n in range(500)))
    engine.close()
    data = bytearray(path.read_bytes())
    for page in range(20, len(data) // 4096):
        data[page * 4096 + 2000] ^= 4
    path.write_bytes(data)
    engine = start(path)
    with pytest.raises(CorruptionError) as caught:
        put(engine, *((b"\x03%05d" % n, b"new") for n in range(500)))
    assert caught.value.where
    engine.close()


# --- durability and failures ------------------------------------------------------------------

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def traced(path: Path, code: str, *options: str) -> tuple[str, str]:
    """Run code under strace; return what it printed and the trace (or skip)."""
    trace = path.parent.parent / "trace"
    under = ("strace", "-f", "-y", "-o", str(trace), *options)
    process = program(code, path, under=under)
    out, err = process.communicate(timeout=120)
    if process.returncode and "ptrace" in err:
        pytest.skip("tracing is not permitted here")
    assert process.returncode == 0, err
    return out, trace.read_text()


@needs_strace
def test_sync_commits_reach_the_disk(path: Path) -> None:
    """A SYNC commit syncs the log before it returns, once; OS and RELAXED ones do not."""
    code = """
    engine = start(sys.argv[1], checkpoint_every_ms="3600000", flush_every_ms="3600000")
    put(engine, b"\\x03first", b"1")
    for word, durability in (("sync", SYNC), ("os", OS), ("relaxed", RELAXED), ("sync", SYNC)):
        for n in range(5):
            os.write(1, b"begin %s\\n" % word.encode())
            put(engine, b"\\x03%d" % n, os.urandom(100), durability)
            os.write(1, b"end\\n")
    os.write(1, b"begin flush\\n"); engine.flush(); os.write(1, b"end\\n")
    os.write(1, b"begin empty\\n"); engine.write(SYNC, lambda view: Batch()); os.write(1, b"end\\n")
    os._exit(0)
    """
    start(path).close()  # So that only the log is new.
    _, trace = traced(path, code, "-e", "trace=fsync,fdatasync,write")
    counts: dict[str, list[int]] = {}
    folder_synced = False
    for line in trace.splitlines():
        if '"begin ' in line:
            word = line.split('"begin ')[1].split("\\n")[0]
            counts.setdefault(word, []).append(0)
            current = word
        elif "sync(" in line and not counts:
            # Since the log was made, by the latest opening.
            folder_synced = f"{path.parent}>" in line or (
                folder_synced and "state.db-new" not in line
            )
        elif "sync(" in line and "state.db-wal" in line:
            counts[current][-1] += 1
    assert folder_synced  # Else a power cut takes the log's name, and the log with it.
    assert counts["os"] == counts["relaxed"] == [0] * 5
    assert counts["sync"] == [1] * 10
    assert counts["flush"] == counts["empty"] == [1]


@needs_strace
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_failed_commit(path: Path, call: str) -> None:
    """A failure inside a commit is an unknown outcome, then writes are refused and reads go on."""
    start(path).close()
    code = """
    from holdfast.errors import OutcomeUnknownError, PoisonedError
    engine = start(sys.argv[1], checkpoint_every_ms="3600000")
    n = 0
    try:
        while n < 100:
            put(engine, b"\\x03%d" % n, os.urandom(5000), SYNC); n += 1
    except OutcomeUnknownError:
        say("unknown", n)
    for act in (lambda: put(engine, b"\\x03x", b"x"), engine.flush, engine.reclaim):
        try:
            act()
        except PoisonedError:
            say("poisoned")
    say(all(engine.get(b"\\x03%d" % k) for k in range(n)), engine.get(b"\\x03x"))
    say(bool(engine.stats()["poisoned"]))
    engine.close()
    again = start(sys.argv[1])
    put(again, b"\\x03x", b"y", SYNC)
    say(all(again.get(b"\\x03%d" % k) for k in range(n)), again.get(b"\\x03x"))
    again.close()
    """
    out, _ = traced(
        path,
        code,
        "-P",
        f"{path}-wal",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:error=EIO:when=9",
    )
    lines = out.splitlines()
    assert lines[0].startswith("unknown ")
    assert lines[1:] == ["poisoned"] * 3 + ["True None", "True", "True b'y'"]


@needs_strace
@pytest.mark.parametrize(
    "fault",
    [
        "pwrite64:error=EIO:when=40",
        "pwrite64:error=ENOSPC:when=33+",
        "pwrite64:signal=KILL:when=120",
        "fdatasync:error=EIO:when=12",
        "fdatasync:signal=KILL:when=15",
        "ftruncate:error=EIO:when=1",
    ],
)
def test_faults_and_reopening(path: Path, fault: str) -> None:
    """After a fault in a commit or checkpoint, reopening finds what was acknowledged and no more.

    What failed for sure is not there, and no batch is torn.
    """
    code = """
    from holdfast.errors import EngineError, OutcomeUnknownError, PoisonedError
    engine = start(sys.argv[1], checkpoint_every_ms="1", wal_limit="64KiB")
    for n in range(40):
        def body(view):
            return Batch(puts=[(b"\\x03%d" % (n % 7), b"%d" % n * 100),
                               (b"\\x05%d" % n, b"%d" % n * 600), (b"\\x01n", b"%d" % n)])
        try:
            engine.write(SYNC if n % 2 else OS, body)
            word = "ok"
        except OutcomeUnknownError:
            word = "unknown"
        except PoisonedError:
            word = "refused"
        except EngineError:
            word = "failed"
        os.write(1, b"%s %d\\n" % (word.encode(), n))
    engine.close()
    """
    start(path).close()
    call = fault.partition(":")[0]
    tracing = ("-P", str(path), "-P", f"{path}-wal", "-e", f"trace={call}", "-e", f"inject={fault}")
    process = program(code, path, under=("strace", "-f", "-o", os.devnull, *tracing))
    out, err = process.communicate(timeout=120)
    if process.returncode and "ptrace" in err:
        pytest.skip("tracing is not permitted here")
    assert "Traceback" not in err
    said: dict[str, set[int]] = {word: set() for word in ("ok", "unknown", "refused", "failed")}
    for line in out.splitlines():
        word, number = line.split()
        said[word].add(int(number))
    engine = start(path)
    with engine.read() as view:
        there = {int(key[1:]) for key, _ in view.scan(b"\x05", b"\x06", keys_only=True)}
        if there:
            assert view.get(b"\x01n") == b"%d" % max(there)
    assert said["ok"] <= there
    assert not there & (said["failed"] | said["refused"])
    assert len(there - said["ok"] - said["unknown"]) <= ("KILL" in fault)
    engine.close()
    db = apsw.Connection(str(path), vfs="cksmvfs")
    assert db.execute("PRAGMA integrity_check").get == "ok"
    db.close()


def test_full_disk(path: Path) -> None:
    """A full disk is a definite error: nothing is written, reads and later writes go on."""
    code = """
    import subprocess
    from holdfast.errors import DiskFullError
    folder = os.path.dirname(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    engine = start(sys.argv[1])
    put(engine, b"\\x03a", b"small", SYNC)
    with open(folder + "/ballast", "wb") as ballast:
        ballast.write(bytes(300_000))
    for durability in (SYNC, OS):
        try:
            put(engine, b"\\x03b", os.urandom(3_000_000), durability)
        except DiskFullError:
            say("full", engine.get(b"\\x03a"), engine.get(b"\\x03b"))
    full = 0
    for n in range(400):
        try:
            put(engine, b"\\x03n%03d" % n, os.urandom(10_000), SYNC)
        except DiskFullError:
            full += 1
            assert engine.get(b"\\x03n%03d" % n) is None
        else:
            assert engine.get(b"\\x03n%03d" % n)
    say(full > 0)
    os.unlink(folder + "/ballast")
    engine.write(SYNC, lambda view: Batch(delete_ranges=[(b"\\x03n", b"\\x03o")]))
    engine.reclaim()
    put(engine, b"\\x03c", b"fits again", SYNC)
    engine.close()
    engine = start(sys.argv[1])
    with engine.read() as view:
        say(view.scan(b"\\0", b"\\xff"))
    """
    lines = in_mounts(code, path).splitlines()
    assert lines == [
        "full b'small' None",
        "full b'small' None",
        "True",
        "[(b'\\x03a', b'small'), (b'\\x03c', b'fits again')]",
    ]


def test_failed_flush(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that fails leaves the outcome unknown and poisons the handle, not its readers."""

    def broken(file: int) -> None:
        raise OSError(5, "Input/output error")

    engine = start(path)
    put(engine, (b"\x03a", b"1"))
    monkeypatch.setattr(log_module, "sync_data", broken)
    with pytest.raises(OutcomeUnknownError):
        engine.flush()
    monkeypatch.undo()
    with pytest.raises(PoisonedError):
        put(engine, (b"\x03b", b"2"))
    with pytest.raises(PoisonedError):
        engine.flush()
    assert engine.get(b"\x03a") == b"1"
    engine.close()
    engine = start(path)
    assert everything(engine) == {b"\x03a": b"1"}
    engine.close()


def test_nested_write(engine: SqliteEngine) -> None:
    """A body that writes is told so instead of hanging; one that reads the engine is fine."""

    def body(view: View) -> Batch:
        assert engine.get(b"\x03a") is None
        with pytest.raises(InvalidArgumentError):
            put(engine, (b"\x03a", b"1"))
        return Batch(puts=[(b"\x03b", b"2")])

    engine.write(OS, body)
    assert everything(engine) == {b"\x03b": b"2"}


# --- the log ----------------------------------------------------------------------------------


class CountingClock(SystemClock):
    """Says how often somebody waited."""

    def __init__(self) -> None:
        self.waits = 0
        self.waited = threading.Semaphore(0)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait, but not for long."""
        self.waits += 1
        self.waited.release()
        return event.wait(min(seconds, 0.001))


def test_idle_stores_sleep(path: Path) -> None:
    """The checkpointer wakes for writes only, and copies the whole log back."""
    clock = CountingClock()
    engine = open_engine(EngineURL("sqlite", str(path)), clock=clock)
    assert clock.waits == 0
    assert threading.active_count() == len(threading.enumerate())
    put(engine, (b"\x03a", b"1"))
    assert clock.waited.acquire(timeout=30)
    done = threading.Event()
    for _ in range(2000):
        if engine.stats()["checkpoints"]:
            break
        done.wait(0.005)
    waits = clock.waits
    assert engine.stats()["checkpoints"] == 1
    done.wait(0.05)
    assert clock.waits == waits
    engine.close()


def test_log_is_bounded(path: Path) -> None:
    """The log stays near its bound under constant writing beside readers."""
    engine = start(path, wal_limit="1MiB", checkpoint_every_ms=2)
    stop, most = threading.Event(), 0

    def read() -> None:
        while not stop.is_set():
            everything(engine)

    with ThreadPoolExecutor() as threads:
        reader = threads.submit(read)
        try:
            for n in range(600):
                put(engine, *((b"\x03%d-%d" % (n % 20, k), os.urandom(1000)) for k in range(20)))
                most = max(most, os.path.getsize(f"{path}-wal"))
        finally:
            stop.set()
        reader.result()
    assert most < 16 << 20  # 600 writes are about 50 MB of log.
    engine.close()


def test_reclaim(path: Path) -> None:
    """Space freed by deletes goes back to the disk, within the budget, and nothing is lost."""
    engine = start(path)
    put(engine, *((b"\x03%05d" % n, os.urandom(4000)) for n in range(1000)))
    engine.write(OS, lambda view: Batch(delete_ranges=[(b"\x03", b"\x0300990")]))
    engine.reclaim(0)
    free = int(engine.stats()["free_pages"])
    assert free > 800
    engine.reclaim(400_000)
    assert 0 <= free - int(engine.stats()["free_pages"]) - 400_000 // 4096 <= 1
    assert engine.reclaim() > 2_000_000
    assert engine.stats()["free_pages"] == 0
    assert path.stat().st_size < 500_000
    assert len(everything(engine)) == 10
    engine.close()


# --- threads and processes --------------------------------------------------------------------


def test_readers_never_wait(engine: SqliteEngine) -> None:
    """Reads go on while a body runs, and see the state before."""
    put(engine, (b"\x03a", b"1"))

    def body(view: View) -> Batch:
        seen: list[bytes | None] = []
        reader = threading.Thread(target=lambda: seen.append(engine.get(b"\x03a")))
        reader.start()
        reader.join(60)
        assert seen == [b"1"]
        return Batch(puts=[(b"\x03a", b"2")])

    engine.write(OS, body)
    assert engine.get(b"\x03a") == b"2"


def test_four_processes(path: Path) -> None:
    """Four processes that make the store together and add 250 times each end at exactly 1000.

    They read, truncate the log, reclaim and reopen all the time: nothing is ever "locked".
    """
    code = """
    for part in range(5):
        engine = start(sys.argv[1], wal_limit="64KiB", checkpoint_every_ms="1")
        for n in range(50):
            add(engine, durability=SYNC if n % 10 == 0 else OS)
            put(engine, b"\\x03%d" % (n % 20), os.urandom(3000), RELAXED)
            with engine.read() as view:
                view.scan(b"\\x01", b"\\x04")
        engine.reclaim(100_000)
        engine.close()
    """
    processes = [program(code, path) for _ in range(4)]
    for process in processes:
        finish(process)
    engine = start(path)
    assert engine.get(b"\x01n") == b"1000"
    engine.close()


def test_many_threads(path: Path) -> None:
    """Threads over two handles add up, with frequent opening and closing of a third."""
    engines = start(path), start(path)

    def work(engine: Engine) -> None:
        for _ in range(50):
            add(engine)

    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(work, engines[n % 2]) for n in range(8)]
        for _ in range(20):
            third = start(path)
            third.get(b"\x01n")
            third.close()
        for one in done:
            one.result()
    assert engines[0].get(b"\x01n") == b"400"
    for engine in engines:
        engine.close()


def test_killed_writers(path: Path) -> None:
    """After kill -9 every SYNC write that was acknowledged is there, and no batch is torn."""
    code = """
    engine = start(sys.argv[1], checkpoint_every_ms="3")
    first = int(sys.argv[2])
    for n in range(first, first + 100_000):
        value = b"%d" % n
        engine.write(SYNC, lambda view: Batch(
            puts=[(b"\\x03%d" % (n % 50), value * 30), (b"\\x05%d" % n, value), (b"\\x01n", value)],
            deletes=[b"\\x04%d" % (n - 1)] if n % 2 else []))
        os.write(1, b"%d\\n" % n)
    """
    rng = random.Random(3)
    first = 1
    for _ in range(20):
        process = program(code, path, first)
        assert process.stdout is not None
        for _ in range(rng.randrange(1, 60)):
            process.stdout.readline()
        process.kill()
        lines = process.communicate(timeout=60)[0].split("\n")
        engine = start(path)
        last = int(engine.get(b"\x01n") or b"0")
        told = [int(line) for line in lines[:-1] if line]
        assert last >= max(told, default=0)
        for n in range(max(1, last - 49), last + 1):
            assert engine.get(b"\x03%d" % (n % 50)) == b"%d" % n * 30
        with engine.read() as view:
            assert len(view.scan(b"\x05", b"\x06", keys_only=True)) == last
        assert engine.get(b"\x05%d" % (last + 1)) is None
        engine.close()
        first = last + 1
    db = apsw.Connection(str(path), vfs="cksmvfs")
    assert db.execute("PRAGMA integrity_check").get == "ok"
    db.close()


def test_killed_holder(path: Path) -> None:
    """A process killed inside its write leaves the queue free and nothing behind."""
    engine = start(path)
    code = """
    engine = start(sys.argv[1])
    def body(view):
        say("inside"); sys.stdin.readline()
    engine.write(OS, body)
    """
    process = program(code, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    waiter = threading.Thread(target=add, args=(engine,))
    waiter.start()
    process.kill()
    process.communicate()
    waiter.join(60)
    assert engine.get(b"\x01n") == b"1"
    engine.close()


def test_stopped_holder(path: Path) -> None:
    """While a stopped process holds the queue writes are busy and reads go on; then all is well."""
    engine = start(path, busy_timeout_ms=100)
    put(engine, (b"\x03a", b"1"))
    code = """
    import threading
    engine = start(sys.argv[1])
    def body(view):
        say("inside"); sys.stdin.readline()
        return Batch(puts=[(b"\\x03b", b"2")])
    engine.write(OS, body)
    say("out"); sys.stdin.readline()
    engine.close()
    """
    process = program(code, path)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "inside\n"
    os.kill(process.pid, signal.SIGSTOP)
    for _ in range(2):
        with pytest.raises(BusyError):
            add(engine)
    assert engine.get(b"\x03a") == b"1"
    os.kill(process.pid, signal.SIGCONT)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "out\n"
    add(engine)
    assert engine.get(b"\x03b") == b"2"
    process.stdin.write("\n")
    finish(process)
    engine.close()


def test_exclusive(path: Path) -> None:
    """An exclusive store lets in one process, which reads and writes from many threads."""
    engine = start(path, exclusive=True)
    assert engine.traits.shared is False

    def add_many() -> None:
        for _ in range(25):
            add(engine)

    threads = [threading.Thread(target=add_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.get(b"\x01n") == b"100"
    assert not Path(f"{path}-shm").exists()
    code = """
    from holdfast.errors import BusyError
    for exclusive in ("true", "false"):
        try:
            start(sys.argv[1], exclusive=exclusive, busy_timeout_ms="50")
        except BusyError:
            say("busy")
    """
    assert finish(program(code, path)) == "busy\nbusy\n"
    assert engine.reclaim() >= 0
    engine.close()
    engine = start(path)
    assert engine.get(b"\x01n") == b"100"
    engine.close()


# --- forks ------------------------------------------------------------------------------------

FORK = """
import threading
engine = start(sys.argv[1], checkpoint_every_ms="2")
add(engine)
stop = threading.Event()
def busy():
    while not stop.is_set():
        engine.get(b"\\x01n")
        with engine.read() as view:
            view.scan(b"\\x01", b"\\x02")
threads = [threading.Thread(target=busy) for _ in range(3)]
"""


def test_fork(path: Path) -> None:
    """Parent and children write on after forks, with readers running; nothing is lost."""
    code = (
        FORK
        + """
for thread in threads: thread.start()
children = []
for _ in range(4):
    add(engine)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for _ in range(50):
                add(engine)
            engine.flush()
            engine.close()
            code = 0
        finally:
            os._exit(code)
    children.append(pid)
for _ in range(50):
    add(engine)
say([os.waitpid(pid, 0)[1] for pid in children])
for _ in range(10):
    add(engine)
stop.set()
for thread in threads: thread.join()
say(engine.get(b"\\x01n").decode())
engine.close()
"""
    )
    assert finish(program(code, path)) == f"[0, 0, 0, 0]\n{1 + 4 + 200 + 60}\n"
    engine = start(path)
    assert engine.get(b"\x01n") == b"265"
    engine.close()
    assert set(listing(path.parent)) == {"state.db", "state.db-turn", "state.db-lock"}


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs /proc/locks")
def test_child_takes_its_own_locks(path: Path) -> None:
    """After a fork both processes hold SQLite's locks, each its own."""
    code = """
    def locked(pid):
        inodes = {os.stat(sys.argv[1] + suffix).st_ino for suffix in ("", "-shm")}
        lines = [line.split() for line in open("/proc/locks") if " POSIX " in line]
        return {int(l[5].split(":")[2]) for l in lines if int(l[4]) == pid} == inodes
    engine = start(sys.argv[1])
    add(engine)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        add(engine)
        say(locked(os.getpid()), locked(parent))
        os._exit(0)
    os.waitpid(pid, 0)
    say(locked(parent), engine.get(b"\\x01n"))
    engine.close()
    """
    assert finish(program(code, path)) == "True True\nTrue b'2'\n"


@pytest.mark.parametrize("where", ["view", "body"])
def test_fork_in_use(path: Path, where: str) -> None:
    """A child forked inside a call gets ForkedError and cannot disturb the parent's write."""
    code = """
    from holdfast.engines.sqlite import fork
    from holdfast.errors import ForkedError
    fork.PATIENCE = 0.05
    engine = start(sys.argv[1])
    add(engine)
    def child():
        for act in (lambda: engine.get(b"\\x01n"), lambda: add(engine), engine.flush, engine.stats):
            try:
                act()
                say("no error")
            except ForkedError:
                pass
    parent = os.getpid()
    def body(view=None):
        if os.fork() == 0:
            child()
        else:
            os.wait()
        return Batch(puts=[(b"\\x03by", b"parent" if os.getpid() == parent else b"child")])
    try:
        if sys.argv[2] == "view":
            with engine.read() as view:
                body()
        else:
            engine.write(SYNC, body)
    except ForkedError:
        say("forked")
    engine.close()
    if os.getpid() != parent:
        os._exit(0)
    engine = start(sys.argv[1])
    add(engine)
    say(engine.get(b"\\x03by"), engine.get(b"\\x01n"))
    engine.close()
    """
    out = finish(program(code, path, where)).splitlines()
    assert out == (["None b'2'"] if where == "view" else ["forked", "b'parent' b'2'"])


def test_error_facts(path: Path) -> None:
    """Errors of the engine are StateErrors that name the store."""
    engine = start(path)
    engine.close()
    with pytest.raises(StateError, match=r"state\.db"):
        put(engine, (b"\x03a", b"1"))


def test_a_writer_that_sqlite_opened_for_reading(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the writing connection cannot be opened for writing once, the next write tries again."""
    engine = start(path)
    with monkeypatch.context() as patch:
        # What SQLite does by itself when opening the file fails for writing and not for reading.
        patch.setattr(Opening, "session", lambda self, **_: Session(self._settings, read_only=True))
        with pytest.raises(ReadOnlyError):
            put(engine, (b"\x03a", b"1"))
    put(engine, (b"\x03a", b"2"))
    engine.close()


def test_closing_without_a_connection_for_the_last_checkpoint(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store whose log cannot be copied back at closing closes, and leaves the log."""
    start(path).close()
    engine = start(path)
    engine.get(b"\x03a")

    def broken(_self: Opening, **_: Any) -> Session:
        raise EngineError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(Opening, "session", broken)
        engine.close()
    with pytest.raises(ClosedError):
        engine.get(b"\x03a")
    engine = start(path)
    put(engine, (b"\x03a", b"1"))
    engine.close()
