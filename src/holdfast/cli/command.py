"""Making a function a command: the shared options in front of and behind it, output flushed.

Every command takes ``--store``, ``--tenant`` and ``--json`` in either place; the later one wins.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from holdfast.cli.exits import BROKEN_PIPE, INTERRUPTED
from holdfast.cli.render import note
from holdfast.cli.session import Session

P = ParamSpec("P")

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", "-s", metavar="URL", help="Path or URL of the store (or HOLDFAST_URL)."
    ),
]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="See this tenant's state only.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]


def command(
    app: typer.Typer, name: str, *, panel: str, store: bool = True, **settings: Any
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[Concatenate[Session, P], None]]:
    """Register a function as the command `name`; its first argument is the `Session`.

    Args:
        app: Where to register it.
        name: As it is typed.
        panel: The group in the help.
        store: It works on the store of ``--store``.
        **settings: For typer.
    """

    def register(
        fn: Callable[Concatenate[Session, P], None],
    ) -> Callable[Concatenate[Session, P], None]:
        app.command(name, rich_help_panel=panel, **settings)(_callable(fn, store=store))
        return fn

    return register


def group(
    app: typer.Typer, name: str, fn: Callable[Concatenate[Session, P], None], *, panel: str
) -> typer.Typer:
    """Register a function as the command `name` that has commands below it, and return its app.

    The function runs where none of those is named. Options in front of them are theirs too.
    """
    below = typer.Typer()
    call = _callable(fn, store=True)
    settings = {"help_option_names": ["-h", "--help"]}
    below.callback(invoke_without_command=True, context_settings=settings)(call)
    app.add_typer(below, name=name, rich_help_panel=panel)
    return below


def _callable(fn: Callable[Concatenate[Session, P], None], *, store: bool) -> Callable[..., None]:
    """Return what typer calls: with the shared options, and output flushed."""
    _, *own = inspect.signature(fn, eval_str=True).parameters.values()

    run: Callable[..., None] = fn

    def call(
        ctx: typer.Context,
        *,
        store: str | None = None,
        tenant: str | None = None,
        as_json: bool = False,
        **arguments: Any,
    ) -> None:
        root = ctx.find_root()
        session: Session = root.obj.with_options(store, tenant, as_json)
        if ctx.invoked_subcommand is not None:
            root.obj = session
            return
        try:
            run(session, **arguments)
            sys.stdout.flush()
        except BrokenPipeError:
            # Nobody reads any more: say nothing, and let the flush at exit go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None
        except KeyboardInterrupt:  # typer's own answer to it depends on its version
            note("interrupted")
            raise typer.Exit(INTERRUPTED) from None

    shared: dict[str, tuple[Any, Any]] = {"as_json": (JsonOption, False)}
    if store:
        shared = {"store": (StoreOption, None), "tenant": (TenantOption, None)} | shared
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_ONLY, annotation=typer.Context),
        *(parameter.replace(kind=keyword) for parameter in own),
        *(
            inspect.Parameter(option, keyword, default=default, annotation=kind)
            for option, (kind, default) in shared.items()
        ),
    ]
    # Typer reads it; the type of functions does not know that they may have one.
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    call.__doc__ = fn.__doc__
    return call
