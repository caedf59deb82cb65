"""Renderings: complete, harmless whatever was stored, and nothing secret in them."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import CorrelationContext, StateClass, Timeline, TimelineEntry
from holdfast.errors import InvalidArgumentError
from holdfast.store.lines import from_json
from holdfast.timeline.scale import Scale
from holdfast.timeline.shown import duration_text, harmless
from holdfast.timeline.timeline import FORMATS
from tests.timeline.conftest import BEGIN, change, context, event

EVIL = (
    "</title></script><script>alert('x')</script>\"' onload=alert(1) --> ]]> &lt; "
    "\x00\x1b[31m\u202e\ud800\uffff"
)
SECRET = "hunter2-the-secret"


def sample() -> list[TimelineEntry]:
    """Return a run with every kind of entry, two lanes, a branch, and a missing cause."""
    plan = context("plan", component="planner", operation="plan")
    write = context("write", "plan", component="writer", operation="write", started=50)
    return [
        event(0, plan, at=10, name="asked", value={"q": "tides?"}),
        change(1, plan, at=40, key="plan", value=["a", "b"], actor="ada"),
        change(2, write, at=90, key="draft", value="one"),
        event(
            3, write, at=120, kind="failed", name="state.failed", operation="set", key="draft",
            error="conflict", duration=timedelta(milliseconds=2),
        ),
        event(4, write, at=130, kind="read", name="state.read", operation="get", key="plan"),
        event(5, write, at=150, name="written", causes=["e0", "gone"]),
        change(6, at=160, key="free", value={1, 2}),
    ]  # fmt: skip


def timeline(entries: list[TimelineEntry], **fields: Any) -> Timeline:
    """Return a timeline of entries."""
    return Timeline(tuple(entries), **({"correlation": "run"} | fields))


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its attributes."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in ("meta", "rect", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close what is open."""
        if tag not in ("meta", "rect", "path", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note words."""
        self.words.append(data)


def svg(text: str) -> ElementTree.Element:
    """Parse an SVG file."""
    return ElementTree.fromstring(text)


# --- each format ------------------------------------------------------------------------------


def test_tree() -> None:
    """Steps below what they waited for, entries below their steps, with values and warnings."""
    assert timeline(sample()).render().splitlines() == [
        "run  entries 7  steps 4  depth 2  duration 160 ms  revisions 1 to 7  "
        "slowest writer · write (80 ms)  from 2026-01-01 00:00:00.000Z",
        "! not here, but named as a cause or parent: gone",
        "├─ 1 planner · plan  40 ms ◆",
        '│  │ +10 ms    r1    asked in agent:a  {"q": "tides?"}',
        '│  │ +40 ms    r2    set agent:a/plan v1 = ["a", "b"]  by ada',
        "│  └─ 2 writer · write  80 ms ◆",
        '│     │ +90 ms    r3    set agent:a/draft v1 = "one"',
        "│     │ +120 ms   r4    set agent:a/draft failed: conflict  took 2 ms",
        "│     │ +130 ms   r5    get agent:a/plan",
        "│     └─ 3 written  20 ms ◆  also after 1",
        "│          +150 ms   r6    written in agent:a",
        "└─ 4 set agent:a/free",
        '     +160 ms   r7    set agent:a/free v1 = {"$holdfast": "set", "value": [1, 2]}',
    ]


def test_json() -> None:
    """Everything is there for programs; values come back as they were."""
    found = timeline(sample())
    data = json.loads(found.render("json"))
    assert data["format"] == 1
    assert [e["index"] for e in data["entries"]] == list(range(7))
    assert from_json(data["entries"][6]["value"]) == {1, 2}
    assert data["entries"][0]["context"]["component"] == "planner"
    assert data["entries"][3]["error"] == "conflict"
    assert data["entries"][3]["duration_us"] == 2000
    assert "value" not in data["entries"][4]
    graph = data["graph"]
    assert {step["id"] for step in graph["steps"]} == {"plan", "write", "e5", "c6"}
    assert {"cause": "plan", "effect": "e5", "why": "cause"} in graph["links"]
    assert graph["missing"] == [{"step": "e5", "name": "gone", "why": "cause"}]
    assert graph["critical_path"] == ["plan", "write", "e5"]
    assert (data["complete"], data["horizon"], data["more"]) == (True, 0, False)


def test_mermaid() -> None:
    """A node for each step, an edge for each link, the critical path marked."""
    assert timeline(sample()).render("mermaid").splitlines() == [
        "flowchart TD",
        '  s1["planner · plan<br/>2 entries · 40 ms"]',
        '  s2["writer · write<br/>3 entries · 80 ms"]',
        '  s3["written<br/>1 entry · 20 ms"]',
        '  s4(["set agent#58;a/free<br/>1 entry · 0"])',
        "  s1 -.-> s2",
        "  s1 --> s3",
        "  s2 -.-> s3",
        "  classDef critical stroke:#d97706,stroke-width:3px",
        "  class s1 critical",
        "  class s2 critical",
        "  class s3 critical",
        "  linkStyle 0,2 stroke:#d97706,stroke-width:3px",
    ]


def test_gantt() -> None:
    """A section for each component, a task for each step, times in milliseconds."""
    lines = timeline(sample()).render("gantt").splitlines()
    begin = int(BEGIN.timestamp() * 1000)
    assert lines[:2] == ["gantt", "  title run"]
    assert f"  planner · plan :crit, {begin}, {begin + 40}" in lines
    assert "  section (no component)" in lines


def test_svg() -> None:
    """It is sound XML: a bar for each step, a mark for each entry, an arrow for each link."""
    root = svg(timeline(sample()).render("svg"))
    classes = [element.get("class", "") for element in root.iter()]
    assert sum("bar" in c.split() for c in classes) == 4
    assert sum("link" in c.split() for c in classes) == 3 + 3  # three more in the legend
    assert sum("mark" in c.split() for c in classes) == 5 + 2
    assert sum("failed" in c.split() for c in classes) == 1 + 1
    words = "".join(root.itertext())
    for word in ("planner", "writer", "no component", "critical path", "is part of", "run"):
        assert word in words
    focusable = [e for e in root.iter() if e.get("tabindex") == "0"]
    assert len(focusable) == 4
    assert all(e.get("aria-label") for e in focusable)


def test_html() -> None:
    """Every tag is closed, every link leads somewhere, every entry can be unfolded."""
    page = Page(timeline(sample()).render("html"))
    assert page.open == []
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = [value for tag, name, value in page.attributes if tag == "a" and name == "href"]
    assert targets
    assert all(target is not None and target[1:] in ids for target in targets)
    assert page.tags.count("details") == 7
    assert [f"entry-{n}" in ids for n in range(7)] == [True] * 7
    assert "What is left behind" in page.words


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_timeline(format: Any) -> None:
    """Nothing happened, and each format says so soundly."""
    text = timeline([]).render(format)
    assert text.endswith("\n")
    if format == "svg":
        svg(text)
    elif format == "html":
        assert Page(text).open == []
    elif format == "json":
        assert json.loads(text)["entries"] == []


@pytest.mark.parametrize("format", [f for f in FORMATS if f not in ("mermaid", "gantt")])
def test_what_is_missing_is_said(format: Any) -> None:
    """A timeline that the horizon or a limit cut says so in every format that has words."""
    text = timeline(sample(), horizon=17, more=True).render(format)
    assert "17" in text
    if format == "json":
        assert (json.loads(text)["complete"], json.loads(text)["more"]) == (False, True)
    else:
        assert "incomplete: the journal has been trimmed up to revision 17" in text
        assert "later entries" in text


def test_unknown_format() -> None:
    """A format that is none is refused with those there are."""
    with pytest.raises(InvalidArgumentError) as caught:
        timeline([]).render("pdf")  # type: ignore[arg-type]
    assert "svg" in (caught.value.hint or "")


# --- nothing leaks, nothing runs --------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_sensitive_values_stay_out(format: Any) -> None:
    """A sensitive value, or an event of a sensitive scope, is in no format unless asked for."""
    entries = [
        change(0, context("s"), value={"token": SECRET}, state_class=StateClass.SENSITIVE),
        event(1, context("s"), value=[SECRET], state_class=StateClass.SENSITIVE),
        change(2, context("s"), key="open", value="shown"),
    ]
    found = timeline(entries)
    assert SECRET not in found.render(format)
    assert SECRET not in repr(found)
    assert SECRET not in str(found.graph)
    if format in ("tree", "json", "svg", "html"):
        assert SECRET in found.render(format, sensitive=True)
        assert "shown" in found.render(format)
    if format == "json":
        first, second, _ = json.loads(found.render("json"))["entries"]
        assert first["redacted"] is second["redacted"] is True
        assert "value" not in first
    elif format in ("tree", "svg", "html"):
        assert "[sensitive]" in found.render(format)


def evil() -> list[TimelineEntry]:
    """Return entries whose every text is hostile."""
    name = EVIL.encode("utf-8", "replace").decode()  # contexts hold no surrogates
    step = context("s", EVIL_ID, component=name, operation=name)
    step = type(step)(
        id=name, span=name, parent=name[:9], component=name, operation=name,
        attributes={name: name}, started_ns=step.started_ns, causes=(name[:5],),
    )  # fmt: skip
    return [
        event(0, step, name=EVIL, value={EVIL.replace("\ud800", ""): name}, actor=EVIL, cause=EVIL),
        change(1, step, key=EVIL, value=name, actor=EVIL),
        event(2, None, kind="failed", name="state.failed", operation=EVIL, key=EVIL, error=EVIL),
        event(3, None, id=EVIL, causes=[EVIL + "x"], name=EVIL),
    ]


EVIL_ID = "p"


@pytest.mark.parametrize("sensitive", [False, True])
def test_no_text_becomes_markup(sensitive: bool) -> None:
    """Whatever was stored, a page has the tags that Holdfast writes, and no handler or script."""
    clean = set(Page(timeline(sample()).render("html")).tags)
    text = timeline(evil(), correlation=EVIL, horizon=3).render("html", sensitive=sensitive)
    page = Page(text)
    assert set(page.tags) <= clean
    assert page.open == []
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert "script" not in page.tags
    root = svg(timeline(evil(), correlation=EVIL).render("svg", sensitive=sensitive))
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {
        "svg",
        "style",
        "defs",
        "marker",
        "path",
        "rect",
        "g",
        "text",
        "title",
        "circle",
    }


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_steers_a_terminal(format: Any) -> None:
    """No control character and nothing that turns text around comes out, in any format."""
    text = timeline(evil(), correlation=EVIL).render(format)
    assert re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text) == []
    text.encode()


@pytest.mark.parametrize("format", ["svg", "html"])
def test_it_needs_nothing_from_elsewhere(format: Any) -> None:
    """Neither page nor picture names a resource, and the page forbids all of them."""
    text = timeline(sample()).render(format)
    rest = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|//|@import|<link|<script|<img|<iframe|src=|data:", rest)
    assert set(re.findall(r"url\((.*?)\)", rest)) == {"#tip", "#hot"}
    if format == "html":
        assert "default-src 'none'; style-src 'unsafe-inline'" in text


def test_mermaid_labels_are_only_text() -> None:
    """No label can end its quotes, begin a directive, or bring a line of its own."""
    lines = timeline(evil(), correlation=EVIL).render("mermaid").splitlines()
    for line in lines[1:]:
        label = re.fullmatch(r'  s\d+\(?\["(.*)"\]\)?', line)
        if label is not None:
            assert not set('"<>`{}[]%;') & set(re.sub(r"#\d+;|<br/>", "", label[1]))
        else:
            assert re.fullmatch(r"  (s\d+ -\.?-?> s\d+|class(Def)? .*|linkStyle [\d,]+ .*)", line)
    for line in timeline(evil(), correlation=EVIL).render("gantt").splitlines()[4:]:
        assert not set('"<>`{}[]%;#') & set(line)
        assert line.count(":") <= 3


def test_long_values_are_cut() -> None:
    """A tree and a picture show the beginning of what is long; a page can unfold all of it."""
    entries = [change(0, context("s"), value="x" * 50_000)]
    found = timeline(entries)
    assert len(found.render("tree")) < 1000
    assert len(found.render("svg")) < 12_000
    assert "x" * 50_000 in found.render("html")
    assert "x" * 50_000 in found.render("json")


def test_trimmed_values() -> None:
    """Where retention took a value, each format says that, and shows none."""
    found = timeline([change(0, context("s"), readable=False)])
    assert "[trimmed]" in found.render("tree")
    assert "[trimmed]" in found.render("svg")
    assert "[trimmed]" in found.render("html")
    (entry,) = json.loads(found.render("json"))["entries"]
    assert entry["readable"] is False
    assert "value" not in entry


text = st.text(max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(text, text, st.integers(0, 10**8), st.integers(0, 4), st.booleans()), max_size=12
    )
)
def test_any_entries(drawn: list[tuple[str, str, int, int, bool]]) -> None:
    """Whatever the texts, times and parents, every format comes out sound."""
    entries: list[TimelineEntry] = []
    for index, (name, value, at, parent, named) in enumerate(drawn):
        step = context(f"s{index}", f"s{parent}", component=f"c{parent}", started=at // 2)
        if named:
            entries.append(event(index, step, at=at, name=name, value=value, causes=["e1"]))
        else:
            entries.append(change(index, step, at=at, key=name or "k", value=value))
    found = timeline(entries)
    root = svg(found.render("svg"))
    places = [
        (float(e.get("x", "0")), float(e.get("width", "0")))
        for e in root.iter()
        if "bar" in e.get("class", "").split()
    ]
    assert len(places) == len(found.graph.steps)
    assert all(x > 100 and x + width <= 1160 for x, width in places)
    assert Page(found.render("html")).open == []
    assert len(json.loads(found.render("json"))["entries"]) == len(drawn)
    tree = found.render("tree")
    assert sum(bool(re.search(r"r\d+ ", line)) for line in tree.splitlines()) >= len(drawn)
    found.render("mermaid").encode()


# --- words and axes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("microseconds", "words"),
    [
        (0, "0"),
        (1, "1 µs"),
        (999, "999 µs"),
        (1000, "1 ms"),
        (1234, "1.23 ms"),
        (12_345, "12.3 ms"),
        (123_456, "123 ms"),
        (999_400, "999 ms"),
        (999_999, "1 s"),
        (59_000_000, "59 s"),
        (90_000_000, "1.5 min"),
        (3_600_000_000, "1 h"),
        (86_400_000_000, "1 d"),
        (1_000_000_000_000, "11.6 d"),
    ],
)
def test_durations(microseconds: int, words: str) -> None:
    """Durations read with three digits, in the unit that suits them."""
    assert duration_text(timedelta(microseconds=microseconds)) == words


def test_harmless_leaves_words_alone() -> None:
    """Letters of any script, emoji and spaces stay; what steers does not."""
    for words in ("plain", "日本語", "naïve", "🎉", "a b"):
        assert harmless(words) == words
    assert harmless("a\x1b[31mb\n") == "a\\u001b[31mb\\u000a"


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**9)), min_size=1, max_size=8))
def test_the_axis_keeps_order(busy: list[tuple[int, int]]) -> None:
    """Later is never further left, everything lies on the axis, and breaks hold nothing."""
    spans = [
        (BEGIN + timedelta(microseconds=a), BEGIN + timedelta(microseconds=a + length))
        for a, length in busy
    ]
    scale = Scale(spans, 100.0, 1000.0)
    moments = sorted({moment for span in spans for moment in span})
    places = [scale.at(moment) for moment in moments]
    assert places == sorted(places)
    assert all(100 <= place <= 1000.001 for place in places)
    for left, right, idle in scale.breaks:
        assert idle > timedelta(0)
        assert not [place for place in places if left < place < right]
    ticks = scale.ticks()
    assert len(ticks) < 40
    assert [tick.place for tick in ticks] == sorted(tick.place for tick in ticks)


def test_json_is_json_whatever_a_step_says() -> None:
    """A number that JSON does not know is written as values are."""
    step = CorrelationContext(id="run", span="s", attributes={"score": float("nan")})
    found = Timeline(entries=(event(0, step),))

    def refuse(word: str) -> None:
        raise AssertionError(word)

    data = json.loads(found.render("json"), parse_constant=refuse)
    assert data["entries"][0]["context"]["attributes"] == {
        "score": {"$holdfast": "float", "value": "nan"}
    }


@pytest.mark.parametrize("word", ["section", "title", "Click", "dateFormat", "excludes", "gantt"])
def test_a_gantt_chart_takes_no_name_for_a_statement(word: str) -> None:
    """A step may be called as one of Mermaid's statements is."""
    found = Timeline(entries=(event(0, None, name=f"{word} x"),))
    assert f"  · {word} x :" in found.render("gantt")


def test_a_long_chain_is_no_wider_than_a_page() -> None:
    """The tree of a chain grows with its length, and not with the square of it."""
    spans = [context(f"s{n}", f"s{n - 1}" if n else None) for n in range(300)]
    found = Timeline(entries=tuple(change(n, span) for n, span in enumerate(spans)))
    lines = found.render("tree").splitlines()
    assert len(lines) == 601
    assert max(map(len, lines)) < 200
    steps = [line for line in lines if "─ " in line]
    assert [line for line in steps if line.endswith("after 299")] == steps[-1:]
    assert "after" not in steps[5]
