"""The application: all commands, the shared options, and the one place where errors end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import holdfast
from holdfast.cli import (
    agents,
    bench,
    events,
    hooks,
    migrate,
    observe,
    past,
    records,
    schemas,
    sessions,
    streams,
    timeline,
    transfer,
    upkeep,
    workflows,
)
from holdfast.cli.command import JsonOption, StoreOption, TenantOption
from holdfast.cli.exits import (
    INTERRUPTED,
    MEANINGS,
    FileError,
    exit_status,
)
from holdfast.cli.render import note, show_error
from holdfast.cli.session import Session
from holdfast.errors import StateError, UsageError

# typer has its own copy of click or uses the installed one, by version; these are its classes.
_ClickException: Any = typer.BadParameter.__mro__[2]

_EPILOG = "Exit status: " + ", ".join(f"{status} {words}" for status, words in MEANINGS.items())

app = typer.Typer(
    name="holdfast",
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"holdfast {holdfast.__version__}\n")
        raise typer.Exit


@app.callback(epilog=_EPILOG)
def _options(
    ctx: typer.Context,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Refuse commands that write.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Durable state for agents, workflows and sessions: look at it, change it, look after it."""
    ctx.obj = Session(store, tenant or "", as_json, read_only, dashes=ctx.obj == "dashes")


_GROUPS = (
    *(records, past, timeline, events, streams, hooks),
    *(schemas, migrate, agents, workflows, sessions, transfer, upkeep, observe, bench),
)
for group in _GROUPS:
    group.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status.

    Errors of Holdfast are shown, never traced back. A fault of Holdfast itself is an ordinary
    traceback: it is worth a report.
    """
    options = list(arguments)
    if "--" in options:
        options = options[: options.index("--")]
    try:
        return _run(arguments)
    except StateError as error:
        show_error(error, json="--json" in options)
        return exit_status(error)
    except (KeyboardInterrupt, typer.Abort):
        note("interrupted")
        return INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    command = typer.main.get_command(app)
    try:
        status = command.main(
            list(arguments),
            prog_name="holdfast",
            standalone_mode=False,
            obj="dashes" if "--" in arguments else None,
        )
    except _ClickException as error:
        path = error.ctx.command_path if getattr(error, "ctx", None) else "holdfast"
        raise UsageError(error.format_message(), hint=f"see {path} --help") from None
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        raise FileError(f"cannot read or write{name}: {error.strerror}") from None
    return status if isinstance(status, int) else 0
