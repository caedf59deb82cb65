"""The Postgres engine: one store for many machines, on a server that somebody keeps.

`open_engine` opens a schema of a database. Parts: `settings` (options), `library` (the only
import of psycopg), `failure` (the meaning of its errors), `statements` (every SQL text),
`schema` (making and checking the tables), `deadline` (calls end although a server is silent),
`connections` (the pool), `talk` (one call's exchange with the server), `views`, `gets` (reads of
many threads in one query), `commit`, `upkeep`, `forks`, `engine`.
"""

from __future__ import annotations

from holdfast.engines.postgres.opening import open_engine
from holdfast.engines.postgres.settings import PostgresSettings

__all__ = ["PostgresSettings", "open_engine"]
