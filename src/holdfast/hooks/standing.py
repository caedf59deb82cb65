"""How hooks stand, told through the store: what other processes see of the hooks of this one.

A process whose hook has failed keeps one small row in the store, beside the data and outside of
the journal: nobody watches it, and it costs no revision. It says which process it is of, so that
what a dead one left behind is known for what it is.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from holdfast.clock import from_ns

if TYPE_CHECKING:
    from holdfast.hooks.hook import Hook

FORMAT: Final = 1
MAX_HOOKS: Final = 200  # of one row; those in trouble first
#: A row is written anew at least so often; one much older than that is of nobody who lives.
REFRESH_NS: Final = 600 * 10**9
_STALE_NS: Final = 3 * REFRESH_NS


class Process(msgspec.Struct, array_like=True, frozen=True):
    """A process, so that another one of the same machine can see whether it lives.

    Attributes:
        host: Name of the machine.
        place: What else must be the same for process ids to mean the same: boot, namespace.
        pid: Its process id.
        began: When it began, as its system counts; 0 where that is unknown.
    """

    host: str
    place: str
    pid: int
    began: int


class Line(msgspec.Struct, array_like=True, frozen=True):
    """How one hook stands, as stored; see `HookStanding`."""

    name: str
    phase: str
    mode: str
    breaker: str
    paused: bool
    calls: int
    failures: int
    in_a_row: int
    timeouts: int
    skipped: int
    error: str
    failed_ns: int


class Row(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What one open store tells of its hooks."""

    format: int = FORMAT
    tenant: str
    process: Process
    told_ns: int
    hooks: list[Line]


@dataclass(frozen=True, slots=True)
class HookStanding:
    """How a hook stood when its process told of it.

    Attributes:
        name, phase, mode: Of the hook.
        breaker: ``"closed"``, ``"open"`` or ``"half-open"``.
        paused: Its process leaves it out.
        calls, failures, timeouts, skipped: Counts; see `HookMetrics`.
        in_a_row: Failures since it last went well.
        last_error: What kind of error came last: the name of a class, ``timeout`` or ``misused``;
            None for none.
        failed_at: When that was.
        host, pid: Its process.
        alive: That process is there. False: what is said here is of the past.
        told_at: When it told.
    """

    name: str
    phase: str
    mode: str
    breaker: str
    paused: bool
    calls: int
    failures: int
    in_a_row: int
    timeouts: int
    skipped: int
    last_error: str | None
    failed_at: datetime | None
    host: str
    pid: int
    alive: bool
    told_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        told = {name: getattr(self, name) for name in self.__slots__}
        for name in ("failed_at", "told_at"):
            at = told[name]
            told[name] = None if at is None else at.isoformat()
        return told


def line_of(hook: Hook) -> Line:
    """Return how a hook stands now."""
    breaker = hook.breaker
    return Line(
        hook.name,
        hook.phase,
        hook.mode,
        breaker.state.value,
        hook.paused,
        hook.calls,
        hook.failures,
        breaker.failures,
        hook.timeouts,
        hook.skipped,
        hook.last_error,
        hook.failed_ns,
    )


def pack(tenant: str, hooks: Sequence[Hook], now_ns: int) -> bytes:
    """Return the row of this process."""
    lines = sorted(map(line_of, hooks), key=lambda line: not line.failures)[:MAX_HOOKS]
    row = Row(tenant=tenant, process=this_process(), told_ns=now_ns, hooks=lines)
    return msgspec.msgpack.encode(row)


def parse(raw: bytes) -> Row | None:
    """Return a row; None for one that is damaged, or of a format that is not known here."""
    try:
        row = msgspec.msgpack.decode(raw, type=Row)
    except (msgspec.MsgspecError, ValueError):
        return None
    return row if row.format == FORMAT else None


def standings(row: Row, now_ns: int) -> list[HookStanding]:
    """Return what a row says."""
    alive, process = lives(row, now_ns), row.process
    return [
        HookStanding(
            line.name,
            line.phase,
            line.mode,
            line.breaker,
            line.paused,
            line.calls,
            line.failures,
            line.in_a_row,
            line.timeouts,
            line.skipped,
            line.error or None,
            from_ns(line.failed_ns) if line.failed_ns else None,
            process.host,
            process.pid,
            alive,
            from_ns(row.told_ns),
        )
        for line in row.hooks
    ]


def lives(row: Row, now_ns: int) -> bool:
    """Say whether the process of a row is there.

    One that can be seen from here is looked at. Of all others it is told by the row's age: each
    writes its own anew now and then.
    """
    own, theirs = this_process(), row.process
    if (own.host, own.place) == (theirs.host, theirs.place):
        began = _began(theirs.pid)
        return began is not None and theirs.began in (0, began)
    return now_ns - row.told_ns < _STALE_NS


def this_process() -> Process:
    """Return this process."""
    pid = os.getpid()
    return Process(socket.gethostname(), _place(), pid, _began(pid) or 0)


@lru_cache(maxsize=1)
def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _began(pid: int) -> int | None:
    """Return when a process began, 0 where that cannot be known; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return int(stat.rpartition(b")")[2].split()[19])
    except FileNotFoundError:
        if _place():
            return None
    except (OSError, ValueError, IndexError):
        pass
    if os.name != "posix":
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # somebody else's
        pass
    return 0
