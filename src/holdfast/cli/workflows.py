"""Commands on workflow runs: which there are, how far they have come."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli.command import command
from holdfast.cli.render import Column, text, time_text, to_json
from holdfast.cli.session import Session
from holdfast.store.lines import to_json as plain
from holdfast.workflows import RunInfo, StepInfo, WorkflowNotFoundError, Workflows

PANEL = "Agents, workflows and sessions"

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The workflow, as workflow:ID.")]


def _fields(run: RunInfo) -> dict[str, Any]:
    return {
        "id": run.id,
        "kind": run.kind,
        "status": run.status,
        "held": run.held,
        "epoch": run.epoch,
        "started_at": run.started_at,
        "updated_at": run.updated_at,
        "correlation": run.correlation,
        "error": run.error,
    }


def _step_fields(step: StepInfo) -> dict[str, Any]:
    return {
        "number": step.number,
        "step": step.name,
        "status": step.status,
        "attempt": step.attempt,
        "updated_at": step.updated_at,
        "error": step.error,
        "checkpoint": plain(step.checkpoint),
        "result": plain(step.result),
    }


def list_runs(
    session: Session,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="STATUS", help="Only running, completed or failed ones."),
    ] = None,
) -> None:
    """List the runs."""
    with session.read() as state:
        rows = [_fields(run) for run in Workflows(state).list(status)]
    columns = [
        Column("id", style="bold", wrap="fold"),
        Column("kind"),
        Column("status"),
        Column("held"),
        Column("epoch", right=True),
        Column("updated_at", "updated (UTC)", "dim", cell=time_text),
        Column("error", wrap="cut"),
    ]
    session.out.rows(columns, rows)


def show(session: Session, id: IdArgument) -> None:
    """Show a run and its steps, with what they came to."""
    with session.read() as state:
        run, steps = _known(Workflows(state), id)
    fields = _fields(run) | {"input": plain(run.input), "result": plain(run.result)}
    rows = [_step_fields(step) for step in steps]
    if session.json:
        session.out.object(fields | {"steps": rows})
        return
    for name, value in fields.items():
        if value is not None:
            shown = to_json(value) if name in ("input", "result") else text(value)
            session.out.line(f"{name}\t{shown}")
    for row in rows:
        value = row["result"] if row["result"] is not None else row["checkpoint"]
        shown = "" if value is None else to_json(value)
        cells = (row["number"], row["step"], row["status"], row["attempt"])
        session.out.line("\t".join(["step", *map(text, cells), row["error"] or shown]))


def resume_info(session: Session, id: IdArgument) -> None:
    """Say whether a run can be resumed, and where it would go on."""
    with session.read() as state:
        run, steps = _known(Workflows(state), id)
    done = [step.name for step in steps if step.status == "completed"]
    open_steps = [step for step in steps if step.status != "completed"]
    why = "held" if run.held else run.status
    fields = {
        "id": run.id,
        "resumable": not run.held and run.status != "completed",
        "because": why,
        "next_epoch": run.epoch + 1,
        "last_completed": done[-1] if done else None,
        "open": [
            {
                "step": step.name,
                "status": step.status,
                "attempt": step.attempt,
                "checkpoint": plain(step.checkpoint),
            }
            for step in open_steps
        ],
    }
    words = {
        "held": "cannot be resumed: a worker holds it",
        "completed": "cannot be resumed: it is completed",
    }.get(why, f"can be resumed ({why})")
    if session.json:
        session.out.object(fields)
        return
    session.out.line(f"{id} {words}")
    session.out.line(f"last completed step\t{text(fields['last_completed'])}")
    for step in open_steps:
        shown = "" if step.checkpoint is None else to_json(plain(step.checkpoint))
        session.out.line(f"open step\t{text(step.name)}\t{step.status}\t{step.attempt}\t{shown}")


def _known(flows: Workflows, id: str) -> tuple[RunInfo, list[StepInfo]]:
    run = flows.get(id)
    if run is None:
        raise WorkflowNotFoundError(
            f"there is no workflow {id!r}",
            hint="holdfast workflow list tells which there are",
            workflow=id,
        )
    return run, flows.steps(id)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="See how far workflow runs have come.")
    command(group, "list", panel=PANEL)(list_runs)
    command(group, "show", panel=PANEL)(show)
    command(group, "resume-info", panel=PANEL)(resume_info)
    app.add_typer(group, name="workflow", rich_help_panel=PANEL)
