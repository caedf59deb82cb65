"""A real pgbouncer in front of a real Postgres, in transaction mode: started, killed, restarted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

from proof import daemons
from proof.servers import PostgresServer

#: Fewer than the clients' threads, so that transactions get another connection each time.
POOL = 4

_SETTINGS = {
    "listen_addr": "127.0.0.1",
    "unix_socket_dir": "",
    "auth_type": "trust",
    "pool_mode": "transaction",
    "default_pool_size": str(POOL),
    "max_client_conn": "500",
    "server_login_retry": "0.2",  # as a proxy would be set that is to notice a restart soon
}


def unable() -> str | None:
    """Say why there can be none here, or None."""
    return None if _program() else "pgbouncer is not installed: apt-get install pgbouncer"


class Bouncer:
    """One pgbouncer; it keeps its port when it starts again.

    Args:
        server: What it stands in front of.
        pool: The most connections to it.
    """

    def __init__(self, server: PostgresServer, *, pool: int = POOL) -> None:
        self._server = server
        self._pool = pool
        self._port = daemons.free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._pause = threading.Event()  # never set
        # Not in a trial's directory, which another user may not enter.
        self._directory = Path(tempfile.mkdtemp(prefix="hf-pgbouncer-", dir="/tmp"))
        self._directory.chmod(0o755)

    def __enter__(self) -> Bouncer:
        users = self._directory / "users"
        users.write_text('"postgres" ""\n')
        settings = {
            **_SETTINGS,
            "listen_port": str(self._port),
            "auth_file": str(users),
            "default_pool_size": str(self._pool),
        }
        lines = ["[databases]", f"* = host=127.0.0.1 port={self._server.port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self._directory / "ini").write_text("\n".join(lines) + "\n")
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.kill9()
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, **options: Any) -> str:
        """Return the URL of the server's database as it is reached through here."""
        direct, through = f"127.0.0.1:{self._server.port}", f"127.0.0.1:{self._port}"
        return self._server.url(**options).replace(direct, through)

    def start(self) -> None:
        """Start; return when it lets through to the server.

        Raises:
            RuntimeError: It does not; the text has its log.
        """
        assert self._process is None, "it runs"
        program = _program()
        assert program is not None
        log = self._directory / "log"
        with log.open("ab") as file:
            command = [program, "-q", str(self._directory / "ini")]
            self._process = daemons.launch(command, stderr=file)
        self._guardian = daemons.guard(self._process.pid)
        while not self._answers():
            if self._process.poll() is not None:
                self._forget()
                raise RuntimeError(f"pgbouncer did not start:\n{log.read_text()[-4000:]}")
            self._pause.wait(0.01)

    def kill9(self, *, stopped: float = 0.0) -> None:
        """Kill it: every connection through it breaks, on both sides.

        Args:
            stopped: Seconds for which it is stopped before: what the server has answered by then
                is lost, and what clients have sent never arrives.
        """
        assert self._process is not None
        if stopped:
            self._process.send_signal(signal.SIGSTOP)
            self._pause.wait(stopped)
        self._process.kill()
        self._process.wait(60)
        self._forget()

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


def _program() -> str | None:
    path = os.environ.get("PATH", "") + ":/usr/sbin"  # where Debian puts it, out of users' sight
    return shutil.which("pgbouncer", path=path)
