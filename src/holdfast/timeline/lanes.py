"""Where everything of a timeline's picture lies: lanes, rows, bars, marks and arrows. Pure."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from holdfast.timeline.entry import TimelineEntry
from holdfast.timeline.graph import Link, TimelineStep
from holdfast.timeline.scale import Scale
from holdfast.timeline.shown import cut, harmless
from holdfast.timeline.timeline import Timeline

WIDTH: Final = 1160.0
LEFT: Final = 168.0  # names of lanes
RIGHT: Final = 20.0
TOP: Final = 44.0  # the axis
ROW: Final = 38.0
BAR: Final = 22.0
PADDING: Final = 8.0
LEAST: Final = 9.0  # the shortest bar
ALONE: Final = "no component"
_LABEL: Final = 44  # characters
_APART: Final = 12.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A step's bar.

    Attributes:
        step, number: Which, and its number among the steps, from 1.
        x, y, width: Its place; every bar is `BAR` high.
        label: Its words.
        label_x, anchor: Where these stand, and which of their ends: ``"start"`` or ``"end"``.
        hue: The lane's number, for its colour.
        marks: Its entries, each with its place.
    """

    step: TimelineStep
    number: int
    x: float
    y: float
    width: float
    label: str
    label_x: float
    anchor: str
    hue: int
    marks: tuple[tuple[float, TimelineEntry], ...]

    @property
    def middle(self) -> float:
        """Its height in the middle."""
        return self.y + BAR / 2


@dataclass(frozen=True, slots=True)
class Lane:
    """What one component did.

    Attributes:
        name: The component.
        y, height: Its place.
        hue: Its number.
    """

    name: str
    y: float
    height: float
    hue: int


@dataclass(frozen=True, slots=True)
class Arrow:
    """A link: a path as SVG writes it."""

    link: Link
    path: str
    critical: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is drawn."""

    scale: Scale
    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    arrows: tuple[Arrow, ...]
    bottom: float


def text_width(words: str, size: float = 12.0) -> float:
    """Return about how wide words are, in a common sans-serif."""
    wide = sum(1 for letter in words if unicodedata.east_asian_width(letter) in "WF")
    return size * (0.55 * (len(words) - wide) + 1.02 * wide)


def lane_hues(timeline: Timeline) -> dict[str | None, int]:
    """Return each component's number among the lanes; what names none stands last."""
    steps = sorted(timeline.graph.steps, key=lambda step: step.started_at)
    components = dict.fromkeys(step.component for step in steps)
    if None in components:
        components[None] = components.pop(None)
    return {component: number for number, component in enumerate(components)}


def picture(timeline: Timeline) -> Picture:
    """Lay out a timeline that has entries."""
    graph = timeline.graph
    busy = [(step.started_at, step.ended_at) for step in graph.steps]
    scale = Scale(busy, LEFT, WIDTH - RIGHT)
    numbers = {step.id: number for number, step in enumerate(graph.steps, 1)}
    by_lane: dict[str | None, list[TimelineStep]] = {name: [] for name in lane_hues(timeline)}
    for step in sorted(graph.steps, key=lambda each: each.started_at):
        by_lane[step.component].append(step)
    lanes: list[Lane] = []
    bars: dict[str, Bar] = {}
    y = TOP
    for hue, (component, steps) in enumerate(by_lane.items()):
        rows: list[float] = []  # where each row is free again
        for step in steps:
            bar, begin, end = _bar(step, numbers[step.id], scale, hue)
            row = next((n for n, free in enumerate(rows) if free <= begin), len(rows))
            rows[row : row + 1] = [end + _APART]
            bars[step.id] = _lowered(bar, y + PADDING + row * ROW)
        height = 2 * PADDING + len(rows) * ROW - (ROW - BAR) / 2
        name = ALONE if component is None else harmless(component)
        lanes.append(Lane(name, y, height, hue))
        y += height
    path = set(zip(graph.critical_path, graph.critical_path[1:], strict=False))
    arrows = tuple(
        Arrow(link, _path(bars[link.cause], bars[link.effect]), (link.cause, link.effect) in path)
        for link in graph.links
    )
    return Picture(scale, tuple(lanes), tuple(bars.values()), arrows, y)


def _bar(step: TimelineStep, number: int, scale: Scale, hue: int) -> tuple[Bar, float, float]:
    """Return a bar in row 0, and where it begins and ends with its label."""
    x = scale.at(step.started_at)
    width = max(LEAST, scale.at(step.ended_at) - x)
    x = min(x, WIDTH - RIGHT - LEAST)
    title = step.title
    if step.context is not None and step.id == step.context.span and step.context.operation:
        title = step.context.operation  # the lane says the component
    label = cut(harmless(title), _LABEL)
    wide = text_width(label)
    begin, end = x, x + width
    if wide + 16 <= width:
        label_x, anchor = x + 8, "start"
    elif end + wide + 6 <= WIDTH:
        label_x, anchor, end = end + 6, "start", end + 6 + wide
    else:
        label_x, anchor, begin = x - 6, "end", x - 6 - wide
    marks = tuple(
        (min(max(scale.at(entry.at), x + 4), x + width - 4), entry) for entry in step.entries
    )
    return Bar(step, number, x, 0.0, width, label, label_x, anchor, hue, marks), begin, end


def _lowered(bar: Bar, y: float) -> Bar:
    return Bar(
        bar.step, bar.number, bar.x, y, bar.width, bar.label, bar.label_x, bar.anchor, bar.hue,
        bar.marks,
    )  # fmt: skip


def _path(cause: Bar, effect: Bar) -> str:
    """Return the way of an arrow: out of a bar below its effect's beginning, or at its end."""
    ends = cause.x + cause.width
    if cause.y == effect.y and effect.x >= ends:
        return f"M{ends:.1f} {cause.middle:.1f}L{effect.x - 1:.1f} {effect.middle:.1f}"
    down = effect.y > cause.y
    edge = cause.y + BAR if down else cause.y
    if cause.x <= effect.x + 4 <= ends:  # straight, into the top or bottom of the effect
        place = effect.x + 4
        target = effect.y - 1 if down else effect.y + BAR + 1
        return f"M{place:.1f} {edge:.1f}L{place:.1f} {target:.1f}"
    place = ends - 3 if ends < effect.x + 4 else cause.x + 3
    target_x, target_y = effect.x - 1, effect.middle
    bend = max(18.0, abs(target_x - place) * 0.45)
    middle = edge + (target_y - edge) * 0.6
    return (
        f"M{place:.1f} {edge:.1f}C{place:.1f} {middle:.1f} "
        f"{target_x - bend:.1f} {target_y:.1f} {target_x:.1f} {target_y:.1f}"
    )
