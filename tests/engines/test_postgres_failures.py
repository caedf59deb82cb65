"""Postgres servers that are killed, fall silent, or vanish in the middle of a commit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.config import parse_url
from holdfast.engines import postgres
from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.errors import EngineError, OutcomeUnknownError, ReadOnlyError, StateError
from proof.servers import PostgresServer
from tests.servers import own_server, schema_for

ONE = Batch(puts=[(b"a", b"1")])
SHORT = 3.0  # seconds of `timeout`, where the server is silent


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of these tests' own; each leaves it running."""
    with own_server() as made:
        yield made


@pytest.fixture
def url(server: PostgresServer, tmp_path: Path) -> str:
    """Where no store is yet."""
    return server.url(schema=schema_for(tmp_path))


def opened(url: str, **options: Any) -> Engine:
    """Open the engine of a URL."""
    return postgres.open_engine(parse_url(url), **options)


def terminate(server: PostgresServer) -> None:
    """End every session but this one, as an administrator can."""
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'holdfast' AND pid <> pg_backend_pid()"
    )


# --- connections that break -------------------------------------------------------------------


def test_the_pool_recycles(url: str, server: PostgresServer) -> None:
    """Connections that broke while idle are replaced: no call notices."""
    with closing(opened(url)) as engine:
        engine.write(Durability.OS, lambda view: ONE)
        calls = (
            lambda: engine.get(b"a"),
            lambda: engine.get_many([b"a"]),
            lambda: engine.write(Durability.OS, lambda view: ONE),
            engine.flush,
            engine.stats,
        )
        for call in calls:
            terminate(server)
            call()
        terminate(server)
        with engine.read() as view:
            assert view.scan(b"a", b"b") == [(b"a", b"1")]
        assert int(engine.stats()["connections_lost"]) >= len(calls)


def test_a_break_before_the_commit(url: str, server: PostgresServer) -> None:
    """A connection that breaks under a body has written nothing: the body runs again."""
    with closing(opened(url)) as engine:
        runs = []

        def body(view: View) -> Batch:
            runs.append(view.get(b"n"))
            if len(runs) == 1:
                terminate(server)
            return Batch(puts=[(b"n", b"%d" % (int(runs[-1] or b"0") + 1))])

        try:
            engine.write(Durability.SYNC, body)
        except OutcomeUnknownError:  # the server went while COMMIT was on its way to it
            assert engine.get(b"n") is None
            engine.write(Durability.SYNC, body)
        assert runs == [None, None]
        assert engine.get(b"n") == b"1"


def test_a_break_that_the_body_sees(url: str, server: PostgresServer) -> None:
    """A body's read that fails is not final, whatever the body makes of the error."""
    with closing(opened(url)) as engine:
        engine.write(Durability.SYNC, lambda view: ONE)
        runs = []

        def body(view: View) -> Batch:
            runs.append(1)
            if len(runs) == 1:
                terminate(server)
            try:
                found = view.get(b"a")
            except StateError:
                return Batch(puts=[(b"wrong", b"1")])
            return Batch(puts=[(b"right", found or b"")])

        engine.write(Durability.SYNC, body)
        assert engine.get_many([b"wrong", b"right"]) == [None, b"1"]


def test_a_session_ended_during_commit(url: str, server: PostgresServer, tmp_path: Path) -> None:
    """A session that is ended inside COMMIT leaves the outcome unknown, and the store usable."""
    name = schema_for(tmp_path)
    with closing(opened(url)) as engine:
        engine.write(Durability.SYNC, lambda view: Batch())
        server.execute(
            f"CREATE FUNCTION {name}.slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$;"
            f"CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON {name}.holdfast_rows"
            f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {name}.slow()"
        )
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(engine.write, Durability.SYNC, lambda view: ONE)
            while not server.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
                assert not writing.done()
            terminate(server)
            with pytest.raises(OutcomeUnknownError):
                writing.result(60)
        server.execute(f"DROP FUNCTION {name}.slow() CASCADE")
        seen = []
        engine.write(Durability.SYNC, lambda view: seen.append(view.get(b"a")) or ONE)
        assert seen == [None]
        assert engine.get(b"a") == b"1"


class LossyProxy:
    """Passes bytes on to a server; told to, it loses the answer to the next COMMIT, or COMMIT."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.lose: str | None = None  # "answer" or "request"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                up = socket.create_connection(("127.0.0.1", self._port))
                threading.Thread(target=self._requests, args=(client, up), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, up), daemon=True).start()

    def _requests(self, client: socket.socket, up: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if self.lose == "request" and b"COMMIT\0" in data:
                    self._end(client, up)
                up.sendall(data)
        self._end(client, up)

    def _answers(self, client: socket.socket, up: socket.socket) -> None:
        with suppress(OSError):
            while data := up.recv(1 << 16):
                if self.lose == "answer" and b"COMMIT\0" in data:
                    self._end(client, up)
                client.sendall(data)
        self._end(client, up)

    def _end(self, *both: socket.socket) -> None:
        for each in both:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()


@pytest.mark.parametrize("lost", ["answer", "request"])
def test_a_lost_commit(lost: str, url: str, server: PostgresServer) -> None:
    """Whether COMMIT or its answer was lost: unknown, then `find_commit` says what happened."""
    with closing(LossyProxy(server.port)) as proxy:
        through = url.replace(f":{server.port}", f":{proxy.port}") + "&sslmode=disable"
        with holdfast.open(through) as state:
            state.set("global", "k", 1)
            before = state.revision
            proxy.lose = lost
            with pytest.raises(OutcomeUnknownError) as caught:
                state.set("global", "k", 2)
            proxy.lose = None
            assert caught.value.commit_id is not None
            assert "find_commit" in caught.value.hint
            found = state.find_commit(caught.value.commit_id, since=before)
            if lost == "answer":
                assert (found, state.get("global", "k")) == (2, 2)
            else:
                assert (found, state.get("global", "k")) == (None, 1)
            state.set("global", "k", 3)
            assert state.get("global", "k") == 3
            assert state.verify() == []


def test_a_standby_that_was_not_waited_for() -> None:
    """A commit whose wait for a synchronous standby is cut off is not acknowledged."""
    with own_server() as server, closing(opened(server.url())) as engine:
        engine.write(Durability.SYNC, lambda view: Batch())
        server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        server.execute("SELECT pg_reload_conf()")
        while server.execute("SHOW synchronous_standby_names") != [("nobody",)]:
            pass
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(engine.write, Durability.SYNC, lambda view: ONE)
            while not (
                waiting := server.execute(
                    "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                )
            ):
                assert not writing.done()
            server.execute(f"SELECT pg_cancel_backend({waiting[0][0]})")
            with pytest.raises(OutcomeUnknownError, match="synchronous replication"):
                writing.result(60)
        assert engine.get(b"a") == b"1"
        engine.write(Durability.OS, lambda view: Batch(deletes=[b"a"]))
        assert engine.get(b"a") is None
        server.execute("ALTER SYSTEM RESET synchronous_standby_names")
        server.execute("SELECT pg_reload_conf()")


def test_a_killed_writer_lets_go(url: str) -> None:
    """A process that is killed inside a write holds nobody up."""
    program = (
        "import sys, time\n"
        "from holdfast.config import parse_url\n"
        "from holdfast.engines import postgres\n"
        "from holdfast.engines.base import Batch, Durability\n"
        "engine = postgres.open_engine(parse_url(sys.argv[1]))\n"
        "def body(view):\n"
        "    print('in', flush=True)\n"
        "    sys.stdin.read()\n"
        "engine.write(Durability.SYNC, body)\n"
    )
    with closing(opened(url)) as engine:
        with subprocess.Popen(
            [sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"in\n"
            child.kill()
            engine.write(Durability.SYNC, lambda view: ONE)
        assert engine.get(b"a") == b"1"


# --- silence ----------------------------------------------------------------------------------


def test_silence_ends_every_call(url: str, server: PostgresServer) -> None:
    """While the server is stopped every call fails; when it goes on the same handle works."""
    engine = opened(f"{url}&timeout={SHORT}")
    engine.write(Durability.SYNC, lambda view: ONE)

    def scan() -> None:
        with engine.read() as view:
            view.scan(b"a", b"z")

    view = engine.read().__enter__()
    assert view.get(b"a") == b"1"
    calls = {
        "get": lambda: engine.get(b"a"),
        "get_many": lambda: engine.get_many([b"a"]),
        "scan": scan,
        "view": lambda: view.get(b"a"),
        "write": lambda: engine.write(Durability.SYNC, lambda view: ONE),
        "stats": engine.stats,
        "flush": engine.flush,
        "open": lambda: opened(f"{url}&timeout={SHORT}"),
    }
    server.pause()
    try:
        for name, call in calls.items():
            with pytest.raises(EngineError) as caught:
                call()
            unknown = isinstance(caught.value, OutcomeUnknownError)
            assert unknown == (name == "flush"), name
    finally:
        server.resume()
    calls["view"] = lambda: None
    view.__exit__(None, None, None)  # type: ignore[attr-defined]
    for name, call in calls.items():
        for _ in range(20):  # the pause may have queued connections that the server answers first
            try:
                made = call()
                break
            except EngineError:
                continue
        else:
            pytest.fail(f"{name} does not recover")
        if name == "open":
            made.close()  # type: ignore[union-attr]
    engine.close()


def test_silence_during_commit(url: str, server: PostgresServer) -> None:
    """A commit that is not answered is unknown; the next write waits for it and sees its end."""
    engine = opened(f"{url}&timeout={SHORT}")
    engine.write(Durability.SYNC, lambda view: Batch())

    def body(view: View) -> Batch:
        server.pause()
        return ONE

    try:
        with pytest.raises(OutcomeUnknownError):
            engine.write(Durability.SYNC, body)
    finally:
        server.resume()
    engine.close()
    with closing(opened(url)) as engine:
        seen: list[bytes | None] = []
        engine.write(Durability.SYNC, lambda view: seen.append(view.get(b"a")) or Batch())
        assert [engine.get(b"a")] == seen


def test_a_server_that_is_silent_at_closing(url: str, server: PostgresServer) -> None:
    """Closing ends too; what may not be on disk is said."""
    engine = opened(f"{url}&timeout={SHORT}")
    engine.write(Durability.RELAXED, lambda view: ONE)
    server.pause()
    try:
        with pytest.raises(OutcomeUnknownError):
            engine.close()
        engine.close()
    finally:
        server.resume()


# --- crashes ----------------------------------------------------------------------------------


def test_kill_9_of_the_server() -> None:
    """After kills amid commits: what was acknowledged is there, the unknown can be resolved."""
    with own_server(fsync=True) as server, holdfast.open(server.url(timeout=20)) as state:
        acknowledged: list[set[int]] = [set() for _ in range(4)]
        unknown: list[tuple[int, int, str]] = []
        failed: set[tuple[int, int]] = set()
        for cycle in range(3):
            stop = threading.Event()

            def work(me: int, cycle: int = cycle, stop: threading.Event = stop) -> None:
                for n in range(cycle * 1000, cycle * 1000 + 1000):
                    try:
                        state.set(f"agent:a{me}", f"k{n}", n)
                        acknowledged[me].add(n)
                    except OutcomeUnknownError as error:
                        assert error.commit_id is not None
                        unknown.append((me, n, error.commit_id))
                    except EngineError:
                        failed.add((me, n))
                    if stop.is_set():
                        return

            with ThreadPoolExecutor(4) as pool:
                working = [pool.submit(work, me) for me in range(4)]
                while sum(map(len, acknowledged)) < (cycle + 1) * 40:
                    assert not any(each.done() for each in working)
                server.kill9()
                stop.set()
                server.start()
                for each in working:
                    each.result(120)
        for me, n, commit_id in unknown:
            found = state.find_commit(commit_id)
            assert (state.get(f"agent:a{me}", f"k{n}") == n) == (found is not None)
        for me, done in enumerate(acknowledged):
            held = {value.value for _, value in state.scan(f"agent:a{me}")}
            assert done <= held
        for me, n in failed:
            assert state.get(f"agent:a{me}", f"k{n}") is None
        assert state.verify() == []


def test_a_standby(tmp_path: Path) -> None:
    """A server in recovery is read with ``read_only=True`` and refused for writing."""
    with own_server() as server:
        with holdfast.open(server.url()) as state:
            state.set("global", "k", 1)
        server.stop()
        (server.data / "standby.signal").touch()
        os.chown(server.data / "standby.signal", server.data.stat().st_uid, -1)
        server.start()
        with pytest.raises(ReadOnlyError, match="standby"):
            holdfast.open(server.url())
        with holdfast.open(server.url(), read_only=True) as state:
            assert state.get("global", "k") == 1
            assert state.info()["storage"]["standby"] == "true"
        server.execute("SELECT pg_promote()")
        with holdfast.open(server.url()) as writer:
            writer.set("global", "k", 2)
            assert writer.get("global", "k") == 2


def test_a_primary_that_stops_taking_writes() -> None:
    """A write that meets a read-only server is a definite error; when that ends, it works."""
    with own_server() as server, closing(opened(server.url())) as engine:
        engine.write(Durability.SYNC, lambda view: ONE)
        server.stop()
        (server.data / "standby.signal").touch()
        os.chown(server.data / "standby.signal", server.data.stat().st_uid, -1)
        server.start()
        with pytest.raises(EngineError, match="25006"):
            engine.write(Durability.SYNC, lambda view: Batch(deletes=[b"a"]))
        assert engine.get(b"a") == b"1"
        server.execute("SELECT pg_promote()")
        engine.write(Durability.SYNC, lambda view: Batch(deletes=[b"a"]))
        assert engine.get(b"a") is None
