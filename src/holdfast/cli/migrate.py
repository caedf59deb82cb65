"""Commands on migrations: planning, trying, running, and taking back.

Steps come from the files and modules that the command line names, and from installed packages
that it names; never from the store.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli.command import command
from holdfast.cli.options import ActorOption, LimitOption
from holdfast.cli.render import Column, plural, to_json
from holdfast.cli.session import Session
from holdfast.migrations.catalogue import Catalogue
from holdfast.migrations.engine import MigrationEngine
from holdfast.migrations.report import Run
from holdfast.migrations.settings import RunSettings

PANEL = "Schemas and migrations"

StepsOption = Annotated[
    list[str] | None,
    typer.Option("--steps", metavar="FILE|MODULE", help="Steps: .toml, .json or .py, or a module."),
]
InstalledOption = Annotated[
    list[str] | None, typer.Option("--installed", metavar="NAME", help="Steps of a package.")
]
SchemaArgument = Annotated[str, typer.Argument(metavar="SCHEMA", help="Name of the schema.")]
ToOption = Annotated[int, typer.Option("--to", metavar="VERSION", help="The version to go to.")]
ScopeOption = Annotated[
    str, typer.Option("--scope", metavar="PATTERN", help="Only these scopes, as agent:*.")
]
KeyOption = Annotated[str, typer.Option("--key", metavar="PATTERN", help="Only these keys.")]
UnversionedOption = Annotated[
    int, typer.Option("--unversioned", metavar="VERSION", help="Of values that say none.")
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the migration.")]
WorkersOption = Annotated[int, typer.Option("--workers", metavar="N", help="Threads at work.")]
BatchOption = Annotated[int, typer.Option("--batch", metavar="N", help="Values of a commit.")]
RateOption = Annotated[
    float | None, typer.Option("--rate", metavar="N", help="Values per second, at most.")
]


def _catalogue(steps: list[str] | None, installed: list[str] | None) -> Catalogue:
    made = Catalogue()
    for name in steps or ():
        if name.endswith((".toml", ".json", ".py")):
            made.add(name)
        else:
            made.add_module(name)
    if installed:
        made.add_installed(installed)
    return made


def show_plan(
    session: Session,
    schema: SchemaArgument,
    to: ToOption,
    from_version: Annotated[
        int, typer.Option("--from", metavar="VERSION", help="The version to start from.")
    ],
    steps: StepsOption = None,
    installed: InstalledOption = None,
) -> None:
    """Show the steps from one version to another, and what they lose; the store is not opened."""
    from holdfast.migrations.planner import plan

    found = plan(_catalogue(steps, installed).steps(schema), schema, from_version, to).to_json()
    if session.json:
        session.out.object(found)
        return
    columns = [Column("name", style="bold"), Column("from", right=True), Column("to", right=True)]
    session.out.rows([*columns, Column("lossless")], found["steps"])
    for reason in found["reasons"]:
        session.out.line(f"loses data: {reason}")


def dry_run(
    session: Session,
    schema: SchemaArgument,
    to: ToOption,
    scope: ScopeOption = "*",
    key: KeyOption = "*",
    steps: StepsOption = None,
    installed: InstalledOption = None,
    unversioned: UnversionedOption = 1,
    limit: LimitOption = None,
) -> None:
    """Show what a migration would do to each value, and what would be lost; write nothing."""
    with session.read() as state:
        engine = MigrationEngine(state, _catalogue(steps, installed))
        found = engine.dry_run(
            schema, to, scope=scope, key=key, limit=limit, unversioned=unversioned
        )
    if session.json:
        for each in found.keys:
            session.out.object(each.to_json())
        session.out.object(
            {
                "values": len(found.keys),
                "current": found.current,
                "failures": len(found.failures),
                "losing": len(found.losing),
                "reasons": list(found.reasons),
            }
        )
        return
    columns = [
        Column("scope", wrap="fold"),
        Column("key", style="bold", wrap="fold"),
        Column("from", right=True),
        Column("change", wrap="fold"),
        Column("lost", wrap="fold"),
    ]
    session.out.rows(columns, [_row(each.to_json()) for each in found.keys])
    session.out.line(
        f"{plural(len(found.keys), 'value')} to migrate, {found.current} at version {to} already; "
        f"{plural(len(found.failures), 'failure')}, {len(found.losing)} would lose something; "
        "nothing was written"
    )
    for reason in found.reasons:
        session.out.line(f"loses data: {reason}")


def _row(fields: dict[str, Any]) -> dict[str, Any]:
    changes = "; ".join(
        f"{each['path']}: {_side(each, 'before')} → {_side(each, 'after')}"
        for each in fields["changes"]
    )
    lost = ", ".join(fields["lost"] + fields["kept"])
    return {**fields, "change": fields["error"] or changes, "lost": lost}


def _side(change: dict[str, Any], side: str) -> str:
    return to_json(change[side]) if side in change else "(absent)"


def apply(
    session: Session,
    schema: SchemaArgument,
    to: ToOption,
    scope: ScopeOption = "*",
    key: KeyOption = "*",
    steps: StepsOption = None,
    installed: InstalledOption = None,
    on_failure: Annotated[
        str,
        typer.Option(
            "--on-failure", metavar="value|batch|all", help="What a value that fails takes along."
        ),
    ] = "all",
    allow_loss: Annotated[
        bool, typer.Option("--allow-loss", help="Go on although the steps lose data.")
    ] = False,
    unversioned: UnversionedOption = 1,
    workers: WorkersOption = 2,
    batch: BatchOption = 1000,
    rate: RateOption = None,
    actor: ActorOption = None,
) -> None:
    """Bring values to a version of their schema; a run that was cut off goes on."""
    settings = RunSettings(
        on_failure=on_failure,
        allow_loss=allow_loss,
        batch_size=batch,
        workers=workers,
        rate=rate,
        unversioned=unversioned,
        actor=actor,
    )
    with session.write() as state:
        engine = MigrationEngine(state, _catalogue(steps, installed))
        _show(session, engine.apply(schema, to, scope=scope, key=key, settings=settings))


def status(
    session: Session,
    id_: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Of one migration; all by default.")
    ] = None,
) -> None:
    """List migrations that the store remembers, or show one with what it put aside."""
    with session.read() as state:
        engine = MigrationEngine(state, Catalogue())
        if id_ is not None:
            run = engine.status(id_)
            aside = engine.quarantine(id_)
            _show(session, run)
            if session.json:
                for note in aside:
                    session.out.object(note)
            elif aside:
                columns = [Column("scope", wrap="fold"), Column("key", style="bold", wrap="fold")]
                session.out.rows([*columns, Column("step"), Column("error", wrap="fold")], aside)
            return
        runs = [run.to_json() for run in engine.runs()]
    columns = [
        Column("id", style="bold"),
        Column("schema"),
        Column("to_version", "to", right=True),
        Column("state"),
        Column("migrated", right=True),
        Column("quarantined", right=True),
        Column("started_at", "started", "dim"),
    ]
    session.out.rows(columns, runs)


def resume(
    session: Session,
    id_: IdArgument,
    steps: StepsOption = None,
    installed: InstalledOption = None,
    workers: WorkersOption = 2,
    batch: BatchOption = 1000,
    rate: RateOption = None,
) -> None:
    """Go on with a migration, or with a rollback, that was cut off."""
    settings = RunSettings(workers=workers, batch_size=batch, rate=rate)
    with session.write() as state:
        engine = MigrationEngine(state, _catalogue(steps, installed))
        _show(session, engine.resume(id_, settings=settings))


def rollback(session: Session, id_: IdArgument, actor: ActorOption = None) -> None:
    """Restore every value that a migration wrote; what was changed since is left alone."""
    with session.write() as state:
        _show(session, MigrationEngine(state, Catalogue()).rollback(id_, actor=actor))


def _show(session: Session, run: Run) -> None:
    if session.json:
        session.out.object(run.to_json())
        return
    line = (
        f"{run.id}: {run.schema} to version {run.to_version}: {run.state}; "
        f"{run.migrated} migrated, {run.skipped} at it already, {run.quarantined} in quarantine"
    )
    if run.state in ("rolled_back", "rolling_back"):
        line += f"; {run.restored} restored, {run.conflicts} changed since"
    session.out.line(line)
    if run.error:
        session.out.line(f"failed at {run.error}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Bring values to another schema version.")
    command(group, "plan", panel=PANEL, store=False)(show_plan)
    command(group, "dry-run", panel=PANEL)(dry_run)
    command(group, "apply", panel=PANEL)(apply)
    command(group, "status", panel=PANEL)(status)
    command(group, "rollback", panel=PANEL)(rollback)
    command(group, "resume", panel=PANEL)(resume)
    app.add_typer(group, name="migrate", rich_help_panel=PANEL)
