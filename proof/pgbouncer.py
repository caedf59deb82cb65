"""The case ``pgbouncer``: a pooler in transaction mode between the clients and Postgres.

Every second trial kills: processes write and read through a pgbouncer that is killed and started
again, and whose connections to the server are ended, or the server's process killed; one oracle
judges all that they said. The other trials run the cases of consistency, undisturbed, through it.
Its pool is smaller than the clients are many, so their transactions change places all the time.

Run as a module it is one of the processes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import holdfast
from holdfast import EngineError, StateManager
from proof import appends, bouncer, counters, hermitage, registers, stores
from proof.bouncer import Bouncer
from proof.case import Case, Counts, Refuted, Trial
from proof.children import Child, children, ready, say
from proof.oracle import Oracle
from proof.servers import PostgresServer
from proof.writer import Writer

T = TypeVar("T")

PROCESSES = 3
THREADS = 2
STRIKES = 4
BETWEEN = (20, 120)  # acknowledgements from one strike to the next
_BACKENDS = (
    "pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type LIKE 'client%'"
)
_UNDISTURBED = (hermitage, appends, registers, counters)


def attempt(trial: Trial) -> Counts:
    """Attack once."""
    # Commits that wait for the disk are those that a strike meets on their way.
    server = PostgresServer(trial.directory / "server", fsync=True)
    with server, Bouncer(server) as between:
        if trial.index % 2 == 0:
            return _struck(trial, server, between)
        number = trial.index // 2
        module = _UNDISTURBED[number % len(_UNDISTURBED)]
        with stores.served_by(between.url()):
            inner = dataclasses.replace(trial, index=number // len(_UNDISTURBED))
            counts = module.CASE.run(inner)
        return {f"{module.CASE.name}: {name}": count for name, count in counts.items()}


def _struck(trial: Trial, server: PostgresServer, between: Bouncer) -> Counts:
    chance, counts = trial.random(), Counter[str]()
    url, partitions = between.url(timeout=5), stores.some_partitions(chance)
    oracle = Oracle(gaps=partitions > 1)
    holdfast.open(url, partitions=partitions).close()
    orders = [
        {"url": url, "seed": f"{trial.seed}/{number}", "first": number * THREADS}
        for number in range(PROCESSES)
    ]
    strikes = {
        "pgbouncer killed": lambda: _restart(between, chance),
        "connections ended": lambda: server.execute(
            f"SELECT pg_terminate_backend(pid), {_BACKENDS}"
        ),
        "server process killed": lambda: _kill_backend(server, chance),
    }
    with children("proof.pgbouncer", orders) as started:
        heard = _Heard(started)
        for child in started:
            child.start()
        for _ in range(STRIKES):
            heard.wait_for(chance.randint(*BETWEEN))
            kind = chance.choice(list(strikes))
            strikes[kind]()
            counts[kind] += 1
        heard.wait_for(BETWEEN[0])
        for child in started:
            child.start()  # enough
        words = heard.all()
    for word in words:
        if word[0] == "wrong":
            raise Refuted(f"a reader saw {word[1:]}")
        if not oracle.hear(word):
            raise Refuted(f"a writer ended: {word}")
    said = Counter(word[0] for word in words)
    counts.update({"failed": said["failed"], "unknown": said["unknown"]})
    counts["unknown that happened"] = sum(word[0] == "resolved" and word[2] for word in words)
    for through in (url, server.url()):
        with holdfast.open(through) as state:
            oracle.check(state)
    return {"acknowledged": oracle.acknowledged, **counts}


def _restart(between: Bouncer, chance: random.Random) -> None:
    between.kill9(stopped=chance.choice([0.0, 0.01, 0.05]))
    between.start()


def _kill_backend(server: PostgresServer, chance: random.Random) -> None:
    """Kill one of the server's processes; Postgres then ends all others, and recovers."""
    pids = [pid for (pid,) in server.execute(f"SELECT {_BACKENDS}")]
    if pids:
        os.kill(chance.choice(pids), signal.SIGKILL)


class _Heard:
    """What the children say, in the order in which each says it."""

    def __init__(self, started: list[Child]) -> None:
        self._words: list[list[Any]] = []
        self._more = threading.Condition()
        self._ended = self._done = 0
        self._threads = [threading.Thread(target=self._listen, args=(each,)) for each in started]
        for thread in self._threads:
            thread.start()

    def _listen(self, child: Child) -> None:
        for word in child.lines():
            with self._more:
                self._words.append(word)
                self._done += word[0] == "done"
                self._more.notify()
        with self._more:
            self._ended += 1
            self._more.notify()

    def wait_for(self, acknowledgements: int) -> None:
        """Wait for so many more.

        Raises:
            Refuted: They do not come.
        """
        with self._more:
            enough = self._done + acknowledgements
            if not self._more.wait_for(lambda: self._done >= enough or self._ended, 60):
                raise Refuted(f"the writers do not come on: {self._words[-6:]}")
            if self._ended:
                raise Refuted(f"a writer ended: {self._words[-6:]}")

    def all(self) -> list[list[Any]]:
        """Return everything, once the children have ended."""
        for thread in self._threads:
            thread.join()
        return self._words


# --- one of the processes ---------------------------------------------------------------------


def _live(state: StateManager, thread: int, seed: str, enough: threading.Event) -> None:
    """Write and read back until it is enough; what is unknown is found out before going on."""
    unknown: list[str] = []

    def heard(*word: Any) -> None:
        if word[0] == "unknown":
            unknown.append(word[2])
        say(word)

    # What the server has not on its disk it may forget when a process of it is killed.
    writer = Writer(state, thread, seed, heard, durability=("sync",))
    while not enough.is_set():
        if writer.step() != "done":
            enough.wait(0.02)
        for commit_id in unknown:
            landed = _insist(lambda: state.find_commit(commit_id))  # noqa: B023 - called at once
            say(["resolved", commit_id, landed is not None])
        unknown.clear()
        if wrong := _insist(writer.look):
            say(["wrong", thread, wrong])


def _insist(ask: Callable[[], T]) -> T:
    """Ask until there is an answer."""
    pause = threading.Event()
    while True:
        try:
            return ask()
        except EngineError:
            pause.wait(0.02)


def _child(order: dict[str, Any]) -> None:
    with holdfast.open(order["url"]) as state:
        ready()
        enough = threading.Event()
        threads = [
            threading.Thread(
                target=_live, args=(state, number, f"{order['seed']}/{number}", enough)
            )
            for number in range(order["first"], order["first"] + THREADS)
        ]
        for thread in threads:
            thread.start()
        sys.stdin.readline()
        enough.set()
        for thread in threads:
            thread.join()


def _unable(engine: str) -> str | None:
    return stores.unable(engine) or bouncer.unable()


CASE = Case(
    name="pgbouncer",
    claim="behind pgbouncer in transaction mode Postgres loses nothing and shows no anomaly, "
    "also when pgbouncer, its connections or the server's processes are killed",
    run=attempt,
    engines=("postgres",),
    quick=8,
    long=800,
    unable=_unable,
    tested=False,
)

if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
