"""`state.metrics`: what this process has done with the store, and how the store is, as figures.

No label holds a key, a value, an id or a secret: labels are verbs, classes, kinds of scopes, error
codes, and the names of hooks and consumers.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from holdfast.errors import StateError
from holdfast.observe.exposition import Buckets, Family, Labels, exposition
from holdfast.observe.histogram import Histogram
from holdfast.observe.recorder import Recorder
from holdfast.observe.sources import Source, Sources, families_of
from holdfast.observe.tally import Figures, Tally
from holdfast.store.journal import journal_horizon, read_heads
from holdfast.store.kernel import Kernel
from holdfast.store.status import lane_figures

_NS: Final = 1e-9
#: Bounds of exported histograms: each fourth power of two from 1 µs to 69 s, and of group sizes.
_TIMES: Final = tuple(1 << bits for bits in range(10, 37, 2))
_SIZES: Final = tuple(1 << bits for bits in range(11))
_UNFIT: Final = re.compile(r"[^a-z0-9_]")


class Metrics:
    """The figures of one open store.

    Attributes:
        enabled: Verbs, changes and groups are counted (``metrics=True`` when opening). What the
            store itself knows is told without that, too.
    """

    def __init__(self, kernel: Kernel, tally: Tally | None, recorder: Recorder) -> None:
        self.enabled = tally is not None
        self._kernel, self._tally, self._recorder = kernel, tally, recorder
        self._sources = Sources()

    def source(self, name: str, source: Source) -> Callable[[], None]:
        """Add the figures of another part; return what takes them away again.

        Args:
            name: What it is, in lower-case letters, digits and ``_``: the metrics are called
                ``holdfast_NAME_…``.
            source: Called without arguments when somebody asks. It returns tuples of a name, a
                mapping of labels, and a number; a name that ends in ``_total`` is a counter,
                every other a gauge. At most 1,000 count. What it raises is counted and logged.

        Raises:
            InvalidArgumentError: The name is none, or is taken.
        """
        return self._sources.add(name, source)

    def after_fork(self) -> None:
        """Go on in a child: with locks of its own."""
        self._sources.after_fork()

    def snapshot(self) -> dict[str, Any]:
        """Return all figures, as JSON types; times in seconds, sizes in bytes."""
        kernel = self._kernel
        figures = Figures() if self._tally is None else self._tally.figures()
        sources = {
            name: [
                {"name": figure, "labels": dict(labels), "value": value}
                for figure, labels, value in found
            ]
            for name, found in self._sources.figures().items()
        }
        return {
            "enabled": self.enabled,
            "engine": kernel.engine.traits.name,
            "store": self._store(),
            "operations": _operations(figures),
            "changes": [
                {"operation": operation, "class": word, "count": count}
                for (operation, word), count in sorted(figures.changes.items())
            ],
            "change_bytes": dict(sorted(figures.change_bytes.items())),
            "events": figures.events,
            "lane": {
                **lane_figures(kernel),
                "group_size": _shown(figures.group_size),
                "wait_seconds": _shown(figures.wait_ns, _NS),
                "commit_seconds": _shown(figures.commit_ns, _NS),
            },
            "cache": None if kernel.cache is None else kernel.cache.figures(),
            "recorded": {**self._recorder.recorded, "lost": self._recorder.lost},
            "observers_failed": kernel.feed.failures,
            "sources": sources,
            "sources_failed": dict(self._sources.failures),
        }

    def prometheus(self) -> str:
        """Return all figures in the text format of Prometheus (0.0.4)."""
        engine = self._kernel.engine.traits.name
        figures = Figures() if self._tally is None else self._tally.figures()
        families = [
            *_operation_families(figures),
            *_change_families(figures),
            *self._lane_families(figures),
            *self._store_families(),
            *families_of(self._sources.figures()),
            _family(
                "counter",
                "holdfast_source_failures_total",
                "Sources of metrics that failed.",
                [({"source": name}, n) for name, n in sorted(self._sources.failures.items())],
            ),
        ]
        for family in families:
            family.samples = [
                ({**labels, "engine": engine}, value) for labels, value in family.samples
            ]
        return exposition(families)

    def __repr__(self) -> str:
        return f"<Metrics {'enabled' if self.enabled else 'disabled'}>"

    # --- inside ---------------------------------------------------------------------------

    def _store(self) -> dict[str, Any] | None:
        """Return how the store is; None if it does not answer."""
        kernel = self._kernel
        if kernel.closed:
            return None
        try:
            partitions = kernel.partitions.all
            with kernel.engine.read() as view:
                heads = read_heads(view, partitions)
                horizon = max(journal_horizon(view, each)[0] for each in partitions)
            storage = kernel.engine.stats()
            return {
                "revision": max(head.revision for head in heads),
                "records": sum(head.records for head in heads),
                "horizon": horizon,
                "ephemeral": len(kernel.ephemeral.entries),
                "swept": kernel.sweeper.swept,
                "storage": {
                    name: value
                    for name, value in storage.items()
                    if isinstance(value, int | float) and not isinstance(value, bool)
                },
            }
        except StateError:
            return None

    def _store_families(self) -> list[Family]:
        store = self._store()
        up = _family("gauge", "holdfast_up", "Whether the store answers.", [({}, int(bool(store)))])
        if store is None:
            return [up]
        storage = store.pop("storage")
        helps = {
            "revision": ("gauge", "holdfast_revision", "Revision of the last commit."),
            "records": ("gauge", "holdfast_records", "Live records."),
            "horizon": ("gauge", "holdfast_journal_horizon", "Last revision that was trimmed."),
            "ephemeral": ("gauge", "holdfast_ephemeral_entries", "Values in memory only."),
            "swept": ("counter", "holdfast_expired_total", "Expired keys removed here."),
        }
        families = [up, *(_family(*helps[name], [({}, store[name])]) for name in helps)]
        for name, value in sorted(storage.items()):
            full = f"holdfast_storage_{_UNFIT.sub('_', name.lower())}"
            families.append(_family("gauge", full, f"{name}, as the engine says.", [({}, value)]))
        cache = self._kernel.cache
        if cache is not None:
            for name, value in cache.figures().items():
                counts = name in ("hits", "misses", "evicted")
                full = f"holdfast_cache_{name}{'_total' if counts else ''}"
                kind = "counter" if counts else "gauge"
                families.append(_family(kind, full, f"The read cache: {name}.", [({}, value)]))
        return families

    def _lane_families(self, figures: Figures) -> list[Family]:
        lane, recorder = lane_figures(self._kernel), self._recorder
        families = [
            _family(
                "counter", "holdfast_lane_groups_total", "Groups committed.", [({}, lane["groups"])]
            ),
            _family(
                "counter",
                "holdfast_lane_commits_total",
                "Commits wanted, in groups.",
                [({}, lane["intents"])],
            ),
            _family("gauge", "holdfast_lane_queued", "Commits that wait.", [({}, lane["queued"])]),
            _family(
                "counter",
                "holdfast_recorded_total",
                "Failures and reads recorded as events.",
                [({"event": name}, count) for name, count in recorder.recorded.items()],
            ),
            _family(
                "counter",
                "holdfast_unrecorded_total",
                "Failures and reads that could not be recorded.",
                [({}, recorder.lost)],
            ),
            _family(
                "counter",
                "holdfast_observer_failures_total",
                "Observers of commits that failed.",
                [({}, self._kernel.feed.failures)],
            ),
        ]
        if self.enabled:
            for name, words, histogram, powers, scale in (
                ("group_size", "Commits per group.", figures.group_size, _SIZES, 1),
                ("wait_seconds", "Time in the queue.", figures.wait_ns, _TIMES, _NS),
                ("commit_seconds", "Time to commit a group.", figures.commit_ns, _TIMES, _NS),
            ):
                sample: tuple[Labels, Buckets] = ({}, _buckets(histogram, powers, scale))
                families.append(_family("histogram", f"holdfast_lane_{name}", words, [sample]))
        return families


def _operations(figures: Figures) -> dict[str, Any]:
    """Return the figures of each verb."""
    found: dict[str, Any] = {}
    for (verb, kind, outcome), count in sorted(figures.operations.items()):
        entry = found.setdefault(verb, {"count": 0, "outcomes": {}, "scope_kinds": {}})
        entry["count"] += count
        entry["outcomes"][outcome] = entry["outcomes"].get(outcome, 0) + count
        entry["scope_kinds"][kind] = entry["scope_kinds"].get(kind, 0) + count
    for verb, histogram in figures.seconds.items():
        found[verb]["seconds"] = _shown(histogram, _NS)
    return found


def _operation_families(figures: Figures) -> list[Family]:
    return [
        _family(
            "counter",
            "holdfast_operations_total",
            "Calls of verbs; the outcome is ok, or the code of the error.",
            [
                ({"operation": verb, "scope_kind": kind, "outcome": outcome}, count)
                for (verb, kind, outcome), count in sorted(figures.operations.items())
            ],
        ),
        _family(
            "histogram",
            "holdfast_operation_seconds",
            "How long verbs took.",
            [
                ({"operation": verb}, _buckets(histogram, _TIMES, _NS))
                for verb, histogram in sorted(figures.seconds.items())
            ],
        ),
    ]


def _change_families(figures: Figures) -> list[Family]:
    return [
        _family(
            "counter",
            "holdfast_changes_total",
            "Changes committed by this process.",
            [
                ({"operation": operation, "class": word}, count)
                for (operation, word), count in sorted(figures.changes.items())
            ],
        ),
        _family(
            "counter",
            "holdfast_change_bytes_total",
            "Bytes of the versions that this process wrote.",
            [({"class": word}, size) for word, size in sorted(figures.change_bytes.items())],
        ),
        _family(
            "counter",
            "holdfast_events_total",
            "Events committed by this process.",
            [({}, figures.events)],
        ),
    ]


def _family(
    kind: str, name: str, words: str, samples: Sequence[tuple[Labels, float | Buckets]]
) -> Family:
    return Family(name, kind, words, list(samples))


def _buckets(histogram: Histogram, powers: Sequence[int], scale: float) -> Buckets:
    counts = histogram.cumulative(powers)
    bounds = [power if scale == 1 else power * scale for power in powers]
    total = histogram.total if scale == 1 else histogram.total * scale
    return Buckets(list(zip(bounds, counts, strict=True)), total, histogram.count)


def _shown(histogram: Histogram, scale: float = 1.0) -> dict[str, Any]:
    return dataclasses.asdict(histogram.distribution(scale))
