"""Structured logs: standard records with fields, and the correlation on anybody's records.

Fields are attributes of the record (``extra``), as every formatter and structlog can use them. They
hold no values; keys are there at level DEBUG only, and never of sensitive state.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any, Final

from holdfast.correlation import CorrelationContext, current

#: Where the verbs are logged.
operations: Final = logging.getLogger("holdfast.operations")

# Ids come from elsewhere: what could begin a line, steer a terminal or turn text around.
_STEERING: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


class CorrelationFilter(logging.Filter):
    """Gives every record the fields ``correlation``, ``span``, ``parent`` and ``component``.

    They are those of the context that the code which logs runs in, None outside of any; what a
    record has already is left alone. It lets every record pass. Add it to a handler.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields."""
        for name, value in _fields(current()).items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def add_correlation(
    _logger: Any, _method_name: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Do the same for structlog: a processor."""
    context = current()
    if context is not None:
        for name, value in _fields(context).items():
            if value is not None:
                event_dict.setdefault(name, value)
    return event_dict


def log_operation(
    level: int,
    operation: str,
    *,
    outcome: str,
    duration_ms: float | None,
    scope_kind: str,
    engine: str,
    correlation: str | CorrelationContext | None,
    key: str | None,
) -> None:
    """Log one call of a verb."""
    if not operations.isEnabledFor(level):
        return
    context = correlation if isinstance(correlation, CorrelationContext) else None
    extra = {
        "operation": operation,
        "code": outcome,
        "duration_ms": duration_ms,
        "scope_kind": scope_kind,
        "engine": engine,
        "correlation": _plain(correlation if context is None else context.id),
        "span": None if context is None else _plain(context.span),
    }
    if key is not None and operations.isEnabledFor(logging.DEBUG):
        extra["key"] = _plain(key)
    operations.log(level, "%s: %s", operation, outcome, extra=extra)


def _fields(context: CorrelationContext | None) -> dict[str, str | None]:
    if context is None:
        return dict.fromkeys(("correlation", "span", "parent", "component"))
    return {
        "correlation": _plain(context.id),
        "span": _plain(context.span),
        "parent": _plain(context.parent),
        "component": _plain(context.component),
    }


def _plain(text: Any) -> Any:
    """Return a text for a log, with what is not simply shown escaped."""
    if not isinstance(text, str) or text.isprintable():
        return text
    return _STEERING.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
