"""One call of a verb, watched: timed, counted, traced, logged, recorded where it fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from holdfast.correlation import CorrelationContext, check_text, current
from holdfast.errors import EngineError, InvalidArgumentError, StateError
from holdfast.observe.logs import log_operation, operations
from holdfast.observe.verbs import Kind, Verb, code_of, kind_of, scope_of
from holdfast.store.scope import StateScope
from holdfast.store.value import StateClass

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from holdfast.observe.observation import Observation

Correlation = str | CorrelationContext | None


def check_correlation(correlation: object) -> Correlation:
    """Refuse what is neither an id nor a context; None is neither and is fine.

    Raises:
        InvalidArgumentError: It is something else, or a text that is no id.
    """
    if correlation is None or isinstance(correlation, CorrelationContext):
        return correlation
    return check_text(correlation, "correlation")


def given_correlation(kwargs: dict[str, Any]) -> Correlation:
    """Return what a call belongs to: what it was given, or the context around."""
    given = kwargs.get("correlation")
    if given is None:
        return current()
    try:
        return check_correlation(given)
    except InvalidArgumentError:  # the verb says so
        return current()


class Watch:
    """One call of a verb, from its beginning to its end.

    Attributes:
        verb: The verb.
        scope, key: What the call is about; None for none.
        correlation: What it belongs to.
    """

    def __init__(
        self, observation: Observation, verb: Verb, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._observation, self.verb = observation, verb
        self._given, self.key = verb.target(args, kwargs)
        self.scope = scope_of(self._given)
        self.correlation = given_correlation(kwargs)
        self._state_class = kwargs.get("state_class")
        self._code: str | None = None
        self._span: Span | None = None
        self._began = perf_counter_ns()

    def begin(self) -> None:
        """Start the clock and the span."""
        self._began = perf_counter_ns()
        tracing = self._observation.tracing
        if tracing is not None:
            kind = kind_of(self.scope)
            self._span = tracing.start(self.verb.name, kind, self.correlation)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the call inside its span; whatever it raises is noted and goes on."""
        self.begin()
        tracing, span = self._observation.tracing, self._span
        with ExitStack() as stack:
            if tracing is not None and span is not None:
                if self.verb.kind is Kind.WRITE and self.correlation is None:
                    stack.enter_context(tracing.correlated(span, self.verb.name))
                    self.correlation = current()
                stack.enter_context(tracing.active(span))
            try:
                yield
            except BaseException as error:
                self.failed(error)
                raise

    def failed(self, error: BaseException, duration_ms: float | None = None) -> None:
        """Note that the call raised."""
        self._code = code_of(error)
        if isinstance(error, StateError):
            self._observation.record_failure(
                self.verb.name,
                self._given,
                self.key,
                error,
                self._ms() if duration_ms is None else duration_ms,
                self.correlation,
                sensitive=self._sensitive(),
            )

    @property
    def recorded(self) -> bool:
        """Say whether this is a read that policy records."""
        if self.correlation is None or not self._observation.reads_recorded:
            return False
        return self._observation.records_reads(self.scope)

    def record_read(self, events: Sequence[tuple[StateScope, dict[str, Any]]]) -> None:
        """Record what was read: a scope and fields of each event."""
        if self.correlation is not None:
            self._observation.recorder.read(self.verb.name, events, self.correlation)

    def record_listing(self, count: int) -> None:
        """Record a read of several things, if policy says so."""
        if self.recorded and self.scope is not None:
            fields = {"key": self.key, "revision": None, "hit": count > 0, "count": count}
            self.record_read([(self.scope, fields)])

    def end(self, found: bool | None = None, items: Any = None) -> None:
        """Note that the call is over: count it, end its span, log it.

        Args:
            found: Of a read of one key: whether it was there. Of a write: True if the value is an
                ephemeral one.
            items: Of a batch: see `Tally.batch`.
        """
        observation = self._observation
        tally, tracing = observation.tally, observation.tracing
        if tally is not None:
            took = perf_counter_ns() - self._began
            if items is None:
                tally.call(self.verb.name, self._given, took, self._code, found)
            else:
                tally.batch(self.verb.name, took, self._code, items)
        if tracing is not None and self._span is not None:
            tracing.end(self._span, self._code)
        if self._code is None and observation.settings.log_operations:
            if operations.isEnabledFor(logging.DEBUG):
                log_operation(
                    logging.DEBUG,
                    self.verb.name,
                    outcome="ok",
                    duration_ms=self._ms(),
                    scope_kind=kind_of(self.scope),
                    engine=observation.engine,
                    correlation=self.correlation,
                    key=None if self._sensitive() else key_text(self.key),
                )

    def _ms(self) -> float:
        return round((perf_counter_ns() - self._began) / 1e6, 3)

    def _sensitive(self) -> bool:
        return self._observation.is_sensitive(self.scope, self._state_class)


def key_text(key: object) -> str | None:
    """Return a key for a log; None for what is none."""
    return key if isinstance(key, str) else None


def level_of(error: StateError) -> int:
    """Return the level at which a failure is logged: storage that fails is somebody's business."""
    return logging.WARNING if isinstance(error, EngineError) else logging.INFO


def is_sensitive(state_class: object) -> bool:
    """Say whether a class is the sensitive one."""
    return state_class is StateClass.SENSITIVE
