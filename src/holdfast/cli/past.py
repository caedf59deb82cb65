"""Commands on the past: history, diff, rewind, changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import typer

from holdfast.cli.command import command
from holdfast.cli.difference import value_changes
from holdfast.cli.inputs import parse_moment
from holdfast.cli.options import (
    ActorOption,
    CorrelationOption,
    DurabilityOption,
    KeyArgument,
    LimitOption,
    ScopeArgument,
    metadata_fields,
    write_options,
)
from holdfast.cli.render import Column, Output, plural, short_time, text, time_text, to_json
from holdfast.cli.session import Session
from holdfast.manager import StateManager
from holdfast.store.lines import to_json as plain
from holdfast.store.value import MISSING, Change, Difference, StateValue

PANEL = "The past"
_SHOWN = 20  # elements of one value's difference on a terminal

ScopeOption = Annotated[
    str | None, typer.Option("--scope", metavar="SCOPE", help="Only this scope.")
]
PrefixOption = Annotated[
    str, typer.Option("--prefix", "-p", help="With --scope: only keys that start so.")
]


def change_fields(change: Change) -> dict[str, Any]:
    """Return a change as fields for output; ``value`` only where it wrote one."""
    fields = {
        "revision": change.revision,
        "scope": str(change.scope),
        "key": change.key,
        "operation": change.operation.name.lower(),
        "version": change.version,
        "previous_revision": change.previous_revision,
        "at": change.at,
        "class": change.state_class.name.lower(),
        "commit_id": change.commit_id,
        "actor": change.actor,
        "correlation_id": change.correlation_id,
        "cause": change.cause,
        "readable": change.readable,
    }
    if change.operation.name in ("SET", "TOUCH") and change.readable:
        fields["value"] = plain(change.value)
    return fields


def _change_columns(*, places: bool) -> list[Column]:
    where = [Column("scope", wrap="fold"), Column("key", style="bold", wrap="fold")]
    who = [Column("actor", wrap="fold"), Column("correlation_id", "correlation", wrap="fold")]
    return [
        Column("revision", "rev", "bold", right=True),
        Column("at", "at (UTC)", "dim", cell=time_text, short=short_time),
        *(where if places else []),
        Column("operation", "op"),
        Column("version", "ver", right=True),
        *([] if places else who),
        Column("value", wrap="cut"),
    ]


def _with_text(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with the value as a table shows it."""
    if "value" in fields:
        return fields | {"value": to_json(fields["value"])}
    return fields | {"value": "" if fields["readable"] else "(trimmed)"}


def _show_changes(out: Output, changes: Iterator[Change], *, places: bool) -> int:
    fields = map(change_fields, changes)
    rows = fields if out.json else map(_with_text, fields)
    return out.rows(_change_columns(places=places), rows)


def revision_of(state: StateManager, moment: int | datetime) -> int:
    """Return the revision that a moment shows."""
    if isinstance(moment, int):
        return moment
    with state.snapshot(as_of=moment) as shown:
        return shown.revision


def history(
    session: Session,
    scope: ScopeArgument,
    key: KeyArgument,
    limit: LimitOption = None,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="In the order of writing.")
    ] = False,
) -> None:
    """Show the versions of a key, deletes included."""
    with session.read() as state:
        found = state.history(scope, key, newest_first=not oldest_first, limit=limit)
        _show_changes(session.out, found, places=False)


def changes(
    session: Session,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="REV|TIME",
            help="Everything after this moment; by default all that the journal still holds.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="REV|TIME", help="Nothing after this moment.")
    ] = None,
    scope: ScopeOption = None,
    prefix: PrefixOption = "",
    limit: LimitOption = None,
) -> None:
    """Show what was committed, in order."""
    first = None if since is None else parse_moment(since)
    last = None if until is None else parse_moment(until)
    with session.read() as state:
        found = state.changes(
            state.info()["horizon"] if first is None else revision_of(state, first),
            until=None if last is None else revision_of(state, last),
            scope=scope,
            prefix=prefix,
            limit=limit,
        )
        _show_changes(session.out, found, places=True)


def _side(found: StateValue | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"value": plain(found.value)} | metadata_fields(found.metadata)


def _difference_fields(found: Difference) -> dict[str, Any]:
    before, after = _side(found.before), _side(found.after)
    listed = []
    if before is not None and after is not None:
        for path, old, new in value_changes(before["value"], after["value"]):
            item = {"path": path}
            if old is not MISSING:
                item["before"] = old
            if new is not MISSING:
                item["after"] = new
            listed.append(item)
    return {
        "scope": str(found.scope),
        "key": found.key,
        "kind": found.kind,
        "before": before,
        "after": after,
        "changes": listed,
    }


_MARKS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def _show_difference(out: Output, fields: dict[str, Any]) -> None:
    mark, style = _MARKS[fields["kind"]]
    before, after = fields["before"], fields["after"]
    revisions = " → ".join(str(side["revision"]) for side in (before, after) if side is not None)
    lines = [(f"{mark} {fields['scope']}/{fields['key']}", f"  (revision {revisions})", style)]
    if before is None:
        lines.append(("", f"    {to_json(after['value'])}", "green"))
    elif after is None:
        lines.append(("", f"    {to_json(before['value'])}", "red"))
    for item in fields["changes"][: _SHOWN if out.terminal else None]:
        old = to_json(item["before"]) if "before" in item else "(absent)"
        new = to_json(item["after"]) if "after" in item else "(absent)"
        lines.append(("", f"    {item['path']}: {old} → {new}", ""))
    if before is not None and after is not None and not fields["changes"]:
        lines.append(("", "    same value, written again", "dim"))
    hidden = len(fields["changes"]) - _SHOWN
    if out.terminal and hidden > 0:
        lines.append(("", f"    and {hidden} more (--json shows all)", "dim"))
    if not out.terminal:
        for head, tail, _ in lines:
            out.line(text(head + tail))
        return
    from rich.text import Text

    for head, tail, colour in lines:
        words = Text.assemble((text(head), f"bold {colour}"), (text(tail), "" if head else colour))
        out.console.print(words, overflow="ellipsis", no_wrap=not head)


def diff(
    session: Session,
    before: Annotated[str, typer.Argument(metavar="A", help="A revision or an ISO time.")],
    after: Annotated[
        str | None, typer.Argument(metavar="[B]", help="A later one; now by default.")
    ] = None,
    scope: ScopeOption = None,
    prefix: PrefixOption = "",
) -> None:
    """Show what differs between two moments, element by element."""
    first = parse_moment(before)
    last = None if after is None else parse_moment(after)
    out = session.out
    counts = dict.fromkeys(_MARKS, 0)
    with session.read() as state:
        for found in state.diff(first, last, scope=scope, prefix=prefix):
            counts[found.kind] += 1
            fields = _difference_fields(found)
            if session.json:
                out.object(fields)
            else:
                _show_difference(out, fields)
    if not session.json:
        out.line(", ".join(f"{count} {kind}" for kind, count in counts.items()))


def rewind(
    session: Session,
    scope: ScopeArgument,
    to: Annotated[str, typer.Option("--to", metavar="REV|TIME", help="The moment to go back to.")],
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="One key; the whole scope without it.")
    ] = None,
    durability: DurabilityOption = None,
    actor: ActorOption = None,
    correlation: CorrelationOption = None,
) -> None:
    """Bring a key or a scope back to what it was, as a new commit; nothing is forgotten."""
    moment = parse_moment(to)
    options = write_options(durability, actor, correlation)
    with session.write() as state:
        count = state.rewind(scope, key, to=moment, **options)
        revision = state.revision
    words = f"rewound {plural(count, 'key')} of {scope} to {to}"
    session.out.say(
        words if count else f"nothing to do: {scope} is as it was at {to}",
        {"scope": scope, "key": key, "to": to, "changed": count, "revision": revision},
    )


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "history", panel=PANEL)(history)
    command(app, "diff", panel=PANEL)(diff)
    command(app, "rewind", panel=PANEL)(rewind)
    command(app, "changes", panel=PANEL)(changes)
