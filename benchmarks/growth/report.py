"""A stored run as tables for people and as Markdown: sizes side by side. It measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.storing import markdown, number

_TITLES = {
    "size": "As keys grow (1,000 a scope)",
    "scopes": "As scopes grow",
    "tails": "Single calls beside other work: p50 / p99 / highest",
}


def tables(stored: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield title, header and rows of each case, as text."""
    for case, title in _TITLES.items():
        lines = [row for row in stored["rows"] if row["case"] == case]
        if not lines:
            continue
        if case == "tails":
            yield _tails(title, lines)
            continue
        by = "keys" if case == "size" else "scopes"
        sizes = sorted({row[by] for row in lines})
        found = {(row["engine"], row["work"], row[by]): row for row in lines}
        places = dict.fromkeys((row["engine"], row["work"], row["unit"]) for row in lines)
        rows = [
            [engine, f"{work}, {unit}", *(_cell(found.get((engine, work, one))) for one in sizes)]
            for engine, work, unit in places
        ]
        if case == "scopes":
            title = f"{title} ({lines[0]['keys']:,} keys in all)"
        yield title, ["engine", "work", *(f"{one:,} {by}" for one in sizes)], rows


def _tails(title: str, lines: list[dict[str, Any]]) -> tuple[str, list[str], list[list[str]]]:
    engines = list(dict.fromkeys(row["engine"] for row in lines))
    found = {(row["engine"], row["work"]): row for row in lines}
    works = dict.fromkeys((row["work"], row["unit"]) for row in lines)
    rows = [
        [work, unit, *(_spread(found.get((engine, work))) for engine in engines)]
        for work, unit in works
    ]
    return f"{title} ({lines[0]['keys']:,} keys)", ["work", "unit", *engines], rows


def _spread(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["p99"] is None:
        return number(row["figure"])
    return " / ".join(number(row[name]) for name in ("figure", "p99", "highest"))


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    tail = row["p99"] if row["unit"] == "µs" else None
    return number(row["figure"]) + ("" if tail is None else f" ({number(tail)})")


def show(stored: dict[str, Any], console: Console) -> None:
    """Print the tables."""
    for title, header, rows in tables(stored):
        table = Table(title=f"{title}; (p99)", title_justify="left")
        for place, name in enumerate(header):
            table.add_column(name, justify="left" if place < 2 else "right")
        last = rows[0][0]
        for row in rows:
            if row[0] != last and header[0] == "engine":
                table.add_section()
            last = row[0]
            table.add_row(*row)
        console.print(table)


def page_tables(stored: dict[str, Any]) -> str:
    """Return all tables as Markdown."""
    return "\n\n".join(
        f"### {title}\n\n{markdown(header, rows)}" for title, header, rows in tables(stored)
    )
