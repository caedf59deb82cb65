"""Progress of long commands: a bar on standard error where a person watches, else nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _nowhere(_done: int, _total: int | None) -> None:
    """Show nothing."""


@contextmanager
def progress_bar(words: str, *, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar while the block runs.

    Args:
        words: What is going on.
        quiet: Show nothing.

    Yields:
        A function to call with how much is done, and the total or None where it is not known.
    """
    if quiet or not sys.stderr.isatty():
        yield _nowhere
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
