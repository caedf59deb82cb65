"""Commands that follow the journal: watch, and consumers."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from holdfast.cli.command import command
from holdfast.cli.options import LimitOption
from holdfast.cli.past import PrefixOption, change_fields
from holdfast.cli.render import Column, plural, short_time, text, time_text, to_json
from holdfast.cli.session import Session
from holdfast.errors import InvalidArgumentError, ReadOnlyError
from holdfast.manager import StateManager
from holdfast.store.lines import to_json as plain
from holdfast.store.paging import Item
from holdfast.store.position import Position
from holdfast.store.value import StateEvent
from holdfast.streams.consumers import ConsumerStatus, DeadLetter, Start

PANEL = "Following"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The consumer.")]


def _item_fields(item: Item) -> dict[str, Any]:
    if not isinstance(item, StateEvent):
        return {"type": "change"} | change_fields(item)
    return {
        "type": "event",
        "revision": item.revision,
        "scope": str(item.scope),
        "id": item.id,
        "name": item.name,
        "at": item.at,
        "data": plain(item.data),
        "causes": list(item.causes),
        "commit_id": item.commit_id,
        "actor": item.actor,
        "correlation_id": item.correlation_id,
        "cause": item.cause,
    }


def _item_line(fields: dict[str, Any]) -> str:
    if fields["type"] == "event":
        where, what, value = fields["name"], "event", fields["data"]
    else:
        where, what, value = fields["key"], fields["operation"], fields.get("value")
    shown = to_json(value) if "value" in fields or what == "event" else ""
    cells = (fields["revision"], fields["at"], fields["scope"], where, what)
    return "\t".join([*map(text, cells), shown])


def watch(
    session: Session,
    scope: Annotated[
        str | None, typer.Argument(metavar="[SCOPE]", help="One scope; everything without it.")
    ] = None,
    prefix: PrefixOption = "",
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="POSITION", help="From this revision or position on."),
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="Events, too.")] = False,
    limit: LimitOption = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", min=0, metavar="SECONDS", help="End when nothing came for so long."
        ),
    ] = None,
) -> None:
    """Show what is committed as it happens, until it is interrupted."""
    out, count = session.out, 0
    position = None if since is None else Position.parse(since)
    with _following(session) as state:
        for item in state.watch(scope, prefix, since=position, events=events, timeout=timeout):
            fields = _item_fields(item)
            if session.json:
                out.object(fields)
            else:
                out.line(_item_line(fields))
            sys.stdout.flush()  # whoever watches through a pipe sees it now
            count += 1
            if count == limit:
                return


def _following(session: Session) -> StateManager:
    """Open the store for reading, or for writing where only a writer can follow it."""
    state = session.read()
    try:
        state._streams.now()
    except ReadOnlyError:
        state.close()
        return session.write()
    return state


# --- consumers --------------------------------------------------------------------------------


def _status_fields(found: ConsumerStatus) -> dict[str, Any]:
    return {
        "name": found.name,
        "position": str(found.position),
        "revision": found.position.revision,
        "lag": found.lag,
        "behind": round(found.behind, 3),
        "attempts": found.attempts,
        "dead_letters": found.dead_letters,
        "replaying": found.replaying,
        "worked_on": found.worked_on,
        "before_horizon": found.before_horizon,
        "scope": None if found.scope is None else str(found.scope),
        "prefix": found.prefix,
        "events": found.events,
        "moved_at": found.moved_at,
        "created_at": found.created_at,
    }


_STATUS_COLUMNS = [
    Column("name", style="bold", wrap="fold"),
    Column("revision", "at revision", right=True),
    Column("lag", right=True),
    Column("attempts", right=True),
    Column("dead_letters", "dead", right=True),
    Column("worked_on", "worked on"),
    Column("before_horizon", "trimmed"),
    Column("moved_at", "moved (UTC)", "dim", cell=time_text, short=short_time),
]


def _letter_fields(found: DeadLetter) -> dict[str, Any]:
    fields = _item_fields(found.change)
    return {
        "id": found.id,
        "attempts": found.attempts,
        "error": found.error,
        "died_at": found.died_at,
        "replaying": found.replaying,
        "scope": fields["scope"],
        "what": fields.get("key", fields.get("name")),
        "change": fields | {"at": fields["at"].isoformat()},
    }


_LETTER_COLUMNS = [
    Column("id", style="bold"),
    Column("scope", wrap="fold"),
    Column("what", "key or event", wrap="fold"),
    Column("attempts", right=True),
    Column("error", wrap="fold"),
    Column("replaying"),
    Column("died_at", "given up (UTC)", "dim", cell=time_text, short=short_time),
]


def list_consumers(session: Session) -> None:
    """List the durable consumers, and how far each is."""
    with session.read() as state:
        session.out.rows(_STATUS_COLUMNS, map(_status_fields, state.consumers.list()))


def lag(session: Session, name: NameArgument) -> None:
    """Show how far one consumer is."""
    with session.read() as state:
        fields = _status_fields(state.consumers.status(name))
    session.out.facts(fields, {key: text(value) for key, value in fields.items()})


def reset(
    session: Session,
    name: NameArgument,
    to: Annotated[
        str,
        typer.Option("--to", metavar="POSITION", help="now, earliest, a revision or a position."),
    ],
) -> None:
    """Put a consumer elsewhere; whoever works for it goes on from there."""
    where: Start = to if to in ("now", "earliest") else Position.parse(to)
    with session.write() as state:
        found = state.consumers.reset(name, where)
    session.out.say(
        f"{name} goes on behind revision {found.position.revision}", _status_fields(found)
    )


def delete(session: Session, name: NameArgument) -> None:
    """Delete a consumer with its dead letters."""
    with session.write() as state:
        there = state.consumers.delete(name)
    if not there:
        raise InvalidArgumentError(f"there is no consumer {name!r}")
    session.out.say(f"deleted {name}", {"name": name, "deleted": True})


def dead_letters(
    session: Session,
    name: NameArgument,
    replay: Annotated[
        str | None, typer.Option("--replay", metavar="ID", help="Try it again; 'all' for all.")
    ] = None,
    discard: Annotated[
        str | None, typer.Option("--discard", metavar="ID", help="Forget it.")
    ] = None,
) -> None:
    """List what a consumer gave up, or have it tried again."""
    if replay is not None and discard is not None:
        raise InvalidArgumentError("--replay and --discard exclude each other")
    if replay is None and discard is None:
        with session.read() as state:
            session.out.rows(
                _LETTER_COLUMNS, map(_letter_fields, state.consumers.dead_letters(name))
            )
        return
    with session.write() as state:
        if discard is not None:
            state.consumers.discard(name, discard)
            words, count = "discarded", 1
        else:
            count = state.consumers.replay(name, None if replay == "all" else replay)
            words = "to be tried again:"
    session.out.say(f"{words} {plural(count, 'dead letter')}", {"name": name, "count": count})


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "watch", panel=PANEL)(watch)
    group = typer.Typer(
        help="Durable consumers: how far they are, and what they gave up.", no_args_is_help=True
    )
    command(group, "list", panel=PANEL)(list_consumers)
    command(group, "lag", panel=PANEL)(lag)
    command(group, "reset", panel=PANEL)(reset)
    command(group, "delete", panel=PANEL)(delete)
    command(group, "dead-letters", panel=PANEL)(dead_letters)
    app.add_typer(group, name="consumers", rich_help_panel=PANEL)
