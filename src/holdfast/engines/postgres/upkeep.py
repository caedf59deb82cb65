"""Space and figures, as far as a server tells."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.engines.postgres.calls import Calls
from holdfast.engines.postgres.failure import Flavour
from holdfast.engines.postgres.library import psycopg
from holdfast.engines.postgres.schema import Server
from holdfast.engines.postgres.statements import Statements
from holdfast.engines.postgres.talk import Talk

#: Seconds that a VACUUM may take.
_PATIENCE = 3600.0


def stats(calls: Calls, statements: Statements, server: Server) -> Mapping[str, int | float | str]:
    """Return sizes, settings of the server and figures of the pool."""
    found: dict[str, int | float | str] = {
        "path": calls.connections.target.place,
        "version": psycopg.__version__,
        "server_version": server.version,
        "flavour": server.flavour.value,
        "standby": str(server.standby).lower(),
    }
    size = _size(calls, statements, server)
    if size is not None:
        found["disk_bytes"], found["rows_estimate"] = size

    def settings(talk: Talk) -> list[tuple[str, str]]:
        rows = talk.script(
            b"SELECT name, setting FROM pg_settings"
            b" WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')"
        )[0]
        return [(str(name), str(value)) for name, value in rows]

    found.update(calls.ask("looking at the server's settings", settings))
    found.update(calls.connections.figures())
    return found


def reclaim(calls: Calls, statements: Statements, server: Server) -> int:
    """Vacuum the rows; return the bytes that the disk got back.

    VACUUM cannot be told how much. Where the role may not, it does nothing; CockroachDB and
    YugabyteDB collect by themselves.
    """
    if server.flavour is not Flavour.POSTGRES or server.standby:
        calls.connections.refuse()
        return 0
    before = _size(calls, statements, server)

    def vacuum(talk: Talk) -> None:
        talk.budget.left = max(talk.budget.left, _PATIENCE)
        talk.script(statements.vacuum)

    calls.ask("vacuum", vacuum)
    after = _size(calls, statements, server)
    return max(0, before[0] - after[0]) if before and after else 0


def _size(calls: Calls, statements: Statements, server: Server) -> tuple[int, int] | None:
    if server.flavour is Flavour.COCKROACH:
        return None  # its ranges are not files of a table
    rows = calls.ask("measuring", lambda talk: talk.script(statements.size)[0])
    return (int(rows[0][0]), max(0, int(rows[0][1]))) if rows else None
