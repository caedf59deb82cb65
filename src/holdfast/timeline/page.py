"""A timeline as a page of its own: the picture, its measures, and every entry with its value.

No script, nothing from elsewhere, and a policy in the page that lets nothing else in.
"""

from __future__ import annotations

from typing import Final

from holdfast.timeline.entry import TimelineEntry
from holdfast.timeline.graph import CausalityGraph, TimelineStep
from holdfast.timeline.lanes import lane_hues
from holdfast.timeline.shown import (
    cut,
    duration_text,
    has_value,
    headline,
    is_hidden,
    time_text,
    value_text,
)
from holdfast.timeline.svg import HUES, STYLE, VARIABLES, drawing, mark, text, text_lines
from holdfast.timeline.timeline import Timeline
from holdfast.timeline.tree import facts, warnings

_VALUE: Final = 200_000  # characters of a value that is unfolded
_LINE: Final = 110  # of one that is not

_CSS: Final = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
  font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1240px;margin:0 auto;padding:28px 32px 56px}
h1{font-size:22px;margin:0 0 2px;overflow-wrap:anywhere}
h2{font-size:16px;margin:34px 0 10px}
.soft{color:var(--soft)}
.facts{display:flex;flex-wrap:wrap;gap:10px;margin:18px 0;padding:0}
.facts div{border:1px solid var(--line);border-radius:8px;padding:7px 14px;min-width:92px}
.facts dt{color:var(--soft);font-size:12px}
.facts dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.warn{border-left:4px solid var(--bad);background:var(--band);padding:8px 14px;margin:8px 0;
  border-radius:0 6px 6px 0;overflow-wrap:anywhere}
figure{margin:0;border:1px solid var(--line);border-radius:10px;overflow-x:auto}
figure svg{display:block;width:100%;min-width:820px;height:auto}
.path{display:flex;flex-wrap:wrap;gap:6px 4px;list-style:none;margin:0;padding:0}
.path li:not(:last-child)::after{content:"→";margin-left:6px;color:var(--hot)}
a{color:inherit;text-decoration-color:var(--soft);text-underline-offset:3px}
:focus-visible{outline:2px solid var(--h0);outline-offset:2px;border-radius:4px}
.steps>section{border:1px solid var(--line);border-radius:10px;margin:10px 0;overflow:hidden;
  scroll-margin-top:12px}
.steps>section:target{border-color:var(--h0);box-shadow:0 0 0 1px var(--h0)}
.steps h3{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline;margin:0;
  padding:8px 14px;background:var(--band);font-size:14px;overflow-wrap:anywhere}
.steps h3 .soft{font-weight:400;font-size:13px}
.hot{color:var(--hot)}
details{border-top:1px solid var(--line)}
summary{display:grid;grid-template-columns:16px 84px 60px 1fr;gap:10px;align-items:center;
  padding:6px 14px;cursor:pointer;list-style:none}
summary::-webkit-details-marker{display:none}
summary:hover{background:var(--band)}
summary svg{width:14px;height:14px;overflow:visible}
summary .soft{font-variant-numeric:tabular-nums;white-space:nowrap}
summary span:last-child{min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
details[open] summary span:last-child{white-space:normal;overflow-wrap:anywhere}
code,pre{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre{background:var(--band);border-radius:6px;padding:10px 12px;margin:8px 0 0;
  white-space:pre-wrap;overflow-wrap:anywhere;max-height:420px;overflow-y:auto}
.more{padding:2px 14px 14px 40px}
.more dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0}
.more dt{color:var(--soft)}
.more dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:6px 14px 6px 0;border-bottom:1px solid var(--line);
  vertical-align:top;overflow-wrap:anywhere}
th{color:var(--soft);font-weight:400}
footer{margin-top:40px;color:var(--soft);font-size:12px}
@media (max-width:640px){main{padding:18px 14px 40px}
  summary{grid-template-columns:16px 64px 1fr}summary .rev{display:none}}
@media print{figure,.steps>section{break-inside:avoid}}
"""


def as_html(timeline: Timeline, *, sensitive: bool = False) -> str:
    """Return a timeline as an HTML page."""
    graph = timeline.graph
    title = text(f"Timeline of {timeline.title}")
    out = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{title}</title>",
        f"<style>{VARIABLES}{STYLE}{_CSS}</style>\n</head>\n<body>\n<main>",
        f"<h1>{title}</h1>",
    ]
    if timeline.began_at is not None:
        ends = timeline.began_at + timeline.duration
        out.append(f'<p class="soft">{time_text(timeline.began_at)} to {time_text(ends)}</p>')
    out += [f'<p class="warn">{text(words)}</p>' for words in warnings(timeline)]
    out.append('<dl class="facts">')
    out += [f"<div><dt>{text(n)}</dt><dd>{text(v)}</dd></div>" for n, v in facts(timeline)]
    out.append("</dl>")
    out.append(f"<figure>{drawing(timeline, sensitive=sensitive, alone=False)}</figure>")
    numbers = {step.id: number for number, step in enumerate(graph.steps, 1)}
    hues = lane_hues(timeline)
    critical = set(graph.critical_path) if len(graph.critical_path) > 1 else set()
    if len(graph.critical_path) > 1:
        out.append('<h2>Critical path</h2>\n<ol class="path">')
        for id_ in graph.critical_path:
            step = graph[id_]
            took = f' <span class="soft">{duration_text(step.duration)}</span>'
            out.append(f"<li>{_link(step, numbers)}{took}</li>")
        out.append("</ol>")
    if graph.steps:
        out.append('<h2>Steps</h2>\n<div class="steps">')
        for step in graph.steps:
            out += _heading(graph, step, numbers, critical=step.id in critical)
            hue = f"hue{hues[step.component] % HUES}"
            for entry in step.entries:
                out += _entry(entry, hue, sensitive=sensitive)
            out.append("</section>")
        out.append("</div>")
    out += _left_behind(timeline, sensitive=sensitive)
    out.append("<footer>Made by Holdfast. Times are UTC.</footer>\n</main>\n</body>\n</html>\n")
    return "\n".join(out)


def _link(step: TimelineStep, numbers: dict[str, int]) -> str:
    return f'<a href="#step-{numbers[step.id]}">{text(cut(step.title, 80))}</a>'


def _heading(
    graph: CausalityGraph, step: TimelineStep, numbers: dict[str, int], *, critical: bool
) -> list[str]:
    number = numbers[step.id]
    notes = [f"{duration_text(step.duration)}", f"depth {step.depth}"]
    head = f'<h3><span class="soft">{number}</span><span>{text(step.title)}</span>'
    head += f'<span class="soft">{text(" · ".join(notes))}</span>'
    if step.causes:
        causes = ", ".join(_link(graph[id_], numbers) for id_ in step.causes)
        head += f'<span class="soft">after {causes}</span>'
    if critical:
        head += '<span class="soft hot">critical path</span>'
    out = [f'<section id="step-{number}" tabindex="-1">{head}</h3>']
    context = step.context
    if context is not None and context.attributes and step.id == context.span:
        words = ", ".join(f"{name} = {value}" for name, value in context.attributes.items())
        out.append(f'<div class="more soft">{text(cut(words, 400))}</div>')
    return out


def _entry(entry: TimelineEntry, hue: str, *, sensitive: bool) -> list[str]:
    short = ""
    if has_value(entry) and entry.kind in ("change", "event"):
        joint = " = " if entry.kind == "change" else " "
        shown = value_text(entry, sensitive=sensitive, width=_LINE)
        short = f"{joint}<code>{text(shown)}</code>"
    elif entry.duration is not None:
        short = f' <span class="soft">took {duration_text(entry.duration)}</span>'
    sign = mark(7, 7, entry.kind)
    sign = f'<svg class="tl {hue}" viewBox="0 0 14 14" aria-hidden="true">{sign}</svg>'
    out = [
        f'<details id="entry-{entry.index}"><summary>{sign}'
        f'<span class="soft">+{duration_text(entry.offset)}</span>'
        f'<span class="soft rev">r{entry.revision}</span>'
        f"<span>{text(headline(entry))}{short}</span></summary>",
        '<div class="more"><dl>',
    ]
    out += [f"<dt>{name}</dt><dd>{text(value)}</dd>" for name, value in _fields(entry)]
    out.append("</dl>")
    if has_value(entry):
        whole = cut(value_text(entry, sensitive=sensitive), _VALUE)
        out.append(f'<pre tabindex="0">{text_lines([whole])}</pre>')
    out.append("</div></details>")
    return out


def _fields(entry: TimelineEntry) -> list[tuple[str, str]]:
    found: list[tuple[str, object]] = [
        ("time", time_text(entry.at)),
        ("kind", entry.kind),
        ("actor", entry.actor),
        ("version", entry.version),
        ("class", None if entry.state_class is None else entry.state_class.name.lower()),
        ("error", entry.error),
        ("took", None if entry.duration is None else duration_text(entry.duration)),
        ("since its step began", None if entry.elapsed is None else duration_text(entry.elapsed)),
        ("event", entry.id),
        ("causes", ", ".join(entry.causes) or None),
        ("cause", entry.cause),
        ("commit", entry.commit_id),
        ("span", None if entry.context is None else entry.context.span),
    ]
    return [(name, str(value)) for name, value in found if value is not None]


def _left_behind(timeline: Timeline, *, sensitive: bool) -> list[str]:
    """Return the table of what the timeline's own entries have left."""
    left = timeline.writes_at(-1) if timeline.entries else {}
    if not left:
        return []
    out = [
        "<h2>What is left behind</h2>",
        "<table><thead><tr><th>scope</th><th>key</th><th>version</th><th>value</th></tr></thead>"
        "<tbody>",
    ]
    for entry in left.values():
        value = value_text(entry, sensitive=sensitive, width=_LINE)
        hidden = is_hidden(entry, sensitive=sensitive) or not entry.readable
        shown = (
            f'<span class="soft">{text(value)}</span>' if hidden else f"<code>{text(value)}</code>"
        )
        out.append(
            f"<tr><td>{text(str(entry.scope))}</td><td>{text(entry.key or '')}</td>"
            f'<td><a href="#entry-{entry.index}">{entry.version}</a></td><td>{shown}</td></tr>'
        )
    out.append("</tbody></table>")
    return out
