"""Commands on keys and scopes: get, set, delete, ls, scopes."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.command import command
from holdfast.cli.exits import AbsentKeyError
from holdfast.cli.inputs import as_text, parse_duration, parse_moment, parse_value, read_bytes
from holdfast.cli.options import (
    ActorOption,
    AsOfOption,
    ClassName,
    CorrelationOption,
    DurabilityOption,
    IfRevisionOption,
    KeyArgument,
    LimitOption,
    ScopeArgument,
    metadata_fields,
    write_options,
)
from holdfast.cli.render import Column, short_time, size_text, text, time_text, to_json
from holdfast.cli.session import Session
from holdfast.errors import UsageError, WrongTypeError
from holdfast.store.lines import to_json as plain
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.store.value import MISSING, StateClass

PANEL = "State"

_NUMBER = re.compile(r"-\d")


def get(
    session: Session,
    scope: ScopeArgument,
    key: KeyArgument,
    meta: Annotated[bool, typer.Option("--meta", "-m", help="Show the metadata too.")] = False,
    as_of: AsOfOption = None,
    default: Annotated[
        str | None, typer.Option("--default", metavar="JSON", help="Show this if absent.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write text or bytes as they are, without JSON.")
    ] = False,
) -> None:
    """Show the value of a key."""
    otherwise = MISSING if default is None else parse_value(default)
    moment = None if as_of is None else parse_moment(as_of)
    if raw and (meta or session.json):
        raise UsageError("--raw goes with neither --meta nor --json", hint="choose one")
    with session.read() as state:
        found = state.get_with_metadata(scope, key, as_of=moment)
    if found is None and otherwise is MISSING:
        when = "" if as_of is None else f" as of {as_of}"
        raise AbsentKeyError(
            f"{scope} has no key {key!r}{when}",
            hint=f"list the keys with: holdfast ls {scope}",
        )
    value = otherwise if found is None else found.value
    out = session.out
    if raw:
        _write_raw(value)
    elif session.json or (meta and not out.terminal):
        out.object(
            {"scope": str(StateScope.parse(scope)), "key": key, "value": plain(value)}
            | ({"found": False} if found is None else metadata_fields(found.metadata))
        )
    else:
        out.value(value)
        if meta and found is not None:
            fields = metadata_fields(found.metadata)
            out.facts(fields, {n: text(v) for n, v in fields.items() if v is not None})


def _write_raw(value: Any) -> None:
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        data = value.encode()
    else:
        raise WrongTypeError(
            f"the value is a {type(value).__name__}, not text or bytes", hint="leave --raw out"
        )
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def set_(
    session: Session,
    scope: ScopeArgument,
    key: KeyArgument,
    value: Annotated[
        str | None, typer.Argument(metavar="[VALUE]", help="JSON; - reads standard input.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Take the value from this file.")
    ] = None,
    as_text_: Annotated[bool, typer.Option("--text", help="The value is text, not JSON.")] = False,
    as_bytes: Annotated[
        bool, typer.Option("--bytes", help="The value is bytes (of a file or standard input).")
    ] = False,
    state_class: Annotated[
        ClassName | None, typer.Option("--class", help="How the value is treated.")
    ] = None,
    durability: DurabilityOption = None,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", metavar="TIME", help="Ends after 90s, 12h, 30d.")
    ] = None,
    if_revision: IfRevisionOption = None,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Only if the key is not there.")
    ] = False,
    actor: ActorOption = None,
    correlation: CorrelationOption = None,
) -> None:
    """Store a value under a key, making the store if it is not there."""
    made = _value(session, value, file, as_text_, as_bytes)
    expiry = None if expires_in is None else parse_duration(expires_in)
    StateScope.parse(scope)
    with session.write(create=True) as state:
        revision = state.set(
            scope,
            key,
            made,
            state_class=None if state_class is None else StateClass[state_class.name],
            if_revision=if_revision,
            if_absent=if_absent,
            expires_in=expiry,
            **write_options(durability, actor, correlation),
        )
    session.out.say(
        f"set {scope}/{key} at revision {revision}",
        {"scope": scope, "key": key, "revision": revision},
    )


def _value(
    session: Session, value: str | None, file: Path | None, as_text_: bool, as_bytes: bool
) -> Any:
    """Return the value that the command line means; nothing is guessed."""
    if (value is None) == (file is None):
        raise UsageError("give a VALUE or a --file, one of them", hint="- reads standard input")
    if as_text_ and as_bytes:
        raise UsageError("--text and --bytes exclude each other", hint="choose one")
    if value is not None and value != "-":
        if value[:1] == "-" and not session.dashes and not _NUMBER.match(value):
            raise UsageError(
                f"no such option: {value}", hint=f"a value that starts with -: ... -- {value}"
            )
        if as_bytes:
            raise UsageError(
                "--bytes takes its value from a file or standard input",
                hint="use --file PATH, or - for standard input",
            )
        return value if as_text_ else parse_value(value)
    data = read_bytes(file)
    if as_bytes:
        return data
    return as_text(data) if as_text_ else parse_value(as_text(data))


def delete(
    session: Session,
    scope: ScopeArgument,
    key: KeyArgument,
    if_revision: IfRevisionOption = None,
    missing_ok: Annotated[
        bool, typer.Option("--missing-ok", help="No error if the key is not there.")
    ] = False,
    durability: DurabilityOption = None,
    actor: ActorOption = None,
    correlation: CorrelationOption = None,
) -> None:
    """Delete a key; its history stays."""
    options = write_options(durability, actor, correlation)
    with session.write() as state:
        deleted = state.delete(scope, key, if_revision=if_revision, **options)
    if not deleted and not missing_ok:
        raise AbsentKeyError(f"{scope} has no key {key!r}", hint="--missing-ok accepts that")
    words = f"deleted {scope}/{key}" if deleted else f"{scope}/{key} was not there"
    session.out.say(words, {"scope": scope, "key": key, "deleted": deleted})


def ls(
    session: Session,
    scope: ScopeArgument,
    prefix: Annotated[str, typer.Option("--prefix", "-p", help="Only keys that start so.")] = "",
    limit: LimitOption = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="KEY", help="Begin behind this key.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="Last key first.")] = False,
    long: Annotated[bool, typer.Option("--long", "-l", help="With metadata and value.")] = False,
    as_of: AsOfOption = None,
) -> None:
    """List the keys of a scope, in order."""
    moment = None if as_of is None else parse_moment(as_of)
    page: dict[str, Any] = {"prefix": prefix, "after": after, "limit": limit, "reverse": reverse}
    out = session.out
    with session.read() as state:
        if not long:
            for key in state.list_keys(scope, **page, as_of=moment):
                if session.json:
                    out.object({"key": key})
                else:
                    out.line(text(key))
            return
        out.rows(
            [
                Column("key", style="bold", wrap="fold"),
                Column("revision", "rev", right=True),
                Column("version", "ver", right=True),
                Column("updated_at", "updated (UTC)", "dim", cell=time_text, short=short_time),
                Column("class"),
                Column("size_bytes", "size", right=True, short=size_text),
                Column("value", wrap="cut", cell=to_json),
            ],
            (
                {"key": key, "value": plain(found.value)} | metadata_fields(found.metadata)
                for key, found in state.scan(scope, **page, as_of=moment)
            ),
        )


class KindName(StrEnum):
    """The kinds of scopes."""

    GLOBAL = "global"
    AGENT = "agent"
    WORKFLOW = "workflow"
    STEP = "step"
    SESSION = "session"
    USER = "user"
    CUSTOM = "custom"


def scopes(
    session: Session,
    kind: Annotated[KindName | None, typer.Option("--kind", help="Only of this kind.")] = None,
    within: Annotated[
        str | None, typer.Option("--within", metavar="WORKFLOW", help="The steps of a workflow.")
    ] = None,
    count: Annotated[bool, typer.Option("--count", "-c", help="Count the keys too.")] = False,
) -> None:
    """List the scopes that hold a key."""
    out = session.out
    with session.read() as state:
        found = state.scopes(None if kind is None else ScopeKind[kind.name], within=within)
        if count:
            out.rows(
                [Column("scope", style="bold", wrap="fold"), Column("keys", right=True)],
                ({"scope": str(scope), "keys": state.count(scope)} for scope in found),
            )
            return
    for scope in found:
        if session.json:
            out.object({"scope": str(scope), "kind": scope.kind.name.lower()})
        else:
            out.line(text(scope))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "get", panel=PANEL)(get)
    command(app, "set", panel=PANEL, context_settings={"ignore_unknown_options": True})(set_)
    command(app, "delete", panel=PANEL)(delete)
    command(app, "ls", panel=PANEL)(ls)
    command(app, "scopes", panel=PANEL)(scopes)
