"""Commands that look closely at the past: timeline, inspect."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.command import command
from holdfast.cli.exits import AbsentKeyError, FileError
from holdfast.cli.inputs import parse_moment
from holdfast.cli.options import KeyArgument, LimitOption, ScopeArgument
from holdfast.cli.past import PANEL, ScopeOption
from holdfast.cli.render import Column, Output, text
from holdfast.cli.session import Session
from holdfast.store.inspection import Inspection
from holdfast.timeline import Timeline
from holdfast.timeline.data import as_data
from holdfast.timeline.shown import plain_value, value_text
from holdfast.timeline.tree import tree_lines

_SUFFIXES = {".json": "json", ".svg": "svg", ".html": "html", ".htm": "html", ".mmd": "mermaid"}
_STYLES = {
    "title": "bold",
    "step": "bold cyan",
    "critical": "bold yellow",
    "event": "magenta",
    "change": "",
    "failed": "red",
    "read": "blue",
    "dim": "dim",
    "warn": "red",
    "": "",
}


class FormatName(StrEnum):
    """What a timeline can be shown as."""

    TREE = "tree"
    JSON = "json"
    MERMAID = "mermaid"
    GANTT = "gantt"
    SVG = "svg"
    HTML = "html"


def timeline(
    session: Session,
    correlation: Annotated[
        str | None,
        typer.Argument(metavar="[CORRELATION]", help="The id of a piece of work."),
    ] = None,
    scope: ScopeOption = None,
    key: Annotated[
        str | None, typer.Option("--key", "-k", metavar="KEY", help="With --scope: of this key.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="REV|TIME", help="Behind this moment.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="REV|TIME", help="Nothing behind this one.")
    ] = None,
    limit: LimitOption = None,
    format_: Annotated[
        FormatName | None,
        typer.Option("--format", "-f", help="By default as the output file's name says."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
    ] = None,
    at: Annotated[
        int | None,
        typer.Option("--at", metavar="N", help="Show what entry N had left behind instead."),
    ] = None,
    sensitive: Annotated[
        bool, typer.Option("--sensitive", help="Show sensitive values too.")
    ] = False,
) -> None:
    """Show what happened, in order: who did what, what led to what, and how long it took."""
    first = None if since is None else parse_moment(since)
    last = None if until is None else parse_moment(until)
    with session.read() as state:
        found = state.timeline(
            correlation, scope=scope, key=key, since=first, until=last, limit=limit
        )
    if at is not None:
        _show_state(session.out, found, at, sensitive=sensitive)
        return
    named = None if output is None else _SUFFIXES.get(output.suffix.lower())
    chosen = FormatName(named or "tree") if format_ is None else format_
    if output is not None:
        _write(output, found.render(chosen.value, sensitive=sensitive))
        session.out.say(f"wrote {output}", {"output": str(output), "format": chosen.value})
    elif session.json:
        session.out.object(as_data(found, sensitive=sensitive))
    elif chosen is FormatName.TREE and session.out.terminal:
        _show_tree(session.out, found, sensitive=sensitive)
    else:
        session.out.line(found.render(chosen.value, sensitive=sensitive).rstrip("\n"))


def _write(path: Path, made: str) -> None:
    try:
        path.write_text(made, encoding="utf-8")
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}", hint="check the path") from None


def _show_tree(out: Output, found: Timeline, *, sensitive: bool) -> None:
    from rich.text import Text

    console = out.console
    for line in tree_lines(found, sensitive=sensitive):
        words = Text.assemble(*((piece.words, _STYLES[piece.tone]) for piece in line))
        console.print(words, overflow="ellipsis", no_wrap=True)


def _show_state(out: Output, found: Timeline, at: int, *, sensitive: bool) -> None:
    """Print what stood there after an entry, with its place."""
    rows = []
    for (scope, key), entry in found.writes_at(at).items():
        row: dict[str, Any] = {"scope": str(scope), "key": key, "revision": entry.revision}
        row["version"] = entry.version
        if out.json:
            row["value"] = plain_value(entry, sensitive=sensitive)
        else:
            row["value"] = value_text(entry, sensitive=sensitive, width=1_000_000)
        rows.append(row)
    columns = [
        Column("scope", wrap="fold"),
        Column("key", style="bold", wrap="fold"),
        Column("revision", "rev", right=True),
        Column("version", "ver", right=True),
        Column("value", wrap="cut"),
    ]
    out.rows(columns, rows)


def inspect(
    session: Session,
    scope: ScopeArgument,
    key: KeyArgument,
    revision: Annotated[
        int | None,
        typer.Option("--revision", "-r", min=1, metavar="REV", help="The version it wrote."),
    ] = None,
) -> None:
    """Show how a key is stored: its record's header, and where the journal has it."""
    with session.read() as state:
        found = state.inspect(scope, key, revision=revision)
    if found is None:
        when = "" if revision is None else f" that revision {revision} wrote"
        raise AbsentKeyError(
            f"{scope} has no record of {key!r}{when}",
            hint=f"its versions: holdfast history {scope} {key}",
        )
    fields = _inspected(found)
    journal = fields["journal"] or {}
    shown = {name: _words(value) for name, value in fields.items() if name != "journal"}
    shown |= {f"journal {name}": _words(value) for name, value in journal.items()}
    if not journal:
        shown["journal"] = f"trimmed up to revision {found.horizon}"
    session.out.facts(fields, {name: words for name, words in shown.items() if words})


def _inspected(found: Inspection) -> dict[str, Any]:
    place = found.journal
    return {
        "format": found.format,
        "kind": found.kind,
        "encoding": found.encoding,
        "compression": found.compression,
        "flags": list(found.flags),
        "class": found.state_class.name.lower(),
        "run": found.run,
        "revision": found.revision,
        "previous": found.previous,
        "version": found.version,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
        "expires_at": found.expires_at,
        "size_bytes": found.size,
        "stored_bytes": found.stored,
        "payload_bytes": found.payload,
        "checksum": found.checksum,
        "full_checksum": found.full_checksum,
        "correlation_id": found.correlation_id,
        "actor": found.actor,
        "schema_version": found.schema_version,
        "encryption": found.key_id,
        "live": found.live,
        "version_row": found.version_row,
        "horizon": found.horizon,
        "journal": place
        and {
            "partition": place.partition,
            "first": place.first,
            "header": place.last,
            "at": place.at,
            "position": place.position,
            "commits": place.commits,
            "commit_id": place.commit_id,
            "change": place.change,
            "changes": place.changes,
            "operation": place.operation,
            "digest": place.digest,
            "matches": place.matches,
            "previous_hash": place.previous_hash,
            "chain_hash": place.chain_hash,
        },
    }


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return text(value)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "timeline", panel=PANEL)(timeline)
    command(app, "inspect", panel=PANEL)(inspect)
