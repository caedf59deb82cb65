"""Commands that move state: export, import, copy."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

import holdfast
from holdfast.cli.command import command
from holdfast.cli.exits import FileError
from holdfast.cli.options import (
    ActorOption,
    CorrelationOption,
    DurabilityOption,
    write_options,
)
from holdfast.cli.progress import progress_bar
from holdfast.cli.render import escape, note, plural
from holdfast.cli.session import Session, refuse_missing
from holdfast.errors import ConflictError, InvalidValueError

PANEL = "Moving"


def export(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="- writes standard output.")] = "-",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write the current state as JSON Lines, without loss; history stays behind."""
    with session.read() as state:
        if file == "-":
            for line in state.export_lines():
                session.out.line(escape(line))  # as JSON escapes it
            return
        count = _write_file(Path(file), state.export_lines(), force=force)
    words = f"exported {plural(count, 'key')} to {file}"
    session.out.say(words, {"file": file, "records": count})


def _write_file(path: Path, lines: Iterable[str], *, force: bool) -> int:
    """Write a file that is there whole or not at all; return how many records."""
    if path.exists() and not force:
        raise FileError(f"{path} exists already", hint="name another file, or add --force")
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    count = -1  # the first line is the header
    try:
        with partial.open("x", encoding="utf-8", newline="\n") as target:
            for line in lines:
                target.write(line + "\n")
                count += 1
            target.flush()
            os.fsync(target.fileno())
        partial.replace(path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}", hint="check the path") from None
    finally:
        partial.unlink(missing_ok=True)
    return count


def import_(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="- reads standard input.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace keys that exist already.")
    ] = False,
    durability: DurabilityOption = None,
    actor: ActorOption = None,
    correlation: CorrelationOption = None,
) -> None:
    """Store what export wrote, all or nothing, making the store if it is not there."""
    options = write_options(durability, actor, correlation)
    with _lines(file) as lines, session.write(create=True) as state:
        try:
            count = state.import_lines(lines, overwrite=overwrite, **options)
        except ConflictError as error:
            if error.reason == "exists":
                error.hint = "--overwrite replaces keys that exist; nothing was imported"
            raise
    words = f"imported {plural(count, 'key')}"
    session.out.say(words, {"file": file, "records": count})


@contextmanager
def _lines(file: str) -> Iterator[Iterator[str]]:
    """Open a file of UTF-8 lines, or standard input."""
    try:
        source = _open(file)
    except OSError as error:
        raise FileError(f"cannot read {file}: {error.strerror}", hint="check the path") from None
    with source:
        try:
            yield iter(source)
        except UnicodeDecodeError:
            raise InvalidValueError(
                f"{file} is not UTF-8", hint="give a file that holdfast export wrote"
            ) from None


def _open(file: str) -> TextIO:
    if file == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
    return Path(file).open(encoding="utf-8", newline="\n")


def copy(
    session: Session,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The store to copy.")],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="The new store; it must not exist.")
    ],
) -> None:
    """Copy a whole store, its history too, to another file or engine."""
    refuse_missing(source)
    refuse_missing(target, create=True)
    with (
        holdfast.open(source, read_only=True, create=False) as state,
        progress_bar("records copied", quiet=session.json) as advance,
    ):
        report = state.copy_to(target, progress=advance)
    session.out.say(
        f"copied {plural(report.records, 'record')}, {plural(report.versions, 'version')}, "
        f"{plural(report.commits, 'commit')} to {target}, as of revision {report.revision}",
        {
            "source": source,
            "target": target,
            "records": report.records,
            "versions": report.versions,
            "commits": report.commits,
            "revision": report.revision,
        },
    )
    if sys.stderr.isatty() and not session.json:
        note("it keeps the store's identity: go on with one of the two")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "export", panel=PANEL)(export)
    command(app, "import", panel=PANEL)(import_)
    command(app, "copy", panel=PANEL, store=False)(copy)
