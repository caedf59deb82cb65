"""Commands on agents: which there are, what they hold, copies of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.agents import AgentInfo, AgentManager, AgentNotFoundError
from holdfast.agents.model import Message
from holdfast.cli.command import command
from holdfast.cli.render import Column, text, time_text, to_json
from holdfast.cli.session import Session
from holdfast.cli.workflows import PANEL
from holdfast.errors import InvalidArgumentError
from holdfast.store.lines import to_json as plain

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The agent, as agent:ID.")]


def _fields(agent: AgentInfo) -> dict[str, Any]:
    return {
        "id": agent.id,
        "name": agent.name,
        "messages": agent.messages,
        "trigger": agent.trigger,
        "created_at": agent.created_at,
        "saved_at": agent.saved_at,
    }


def list_agents(session: Session) -> None:
    """List the agents."""
    with session.read() as state:
        rows = [_fields(agent) for agent in AgentManager(state).list()]
    columns = [
        Column("id", style="bold", wrap="fold"),
        Column("name"),
        Column("messages", right=True),
        Column("trigger"),
        Column("saved_at", "saved (UTC)", "dim", cell=time_text),
    ]
    session.out.rows(columns, rows)


def show(session: Session, id: IdArgument) -> None:
    """Show an agent's document and its tools, without the conversation."""
    with session.read() as state:
        agents = AgentManager(state)
        info = agents.get(id)
        if info is None:
            raise AgentNotFoundError(
                f"there is no agent {id!r}",
                hint="holdfast agent list tells which there are",
                agent=id,
            )
        data = agents.to_data(id)
    fields = _fields(info) | {"document": data["document"], "tools": data["tools"]}
    if session.json:
        session.out.object(fields)
        return
    for name, value in fields.items():
        if value is not None:
            shown = to_json(value) if isinstance(value, dict) else text(value)
            session.out.line(f"{name}\t{shown}")


def history(
    session: Session,
    id: IdArgument,
    start: Annotated[int, typer.Option(metavar="N", help="From this message on.")] = 0,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many.")] = 50,
    tail: Annotated[
        int | None, typer.Option(metavar="N", help="The last so many instead, calls whole.")
    ] = None,
) -> None:
    """Show the conversation."""
    if start < 0 or limit < 1 or (tail is not None and tail < 1):
        raise InvalidArgumentError("--start is 0 or more, --limit and --tail are 1 or more")
    with session.read() as state:
        agents = AgentManager(state)
        if tail is None:
            found = agents.history(id, start=start, limit=limit)
        else:
            held = agents.load(id, tail=tail)
            found = list(enumerate(held.conversation_history, held.first))
    rows = [_message(number, message) for number, message in found]
    columns = [
        Column("number", right=True),
        Column("timestamp", "time (UTC)", "dim", cell=time_text),
        Column("role", style="bold"),
        Column("content", wrap="fold", cell=lambda v: v if isinstance(v, str) else to_json(v)),
    ]
    session.out.rows(columns, rows)


def _message(number: int, message: Message) -> dict[str, Any]:
    return {
        "number": number,
        "timestamp": message.timestamp,
        "role": message.role,
        "content": plain(message.content),
        "tool_calls": message.tool_calls,
        "tool_call_id": message.tool_call_id,
    }


def fork(
    session: Session,
    id: IdArgument,
    new_id: Annotated[str, typer.Argument(metavar="NEW", help="The new agent's id.")],
    as_of: Annotated[
        int | None, typer.Option("--as-of", metavar="REVISION", help="As it was then.")
    ] = None,
) -> None:
    """Make a new agent of one as it is, or as it was."""
    with session.write() as state:
        AgentManager(state).fork(id, new_id, as_of=as_of)
    session.out.say(f"forked {id} to {new_id}", {"agent": new_id, "forked_from": id})


def export(
    session: Session,
    id: IdArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The JSON file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Write an agent to a single JSON file."""
    if file.exists() and not force:
        raise InvalidArgumentError(f"there is a {file} already", hint="--force replaces it")
    with session.read() as state:
        AgentManager(state).export(id, file)
    session.out.say(f"exported {id} to {file}", {"agent": id, "file": str(file)})


def import_agent(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An exported agent.")],
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Another id than its own.")
    ] = None,
) -> None:
    """Make an agent of an exported one."""
    if not file.is_file():
        raise InvalidArgumentError(f"there is no file {file}")
    with session.write() as state:
        name = AgentManager(state).import_(file, id=id)
    session.out.say(f"imported {name}", {"agent": name})


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Look at agents, copy them, move them.")
    command(group, "list", panel=PANEL)(list_agents)
    command(group, "show", panel=PANEL)(show)
    command(group, "history", panel=PANEL)(history)
    command(group, "fork", panel=PANEL)(fork)
    command(group, "export", panel=PANEL)(export)
    command(group, "import", panel=PANEL)(import_agent)
    app.add_typer(group, name="agent", rich_help_panel=PANEL)
