"""Commands on events: list them, emit one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli.command import command, group
from holdfast.cli.inputs import parse_moment, parse_value
from holdfast.cli.options import (
    ActorOption,
    CorrelationOption,
    DurabilityOption,
    LimitOption,
    write_options,
)
from holdfast.cli.past import PANEL, ScopeOption, revision_of
from holdfast.cli.render import Column, short_time, time_text, to_json
from holdfast.cli.session import Session
from holdfast.store.lines import to_json as plain
from holdfast.store.value import StateEvent


def event_fields(event: StateEvent) -> dict[str, Any]:
    """Return an event as fields for output."""
    return {
        "revision": event.revision,
        "id": event.id,
        "at": event.at,
        "scope": str(event.scope),
        "name": event.name,
        "data": plain(event.data),
        "causes": list(event.causes),
        "commit_id": event.commit_id,
        "actor": event.actor,
        "correlation_id": event.correlation_id,
        "cause": event.cause,
        "component": event.context.component if event.context is not None else None,
        "operation": event.context.operation if event.context is not None else None,
        "span": event.context.span if event.context is not None else None,
        "parent": event.context.parent if event.context is not None else None,
    }


def events(
    session: Session,
    scope: ScopeOption = None,
    name: Annotated[
        str, typer.Option("--name", metavar="PATTERN", help="Of this name; * is any text.")
    ] = "*",
    correlation: Annotated[
        str | None, typer.Option("--correlation", metavar="ID", help="Of this piece of work.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="REV|TIME",
            help="After this moment; by default all that the journal still holds.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="REV|TIME", help="Nothing after this moment.")
    ] = None,
    limit: LimitOption = None,
) -> None:
    """Show what happened, in order."""
    first = None if since is None else parse_moment(since)
    last = None if until is None else parse_moment(until)
    with session.read() as state:
        found = state.events.read(
            state.info()["horizon"] if first is None else revision_of(state, first),
            until=None if last is None else revision_of(state, last),
            scope=scope,
            name=name,
            correlation=correlation,
            limit=limit,
        )
        session.out.rows(
            [
                Column("revision", "rev", "bold", right=True),
                Column("at", "at (UTC)", "dim", cell=time_text, short=short_time),
                Column("name", style="bold", wrap="fold"),
                Column("scope", wrap="fold"),
                Column("id"),
                Column("correlation_id", "correlation", wrap="fold"),
                Column("data", wrap="cut", cell=to_json),
            ],
            map(event_fields, found),
        )


def emit(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As order.paid.")],
    data: Annotated[str, typer.Argument(metavar="[JSON]", help="What there is to say.")] = "null",
    scope: Annotated[
        str, typer.Option("--scope", metavar="SCOPE", help="Where it happened.")
    ] = "global",
    correlation: CorrelationOption = None,
    cause: Annotated[
        list[str] | None,
        typer.Option("--cause", metavar="ID", help="What led to it; may be given several times."),
    ] = None,
    actor: ActorOption = None,
    durability: DurabilityOption = None,
) -> None:
    """Commit an event."""
    made = parse_value(data)
    options = write_options(durability, actor, correlation)
    with session.write() as state:
        id_ = state.events.emit(name, made, scope=scope, causes=cause or (), **options)
    session.out.say(f"emitted {name} as {id_}", {"name": name, "scope": scope, "id": id_})


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(group(app, "events", events, panel=PANEL), "emit", panel=PANEL)(emit)
