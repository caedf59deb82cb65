"""How values, durations and entries read in renderings: redacted, cut, harmless. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any, Final

from holdfast.store.lines import to_json
from holdfast.store.value import StateClass
from holdfast.timeline.entry import TimelineEntry

#: What stands where a value of this class would.
REDACTED: Final = "[sensitive]"
TRIMMED: Final = "[trimmed]"

# What could steer a terminal, split a line or turn text around; lone surrogates have no UTF-8.
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
_UNITS: Final = (
    (timedelta(days=1), "d"),
    (timedelta(hours=1), "h"),
    (timedelta(minutes=1), "min"),
    (timedelta(seconds=1), "s"),
    (timedelta(milliseconds=1), "ms"),
    (timedelta(microseconds=1), "µs"),
)


def harmless(words: str) -> str:
    """Return words with every character escaped that is not simply shown."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", words)


def cut(words: str, width: int) -> str:
    """Return words of at most `width` characters."""
    return words if len(words) <= width else words[: max(0, width - 1)] + "…"


def duration_text(duration: timedelta) -> str:
    """Return a duration in the unit that suits it, with three digits."""
    if not duration:
        return "0"
    for unit, name in _UNITS:
        # What would round up to a thousand of a unit is one of the next.
        if abs(duration) >= unit * 0.9995:
            number = duration / unit
            digits = 0 if abs(number) >= 99.5 else 1 if abs(number) >= 9.95 else 2
            text = f"{number:.{digits}f}"
            return f"{text.rstrip('0').rstrip('.') if digits else text} {name}"
    return "0"


def time_text(moment: datetime) -> str:
    """Return a time in UTC to the millisecond."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def is_hidden(entry: TimelineEntry, *, sensitive: bool) -> bool:
    """Say whether an entry's value is not to be seen."""
    return entry.state_class is StateClass.SENSITIVE and not sensitive


def has_value(entry: TimelineEntry) -> bool:
    """Say whether there is, or was, a value to show."""
    return entry.wrote or (entry.kind != "change" and entry.value is not None)


def plain_value(entry: TimelineEntry, *, sensitive: bool) -> Any:
    """Return the value as JSON data, or what stands for it."""
    if is_hidden(entry, sensitive=sensitive):
        return REDACTED
    return to_json(entry.value) if entry.readable else TRIMMED


def value_text(entry: TimelineEntry, *, sensitive: bool, width: int | None = None) -> str:
    """Return the value on one line, or indented where it may be as long as it is."""
    if is_hidden(entry, sensitive=sensitive):
        return REDACTED
    if not entry.readable:
        return TRIMMED
    indent = None if width is not None else 2
    made = json.dumps(to_json(entry.value), ensure_ascii=False, indent=indent)
    made = "\n".join(map(harmless, made.split("\n")))
    return made if width is None else cut(made, width)


def headline(entry: TimelineEntry) -> str:
    """Return what happened, without the value."""
    where = str(entry.scope) if entry.key is None else f"{entry.scope}/{entry.key}"
    if entry.kind == "event":
        name = entry.name or entry.operation
        words = name if str(entry.scope) == "global" else f"{name} in {where}"
    elif entry.kind == "failed":
        words = f"{entry.operation} {where} failed" + (f": {entry.error}" if entry.error else "")
    elif entry.kind == "read":
        words = f"{entry.operation} {where}"
    else:
        words = f"{entry.operation} {where}"
        if entry.version is not None and not entry.removed:
            words += f" v{entry.version}"
    return harmless(words)
