"""Figures of other parts of the store, which plug in by name: hooks, consumers, whatever runs.

A source is a callable without arguments. It is called when somebody asks, and returns its figures
as plain tuples, so that it needs to know nothing of this package.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from holdfast.errors import InvalidArgumentError
from holdfast.observe.exposition import Family

#: Name (``calls_total`` counts, every other is a gauge), labels, figure.
Figure = tuple[str, Mapping[str, str], float]
Source = Callable[[], Iterable[Figure]]

MAX_SERIES: Final = 1000  # of one source: labels of a hook that has ids in its name stay bounded

#: Second words of the store's own metrics: two of one name would spoil the page for its reader.
_OWN: Final = frozenset(
    [
        "cache",
        "change",
        "changes",
        "ephemeral",
        "events",
        "expired",
        "journal",
        "lane",
        "observer",
        "operation",
        "operations",
        "recorded",
        "records",
        "revision",
        "source",
        "storage",
        "unrecorded",
        "up",
    ]
)

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_log = logging.getLogger("holdfast.metrics")


class Sources:
    """The sources of one store.

    Attributes:
        failures: How often each has failed.
    """

    def __init__(self) -> None:
        self.after_fork()
        self._sources: dict[str, Source] = {}
        self.failures: dict[str, int] = {}

    def after_fork(self) -> None:
        """Make the lock anew: a thread that is not here may hold it."""
        self._mutex = threading.Lock()

    def add(self, name: str, source: Source) -> Callable[[], None]:
        """Ask `source` from now on; return what ends that.

        Raises:
            InvalidArgumentError: The name is none, or is taken.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"{name!r} is no name of a source", hint="use lower-case letters, digits and _"
            )
        with self._mutex:
            if name in self._sources or name in _OWN:
                raise InvalidArgumentError(f"there is a source {name} already")
            self._sources[name] = source

        def end() -> None:
            with self._mutex:
                if self._sources.get(name) is source:
                    del self._sources[name]

        return end

    def figures(self) -> dict[str, list[Figure]]:
        """Return the figures of each; one that fails has none, and is counted."""
        with self._mutex:
            sources = dict(self._sources)
        found: dict[str, list[Figure]] = {}
        for name, source in sorted(sources.items()):
            try:
                figures = [_checked(figure) for figure in source()]
            except Exception as error:  # noqa: BLE001 - whoever asks still gets all the others
                with self._mutex:
                    self.failures[name] = self.failures.get(name, 0) + 1
                _log.warning("the source %s of metrics failed: %s", name, type(error).__name__)
                continue
            found[name] = figures[:MAX_SERIES]
        return found


def families_of(figures: Mapping[str, list[Figure]]) -> list[Family]:
    """Return the figures of sources as metrics: ``holdfast_SOURCE_NAME``."""
    families: dict[str, Family] = {}
    for source, found in figures.items():
        for name, labels, value in found:
            full = f"holdfast_{source}_{name}"
            kind = "counter" if name.endswith("_total") else "gauge"
            family = families.setdefault(full, Family(full, kind, f"{name} of {source}."))
            family.samples.append((labels, value))
    return list(families.values())


def _checked(figure: Any) -> Figure:
    name, labels, value = figure
    if not _NAME.fullmatch(name) or not all(_NAME.fullmatch(label) for label in labels):
        raise ValueError("a figure or a label has no sound name")
    return name, {label: str(text) for label, text in labels.items()}, _number(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int):
        return float(value)
    return value
