"""How a Postgres store is opened: settings, a first connection, then the tables."""

from __future__ import annotations

from holdfast.clock import Clock
from holdfast.config import EngineURL
from holdfast.engines.base import Engine
from holdfast.engines.postgres import failure
from holdfast.engines.postgres.calls import Calls
from holdfast.engines.postgres.connections import Connections
from holdfast.engines.postgres.engine import PostgresEngine
from holdfast.engines.postgres.failure import Flavour
from holdfast.engines.postgres.library import Link, Target, psycopg
from holdfast.engines.postgres.schema import Schema
from holdfast.engines.postgres.settings import PostgresSettings
from holdfast.engines.postgres.statements import Statements


def open_engine(
    target: EngineURL | PostgresSettings,
    *,
    read_only: bool = False,
    create: bool = True,
    new: bool = False,
    clock: Clock | None = None,
) -> Engine:
    """Open the store in a schema of a database, making its tables if they are not there.

    Any number of handles, in any number of processes and machines, may write at once.

    Args:
        target: The settings, or a URL ``postgresql://user@host/database?schema=NAME``.
        read_only: Refuse writes; a role that may only SELECT will do, and a standby.
        create: Make schema and tables.
        new: There must be no store yet.
        clock: Where commit times come from, in place of the server's clock. Not for a fleet: its
            machines agree on the server's only.

    Raises:
        ConfigurationError: A bad option, or the server refuses user, password or database, or
            the role may not make the tables.
        EngineError: The server cannot be reached.
        NotAStoreError: There is no store, and `create` is false or `read_only` true.
        FormatVersionError: A later version made it.
        UnsupportedPlatformError: The server is too old, or cannot keep the promises.
        ReadOnlyError: It is a standby, and `read_only` was not given.
        InvalidArgumentError: There is a store, and `new` was given.
    """
    settings = target if isinstance(target, PostgresSettings) else PostgresSettings.from_url(target)
    place = Target(settings)
    if not read_only:
        place.for_writing()
    try:
        # Once without the pool, which would try again and again.
        Link.connect(**place.arguments()).close()
    except psycopg.Error as error:
        raise failure.refused(error, place) from None
    statements = Statements(settings.schema, settings.timeout)
    connections = Connections(place, settings.pool_size, settings.timeout)
    try:
        calls = Calls(connections)
        server = Schema(calls, statements, settings.schema).prepare(
            read_only=read_only, create=create, new=new
        )
        if server.flavour is Flavour.COCKROACH:
            statements = Statements(settings.schema, settings.timeout, tunable=False)
        return PostgresEngine(calls, statements, server, read_only=read_only, clocked=clock is None)
    except BaseException:
        connections.close()
        raise
