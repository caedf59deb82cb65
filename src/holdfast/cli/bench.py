"""The command bench: what this machine's disk gives, in a store made and removed for it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any

import typer

import holdfast
from holdfast.cli.command import command
from holdfast.cli.exits import FileError
from holdfast.cli.progress import progress_bar
from holdfast.cli.render import Column, text
from holdfast.cli.session import Session
from holdfast.config import parse_url
from holdfast.errors import ConfigurationError
from holdfast.store.value import SetOperation

PANEL = "The store"
_SCOPE = "custom:bench"
_BATCH = 1000


def _value(number: int) -> dict[str, Any]:
    """Return a value of about 200 bytes, different for each number."""
    return {
        "role": "assistant",
        "content": f"Step {number} of the plan, done as asked. " + "x" * 110,
        "tokens": number % 4096,
        "score": number / 7,
    }


def _timed(count: int, act: Callable[[int], object]) -> list[float]:
    """Run ``act(0 … count - 1)`` and return the seconds that each took."""
    taken = []
    for number in range(count):
        begun = time.perf_counter()
        act(number)
        taken.append(time.perf_counter() - begun)
    return taken


def _figures(name: str, seconds: list[float], items: int = 1) -> dict[str, Any]:
    each = [one / items for one in seconds]
    return {
        "operation": name,
        "median_us": round(median(each) * 1e6, 2),
        "p99_us": round(quantiles(each, n=100)[98] * 1e6, 2),
        "per_second": round(items * len(seconds) / sum(seconds)),
        "calls": len(seconds),
    }


def _stages(
    state: holdfast.StateManager, count: int
) -> Iterator[tuple[str, int, int, Callable[[int], object]]]:
    """Yield name, calls, items of each call, and what to call with the number of the call."""
    few = max(2, count // 100)

    def set_(number: int) -> object:
        return state.set(_SCOPE, f"k{number % 100}", _value(number))

    def set_os(number: int) -> object:
        return state.set(_SCOPE, f"o{number % 100}", _value(number), durability="os")

    def set_batch(number: int) -> object:
        items = [SetOperation(_SCOPE, f"b{i:04}", _value(number + i)) for i in range(_BATCH)]
        return state.set_batch(items)

    def get(number: int) -> object:
        return state.get(_SCOPE, f"b{number * 7 % _BATCH:04}")

    def scan(_number: int) -> object:
        return sum(1 for _ in state.scan(_SCOPE, prefix="b"))

    yield "set, on disk (sync)", count, 1, set_
    yield "set, out of the process (os)", count, 1, set_os
    yield f"set_batch of {_BATCH}, each", few, _BATCH, set_batch
    yield "get", count, 1, get
    yield f"scan of {_BATCH}, each", few, _BATCH, scan


def measure(
    url: str, count: int, advance: Callable[[int, int | None], None]
) -> list[dict[str, Any]]:
    """Measure a fresh store at `url` and return one row of figures for each operation."""
    rows: list[dict[str, Any]] = []
    with holdfast.open(url) as state:
        for name, times, items, act in _stages(state, count):
            advance(len(rows), 5)
            rows.append(_figures(name, _timed(times, act), items))
    return rows


def bench(
    session: Session,
    place: Annotated[
        str | None,
        typer.Argument(metavar="[URL]", help="Measure beside this store; --store by default."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=2, max=100_000, help="Calls of each operation.")
    ] = 1000,
) -> None:
    """Measure set, get and batches on a temporary store beside a path."""
    target = place
    if target is None:
        try:
            target, _ = session.location()
        except ConfigurationError:
            target = "here.db"
    url = parse_url(target)
    if url.scheme == "memory":
        parent, options = Path(), ""
    else:
        parent = Path(url.location).absolute().parent
        options = "&".join(f"{name}={value}" for name, value in url.params.items())
    try:
        folder = tempfile.mkdtemp(prefix=".holdfast-bench-", dir=parent)
    except OSError as error:
        raise FileError(
            f"cannot write beside {url.location}: {error.strerror}", hint="name another path"
        ) from None
    try:
        made = "memory:" if url.scheme == "memory" else f"{url.scheme}:{folder}/store.db"
        with progress_bar("operations measured", quiet=session.json) as advance:
            rows = measure(made + (f"?{options}" if options else ""), count, advance)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out = session.out
    if out.terminal:
        out.line(text(f"{url.scheme} in {parent}, values of 200 bytes"))
    out.rows(
        [
            Column("operation", style="bold", wrap="fold"),
            Column("median_us", "median µs", right=True),
            Column("p99_us", "p99 µs", right=True),
            Column("per_second", "per second", right=True),
            Column("calls", right=True),
        ],
        ({"engine": url.scheme} | row for row in rows),
    )


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "bench", panel=PANEL)(bench)
