"""From a timeline to text: which module makes which format."""

from __future__ import annotations

from holdfast.errors import InvalidArgumentError
from holdfast.timeline.data import as_json
from holdfast.timeline.mermaid import as_gantt, as_mermaid
from holdfast.timeline.page import as_html
from holdfast.timeline.svg import as_svg
from holdfast.timeline.timeline import FORMATS, Format, Timeline
from holdfast.timeline.tree import as_tree


def render(timeline: Timeline, format: Format, *, sensitive: bool = False) -> str:
    """See `Timeline.render`."""
    match format:
        case "tree":
            return as_tree(timeline, sensitive=sensitive)
        case "json":
            return as_json(timeline, sensitive=sensitive) + "\n"
        case "mermaid":
            return as_mermaid(timeline)
        case "gantt":
            return as_gantt(timeline)
        case "svg":
            return as_svg(timeline, sensitive=sensitive)
        case "html":
            return as_html(timeline, sensitive=sensitive)
    raise InvalidArgumentError(
        f"a timeline has no format {format!r}", hint=f"one of {', '.join(FORMATS)}"
    )
