"""The options of the Postgres engine, as a frozen dataclass. It knows no psycopg.

A URL carries two kinds of options: ours, and libpq's (``sslmode``, ``connect_timeout`` …), which
stay in the DSN for libpq to read.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from holdfast.config import EngineURL, settings_from
from holdfast.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """How to reach a store in a Postgres database.

    Attributes:
        dsn: What libpq takes: a URL or ``host=… dbname=…``. It is never shown, for it may hold a
            password; one from ``PGPASSWORD`` or ``~/.pgpass`` works as well.
        schema: Name of the Postgres schema that holds the store's tables; made if it is missing.
            Several stores share a database with a schema each.
        pool_size: The most connections of this handle.
        timeout: Seconds that one call may wait for the server (to connect, for a lock, for an
            answer) before it fails. Time spent in Python does not count.
    """

    scheme: ClassVar[str] = "postgresql"

    dsn: str = field(repr=False)
    schema: str = "public"
    pool_size: int = 10
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if not self.schema or "\0" in self.schema or len(self.schema.encode()) > 63:
            raise ConfigurationError("postgresql option 'schema' must be a name of 1 to 63 bytes")
        if self.schema.startswith("pg_"):
            raise ConfigurationError("postgresql option 'schema': pg_… is reserved by Postgres")
        if not 2 <= self.pool_size <= 1000:
            raise ConfigurationError("postgresql option 'pool_size' must be from 2 to 1000")
        if not 0.1 <= self.timeout <= 86_400:
            raise ConfigurationError("postgresql option 'timeout' must be from 0.1 to 86400")

    @classmethod
    def from_url(cls, url: EngineURL) -> PostgresSettings:
        """Read the settings from ``postgresql://…``.

        Raises:
            ConfigurationError: A value that cannot be. Names that are not ours are left to libpq.
        """
        own = {each.name for each in dataclasses.fields(cls)} - {"dsn"}
        values: dict[str, Any] = {n: v for n, v in url.params.items() if n in own}
        rest = {n: str(v) for n, v in url.params.items() if n not in own}
        # libpq reads "+" as itself, so a space is %20
        query = urlencode(rest, quote_via=quote)
        values["dsn"] = f"postgresql:{url.location}" + (f"?{query}" if query else "")
        return settings_from(cls, values, what="postgresql")
