"""What Postgres's errors mean: which are worth another try, and what a failed COMMIT proves.

The decisions are pure functions of the SQLSTATE and of whether the connection still works.
"""

from __future__ import annotations

import enum

from holdfast.engines.postgres.library import Link, Target, psycopg
from holdfast.errors import (
    BusyError,
    ConfigurationError,
    CorruptionError,
    DiskFullError,
    EngineError,
    NotAStoreError,
    StateError,
)


class Flavour(enum.Enum):
    """Who answers."""

    POSTGRES = "postgres"
    COCKROACH = "cockroach"
    YUGABYTE = "yugabyte"


#: Two transactions stood in each other's way, and this one was rolled back.
_AGAIN = {"40001", "40P01"}
#: The server is going, coming, or not the one that takes writes any more.
_ELSEWHERE = {"57P01", "57P02", "57P03", "57P05", "25P03", "25006"}
#: "Completion unknown" says that nothing is proved; class 08 is about the connection.
_UNPROVED = {"40003"}


def alive(error: BaseException, link: Link) -> bool:
    """Say whether the connection works after `error`."""
    if link.silent or link.closed or not isinstance(error, psycopg.Error) or not error.sqlstate:
        return False
    return error.diag.severity_nonlocalized == "ERROR"


def serialisation(sqlstate: str | None) -> bool:
    """Say whether running the transaction again is the remedy."""
    return sqlstate in _AGAIN


def elsewhere(sqlstate: str | None, *, working: bool) -> bool:
    """Say whether another connection may do better."""
    return not working or sqlstate in _ELSEWHERE or (sqlstate or "").startswith("08")


def proves_rollback(flavour: Flavour, sqlstate: str | None, *, working: bool) -> bool:
    """Say whether an error that arrived once COMMIT was sent proves that nothing was written.

    A connection that broke proves nothing. An ERROR on one that goes on does, in Postgres: what
    fails before the commit record is written rolls back, what fails later is a PANIC. Others
    promise that for failures of serialisation, and for statements that they refuse.
    """
    if not working or sqlstate is None or sqlstate in _UNPROVED or sqlstate.startswith("08"):
        return False
    if flavour is Flavour.POSTGRES:
        return True
    return sqlstate in _AGAIN or sqlstate[:2] in ("22", "23", "42")


def translate(error: BaseException, what: str, target: Target, link: Link | None) -> StateError:
    """Return the Holdfast error that says what `error` says, without secrets."""
    if isinstance(error, StateError):
        return error
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    where = f"{what} at {target.place}"
    if link is not None and link.silent:
        return EngineError(
            f"{where}: the server did not answer in time",
            hint="check the server and the network; the option timeout sets how long to wait",
        )
    said = f"{where}: {target.scrub(str(error))}" + (f" [{state}]" if state else "")
    if state == "53100":
        return DiskFullError(said, hint="free disk space on the server, then retry")
    if state == "55P03":
        return BusyError(
            f"{where}: another writer held the partition for too long",
            hint="retry; the option timeout sets how long to wait",
        )
    if state == "53300":
        return BusyError(said, hint="lower pool_size, or allow the server more connections")
    if state in ("XX001", "XX002"):
        return CorruptionError(said, where=what)
    if state == "42501":
        return ConfigurationError(said, hint="GRANT the role what it lacks, or use another role")
    if state in ("42P01", "3F000"):
        return NotAStoreError(said, hint="the store's tables are gone; restore them")
    if state == "25006":
        return EngineError(said, hint="this server is a standby: name the primary in the URL")
    if state is None or state.startswith(("08", "57P")):
        return EngineError(said, hint="check the server and the network, then retry")
    return EngineError(said)


def refused(error: psycopg.Error, target: Target) -> StateError:
    """Return why a first connection failed.

    libpq gives no SQLSTATE for these. ``FATAL:`` stands in front of what the server itself said,
    or a pooler before it. What no setting is to blame for passes with time: the server is away.
    """
    text = target.scrub(str(error))
    said = f"cannot connect to {target.place}: {text}"
    _, fatal, reason = text.partition("FATAL:")
    if "no password supplied" in text:
        reason = text
    elif not fatal:
        return EngineError(said, hint="check that the server runs, and the host and port")
    if "too many" in reason or "connection slots" in reason or "no more connections" in reason:
        return BusyError(said, hint="lower pool_size, or allow the server more connections")
    if "database" in reason and "does not exist" in reason:
        hint = "make it with CREATE DATABASE, or correct the name in the URL"
    elif any(part in reason for part in ("password", "authentication", "role", "no such user")):
        hint = "check user and password (URL, PGPASSWORD or ~/.pgpass)"
    elif any(part in reason for part in ("pg_hba.conf", "permission denied", "SSL", "parameter")):
        hint = "the server says what it wants"
    else:
        return EngineError(said, hint="wait until the server takes connections, then retry")
    return ConfigurationError(said, hint=hint)
