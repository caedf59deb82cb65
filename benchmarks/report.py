"""Results as a table for people and as JSON for everything else. It measures nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row
from benchmarks.sampling import Sampler


def to_json(rows: list[Row], about: dict[str, Any]) -> dict[str, Any]:
    """Return the document that is stored: facts, then one object a row."""
    return {**about, "rows": [_row(row) for row in rows]}


def _row(row: Row) -> dict[str, Any]:
    return {
        "case": row.case,
        "engine": row.engine,
        "work": row.work,
        "unit": row.unit,
        "ours": _round(row.ours),
        "yardstick": _round(row.yardstick),
        "figure": _round(row.figure),
        "low": _round(row.low),
        "high": _round(row.high),
        "target": None if row.target is None else str(row.target),
        "reached": row.reached,
        "note": row.note,
    }


def _round(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")


def show(rows: list[Row], console: Console) -> None:
    """Print the rows."""
    table = Table(title="Holdfast against the raw engines", title_justify="left")
    for name in ("engine", "work"):
        table.add_column(name)
    for name in ("holdfast", "raw", "unit", "figure", "quartiles", "target", ""):
        table.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
    case = rows[0].case if rows else ""
    for row in rows:
        if row.case != case:
            table.add_section()
            case = row.case
        table.add_row(
            row.engine,
            row.work,
            _number(row.ours),
            _number(row.yardstick),
            row.unit,
            _figure(row),
            "" if row.low is None else f"{row.low:.2f}-{row.high:.2f}",
            "" if row.target is None else str(row.target),
            _VERDICTS[row.reached],
        )
    console.print(table)
    missed = sorted({row.case for row in rows if row.reached is False})
    if missed:
        console.print("Not reached; where the time goes:")
        for name in missed:
            console.print(f"  python -m benchmarks --profile {name}")


_VERDICTS = {True: "[green]reached[/]", False: "[red]not reached[/]", None: ""}


def _figure(row: Row) -> str:
    if row.figure is None:
        return ""
    unit = "x" if row.target is None else row.target.unit
    return f"{row.figure:.2f}{'x' if unit == 'x' else ' ' + unit}"


def _number(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def show_profile(sampler: Sampler, console: Console, lines: int = 25) -> None:
    """Print where the samples fell: in which line, and below which function."""
    if not sampler.samples:
        console.print("too short to be sampled")
        return
    console.print(f"{sampler.samples} samples of threads at work inside Holdfast")
    console.print(_shares("own: the innermost line of Holdfast's", sampler.own, sampler, lines))
    console.print(_shares("total: the function and what it calls", sampler.total, sampler, lines))


def _shares(title: str, counted: Counter[str], sampler: Sampler, lines: int) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("share", justify="right")
    table.add_column("where")
    for name, count in counted.most_common(lines):
        table.add_row(f"{100 * count / sampler.samples:.1f} %", name)
    return table
