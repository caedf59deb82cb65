"""Commands on the store itself: info, health, verify, compact, repair."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any

import typer

import holdfast
from holdfast.cli.command import command
from holdfast.cli.exits import ProblemsFoundError
from holdfast.cli.inputs import parse_duration
from holdfast.cli.options import ClassName
from holdfast.cli.progress import progress_bar
from holdfast.cli.render import Column, Output, plural, size_text, text
from holdfast.cli.session import Session, refuse_missing
from holdfast.errors import UsageError
from holdfast.store.retention import HistoryPolicy
from holdfast.store.value import StateClass

PANEL = "The store"

_PROBLEM_COLUMNS = [
    Column("code", style="bold red"),
    Column("where", wrap="fold"),
    Column("detail", wrap="fold"),
]


def flat(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and text of every fact that says something, nested ones with dots."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield prefix + name, ", ".join(map(str, value))
        elif value not in (None, ""):
            shown = size_text(value) if name.endswith("_bytes") else text(value)
            yield prefix + name, shown


def info(session: Session) -> None:
    """Show what the store is: engine, format, sizes, revision, retention."""
    with session.read() as state:
        fields = state.info()
        fields["retention"] = [_policy_fields(policy) for policy in state.retention()]
    shown = fields | {"retention": [_policy_words(policy) for policy in fields["retention"]]}
    session.out.facts(fields, dict(flat(shown)))


def health(session: Session) -> None:
    """Show the health of each component; fails where one is not ok."""
    with session.read() as state:
        found = state.health()
    if session.json:
        session.out.object(dataclasses.asdict(found))
    else:
        rows = (
            {
                "component": name,
                "status": component.status,
                "detail": ", ".join(f"{n} {words}" for n, words in flat(component.detail)),
            }
            for name, component in found.components.items()
        )
        columns = [
            Column("component", style="bold"),
            Column("status"),
            Column("detail", wrap="fold"),
        ]
        session.out.rows(columns, rows)
    if found.status != "ok":
        raise ProblemsFoundError(f"the store is {found.status}", hint="see the components above")


def verify(session: Session) -> None:
    """Check everything stored: checksums, keys, journal, indexes, digest."""
    with session.read() as state, progress_bar("rows checked", quiet=session.json) as advance:
        problems = state.verify(progress=lambda done: advance(done, None))
        revision = state.revision
    out = session.out
    _list_problems(out, problems)
    if problems:
        raise ProblemsFoundError(
            f"{plural(len(problems), 'problem')} found",
            hint="holdfast repair SOURCE --into TARGET salvages what is sound",
        )
    if out.json:
        out.object({"sound": True, "revision": revision})
    else:
        out.line(f"sound: no problems, at revision {revision}")


def _list_problems(out: Output, problems: list[Any]) -> None:
    out.rows(_PROBLEM_COLUMNS, (dataclasses.asdict(problem) for problem in problems))


def repair(
    session: Session,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The damaged store.")],
    into: Annotated[
        str, typer.Option("--into", metavar="TARGET", help="The new store; it must not exist.")
    ],
) -> None:
    """Salvage what is sound of a store into a new one, and name what is lost."""
    refuse_missing(source)
    refuse_missing(into, create=True)
    with progress_bar("rows read", quiet=session.json) as advance:
        report = holdfast.repair(source, into=into, progress=lambda done: advance(done, None))
    out = session.out
    if out.json:
        out.object(dataclasses.asdict(report))
    else:
        out.line(
            f"salvaged {plural(report.records, 'record')}, "
            f"{plural(report.versions, 'version')}, "
            f"{plural(report.commits, 'commit')} into {text(into)}"
        )
        _list_problems(out, report.lost)
    if report.lost:
        raise ProblemsFoundError(
            f"{plural(len(report.lost), 'thing')} could not be salvaged",
            hint="they are listed above; the rest is in the new store",
        )


def compact(
    session: Session,
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="TIME", help="Keep this much: 30d, 12h.")
    ] = None,
    max_versions: Annotated[
        int | None, typer.Option("--max-versions", min=1, metavar="N", help="Keep so many.")
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option("--max-bytes", min=1, metavar="N", help="Keep so many bytes of each key."),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option("--scope", metavar="PATTERN", help="Only there: agent:*, workflow:etl, ..."),
    ] = None,
    state_class: Annotated[
        ClassName | None, typer.Option("--class", help="Only values of this class.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Store the policy too; it replaces those stored.")
    ] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Train compression on the stored small values first.")
    ] = False,
) -> None:
    """Trim old history, by the options or the stored policies, and free disk space."""
    policies: list[HistoryPolicy] | None = None
    if max_age is not None or max_versions is not None or max_bytes is not None:
        policies = [
            HistoryPolicy(
                scopes="*" if scope is None else scope,
                state_class=None if state_class is None else StateClass[state_class.name],
                max_age=None if max_age is None else parse_duration(max_age),
                max_versions=max_versions,
                max_bytes=max_bytes,
            )
        ]
    elif scope is not None or state_class is not None or save:
        raise UsageError(
            "--scope, --class and --save need a bound", hint="add --max-age or --max-versions"
        )
    with session.write() as state:
        if save and policies is not None:
            state.set_retention(policies)
        report = state.compact(policies, train=train)
    session.out.say(
        f"trimmed {plural(report.versions_trimmed, 'version')} and "
        f"{plural(report.commits_trimmed, 'commit')}, "
        f"freed {size_text(report.bytes_reclaimed)}; "
        + (
            f"the journal begins behind revision {report.horizon}"
            if report.horizon
            else "the journal is whole"
        ),
        dataclasses.asdict(report),
    )


def _policy_fields(policy: HistoryPolicy) -> dict[str, Any]:
    age = policy.max_age
    return {
        "scopes": policy.scopes,
        "class": None if policy.state_class is None else policy.state_class.name.lower(),
        "max_age_seconds": None if age is None else age.total_seconds(),
        "max_versions": policy.max_versions,
        "max_bytes": policy.max_bytes,
    }


def _policy_words(fields: dict[str, Any]) -> str:
    bounds = [f"{name}={value}" for name, value in fields.items() if value is not None]
    return " ".join([*bounds[1:], f"in {fields['scopes']}"])


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "info", panel=PANEL)(info)
    command(app, "health", panel=PANEL)(health)
    command(app, "verify", panel=PANEL)(verify)
    command(app, "compact", panel=PANEL)(compact)
    command(app, "repair", panel=PANEL, store=False)(repair)
