"""Failover: faults of a primary under writers that go on; nothing acknowledged is lost.

A writer in another process notes each acknowledgement. The primary is killed, stopped, cut off in
a network namespace, or out of disk; then it is healed. At the end the primary must hold every
acknowledged write once, in the order of each key, and the spill must have been taken up and given
back within the bounds.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import holdfast
from holdfast import StateManager
from proof.case import Case, Counts, Refuted, Trial
from proof.failover_writer import SCOPE
from proof.namespaces import can_make_namespaces, namespace
from proof.servers import PostgresServer

DETECTION = 3.0  #: seconds from the fault until writes go to the spill
RECOVERY = 5.0  #: seconds from the healing until everything is at the primary again
_PATIENCE = 30.0
_DISK = 24 << 20


class Writer:
    """The client's process."""

    def __init__(self, url: str, directory: Path, name: str, inside: list[str]) -> None:
        self._log = directory / "acknowledged"
        command = [sys.executable, "-m", "proof.failover_writer", url]
        command += [str(directory / "spill.db"), str(self._log), name]
        root = Path(__file__).parent.parent
        self._process = subprocess.Popen(
            [*inside, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(directory / f"stderr-{name}").open("wb"),
            cwd=root,
            env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"},
        )
        self._told: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):  # a line that a kill has torn was never told
                self._told.put(json.loads(line))
        self._told.put({"ended": self._process.wait()})

    def until(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Return the next thing told that is `wanted`."""
        ends = time.monotonic() + _PATIENCE
        while True:
            try:
                told = self._told.get(timeout=max(0.0, ends - time.monotonic()))
            except queue.Empty:
                raise Refuted(f"{what}: not within {_PATIENCE:.0f} s") from None
            if wanted(told):
                return told
            if "ended" in told:
                raise Refuted(f"{what}: the writer ended with status {told['ended']}")

    def until_state(self, *, degraded: bool) -> float:
        """Return the time at which the writer went to the spill, or came back."""
        what = "going to the spill" if degraded else "coming back"
        return float(self.until(lambda t: t.get("degraded") is degraded, what)["at"])

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._process.kill()
        self._process.wait()

    def finish(self) -> dict[str, Any]:
        """Let it end, and return what it met."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        told = self.until(lambda t: "done" in t, "the writer's end")
        self._process.wait(_PATIENCE)
        return told


class Fault:
    """One fault of one primary.

    Attributes:
        url: The primary's, as the writer reaches it.
        direct: The same, as the oracle reaches it.
        inside: How to run the writer.
        strike, heal: What happens.
        forced: The client is killed during the outage as well.
    """

    def __init__(
        self,
        url: str,
        direct: str,
        strike: Callable[[], object],
        heal: Callable[[], object],
        inside: list[str] | None = None,
        *,
        forced: bool = False,
    ) -> None:
        self.url, self.direct = url, direct
        self.strike, self.heal = strike, heal
        self.inside = inside or []
        self.forced = forced


@contextmanager
def on_postgres(trial: Trial, kind: str) -> Iterator[Fault]:
    """Make a server and the fault that befalls it."""
    with ExitStack() as stack:
        server = PostgresServer(trial.directory / "server", settings={"listen_addresses": "*"})
        stack.enter_context(server)
        direct = server.url()
        if kind == "partition":
            inside, address, switch = stack.enter_context(namespace())
            rules = server.data / "pg_hba.conf"
            rules.write_text(rules.read_text() + "host all all 10.213.0.0/16 trust\n")
            server.execute("SELECT pg_reload_conf()")
            url = direct.replace("127.0.0.1", address)
            yield Fault(url, direct, lambda: switch(False), lambda: switch(True), inside)
        elif kind == "pause":
            yield Fault(direct, direct, server.pause, server.resume)
        else:
            yield Fault(direct, direct, server.kill9, server.start, forced=kind == "kill both")


@contextmanager
def on_sqlite(trial: Trial, kind: str) -> Iterator[Fault]:
    """Make a file on a small disk, which fills up."""
    disk = trial.directory / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs"]
    subprocess.run(["mount", *options, str(disk)], check=True, capture_output=True)
    ballast = disk / "ballast"
    url = f"sqlite:{disk}/primary.db"

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file:
            size = 1 << 20
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    try:
        yield Fault(url, url, fill, ballast.unlink, forced=kind == "full, and killed")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)


KINDS = {
    "postgres": ("kill", "pause", "partition", "kill both"),
    "sqlite": ("full", "full, and killed"),
}


def attempt(trial: Trial) -> Counts:
    """Strike one primary with one fault, and check everything afterwards."""
    random = trial.random()
    kinds = [k for k in KINDS[trial.engine] if k != "partition" or can_make_namespaces()]
    kind = kinds[trial.index % len(kinds)]
    make = on_postgres if trial.engine == "postgres" else on_sqlite
    with make(trial, kind) as fault, ExitStack() as writers:
        with holdfast.open(fault.direct):
            pass  # the store is made
        writer = Writer(fault.url, trial.directory, "a", fault.inside)
        writers.callback(writer.kill)
        writer.until_state(degraded=False)
        time.sleep(random.uniform(0.2, 0.8))
        struck = time.monotonic()
        fault.strike()
        detection = writer.until_state(degraded=True) - struck
        time.sleep(random.uniform(0.5, 3.0))
        if fault.forced:
            writer.kill()
            writer = Writer(fault.url, trial.directory, "b", fault.inside)
            writers.callback(writer.kill)
            writer.until_state(degraded=True)
            time.sleep(random.uniform(0.2, 0.6))
        fault.heal()
        healed = time.monotonic()
        recovery = max(0.0, writer.until_state(degraded=False) - healed)
        time.sleep(0.3)
        told = writer.finish()
        acknowledged = _check(trial, fault, told)
    print(
        f"  failover/{trial.engine} {kind}: detected in {detection:.2f} s, back in "
        f"{recovery:.2f} s, longest write {told['longest']:.2f} s, {told['replayed']} replayed",
        file=sys.stderr,
        flush=True,
    )
    if detection > DETECTION or recovery > RECOVERY:
        raise Refuted(f"{kind}: detected in {detection:.2f} s, back in {recovery:.2f} s")
    return Counter(
        {
            "faults": 1,
            kind: 1,
            "detected within 2 s": detection <= 2.0,
            "back within 3.5 s": recovery <= 3.5,
            "acknowledged": acknowledged,
            "replayed": told["replayed"],
            "detection ms": round(detection * 1000),
            "recovery ms": round(recovery * 1000),
        }
    )


def _check(trial: Trial, fault: Fault, told: dict[str, Any]) -> int:
    """Compare what was acknowledged with what the primary holds; return how many writes."""
    if told["errors"] or told["conflicts"] or told["pending"] or told["state"] != "closed":
        raise Refuted(f"the writer met {told}")
    with holdfast.open(fault.direct) as state:
        _compare(state, trial.directory / "acknowledged")
        if problems := state.verify():
            raise Refuted(f"the primary is not sound: {problems[:3]}")
    with holdfast.open(trial.directory / "spill.db") as spill:
        if problems := spill.verify():
            raise Refuted(f"the spill is not sound: {problems[:3]}")
    return sum(1 for _ in (trial.directory / "acknowledged").open())


def _compare(state: StateManager, log: Path) -> None:
    last: dict[str, int] = {}
    for line in log.read_text().splitlines():
        key, _, number = line.rpartition(" ")
        last[key] = int(number)
    written: dict[str, list[Any]] = {}
    for change in state.changes(scope=SCOPE):
        written.setdefault(change.key, []).append(change.value)
    for key, number in last.items():
        values = written.get(key, [])
        if number not in values:
            raise Refuted(f"{key}: {number} was acknowledged and is not there")
        if values != sorted(set(values)):
            raise Refuted(f"{key}: written out of order, or twice: {values[-20:]}")
        if values[-1] < number:
            raise Refuted(f"{key}: stands at {values[-1]}, acknowledged was {number}")


def _unable(engine: str) -> str | None:
    if os.geteuid() != 0 and engine == "sqlite":
        return "only root can mount a small disk"
    return None


CASE = Case(
    name="failover",
    claim="While a primary is killed, stopped, cut off or full, no acknowledged write is lost, "
    "doubled or put out of order; the spill takes over within 3 s, and gives back within 5 s.",
    run=attempt,
    engines=("postgres", "sqlite"),
    quick=4,
    long=100,
    unable=_unable,
    tested=False,
)
