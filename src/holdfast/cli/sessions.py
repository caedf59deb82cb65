"""Commands on sessions and their artifacts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.command import command
from holdfast.cli.exits import FileError
from holdfast.cli.render import Column, plural, size_text, text, time_text, to_json
from holdfast.cli.session import Session
from holdfast.cli.workflows import PANEL
from holdfast.sessions import SessionInfo, SessionNotFoundError, Sessions
from holdfast.store.lines import to_json as plain

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The session, as session:ID.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The artifact.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]


def _fields(info: SessionInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "status": info.status,
        "owner": info.owner,
        "previous": info.previous,
        "started_at": info.started_at,
        "updated_at": info.updated_at,
        "expires_at": info.expires_at,
        "correlation": info.correlation,
        "metadata": plain(info.metadata),
    }


def list_sessions(
    session: Session,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="STATUS", help="Only active, suspended or ended ones."),
    ] = None,
) -> None:
    """List the sessions that are there."""
    with session.read() as state:
        rows = [_fields(info) for info in Sessions(state).list(status)]
    columns = [
        Column("id", style="bold", wrap="fold"),
        Column("status"),
        Column("owner"),
        Column("started_at", "started (UTC)", "dim", cell=time_text),
        Column("expires_at", "expires (UTC)", "dim", cell=time_text),
    ]
    session.out.rows(columns, rows)


def show(session: Session, id: IdArgument) -> None:
    """Show a session, and what it holds in numbers."""
    with session.read() as state:
        sessions = Sessions(state)
        info = sessions.get(id)
        if info is None:
            raise SessionNotFoundError(
                f"there is no session {id!r}",
                hint="holdfast session list tells which there are",
                session=id,
            )
        items = sessions.artifacts(id)
    fields = _fields(info) | {"artifacts": len(items), "bytes": sum(i.size for i in items.values())}
    shown = {name: text(value) for name, value in fields.items()}
    session.out.facts(fields, shown | {"metadata": to_json(fields["metadata"])})


def artifacts(session: Session, id: IdArgument) -> None:
    """List the artifacts of a session."""
    with session.read() as state:
        rows = [
            {
                "name": name,
                "size": item.size,
                "type": item.type,
                "sha256": item.sha256,
                "metadata": plain(item.metadata),
            }
            for name, item in Sessions(state).artifacts(id).items()
        ]
    columns = [
        Column("name", style="bold", wrap="fold"),
        Column("size", right=True, cell=size_text),
        Column("type"),
        Column("sha256", "SHA-256", wrap="fold"),
    ]
    session.out.rows(columns, rows)


def put(
    session: Session,
    id: IdArgument,
    name: NameArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="- reads standard input.")],
    type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Its media type.")
    ] = None,
) -> None:
    """Store a file as an artifact of an active session."""
    source = sys.stdin.buffer if file == "-" else _open(file)
    with source, session.write() as state:
        item = Sessions(state).put(id, name, source, type=type)
    session.out.say(
        f"stored {name} ({size_text(item.size)})",
        {"session": id, "artifact": name, "size": item.size, "sha256": item.sha256},
    )


def _open(file: str) -> Any:
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise FileError(f"cannot read {file}: {error.strerror}", hint="check the path") from None


def get(
    session: Session,
    id: IdArgument,
    name: NameArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="- writes standard output.")] = "-",
    force: ForceOption = False,
) -> None:
    """Write an artifact to a file, which is there whole and checked or not at all."""
    with session.read() as state:
        chunks = Sessions(state).read(id, name)
        if file == "-":
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        path = _target(file, force)
        partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
        size = 0
        try:
            with partial.open("xb") as target:
                for chunk in chunks:
                    size += target.write(chunk)
                target.flush()
                os.fsync(target.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    session.out.say(
        f"wrote {name} to {file} ({size_text(size)})",
        {"session": id, "artifact": name, "file": file, "size": size},
    )


def _target(file: str, force: bool) -> Path:
    path = Path(file)
    if path.exists() and not force:
        raise FileError(f"{path} exists already", hint="name another file, or add --force")
    return path


def export(
    session: Session,
    id: IdArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file to write.")],
    force: ForceOption = False,
) -> None:
    """Write a session with its artifacts to one file, as of one moment."""
    path = _target(file, force)
    with session.read() as state:
        Sessions(state).export(id, path)
    session.out.say(f"exported session {id} to {file}", {"session": id, "file": file})


def import_(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What session export wrote.")],
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Under another id than its own.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="OWNER", help="For another owner.")
    ] = None,
) -> None:
    """Read an exported session in; it shows when it is whole."""
    _open(file).close()
    with session.write(create=True) as state:
        made = Sessions(state).load(file, id=id, owner=owner)
    session.out.say(f"imported session {made}", {"session": made, "file": file})


def delete(
    session: Session,
    id: IdArgument,
) -> None:
    """Delete a session and all that is in its scope; again finishes what was interrupted."""
    with session.write() as state:
        if not Sessions(state).delete(id):
            raise SessionNotFoundError(f"there is no session {id!r}", session=id)
    session.out.say(f"deleted session {id}", {"session": id})


def sweep(session: Session) -> None:
    """Delete expired sessions, finish interrupted deletes, collect what uploads have left."""
    with session.write() as state:
        sessions, uploads = Sessions(state).sweep()
    words = f"deleted {plural(sessions, 'session')}, collected {plural(uploads, 'upload')}"
    session.out.say(words, {"sessions": sessions, "uploads": uploads})


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Look at sessions and their artifacts.")
    command(group, "list", panel=PANEL)(list_sessions)
    command(group, "show", panel=PANEL)(show)
    command(group, "artifacts", panel=PANEL)(artifacts)
    command(group, "put", panel=PANEL)(put)
    command(group, "get", panel=PANEL)(get)
    command(group, "export", panel=PANEL)(export)
    command(group, "import", panel=PANEL)(import_)
    command(group, "delete", panel=PANEL)(delete)
    command(group, "sweep", panel=PANEL)(sweep)
    app.add_typer(group, name="session", rich_help_panel=PANEL)
