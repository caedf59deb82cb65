"""Commands on hooks: which there are, and running them again over the past.

Code is imported only where the command line names it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from holdfast.cli.command import command
from holdfast.cli.inputs import parse_moment, parse_value
from holdfast.cli.render import Column, plural, time_text, to_json
from holdfast.cli.session import Session
from holdfast.errors import ConfigurationError, InvalidArgumentError
from holdfast.hooks.comparing import Compare
from holdfast.hooks.marking import installed, load_file, load_hook, mark_of, marked
from holdfast.hooks.report import ReplayResult
from holdfast.hooks.standing import HookStanding
from holdfast.store.value import MISSING

PANEL = "The past"

ModuleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--module", metavar="FILE|MODULE", help="Import this, and take its marked functions."
    ),
]


def list_hooks(session: Session, module: ModuleOption = None) -> None:
    """List the hooks that are installed, and those of modules named here."""
    rows: list[dict[str, Any]] = [
        {"name": entry.name, "phase": None, "scope": None, "key": None, "from": entry.value}
        for entry in installed()
    ]
    for name in module or ():
        for hook, fn in marked(_module(name)).items():
            mark = mark_of(fn)
            assert mark is not None
            rows.append(
                {
                    "name": hook,
                    "phase": mark.phase,
                    "scope": str(mark.options.get("scope", "*")),
                    "key": mark.options.get("key", "*"),
                    "from": name,
                }
            )
    columns = [Column("name", style="bold"), Column("phase"), Column("scope"), Column("key")]
    session.out.rows([*columns, Column("from", wrap="fold")], rows)


def hooks_status(session: Session) -> None:
    """Show how hooks stand in the processes that have the store open, once one has failed there."""
    with session.read() as state:
        told = state.hooks.standings()
    if session.json:
        for each in told:
            session.out.object(each.to_json())
        return
    columns = [
        Column("name", style="bold"),
        Column("phase"),
        Column("breaker"),
        Column("failures", right=True),
        Column("in_a_row", "in a row", right=True),
        Column("last_error", "last error"),
        Column("failed_at", "failed at (UTC)", "dim", cell=time_text),
        Column("process", wrap="fold"),
        Column("told_at", "told at (UTC)", "dim", cell=time_text),
    ]
    session.out.rows(columns, [_standing(each) for each in told])


def _standing(told: HookStanding) -> dict[str, Any]:
    process = f"{told.host}:{told.pid}" + ("" if told.alive else " (gone)")
    breaker = f"{told.breaker}, paused" if told.paused else told.breaker
    row = {name: getattr(told, name) for name in told.__slots__}
    return {**row, "breaker": breaker, "process": process}


def replay(
    session: Session,
    hooks: Annotated[
        list[str],
        typer.Argument(
            metavar="HOOK...",
            help="Installed hooks, marked functions of --module, or module:function.",
        ),
    ],
    module: ModuleOption = None,
    since: Annotated[
        str, typer.Option("--since", metavar="REV|TIME", help="Changes after this moment.")
    ] = "0",
    until: Annotated[
        str | None, typer.Option("--until", metavar="REV|TIME", help="Nothing after this moment.")
    ] = None,
    scope: Annotated[
        str | None, typer.Option("--scope", metavar="SCOPE", help="Only this scope.")
    ] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="PATTERN", help="Only keys of this pattern.")
    ] = "*",
    correlation: Annotated[
        str | None,
        typer.Option("--correlation", metavar="ID", help="Only changes of this piece of work."),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option("--value", metavar="JSON", help="As if this had been written."),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--override", metavar="HOOK=NEW", help="Compare a hook with another function."
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="FIELD", help="A field that may differ."),
    ] = None,
    ignore_order: Annotated[
        bool, typer.Option("--ignore-order", help="The order of lists does not count.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write what the hooks write; without it, only look.")
    ] = False,
) -> None:
    """Run hooks again over past changes: a dry run that compares, unless --apply says otherwise."""
    known: dict[str, Callable[..., Any]] = {}
    for name in module or ():
        known |= marked(_module(name))
    functions = [known.get(name) or load_hook(name) for name in hooks]
    chosen = [
        _named(fn, name) if name in known else fn for name, fn in zip(hooks, functions, strict=True)
    ]
    changed = {}
    for words in override or ():
        name, equals, new = words.partition("=")
        if not equals:
            raise InvalidArgumentError(f"{words!r} overrides nothing", hint="write HOOK=NEW")
        changed[name] = known.get(new) or load_hook(new)
    with session.write() as state:
        report = state.replay(
            chosen,
            since=parse_moment(since),
            until=None if until is None else parse_moment(until),
            scope=scope,
            key=key,
            correlation=correlation,
            modify=MISSING if value is None else parse_value(value),
            overrides=changed,
            compare=Compare(tuple(ignore or ()), ignore_order),
            dry_run=not apply,
        )
    out = session.out
    if session.json:
        for result in report.results:
            out.object(result.to_json())
        out.object(report.summary())
        return
    columns = [
        Column("revision", "rev", "bold", right=True),
        Column("at", "at (UTC)", "dim", cell=time_text),
        Column("scope", wrap="fold"),
        Column("key", style="bold", wrap="fold"),
        Column("hook"),
        Column("status"),
        Column("detail", wrap="cut"),
    ]
    out.rows(columns, [_row(result) for result in report.results])
    done = f"{plural(report.applied, 'write')} made" if apply else "nothing was written"
    out.line(
        f"{plural(report.changes, 'change')}: {report.identical} identical, "
        f"{report.different} different, {plural(report.errors, 'error')}; {done}"
    )


def _row(result: ReplayResult) -> dict[str, Any]:
    fields = result.to_json()
    detail = result.error or ""
    if result.veto is not None:
        detail = f"veto: {result.veto}"
    elif result.differences:
        detail = "; ".join(
            f"{each['path']}: {_side(each, 'before')} → {_side(each, 'after')}"
            for each in fields["differences"]
        )
    return {**fields, "at": result.at, "detail": detail}


def _side(difference: dict[str, Any], side: str) -> str:
    return to_json(difference[side]) if side in difference else "(absent)"


def _module(name: str) -> ModuleType:
    if name.endswith(".py"):
        return load_file(Path(name))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ConfigurationError(
            f"importing {name} failed: {type(error).__name__}",
            hint="give a module that Python finds, or the path of a .py file",
        ) from error


def _named(fn: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function whose mark says the name that it was asked for by."""
    mark = mark_of(fn)
    if mark is not None:
        mark.options.setdefault("name", name)
    return fn


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "replay", panel=PANEL)(replay)
    group = typer.Typer(no_args_is_help=True, help="See which hooks there are, and how they stand.")
    command(group, "list", panel=PANEL, store=False)(list_hooks)
    command(group, "status", panel=PANEL)(hooks_status)
    app.add_typer(group, name="hooks", rich_help_panel=PANEL)
