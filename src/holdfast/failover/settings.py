"""How a store fails over: where its spill is, when it probes, who wins a conflict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import ConfigurationError
from holdfast.failover.conflict import Conflict

POLICIES = ("keep_ours", "keep_theirs")

#: Seconds that a call of a server waits, unless the primary's URL says otherwise.
REMOTE_TIMEOUT = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverSettings:
    """A spill for a primary. URL options of ``failover:`` carry the same names.

    Attributes:
        spill: File of the spill, on a local disk; one process at a time.
        on_conflict: What happens at the replay to a key that others changed meanwhile:
            ``"keep_ours"`` (a new version; theirs stays in the history), ``"keep_theirs"`` (ours
            is kept in the conflict's record), or a function that gets the `Conflict` and returns
            the value to store, `KEEP_THEIRS`, or `MISSING` to delete the key.
        threshold: Failures in a row after which the primary counts as away. One whose outcome is
            unknown is enough in any case.
        heartbeat: Seconds between looks at an idle primary.
        probe_every: Seconds until the first attempt to reach the primary again.
        probe_most: Seconds that the wait between attempts doubles up to.
        mirror_keys: The most keys of the primary that the spill knows.
        mirror_queue: The most reads that wait to be mirrored; what comes on top stays unknown.
    """

    spill: Path | str
    on_conflict: str | Callable[[Conflict], Any] = "keep_ours"
    threshold: int = 1
    heartbeat: float = 0.3
    probe_every: float = 0.25
    probe_most: float = 0.5
    mirror_keys: int = 100_000
    mirror_queue: int = 10_000

    def __post_init__(self) -> None:
        if not Path(self.spill).name or "\0" in str(self.spill):
            raise ConfigurationError("failover needs the path of a spill file")
        if not callable(self.on_conflict) and self.on_conflict not in POLICIES:
            raise ConfigurationError(
                f"on_conflict cannot be {self.on_conflict!r}",
                hint=f"use {', '.join(POLICIES)}, or a function",
            )
        for name, least in (("threshold", 1), ("mirror_keys", 0), ("mirror_queue", 0)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"failover option {name!r} must be at least {least}")
        for name in ("heartbeat", "probe_every", "probe_most"):
            if not 0.001 <= getattr(self, name) <= 3600:
                raise ConfigurationError(f"failover option {name!r} must be 0.001 to 3600 seconds")
