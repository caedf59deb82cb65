"""Results as JSON, as a table for people and as Markdown. It measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers.cases import CASES
from benchmarks.peers.figure import Line
from benchmarks.storing import markdown, number

#: A row of a case's table: the contender's line of each work, by work.
Row = dict[str, dict[str, Any]]


def to_json(lines: list[Line], about: dict[str, Any]) -> dict[str, Any]:
    """Return the document that is stored: facts, then one object a line."""
    return {**about, "rows": [_row(line) for line in lines]}


def _row(line: Line) -> dict[str, Any]:
    return {
        "case": line.case,
        "work": line.work,
        "unit": line.unit,
        "peer": line.peer,
        "durability": line.durability,
        "kind": line.kind,
        "figure": _round(line.figure),
        "p99": _round(line.p99),
        "errors": line.errors,
        "note": line.note,
    }


def _round(figure: float | None) -> float | None:
    return None if figure is None else float(f"{figure:.4g}")


def tables(stored: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield each case's title, header and rows, as text."""
    for case in dict.fromkeys(row["case"] for row in stored["rows"]):
        lines = [row for row in stored["rows"] if row["case"] == case]
        works = list(dict.fromkeys(row["work"] for row in lines))
        units = {row["work"]: row["unit"] for row in lines}
        who: dict[tuple[str, str], Row] = {}
        for row in lines:
            who.setdefault((row["durability"], row["peer"]), {})[row["work"]] = row
        header = ["durability", "store", *(f"{work}, {units[work]}" for work in works)]
        failing = any(row["errors"] for row in lines)
        rows: list[list[str]] = []
        for (durability, peer), row in who.items():
            if all(each["note"].startswith("not offered") for each in row.values()):
                continue
            cells = [durability, peer, *(_cell(row[work]) for work in works)]
            if failing:
                cells.append(_errors(row))
            rows.append(cells)
        absent = sorted(
            {
                f"{peer} ({each['note'].removeprefix('not offered: ')})"
                for (_, peer), row in who.items()
                for each in [next(iter(row.values()))]
                if all(one["note"].startswith("not offered") for one in row.values())
            }
        )
        if absent:
            rows.append(["", "*not offered:* " + "; ".join(absent), *[""] * (len(header) - 2)])
        about = CASES[case].about if case in CASES else case
        yield about, [*header, *(["failed calls"] if failing else [])], rows


def _cell(row: dict[str, Any]) -> str:
    if row["figure"] is None:
        note: str = row["note"]
        return "not offered" if note.startswith("not offered") else note
    tail = "" if row["p99"] is None else f" ({number(row['p99'])})"
    return f"{number(row['figure'])}{tail}"


def _errors(row: Row) -> str:
    return "; ".join(
        f"{count:,} x {text}" for each in row.values() for text, count in each["errors"].items()
    )


def show(stored: dict[str, Any], console: Console) -> None:
    """Print the tables."""
    for title, header, rows in tables(stored):
        table = Table(title=f"{title}; (p99 of single calls)", title_justify="left")
        for place, name in enumerate(header):
            table.add_column(name, justify="left" if place < 2 else "right")
        last = ""
        for row in rows:
            if row[0] != last:
                table.add_section()
            last = row[0]
            row = [*row, *[""] * (len(header) - len(row))]
            style = "bold" if row[1].startswith("Holdfast") else ""
            table.add_row(*row, style=style)
        console.print(table)


def page_tables(stored: dict[str, Any]) -> str:
    """Return all tables as Markdown, the contenders' first."""
    parts = ["### Who takes part\n\n" + _contenders(stored)]
    for title, header, rows in tables(stored):
        padded = [[*row, *[""] * (len(header) - len(row))] for row in rows]
        parts.append(f"### {title[0].upper()}{title[1:]}\n\n{markdown(header, padded)}")
    return "\n\n".join(parts)


def _contenders(stored: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for name, known in stored["contenders"].items():
        said = ", ".join(
            f"{key} {value}" for key, value in known["facts"].items() if key != "files"
        )
        package = " ".join(filter(None, (known["package"], known["version"])))
        store = name.rpartition(" (")[0]
        rows.append([known["durability"], store, package, known["how"], said])
    header = ["durability", "store", "package", "how", "read back in the run"]
    return markdown(header, rows).replace("---:", "---")
