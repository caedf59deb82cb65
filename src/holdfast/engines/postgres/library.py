"""The only import of psycopg: connections as this engine wants them.

Nothing stays on a connection between transactions: no prepared statement, no session setting. So
it may pass through a pooler that gives each transaction another one (pgbouncer).
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import math
import os
import socket
import threading
from typing import Any, ClassVar

from holdfast.engines.postgres.settings import PostgresSettings
from holdfast.errors import ConfigurationError, MissingExtraError

try:
    import psycopg
    import psycopg_pool
    from psycopg import conninfo, pq, sql
except ImportError as error:
    raise MissingExtraError(
        "the Postgres engine needs psycopg 3 and psycopg_pool",
        hint="pip install 'holdfast[postgres]'",
    ) from error

__all__ = ["Link", "Pool", "Target", "Trouble", "pq", "psycopg", "psycopg_pool", "sql"]

# Failed attempts of the pool and pipelines that broke are reported here; without a handler that
# would go to standard error.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

#: What libpq does about a peer that vanished; the DSN may say otherwise. Those that a libpq does
#: not know, or that do not apply to a Unix socket, it ignores.
_DEFAULTS = {
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "application_name": "holdfast",
}


class Trouble:
    """Why the last attempt to connect failed, for whoever waits for a connection."""

    def __init__(self) -> None:
        self.error: psycopg.Error | None = None


class Link(psycopg.Connection[tuple[Any, ...]]):
    """A connection that another thread can cut, and that remembers what it was warned of.

    Attributes:
        silent: The watchdog cut it: the server did not answer in time.
        warnings: What the server warned of since somebody cleared the list.
    """

    trouble: ClassVar[Trouble] = Trouble()

    def __init__(self, pgconn: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(pgconn, *args, **kwargs)
        self.silent = False
        self.warnings: list[str] = []
        self._spare: socket.socket | None = None

    @classmethod
    def connect(cls, conninfo: str = "", **kwargs: Any) -> Link:
        """Connect, remembering why not."""
        try:
            made = super().connect(conninfo, **kwargs)
        except psycopg.Error as error:
            cls.trouble.error = error
            raise
        cls.trouble.error = None
        # libpq closes its descriptor when it notices an error, and the number may be another
        # file's a moment later: the watchdog works on a duplicate.
        made._spare = socket.socket(fileno=os.dup(made.fileno()))
        made.add_notice_handler(made._warned)
        return made

    def _warned(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self.warnings.append(diagnostic.message_primary or "a warning")

    def cut(self) -> None:
        """End the conversation; whoever waits for an answer gets an error. From any thread."""
        self.silent = True
        spare = self._spare  # its own thread may close the link at this moment
        if spare is not None:
            with contextlib.suppress(OSError):
                spare.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close both descriptors."""
        super().close()
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    @property
    def idle(self) -> bool:
        """Say whether it can serve the next call."""
        return (
            not self.silent
            and not self.closed
            and self.pgconn.transaction_status == pq.TransactionStatus.IDLE
        )


class Target:
    """A server and database to connect to.

    Attributes:
        place: What may be shown of it: no password.

    Args:
        settings: With the DSN.

    Raises:
        ConfigurationError: libpq cannot read the DSN.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        known = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
        try:
            given = conninfo.conninfo_to_dict(settings.dsn)
        except psycopg.Error:
            raise _unreadable(settings.dsn, known) from None  # libpq quotes what it cannot read
        if "@" in str(given.get("host", "")):  # the end of a password with an @ in it
            raise _unreadable(settings.dsn, known)
        parts: dict[str, Any] = {n: v for n, v in _DEFAULTS.items() if n in known} | given
        if "tcp_user_timeout" in known:
            parts.setdefault("tcp_user_timeout", str(math.ceil(settings.timeout * 1000)))
        parts.setdefault("connect_timeout", str(max(2, math.ceil(min(settings.timeout, 10.0)))))
        self._parts = parts
        self._secrets = [str(given[n]) for n in ("password", "sslpassword") if given.get(n)]
        host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST") or "localhost"
        port = given.get("port") or os.environ.get("PGPORT") or "5432"
        name = given.get("dbname") or os.environ.get("PGDATABASE") or given.get("user") or ""
        self.place = f"postgresql://{host}:{port}/{name}?schema={settings.schema}"

    def for_writing(self) -> None:
        """Prefer the server that takes writes, where the DSN names several."""
        if "," in str(self._parts.get("host", "")) + str(self._parts.get("hostaddr", "")):
            self._parts.setdefault("target_session_attrs", "read-write")

    def arguments(self) -> dict[str, Any]:
        """Return what `Link.connect` takes."""
        return {**self._parts, "autocommit": True, "prepare_threshold": None}

    def scrub(self, text: str) -> str:
        """Return `text` on one line and without the DSN's passwords."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return " ".join(text.split())


def _unreadable(dsn: str, known: set[str]) -> ConfigurationError:
    query = dsn.partition("?")[2] if "://" in dsn else ""
    for name in (each.partition("=")[0] for each in query.split("&") if each):
        if name not in known:
            ours = {"schema", "pool_size", "timeout"}
            near = difflib.get_close_matches(name, sorted(known | ours), 1)
            return ConfigurationError(
                f"postgresql has no option {name!r}",
                hint=f"did you mean {near[0]!r}?"
                if near
                else "it has schema, pool_size, timeout "
                "and those of libpq (sslmode, connect_timeout, application_name …)",
            )
    return ConfigurationError(
        "libpq cannot read this Postgres URL (it is not shown: it may hold a password)",
        hint="write postgresql://user:password@host:5432/database, with @ : / ? # % in the user "
        "or password percent-encoded",
    )


class Pool(psycopg_pool.ConnectionPool[Link]):
    """A pool that connects when somebody asks, and remembers why that failed.

    Attributes:
        trouble: Why the last attempt failed; its error is None after one that worked.
    """

    def __init__(self, target: Target, size: int) -> None:
        self.trouble = Trouble()
        own = type("Link", (Link,), {"trouble": self.trouble})
        super().__init__(
            "",
            connection_class=own,
            kwargs=target.arguments(),
            min_size=0,
            max_size=size,
            open=False,
            # Give up after one more attempt: the next caller begins a new one at once, instead
            # of waiting for the end of a pause that has doubled all through an outage.
            reconnect_timeout=0.0,
            name=f"holdfast-{threading.get_ident()}",
        )
