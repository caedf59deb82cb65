"""What is particular to the Postgres engine: its SQL, its locks, how it is opened and refused."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.config import EngineURL, parse_url
from holdfast.engines import postgres
from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.engines.postgres import PostgresSettings, schema, statements
from holdfast.engines.postgres.commit import Writer
from holdfast.engines.postgres.engine import PostgresEngine
from holdfast.engines.postgres.failure import Flavour, proves_rollback, refused
from holdfast.engines.postgres.library import Target, psycopg
from holdfast.engines.registry import new_engine, open_engine
from holdfast.errors import (
    BusyError,
    ConfigurationError,
    EngineError,
    ForkedError,
    FormatVersionError,
    InvalidArgumentError,
    NotAStoreError,
    ReadOnlyError,
    StateError,
    UnsupportedPlatformError,
)
from holdfast.testing import FakeClock
from proof.servers import GUARDED, PostgresServer
from tests.servers import schema_for, shared_server, store_url

ONE = Batch(puts=[(b"a", b"1")])


@pytest.fixture
def server() -> PostgresServer:
    """The server that tests share."""
    return shared_server()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where no store is yet."""
    return store_url(tmp_path)


@pytest.fixture
def engine(url: str) -> Iterator[PostgresEngine]:
    """An engine over a new store."""
    made = opened(url)
    yield made
    made.close()


def opened(url: str, **options: Any) -> PostgresEngine:
    """Open the engine of a URL."""
    made = postgres.open_engine(parse_url(url), **options)
    assert isinstance(made, PostgresEngine)
    return made


def trips(engine: Engine) -> int:
    """Return how many round trips a handle has made."""
    return int(engine._connections.trips)  # type: ignore[attr-defined]


def table(tmp_path: Path, name: str) -> str:
    """Return the SQL name of one of the store's tables."""
    return f"{schema_for(tmp_path)}.{name}"


# --- settings and URLs ------------------------------------------------------------------------


def test_a_url_is_left_to_libpq() -> None:
    """Our options are taken out of a URL; all else reaches libpq as it was written."""
    found = PostgresSettings.from_url(
        parse_url("postgres://u%40x:p%2Fw@h:5/d?schema=s&sslmode=require&pool_size=3&timeout=2")
    )
    assert found.dsn == "postgresql://u%40x:p%2Fw@h:5/d?sslmode=require"
    assert (found.schema, found.pool_size, found.timeout) == ("s", 3, 2.0)


@pytest.mark.parametrize(
    "options",
    [{"pool_size": 1}, {"timeout": 0}, {"schema": ""}, {"schema": "x" * 64}, {"schema": "pg_x"}],
)
def test_bad_options(options: dict[str, Any]) -> None:
    """Options out of range are refused before anything is contacted."""
    with pytest.raises(ConfigurationError):
        PostgresSettings("postgresql://h/d", **options)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("postgresql://h/d?shema=x", "did you mean 'schema'"),
        ("postgresql://h/d?sslmod=x", "did you mean 'sslmode'"),
        ("postgresql://u:hunter2@[::1/d", "percent-encoded"),
        ("postgresql://u:x@hunter2@h/d", "percent-encoded"),
    ],
)
def test_unreadable_urls(text: str, says: str) -> None:
    """A URL that libpq cannot read is refused with what to write, and not shown."""
    with pytest.raises(ConfigurationError) as caught:
        opened(text)
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Connection refused", EngineError),
        ("FATAL:  the database system is starting up", EngineError),
        ("FATAL:  terminating connection due to administrator command", EngineError),
        ("FATAL:  server login has been failing, try again later", EngineError),
        ("FATAL:  pgbouncer cannot connect to server", EngineError),
        ("FATAL:  sorry, too many clients already", BusyError),
        ("FATAL:  no more connections allowed (max_client_conn)", BusyError),
        ('FATAL:  database "d" does not exist', ConfigurationError),
        ('FATAL:  password authentication failed for user "u"', ConfigurationError),
        ("fe_sendauth: no password supplied", ConfigurationError),
        ('FATAL:  no pg_hba.conf entry for host "h", user "u", database "d"', ConfigurationError),
        ("FATAL:  unsupported startup parameter: options", ConfigurationError),
    ],
)
def test_why_no_connection(reason: str, kind: type[StateError]) -> None:
    """Only what a setting is to blame for is called so: everything else says the server is away."""
    at = 'connection to server at "h", port 5432 failed: '
    target = Target(PostgresSettings("postgresql://role@h/database"))
    assert type(refused(psycopg.OperationalError(at + reason), target)) is kind


def test_broken_connections_print_nothing() -> None:
    """What psycopg reports of a connection that broke does not go to standard error."""
    assert logging.getLogger("psycopg").handlers


def test_whoever_vanishes_is_asked_for(
    engine: PostgresEngine, server: PostgresServer, tmp_path: Path
) -> None:
    """While locks are held, TCP asks whether the client is there, and not as late as by default."""
    engine.write(Durability.SYNC, lambda _: ONE)
    names = [f"tcp_keepalives_{name}" for name in ("idle", "interval", "count")]
    begin = statements.Statements(schema_for(tmp_path), 3.0).begin(Durability.SYNC, (0,))
    with psycopg.connect(server.url(), autocommit=True) as client:

        def shown() -> list[str]:
            return [client.execute(f"SHOW {name}".encode()).fetchall()[0][0] for name in names]

        before = shown()
        client.execute(begin)
        assert shown() == ["2", "2", "2"]
        client.execute("ROLLBACK")
        assert shown() == before


def test_what_only_postgres_can_set() -> None:
    """Servers that are none are not sent its settings."""
    begin = statements.Statements("s", 3.0, tunable=False).begin(Durability.OS, (0,))
    assert b"lock_timeout" in begin
    assert b"tcp_" not in begin
    assert b"synchronous_commit" not in begin


def test_passwords_are_not_shown() -> None:
    """Neither a URL's text nor settings show a password."""
    url = parse_url("postgresql://bob:hunter2@h/d?password=hunter2")
    for text in (str(url), repr(url), repr(PostgresSettings.from_url(url))):
        assert "hunter2" not in text
    assert str(url) == "postgresql://bob@h/d?password=…"


def test_typed_settings(url: str, server: PostgresServer, tmp_path: Path) -> None:
    """A store opens from `PostgresSettings` too, with any DSN that libpq reads."""
    with holdfast.open(url) as state:
        state.set("global", "k", 1)
    dsn = f"host=127.0.0.1 port={server.port} dbname=postgres user=postgres"
    with holdfast.open(PostgresSettings(dsn, schema=schema_for(tmp_path))) as state:
        assert state.get("global", "k") == 1


def test_without_psycopg() -> None:
    """Without psycopg the error names the extra; nothing else of Holdfast needs it."""
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import holdfast\n"
        "holdfast.open('memory:').close()\n"
        "try: holdfast.open('postgresql://h/d')\n"
        "except holdfast.errors.MissingExtraError as error: print(error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "pip install 'holdfast[postgres]'\n"


# --- opening ----------------------------------------------------------------------------------


def test_nobody_there() -> None:
    """A port where nobody listens is an error that names it."""
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:1/d") as caught:
        opened("postgresql://u:hunter2@127.0.0.1:1/d")
    assert "hunter2" not in str(caught.value)


def test_wrong_password(server: PostgresServer, tmp_path: Path) -> None:
    """A wrong password is refused at once, and a right one from the environment works."""
    server.execute(f"DROP ROLE IF EXISTS {GUARDED}")
    server.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD 'right' SUPERUSER")
    where = f"127.0.0.1:{server.port}/postgres?schema={schema_for(tmp_path)}"
    for wrong in (f"{GUARDED}:hunter2", GUARDED):
        with pytest.raises(ConfigurationError) as caught:
            opened(f"postgresql://{wrong}@{where}")
        assert "PGPASSWORD" in caught.value.hint
        assert "hunter2" not in str(caught.value)
    engine = opened(f"postgresql://{GUARDED}:right@{where}")
    assert "right" not in str(engine.stats())
    engine.close()
    program = f"import holdfast; holdfast.open('postgresql://{GUARDED}@{where}').close()"
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PGPASSWORD": "right"},
        check=True,
        timeout=60,
    )


def test_missing_database(server: PostgresServer) -> None:
    """A database that does not exist is named, with what makes it."""
    with pytest.raises(ConfigurationError, match="CREATE DATABASE"):
        opened(server.url("nowhere"))


def test_role_without_rights(server: PostgresServer, tmp_path: Path) -> None:
    """A role that may not make tables is told so, and nothing is made."""
    server.execute("DO $$ BEGIN CREATE ROLE weak LOGIN; EXCEPTION WHEN others THEN NULL; END $$")
    name = schema_for(tmp_path)
    with pytest.raises(ConfigurationError, match="permission denied") as caught:
        opened(server.url(user="weak", schema=name))
    assert "GRANT" in caught.value.hint
    assert server.execute(f"SELECT 1 FROM pg_namespace WHERE nspname = '{name}'") == []


def test_create_false(server: PostgresServer, url: str, tmp_path: Path) -> None:
    """With ``create=False``, or for reading, a database without our tables is left as it is."""
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(NotAStoreError):
            holdfast.open(url, **options)  # type: ignore[arg-type]
    assert (
        server.execute(f"SELECT 1 FROM pg_namespace WHERE nspname = '{schema_for(tmp_path)}'") == []
    )


def test_new_engine_refuses_a_store(url: str, tmp_path: Path) -> None:
    """A copy's target must not hold a store; an empty schema will do."""
    with holdfast.open(url) as state, pytest.raises(InvalidArgumentError, match="already"):
        state.copy_to(url)
    new_engine(store_url(tmp_path / "other")).close()
    new_engine(store_url(tmp_path / "other")).close()


def test_a_newer_layout(server: PostgresServer, url: str, tmp_path: Path) -> None:
    """A later version's tables are refused and not touched."""
    opened(url).close()
    server.execute(f"UPDATE {table(tmp_path, 'holdfast_schema')} SET version = 99")
    for options in ({}, {"read_only": True}):
        with pytest.raises(FormatVersionError, match="99"):
            opened(url, **options)
    assert server.execute(f"SELECT version FROM {table(tmp_path, 'holdfast_schema')}") == [(99,)]


def test_an_upgrade_is_whole_or_not_at_all(
    server: PostgresServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of the layout run in one transaction, once; one that fails changes nothing."""
    engine = opened(url)
    engine.write(Durability.OS, lambda view: ONE)
    engine.close()
    good = ("CREATE TABLE {schema}.more (n int)",)
    monkeypatch.setattr(schema, "UPGRADES", (*schema.UPGRADES, good, ("SELECT nonsense",)))
    with pytest.raises(EngineError, match="nonsense"):
        opened(url)
    assert server.execute(f"SELECT to_regclass('{table(tmp_path, 'more')}')") == [(None,)]
    assert server.execute(f"SELECT version FROM {table(tmp_path, 'holdfast_schema')}") == [(1,)]
    monkeypatch.setattr(schema, "UPGRADES", schema.UPGRADES[:2])
    for _ in range(2):
        engine = opened(url)
        assert engine.get(b"a") == b"1"
        engine.close()
    assert server.execute(f"SELECT version FROM {table(tmp_path, 'holdfast_schema')}") == [(2,)]


def test_an_unfinished_attempt_is_completed(
    server: PostgresServer, url: str, tmp_path: Path
) -> None:
    """Tables without a version are an attempt that was cut off; opening completes it."""
    opened(url).close()
    server.execute(f"DELETE FROM {table(tmp_path, 'holdfast_schema')}")
    server.execute(f"DROP TABLE {table(tmp_path, 'holdfast_partitions')}")
    engine = opened(url)
    engine.write(Durability.OS, lambda view: ONE)
    engine.close()


def test_an_old_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is too old is refused by name."""
    monkeypatch.setitem(schema._OLDEST, Flavour.POSTGRES, 990000)
    with pytest.raises(UnsupportedPlatformError, match="PostgreSQL 16"):
        opened(url)


def test_numbers_drawn_in_advance(server: PostgresServer, url: str, tmp_path: Path) -> None:
    """A sequence that connections draw from in advance is refused: its numbers have no order."""
    opened(url).close()
    server.execute(f"ALTER SEQUENCE {table(tmp_path, 'holdfast_sequence')} CACHE 100")
    with pytest.raises(UnsupportedPlatformError, match="100"):
        opened(url)


def test_many_open_a_new_store_at_once(url: str) -> None:
    """Handles that open a new store at the same time all get it, and it is one store."""
    start = threading.Barrier(6)

    def run(number: int) -> str:
        start.wait(30)
        with holdfast.open(url) as state:
            state.set("global", f"k{number}", number)
            return str(state.info()["lineage"])

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(run, range(6)))) == 1
    with holdfast.open(url) as state:
        assert len(state.list_keys("global")) == 6


def test_a_role_that_may_only_select(server: PostgresServer, url: str, tmp_path: Path) -> None:
    """Reading needs SELECT and nothing else."""
    with holdfast.open(url) as state:
        state.set("global", "k", 1)
    name = schema_for(tmp_path)
    server.execute("DO $$ BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN others THEN NULL; END $$")
    server.execute(f"GRANT USAGE ON SCHEMA {name} TO reader")
    server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO reader")
    with holdfast.open(server.url(user="reader", schema=name), read_only=True) as state:
        assert state.get("global", "k") == 1
        assert state.verify() == []
        assert state.info()["records"] == 1
        with pytest.raises(ReadOnlyError):
            state.set("global", "k", 2)
    engine = opened(server.url(user="reader", schema=name), read_only=True)
    for call in (engine.reclaim, lambda: engine.write(Durability.OS, lambda view: ONE)):
        with pytest.raises(ReadOnlyError):
            call()
    engine.flush()
    engine.close()


def test_names_are_quoted(server: PostgresServer) -> None:
    """A schema may be called anything; its name is never SQL."""
    name = """it's "odd"; DROP SCHEMA public --%s {x}"""
    settings = PostgresSettings(server.url(), schema=name)
    engine = open_engine(settings)
    engine.write(Durability.SYNC, lambda view: ONE)
    engine.flush()
    assert engine.get(b"a") == b"1"
    assert int(engine.stats()["disk_bytes"]) > 0
    engine.reclaim()
    engine.close()
    engine = open_engine(settings, create=False)
    assert engine.get(b"a") == b"1"
    engine.close()
    assert server.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'public'") == [(1,)]


# --- writing ----------------------------------------------------------------------------------


def test_round_trips(engine: PostgresEngine) -> None:
    """A commit of any size is two round trips beside its body's reads; a read is one."""
    engine.write(Durability.SYNC, lambda view: ONE)  # makes the partition's row
    many = Batch([(b"k%05d" % n, b"v") for n in range(5000)], [b"a"], [(b"x", b"y")])
    for work, count in (
        (lambda: engine.write(Durability.SYNC, lambda view: ONE), 2),
        (lambda: engine.write(Durability.OS, lambda view: many), 2),
        (lambda: engine.write(Durability.SYNC, lambda view: Batch()), 2),
        (lambda: engine.get(b"a"), 1),
        (lambda: engine.get_many([b"a", b"b"]), 1),
        (engine.flush, 1),
    ):
        before = trips(engine)
        work()
        assert trips(engine) - before == count


def test_chunks(engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of many statements is one commit."""
    monkeypatch.setattr(statements, "CHUNK", 100)
    pairs = [(b"k%03d" % n, b"v" * 40) for n in range(50)]
    engine.write(Durability.OS, lambda view: Batch(puts=pairs))
    with engine.read() as view:
        assert view.scan(b"k", b"l") == pairs
    engine.write(Durability.OS, lambda view: Batch(deletes=[key for key, _ in pairs]))
    with engine.read() as view:
        assert view.scan(b"k", b"l") == []


def test_partitions_run_at_once(url: str) -> None:
    """Writes of different partitions run at once, in different processes' handles as in one."""
    first, second = opened(url), opened(url)
    meet = threading.Barrier(2)

    def body(view: View) -> Batch:
        meet.wait(30)  # both are in their bodies now
        return Batch()

    with ThreadPoolExecutor(2) as pool:
        for other in (first, second):
            one = pool.submit(first.write, Durability.OS, body, (1,))
            two = pool.submit(other.write, Durability.OS, body, (2,))
            one.result(60)
            two.result(60)
    first.close()
    second.close()


def test_a_partition_is_one_writers(url: str) -> None:
    """A writer of several partitions waits for each, and they for it; nobody deadlocks."""
    engines = [opened(url), opened(url)]
    rounds = 15

    def adder(engine: Engine, partitions: tuple[int, ...]) -> None:
        def body(view: View) -> Batch:
            keys = [b"n%d" % each for each in partitions]
            found = [int(value or b"0") for value in view.get_many(keys)]
            return Batch(puts=[(k, b"%d" % (n + 1)) for k, n in zip(keys, found, strict=True)])

        for _ in range(rounds):
            engine.write(Durability.OS, body, partitions)

    wishes = [(0,), (1,), (0, 1), (1, 0), (2, 1, 0), (2,)]
    with ThreadPoolExecutor(len(wishes)) as pool:
        list(pool.map(adder, engines * 3, wishes))
    counts = [sum(p in wish for wish in wishes) * rounds for p in range(3)]
    assert engines[0].get_many([b"n0", b"n1", b"n2"]) == [b"%d" % n for n in counts]
    for engine in engines:
        engine.close()


def test_sequence(url: str) -> None:
    """Numbers are given under the locks: in a partition they rise with its commits."""
    engines = [opened(url), opened(url)]
    seen: list[int] = []

    def body(view: Any) -> Batch:
        seen.append(view.sequence())  # the lock of the partition is this list's too
        assert view.sequence() == seen[-1]
        return ONE

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: engines[n % 2].write(Durability.OS, body), range(40)))
    assert seen == sorted(set(seen))
    assert len(seen) == 40
    assert 0 < seen[0] < 2**53
    for engine in engines:
        engine.close()


def test_the_clock_is_the_servers(url: str) -> None:
    """Commit times come from the server; a clock that the caller gives takes its place."""
    engine = opened(url)
    assert engine.traits.clocked
    times: list[int] = []

    def body(view: Any) -> Batch:
        times.append(view.now_ns())
        return Batch()

    for _ in range(3):
        engine.write(Durability.OS, body)
        with engine.read() as view:
            times.append(view.now_ns())  # type: ignore[attr-defined]
    assert times == sorted(times)
    engine.close()
    engine = opened(url, clock=FakeClock())
    assert not engine.traits.clocked
    engine.close()


@pytest.mark.parametrize("way", ["flush", "empty"])
def test_flush_reaches_the_servers_log(
    way: str, engine: PostgresEngine, server: PostgresServer
) -> None:
    """After `flush`, and after an empty SYNC write, the log is written past earlier commits."""
    engine.write(Durability.RELAXED, lambda view: ONE)
    [(before,)] = server.execute("SELECT pg_current_wal_insert_lsn()::text")
    if way == "flush":
        engine.flush()
    else:
        engine.write(Durability.SYNC, lambda view: Batch())
    assert server.execute(f"SELECT pg_current_wal_flush_lsn() >= '{before}'::pg_lsn") == [(True,)]


def _trigger(server: PostgresServer, tmp_path: Path, body: str, *, deferred: bool) -> None:
    """Run PL/pgSQL at every change of a row, or at the commit."""
    name = schema_for(tmp_path)
    kind = "CONSTRAINT TRIGGER" if deferred else "TRIGGER"
    when = "DEFERRABLE INITIALLY DEFERRED" if deferred else ""
    server.execute(
        f"CREATE SEQUENCE {name}.tries;"
        f"CREATE FUNCTION {name}.meddle() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {body.replace('TRIES', f'{name}.tries')} RETURN NULL; END $$;"
        f"CREATE {kind} meddle AFTER INSERT OR UPDATE ON {name}.holdfast_rows {when}"
        f" FOR EACH ROW EXECUTE FUNCTION {name}.meddle()"
    )


@pytest.mark.parametrize("deferred", [False, True])
def test_serialisation_failures_run_the_body_again(
    deferred: bool, engine: PostgresEngine, server: PostgresServer, tmp_path: Path
) -> None:
    """After a failure of serialisation, also one at COMMIT, the body runs again, once more each."""
    _trigger(
        server,
        tmp_path,
        "IF nextval('TRIES') < 3 THEN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END IF;",
        deferred=deferred,
    )
    runs = []

    def body(view: View) -> Batch:
        runs.append(view.get(b"a"))
        return ONE

    engine.write(Durability.SYNC, body)
    assert runs == [None] * 3
    assert engine.get(b"a") == b"1"
    assert engine.stats()["connections_lost"] == 0


@pytest.mark.parametrize("deferred", [False, True])
def test_an_error_of_the_server_is_definite(
    deferred: bool, engine: PostgresEngine, server: PostgresServer, tmp_path: Path
) -> None:
    """A statement, or a COMMIT, that the server answers with an error has written nothing."""
    _trigger(server, tmp_path, "RAISE EXCEPTION 'no' USING ERRCODE = 'P0001';", deferred=deferred)
    with pytest.raises(EngineError, match="no") as caught:
        engine.write(Durability.SYNC, lambda view: ONE)
    assert caught.value.code == "engine"
    assert engine.get(b"a") is None
    engine.write(Durability.SYNC, lambda view: Batch(deletes=[b"a"]))
    assert engine.stats()["connections_lost"] == 0


def test_an_error_that_the_body_hides(engine: PostgresEngine) -> None:
    """A body's read that the server refuses fails the write, though the body goes on."""

    def body(view: View) -> Batch:
        with suppress(EngineError):
            view._ask(b"SELECT 1/0", ())  # type: ignore[attr-defined]
        return ONE

    with pytest.raises(EngineError, match="division"):
        engine.write(Durability.SYNC, body)
    assert engine.get(b"a") is None


def test_serialisation_failures_without_end(
    engine: PostgresEngine, server: PostgresServer, tmp_path: Path
) -> None:
    """A failure that comes every time comes out in the end."""
    _trigger(server, tmp_path, "RAISE EXCEPTION 'again' USING ERRCODE = '40P01';", deferred=False)
    with pytest.raises(EngineError, match="again"):
        engine.write(Durability.SYNC, lambda view: ONE)
    assert engine.get(b"a") is None


def test_a_lock_that_is_not_given(url: str) -> None:
    """Waiting for a partition ends with `BusyError`, and the body has not run."""
    holder, waiter = opened(url), opened(url + "&timeout=4")
    entered, leave = threading.Event(), threading.Event()

    def hold(view: View) -> Batch:
        entered.set()
        leave.wait(60)
        return ONE

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(holder.write, Durability.OS, hold)
        entered.wait(30)
        with pytest.raises(BusyError):
            waiter.write(Durability.OS, lambda view: pytest.fail("the body ran"))
        leave.set()
        holding.result(60)
    waiter.write(Durability.OS, lambda view: Batch())
    assert waiter.get(b"a") == b"1"
    holder.close()
    waiter.close()


@pytest.mark.parametrize(
    ("flavour", "state", "working", "proved"),
    [
        (Flavour.POSTGRES, "23505", True, True),
        (Flavour.POSTGRES, "XX000", True, True),
        (Flavour.POSTGRES, "40001", True, True),
        (Flavour.POSTGRES, "40003", True, False),
        (Flavour.POSTGRES, "08007", True, False),
        (Flavour.POSTGRES, "40001", False, False),
        (Flavour.POSTGRES, None, True, False),
        (Flavour.COCKROACH, "40001", True, True),
        (Flavour.COCKROACH, "40003", True, False),
        (Flavour.COCKROACH, "XX000", True, False),
        (Flavour.YUGABYTE, "40001", True, True),
        (Flavour.YUGABYTE, "XX000", True, False),
    ],
)
def test_what_a_failed_commit_proves(
    flavour: Flavour, state: str | None, working: bool, proved: bool
) -> None:
    """Only an error that proves a rollback is definite; everything else is unknown."""
    assert proves_rollback(flavour, state, working=working) is proved


# --- reading ----------------------------------------------------------------------------------


def test_reads_share_queries(engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the leaders wait for the server, other threads' reads gather into one query."""
    pairs = [(b"k%02d" % n, b"%d" % n) for n in range(30)]
    engine.write(Durability.OS, lambda view: Batch(puts=pairs))
    gets = engine._gets
    gate, entered = threading.Event(), threading.Semaphore(0)
    ask = gets._ask

    def held(talk: Any, keys: list[bytes]) -> dict[bytes, bytes]:
        entered.release()
        gate.wait(60)
        return ask(talk, keys)

    monkeypatch.setattr(gets, "_ask", held)
    before = trips(engine)
    with ThreadPoolExecutor(32) as pool:
        leading = [pool.submit(engine.get, b"none") for _ in range(2)]
        for _ in leading:
            assert entered.acquire(timeout=30)
        following = [pool.submit(engine.get, key) for key, _ in pairs]
        while len(gets._queue) < len(pairs):
            entered.acquire(timeout=0.01)
        gate.set()
        assert [each.result(60) for each in leading] == [None, None]
        assert [each.result(60) for each in following] == [value for _, value in pairs]
    assert trips(engine) - before <= 4
    assert gets._leaders == 0


def test_a_failed_read_fails_each_reader(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that shared a query which failed each get an error of their own; reading goes on."""
    engine = opened(url)
    engine.write(Durability.OS, lambda view: ONE)
    gets = engine._gets
    ask = gets._ask

    def failing(talk: Any, keys: list[bytes]) -> dict[bytes, bytes]:
        talk.rows(b"SELECT 1/0", ())
        return {}

    monkeypatch.setattr(gets, "_ask", failing)
    with ThreadPoolExecutor(8) as pool:
        errors = [pool.submit(engine.get, b"a").exception(60) for _ in range(40)]
    assert all(isinstance(error, EngineError) for error in errors)
    assert len({id(error) for error in errors}) == len(errors)
    monkeypatch.setattr(gets, "_ask", ask)
    assert engine.get(b"a") == b"1"
    engine.close()


def test_an_interrupted_reader_takes_nobody_with_it(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C that hits the leader is its own; those who followed get their answers."""
    engine.write(Durability.OS, lambda view: ONE)
    gets = engine._gets
    ask = gets._ask
    gate, entered = threading.Event(), threading.Semaphore(0)
    hit = threading.local()

    def held(talk: Any, keys: list[bytes]) -> dict[bytes, bytes]:
        entered.release()
        gate.wait(60)
        if getattr(hit, "me", False):
            raise KeyboardInterrupt
        return ask(talk, keys)

    monkeypatch.setattr(gets, "_ask", held)

    def interrupted() -> None:
        hit.me = True
        with pytest.raises(KeyboardInterrupt):
            engine.get(b"a")
        hit.me = False

    with ThreadPoolExecutor(8) as pool:
        leading = [pool.submit(engine.get, b"a") for _ in range(2)]
        for _ in leading:
            assert entered.acquire(timeout=30)
        # The first to follow leads next, takes the others with it, and is hit.
        first = pool.submit(interrupted)
        while len(gets._queue) < 1:
            entered.acquire(timeout=0.01)
        following = [pool.submit(engine.get, b"a") for _ in range(5)]
        while len(gets._queue) < 6:
            entered.acquire(timeout=0.01)
        gate.set()
        assert [each.result(60) for each in (*leading, *following)] == [b"1"] * 7
        first.result(60)
    assert gets._leaders == 0


def test_a_closed_view_is_closed(engine: PostgresEngine) -> None:
    """A view that is used after its context takes no connection that nobody gives back."""
    with engine.read() as view:
        assert view.get(b"a") is None
    with pytest.raises(StateError):
        view.get(b"a")


# --- processes --------------------------------------------------------------------------------


def test_two_processes_add_exactly(url: str) -> None:
    """Two processes that each add one 250 times end at exactly 500."""
    program = (
        "import sys, holdfast\n"
        "with holdfast.open(sys.argv[1]) as state:\n"
        "    for _ in range(250): state.increment('global', 'n', durability='os')\n"
    )
    command = [sys.executable, "-c", program, url]
    for process in [subprocess.Popen(command) for _ in range(2)]:
        assert process.wait(120) == 0
    with holdfast.open(url) as state:
        assert state.get("global", "n") == state.revision == 500
        assert state.verify() == []


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_fork(url: str, end: str) -> None:
    """A child cannot use the handle, and its end does not end the parent's connections."""
    program = (
        "import os, sys, holdfast\n"
        "from holdfast.errors import ForkedError\n"
        "state = holdfast.open(sys.argv[1])\n"
        "state.set('global', 'k', 1)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    for call in (lambda: state.get('global', 'k'), lambda: state.set('global', 'k', 2)):\n"
        "        try: call()\n"
        "        except ForkedError: continue\n"
        "        os._exit(1)\n"
        "    state.close()\n"
        "    with holdfast.open(sys.argv[1]) as own: own.set('global', 'child', 1)\n"
        f"    {end}\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "before = state.info()['storage']['connections_made']\n"
        "state.set('global', 'k', 3)\n"
        "assert (state.get('global', 'k'), state.get('global', 'child')) == (3, 1)\n"
        "storage = state.info()['storage']\n"
        "assert (storage['connections_made'], storage['connections_lost']) == (before, 0)\n"
        "state.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_disowned_is_forked(url: str) -> None:
    """Every call of a child's handle raises `ForkedError`, but closing does not."""
    engine = opened(url)
    kept = engine.disown()
    for call in (
        lambda: engine.get(b"a"),
        lambda: engine.get_many([b"a"]),
        lambda: engine.write(Durability.OS, lambda view: ONE),
        engine.flush,
        engine.stats,
        engine.reclaim,
    ):
        with pytest.raises(ForkedError):
            call()
    engine.close()
    engine._connections._forked = False
    engine.close()
    assert kept


def test_nothing_stays_on_a_connection(url: str) -> None:
    """No prepared statement and no setting outlives a transaction; DISCARD ALL changes nothing.

    That is what a pooler in transaction mode needs.
    """
    engine = opened(url)

    def work() -> None:
        for durability in Durability:
            engine.write(durability, lambda view: Batch(puts=[(b"a", view.get(b"a") or b"")] * 1))
        engine.get_many([b"a", b"b"])
        with engine.read() as view:
            view.scan(b"a", b"z")
        engine.flush()
        engine.get(b"a")

    work()
    for _ in range(8):  # psycopg prepares what runs five times, if it may, and forgets at ROLLBACK
        engine.get(b"a")
        engine.write(Durability.OS, lambda view: ONE)
    with engine._connections.talk(engine._connections.budget()) as talk:
        assert talk.rows(b"SELECT name FROM pg_prepared_statements", ()) == []
        mine = b"SELECT name FROM pg_settings WHERE source = 'session'"
        assert talk.rows(mine, ()) == []
        talk.script(b"DISCARD ALL")
    work()
    assert engine.stats()["connections_lost"] == 0
    engine.close()


def test_the_command(url: str) -> None:
    """The command line takes the URL as it takes a path."""
    command = [sys.executable, "-m", "holdfast.cli", "--store", url]
    for arguments in (["set", "global", "k", "5"], ["get", "global", "k"], ["verify"]):
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=60, check=True
        )
        if arguments[0] == "get":
            assert done.stdout.strip() == "5"
    missing = url + "x"
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.cli", "--store", missing, "get", "global", "k"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 10
    assert "no store" in done.stderr


def test_urls_of_engines() -> None:
    """Both schemes are the same engine's."""
    assert parse_url("postgres://h/d?a=%20") == EngineURL("postgres", "//h/d", {"a": " "})


@pytest.mark.parametrize("flavour", [Flavour.COCKROACH, Flavour.YUGABYTE])
def test_servers_that_promise_less(flavour: Flavour, url: str) -> None:
    """Where a lock may be forgotten every write changes its partition's row, an empty one too."""
    engine = opened(url)
    writer = Writer(engine._calls, engine._sql, flavour)

    def version() -> Any:
        text = engine._sql.compose("SELECT p, xmin::text FROM {partitions} ORDER BY p")
        return engine._calls.ask("test", lambda talk: talk.rows(text, ()))

    before: Any = []
    for batch in (Batch(), ONE):
        writer.write(Durability.OS, lambda view, batch=batch: batch, (0, 1))  # type: ignore[misc]
        now = version()
        assert [p for p, _ in now] == ([0] if flavour is Flavour.YUGABYTE else [0, 1])
        assert now != before
        before = now
    assert engine.get(b"a") == b"1"
    engine.close()
