"""How the hooks of a store behave."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import ConfigurationError

OVERFLOWS = ("block", "drop_oldest", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """How the hooks of one open store behave.

    Attributes:
        queue_size: Changes that may wait for queued after-hooks.
        overflow: What a full queue does: ``"block"`` has the caller wait, after its commit, until
            there is room; ``"drop_oldest"`` drops and counts; ``"error"`` refuses the commit
            beforehand with `HookQueueFullError`.
        workers: Threads that run queued hooks; changes of one key stay in one.
        batch: Changes that a worker takes at once.
        failure_threshold: Failures in a row that open a hook's breaker.
        reset_after: Seconds until an open breaker lets one call through.
        max_depth: How deep hooks may set off hooks.
        close_timeout: Seconds that `close` waits for queued hooks; None for as long as it takes.
    """

    queue_size: int = 10_000
    overflow: str = "block"
    workers: int = 4
    batch: int = 256
    failure_threshold: int = 5
    reset_after: float = 30.0
    max_depth: int = 8
    close_timeout: float | None = 30.0

    def __post_init__(self) -> None:
        for name in ("queue_size", "workers", "batch", "failure_threshold", "max_depth"):
            number = getattr(self, name)
            if type(number) is not int or not 1 <= number <= 10_000_000:
                raise ConfigurationError(f"{name} must be an integer of 1 or more")
        if self.overflow not in OVERFLOWS:
            raise ConfigurationError(
                f"there is no overflow policy {self.overflow!r}",
                hint=f"there is {', '.join(OVERFLOWS)}",
            )
        for name in ("reset_after", "close_timeout"):
            check_seconds(getattr(self, name), name, optional=name == "close_timeout")


def check_seconds(seconds: object, name: str, *, optional: bool = True) -> float | None:
    """Refuse what is no time to wait.

    Raises:
        ConfigurationError: It is none.
    """
    if seconds is None and optional:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
        raise ConfigurationError(f"{name} must be seconds, more than 0")
    return float(seconds)
