"""Commands that look at how a store is used: metrics, analyze."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

import typer

from holdfast.cli.command import command
from holdfast.cli.inputs import parse_duration
from holdfast.cli.render import Column, note, plural, short_time, size_text
from holdfast.cli.session import Session
from holdfast.cli.upkeep import PANEL, flat
from holdfast.errors import UsageError
from holdfast.observe.findings import Analysis


def _whole(size: float) -> str:
    return str(round(size))


def _whole_size(size: float) -> str:
    return size_text(round(size))


_FIGURES = [
    Column("writes", right=True),
    Column("written_bytes", title="written", right=True, short=size_text),
    Column("growth_per_day", title="per day", right=True, cell=_whole, short=_whole_size),
    Column("bytes", title="size", right=True, short=size_text),
    Column("versions", right=True),
    Column("history_bytes", title="history", right=True, short=size_text),
    Column("last_write", title="last write", short=short_time),
]
_SCOPES = [Column("scope", wrap="fold"), Column("keys", right=True), *_FIGURES]
_KEYS = [Column("scope", wrap="fold"), Column("key", wrap="fold"), *_FIGURES]

#: The lists of a report, and what they are called on a terminal.
_LISTS = {
    "hot_scopes": "Scopes with most writes",
    "growing_scopes": "Scopes with most bytes written",
    "cold_scopes": "Scopes written longest ago",
    "hot_keys": "Keys with most writes",
    "growing_keys": "Keys with most bytes written",
    "cold_keys": "Keys written longest ago",
    "largest_keys": "Largest keys",
    "longest_keys": "Keys with the longest history",
}


def metrics(
    session: Session,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="The text format of Prometheus.")
    ] = False,
) -> None:
    """Show the store's figures: revision, records, storage, lane, consumers."""
    if prometheus and session.json:
        raise UsageError("--prometheus and --json exclude each other", hint="give one of them")
    with session.read() as state:
        text = state.metrics.prometheus() if prometheus else ""
        figures = state.metrics.snapshot()
    if prometheus:
        for line in text.splitlines():
            session.out.line(line)
    else:
        session.out.facts(figures, dict(flat(_worth_showing(figures))))
    if not session.json:
        note("verbs are counted by the process that calls them: ask state.metrics there")


def _worth_showing(figures: dict[str, Any]) -> dict[str, Any]:
    """Return what a process that has only just opened the store can say."""
    store = figures["store"] or {}
    sources = {
        name: {
            f"{each['name']}{sorted(each['labels'].items()) or ''}": each["value"] for each in found
        }
        for name, found in figures["sources"].items()
    }
    return {"engine": figures["engine"], **store, "queued": figures["lane"]["queued"], **sources}


def analyze(
    session: Session,
    scope: Annotated[
        str | None, typer.Argument(metavar="[SCOPE]", help="Only this scope; all by default.")
    ] = None,
    window: Annotated[
        str, typer.Option("--window", metavar="TIME", help="Count the writes of so long.")
    ] = "7d",
    top: Annotated[
        int, typer.Option("--top", "-n", min=1, metavar="N", help="At most so many per list.")
    ] = 5,
) -> None:
    """Report hot, cold and growing scopes and keys."""
    span = parse_duration(window)
    with session.read() as state:
        found = state.analyze(scope, window=span, top=top)
    out = session.out
    if session.json:
        out.object(_jsonable(found))
        return
    total = found.total
    out.line(
        f"{plural(total.keys, 'key')} of {size_text(total.bytes)}, "
        f"{plural(total.versions, 'version')} of {size_text(total.history_bytes)}; "
        f"{plural(total.writes, 'write')} of {size_text(total.written_bytes)} in {window}, "
        f"{size_text(round(total.growth_per_day))} per day"
    )
    if not found.complete:
        note("the journal was trimmed within the window: earlier writes are not counted")
    for name, title in _LISTS.items():
        rows = getattr(found, name)
        if rows:
            out.line(f"\n{title}")
            columns = _KEYS if name.endswith("keys") else _SCOPES
            out.rows(columns, _rows(rows))


def _rows(figures: Iterable[Any]) -> Iterable[dict[str, Any]]:
    for each in figures:
        yield dataclasses.asdict(each) | {"scope": str(each.scope)}


def _jsonable(found: Analysis) -> dict[str, Any]:
    """Return a report as fields for output."""
    fields: dict[str, Any] = {
        "taken_at": found.taken_at,
        "revision": found.revision,
        "window_seconds": found.window / timedelta(seconds=1),
        "complete": found.complete,
        "total": dataclasses.asdict(found.total) | {"scope": None},
    }
    return fields | {name: list(_rows(getattr(found, name))) for name in _LISTS}


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    command(app, "metrics", panel=PANEL)(metrics)
    command(app, "analyze", panel=PANEL)(analyze)
