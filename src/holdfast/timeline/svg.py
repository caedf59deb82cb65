"""A timeline as a picture: swimlanes, bars of steps, marks of entries, arrows of causes. Pure.

The text is whole in itself: no script, no font or picture from elsewhere, and every word that was
stored is escaped.
"""

from __future__ import annotations

from html import escape
from typing import Final

from holdfast.timeline.entry import TimelineEntry
from holdfast.timeline.lanes import BAR, LEFT, RIGHT, TOP, WIDTH, Bar, Picture, picture
from holdfast.timeline.shown import duration_text, harmless, has_value, headline, value_text
from holdfast.timeline.timeline import Timeline
from holdfast.timeline.tree import facts, warnings

_VALUE: Final = 160  # characters of a value in a tip
_HUES: Final = (  # for light pages, and for dark ones
    ("#2563eb", "#7aa7ff"),
    ("#0f766e", "#4fd1c5"),
    ("#7c3aed", "#b79bff"),
    ("#be185d", "#f78fb8"),
    ("#4d7c0f", "#a3d65c"),
    ("#0369a1", "#5cc2f2"),
)

HUES: Final = len(_HUES)

#: Colours as variables; a page takes them over.
VARIABLES: Final = (
    ":root{color-scheme:light dark;--paper:#ffffff;--ink:#1c2430;--soft:#5d6878;--line:#e3e7ed;"
    "--band:#f6f8fa;--hot:#c2570c;--bad:#c81e1e;"
    + "".join(f"--h{n}:{light};" for n, (light, _) in enumerate(_HUES))
    + "}@media (prefers-color-scheme:dark){:root{--paper:#12161c;--ink:#e6eaf0;--soft:#9aa5b4;"
    "--line:#2a323d;--band:#181e26;--hot:#ffa657;--bad:#ff7b72;"
    + "".join(f"--h{n}:{dark};" for n, (_, dark) in enumerate(_HUES))
    + "}}"
)
STYLE: Final = (
    ".tl{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
    "fill:var(--ink)}"
    ".tl .paper{fill:var(--paper)}.tl .band{fill:var(--band)}"
    ".tl .grid{stroke:var(--line);stroke-width:1}.tl .soft{fill:var(--soft)}"
    ".tl .lane{font-weight:600}.tl .begin{font-weight:600;fill:var(--ink)}"
    ".tl .gap{fill:none;stroke:var(--soft);stroke-width:1.2}"
    ".tl .bar{fill:var(--hue);fill-opacity:.16;stroke:var(--hue);stroke-width:1.2}"
    ".tl .mark{fill:var(--hue);stroke:var(--paper);stroke-width:1.2}"
    ".tl .read{fill:var(--paper);stroke:var(--hue);stroke-width:1.8}"
    ".tl .failed{fill:none;stroke:var(--bad);stroke-width:2.4;stroke-linecap:round}"
    ".tl .link{fill:none;stroke:var(--soft);stroke-width:1.4}"
    ".tl .part{stroke-dasharray:3 3;stroke-opacity:.75}"
    ".tl .critical .bar{stroke:var(--hot);stroke-width:2.2}.tl .hot{stroke:var(--hot);"
    "stroke-width:2.2;stroke-opacity:1}"
    ".tl .halo{paint-order:stroke;stroke:var(--paper);stroke-width:3.5;stroke-linejoin:round}"
    ".tl .tip{fill:var(--soft)}.tl .hottip{fill:var(--hot)}.tl .warn{fill:var(--bad)}"
    ".tl .step:hover .bar,.tl .step:focus .bar,.tl .step:focus-within .bar{fill-opacity:.38}"
    ".tl .step:focus{outline:none}.tl .step:focus-visible .bar{stroke:var(--ink);stroke-width:2.6}"
    + "".join(f".hue{n}{{--hue:var(--h{n})}}" for n in range(HUES))
)
_LEGEND: Final = (
    ("change", "change"),
    ("event", "event"),
    ("failed", "failed"),
    ("read", "read"),
)


def as_svg(timeline: Timeline, *, sensitive: bool = False) -> str:
    """Return a timeline as an SVG file."""
    return drawing(timeline, sensitive=sensitive, alone=True) + "\n"


def drawing(timeline: Timeline, *, sensitive: bool, alone: bool) -> str:
    """Return the picture: `alone` as a file, else as part of a page whose steps it links to."""
    drawn = picture(timeline) if timeline.entries else None
    head: list[str] = []
    top = 0.0
    if alone:
        words = "  ·  ".join(f"{name} {value}" for name, value in facts(timeline))
        head.append(
            f'<text x="16" y="30" font-size="17" font-weight="600">{text(timeline.title)}</text>'
        )
        head.append(f'<text x="16" y="50" class="soft">{text(words)}</text>')
        top = 62.0
        for line in warnings(timeline):
            head.append(f'<text x="16" y="{top + 6:g}" class="warn">{text("⚠ " + line)}</text>')
            top += 18
    bottom = (drawn.bottom if drawn is not None else 40.0) + 40
    label = f"Timeline of {timeline.title}"
    role = 'role="img"' if alone else 'role="group"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tl" {role} '
        f'aria-label="{attribute(label)}" viewBox="0 0 {WIDTH:g} {top + bottom:g}"'
        + (f' width="{WIDTH:g}" height="{top + bottom:g}">' if alone else ">")
    ]
    if alone:
        out.append(f"<style>{VARIABLES}{STYLE}</style>")
        out.append(f'<rect class="paper" width="{WIDTH:g}" height="{top + bottom:g}"/>')
    out.append(_HEADS)
    out += head
    out.append(f'<g transform="translate(0 {top:g})">')
    if drawn is None:
        out.append('<text x="16" y="28" class="soft">Nothing happened.</text>')
    else:
        out += _background(drawn)
        out += [
            f'<path class="link{" hot" if arrow.critical else ""}'
            f'{" part" if arrow.link.why == "parent" else ""}" d="{arrow.path}" '
            f'marker-end="url(#{"hot" if arrow.critical else "tip"})"/>'
            for arrow in sorted(drawn.arrows, key=lambda each: each.critical)
        ]
        critical = set(timeline.graph.critical_path)
        for bar in drawn.bars:
            out += _step(bar, bar.step.id in critical, sensitive=sensitive, alone=alone)
        out += _legend(drawn.bottom + 26)
    out.append("</g></svg>")
    return "\n".join(out)


def text(words: str) -> str:
    """Return words for the inside of an element."""
    return escape(harmless(words), quote=False)


def attribute(words: str) -> str:
    """Return words for an attribute."""
    return escape(harmless(words), quote=True)


def tip(entry: TimelineEntry, *, sensitive: bool) -> str:
    """Return what a mark says of itself."""
    words = f"+{duration_text(entry.offset)}  r{entry.revision}  {headline(entry)}"
    if has_value(entry) and entry.kind in ("change", "event"):
        words += f"\n{value_text(entry, sensitive=sensitive, width=_VALUE)}"
    return words


def mark(x: float, y: float, kind: str) -> str:
    """Return the sign of a kind of entry."""
    if kind == "event":
        return f'<path class="mark" d="M{x:.1f} {y - 5.2:.1f}l5.2 5.2l-5.2 5.2l-5.2 -5.2z"/>'
    if kind == "failed":
        return f'<path class="failed" d="M{x - 3.4:.1f} {y - 3.4:.1f}l6.8 6.8m0 -6.8l-6.8 6.8"/>'
    style = "read" if kind == "read" else "mark"
    return (
        f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{3.6 if kind == "read" else 4.2}"/>'
    )


_HEADS: Final = (
    "<defs>"
    + "".join(
        f'<marker id="{id_}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="{style}" d="M0 0.6L8 4L0 7.4z"/></marker>'
        for id_, style in (("tip", "tip"), ("hot", "hottip"))
    )
    + "</defs>"
)


def _background(drawn: Picture) -> list[str]:
    out = []
    for number, lane in enumerate(drawn.lanes):
        if number % 2 == 0:
            out.append(
                f'<rect class="band" x="0" y="{lane.y:g}" width="{WIDTH:g}" '
                f'height="{lane.height:g}"/>'
            )
    last = -1e9
    for tick in drawn.scale.ticks():
        x = tick.place
        out.append(f'<path class="grid" d="M{x:.1f} {TOP - 8:g}V{drawn.bottom:g}"/>')
        if x - last >= 52 or tick.first:
            style = "begin" if tick.first else "soft"
            anchor = "" if tick.first else ' text-anchor="middle"'
            if x > WIDTH - 40:
                anchor = ' text-anchor="end"'
            out.append(
                f'<text class="{style}" x="{x:.1f}" y="{TOP - 14:g}"{anchor}>'
                f"{text(tick.label)}</text>"
            )
            last = x
    for left, right, idle in drawn.scale.breaks:
        x = (left + right) / 2
        zigzag = "".join(f"l{4 if n % 2 else -4} 6" for n in range(int((drawn.bottom - TOP) / 6)))
        out.append(f'<path class="gap" d="M{x + 2:.1f} {TOP:g}{zigzag}"><title>nothing for '
                   f"{duration_text(idle)}</title></path>")  # fmt: skip
        out.append(
            f'<text class="soft" x="{x:.1f}" y="{TOP - 28:g}" text-anchor="middle">'
            f"{text(duration_text(idle))} idle</text>"
        )
    for lane in drawn.lanes:
        name = lane.name if len(lane.name) <= 22 else lane.name[:21] + "…"
        out.append(
            f'<g class="hue{lane.hue % HUES}"><rect x="0" y="{lane.y + 6:g}" width="4" '
            f'height="{lane.height - 12:g}" style="fill:var(--hue)"/>'
            f'<text class="lane" x="16" y="{lane.y + 23:g}">{text(name)}'
            f"<title>{text(lane.name)}</title></text></g>"
        )
        below = lane.y + lane.height
        out.append(f'<path class="grid" d="M0 {below:g}H{WIDTH:g}"/>')
    return out


def _step(bar: Bar, critical: bool, *, sensitive: bool, alone: bool) -> list[str]:
    step = bar.step
    words = f"{step.title}: {duration_text(step.duration)}, depth {step.depth}"
    if critical:
        words += ", on the critical path"
    style = f"step hue{bar.hue % HUES}{' critical' if critical else ''}"
    if alone:
        out = [f'<g class="{style}" tabindex="0" role="img" aria-label="{attribute(words)}">']
    else:
        out = [f'<a class="{style}" href="#step-{bar.number}" aria-label="{attribute(words)}">']
    tips = [words] + [tip(entry, sensitive=sensitive) for entry in step.entries[:12]]
    if len(step.entries) > 12:
        tips.append(f"and {len(step.entries) - 12} more")
    out.append("<g><title>" + text_lines(tips) + "</title>")
    out.append(
        f'<rect class="bar" x="{bar.x:.1f}" y="{bar.y:.1f}" width="{bar.width:.1f}" '
        f'height="{BAR:g}" rx="5"/>'
    )
    style = ' class="halo"' if bar.label_x > bar.x + bar.width or bar.label_x < bar.x else ""
    if bar.anchor == "end":
        style += ' text-anchor="end"'
    out.append(
        f'<text x="{bar.label_x:.1f}" y="{bar.y + 14.5:.1f}"{style}>{text(bar.label)}</text></g>'
    )
    for x, entry in bar.marks:
        shown = text_lines([tip(entry, sensitive=sensitive)])
        out.append(f"<g>{mark(x, bar.y + BAR, entry.kind)}<title>{shown}</title></g>")
    out.append("</g>" if alone else "</a>")
    return out


def text_lines(lines: list[str]) -> str:
    """Return lines for the inside of an element."""
    return "\n".join(text(part) for line in lines for part in line.split("\n"))


def _legend(y: float) -> list[str]:
    out = [f'<g class="hue0 soft" transform="translate({LEFT:g} {y:g})">']
    x = 0.0
    for kind, words in _LEGEND:
        out.append(mark(x + 6, -4, kind))
        out.append(f'<text class="soft" x="{x + 16:g}" y="0">{words}</text>')
        x += 78
    for style, words, wide in (
        ("link", "led to", 84),
        ("link part", "is part of", 106),
        ("link hot", "critical path", 120),
    ):
        head = "hot" if "hot" in style else "tip"
        out.append(f'<path class="{style}" d="M{x:g} -4h26" marker-end="url(#{head})"/>')
        out.append(f'<text class="soft" x="{x + 34:g}" y="0">{words}</text>')
        x += wide
    out.append(f'<text class="soft" x="{WIDTH - LEFT - RIGHT:g}" y="0" text-anchor="end">'
               "times since the beginning</text></g>")  # fmt: skip
    return out
