"""The tables: what a schema of a database holds, making it, bringing it up to date.

`holdfast_schema` has the layout's version. The row is written last, so tables without it are an
attempt that did not finish, and the next one completes it. Each step is one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engines.postgres.calls import AttemptError, Calls
from holdfast.engines.postgres.deadline import Budget
from holdfast.engines.postgres.failure import Flavour
from holdfast.engines.postgres.library import psycopg, sql
from holdfast.engines.postgres.statements import Statements
from holdfast.engines.postgres.talk import Talk
from holdfast.errors import (
    FormatVersionError,
    InvalidArgumentError,
    NotAStoreError,
    ReadOnlyError,
    UnsupportedPlatformError,
)

#: What leads from each version of the layout to the next; 0 is nothing.
UPGRADES: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE IF NOT EXISTS {rows} (k bytea PRIMARY KEY, v bytea NOT NULL)",
        "CREATE TABLE IF NOT EXISTS {partitions} (p int PRIMARY KEY)",
        # CACHE 1: numbers must be in the order in which they are drawn, over all connections.
        "CREATE SEQUENCE IF NOT EXISTS {sequence} MAXVALUE 9007199254740991 CACHE 1",
        "CREATE TABLE IF NOT EXISTS {version} (part text PRIMARY KEY, version int NOT NULL)",
    ),
)

#: The oldest server_version_num: older ones are no longer kept up by anybody.
_OLDEST = {Flavour.POSTGRES: 120000, Flavour.COCKROACH: 0, Flavour.YUGABYTE: 110000}
#: Somebody else makes the same things at this moment.
_RACES = {"23505", "42P06", "42P07", "40001", "40P01", "XX000", "55006"}


@dataclass(frozen=True, slots=True)
class Server:
    """What answers.

    Attributes:
        flavour: Whose it is.
        version: Its version as it says.
        standby: It takes no writes.
    """

    flavour: Flavour
    version: str
    standby: bool


class Schema:
    """The store's tables in one schema of a database."""

    def __init__(self, calls: Calls, statements: Statements, name: str) -> None:
        self._calls, self._sql, self._name = calls, statements, name
        self._place = calls.connections.target.place

    def prepare(self, *, read_only: bool, create: bool, new: bool) -> Server:
        """Check server and schema; make or upgrade the tables where that is asked.

        Raises:
            UnsupportedPlatformError: The server is too old, or cannot keep the promises.
            ReadOnlyError: It is a standby, and `read_only` was not given.
            NotAStoreError: There are no tables, and none may be made.
            FormatVersionError: The tables are of a later layout.
            InvalidArgumentError: There is a store, and `new` was given.
        """
        server = self._calls.ask("looking at the server", self._server)
        if server.standby and not read_only:
            raise ReadOnlyError(
                f"the server at {self._place} is a standby: it takes no writes",
                hint="name the primary in the URL, or open with read_only=True",
            )
        version = self._calls.ask("looking for the store", self._version)
        if version > len(UPGRADES):
            raise FormatVersionError(
                f"the tables at {self._place} have layout {version}; "
                f"this Holdfast knows up to {len(UPGRADES)}"
            )
        if version == 0 and (read_only or not create):
            raise NotAStoreError(
                f"there is no store at {self._place}",
                hint="check database and schema; opening for writing makes a store",
            )
        if new and version and self._calls.ask("looking for the store", self._occupied):
            raise InvalidArgumentError(
                f"there is a store at {self._place} already",
                hint="name another schema: postgresql://…?schema=NAME",
            )
        if version < len(UPGRADES) and not read_only:
            self._calls.run(self._upgrade_on)
        if not read_only and server.flavour is not Flavour.YUGABYTE:
            self._calls.ask("looking at the sequence", self._check_sequence)
        return server

    def _server(self, talk: Talk) -> Server:
        text = str(talk.script(b"SELECT version()")[0][0][0])
        flavour = Flavour.POSTGRES
        if "CockroachDB" in text:
            flavour = Flavour.COCKROACH
        elif "-YB-" in text or "YugabyteDB" in text:
            flavour = Flavour.YUGABYTE
        number = talk.link.info.server_version
        if number < _OLDEST[flavour]:
            raise UnsupportedPlatformError(
                f"the server at {self._place} is too old: {text}",
                hint="Postgres 12 or later is needed",
            )
        standby = False
        if flavour is not Flavour.COCKROACH:
            standby = bool(talk.script(b"SELECT pg_is_in_recovery()")[0][0][0])
        return Server(
            flavour, text.split(" on ", maxsplit=1)[0].split(" (", maxsplit=1)[0], standby
        )

    def _version(self, talk: Talk) -> int:
        there = talk.rows(
            b"SELECT count(*) FROM information_schema.schemata WHERE schema_name = %b",
            (self._name,),
        )
        if not there[0][0]:
            return 0
        tables = self._sql.compose(
            "SELECT to_regclass({table}) IS NOT NULL",
            table=sql.Literal(sql.Identifier(self._name, "holdfast_schema").as_string()),
        )
        if not talk.rows(tables, ())[0][0]:
            return 0
        found = talk.rows(self._sql.compose("SELECT version FROM {version}"), ())
        return int(found[0][0]) if found else 0

    def _occupied(self, talk: Talk) -> bool:
        return bool(talk.rows(self._sql.compose("SELECT 1 FROM {rows} LIMIT 1"), ()))

    def _upgrade_on(self, budget: Budget) -> None:
        with self._calls.connections.talk(budget) as talk:
            try:
                self._upgrade(talk)
            except psycopg.Error as error:
                again = error.sqlstate in _RACES
                failed = self._calls.failed(talk, error, "making the store's tables")
                raise AttemptError(failed.error, again=again or failed.again) from None

    def _upgrade(self, talk: Talk) -> None:
        compose = self._sql.compose
        exists = talk.rows(
            b"SELECT count(*) FROM information_schema.schemata WHERE schema_name = %b",
            (self._name,),
        )[0][0]
        version = self._version(talk)
        talk.script(b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        if not exists:
            talk.script(compose("CREATE SCHEMA IF NOT EXISTS {schema}"))
        if version:
            # One at a time: whoever waited here finds the work done.
            talk.script(compose("SELECT version FROM {version} FOR UPDATE"))
            version = int(talk.script(compose("SELECT version FROM {version}"))[0][0][0])
        for step in UPGRADES[version:]:
            talk.script(b"; ".join(compose(statement) for statement in step))
        talk.script(
            compose(
                "INSERT INTO {version} (part, version) VALUES ('holdfast', {number})"
                " ON CONFLICT (part) DO UPDATE SET version = excluded.version",
                number=sql.Literal(len(UPGRADES)),
            )
        )
        talk.script(b"COMMIT")

    def _check_sequence(self, talk: Talk) -> None:
        """Refuse numbers that connections draw in advance: they would be out of order."""
        found = talk.rows(
            b"SELECT cache_size FROM pg_sequences WHERE schemaname = %b"
            b" AND sequencename = 'holdfast_sequence'",
            (self._name,),
        )
        if found and int(found[0][0]) != 1:
            raise UnsupportedPlatformError(
                f"the server at {self._place} gives each connection {found[0][0]} numbers of a "
                "sequence in advance, so they are out of order",
                hint="ALTER SEQUENCE holdfast_sequence CACHE 1",
            )
