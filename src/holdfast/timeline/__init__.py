"""Timelines: what happened, in order and as it was, what led to what, and how it looks."""

from holdfast.timeline.entry import TimelineEntry
from holdfast.timeline.graph import CausalityGraph, Link, Missing, TimelineStep
from holdfast.timeline.reading import TimelineReader
from holdfast.timeline.timeline import Timeline

__all__ = [
    "CausalityGraph",
    "Link",
    "Missing",
    "Timeline",
    "TimelineEntry",
    "TimelineReader",
    "TimelineStep",
]
