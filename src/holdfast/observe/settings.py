"""What is observed of one open store."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveSettings:
    """What is observed. Each field is an option of `holdfast.open`, of URLs and the environment.

    Attributes:
        metrics: Count and time every verb, every commit group and every change, for
            `StateManager.metrics` and `StateManager.stats`.
        tracing: A span of OpenTelemetry for every verb (the extra ``otel``). Writes outside of any
            correlation then take theirs from the current span.
        record_failures: Operations that fail inside a correlation are events (``state.failed``).
        log_operations: Log every verb at level DEBUG (failures are logged anyway).
        max_scopes: Of how many scopes figures of their own are kept; all others share one.
    """

    metrics: bool = False
    tracing: bool = False
    record_failures: bool = True
    log_operations: bool = False
    max_scopes: int = 1000

    def __post_init__(self) -> None:
        if not 1 <= self.max_scopes <= 1_000_000:
            raise ConfigurationError("max_scopes must be from 1 to 1000000")
