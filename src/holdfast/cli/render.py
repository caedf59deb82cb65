"""How results and errors look: JSON for programs, tab-separated lines for pipes, tables for eyes.

Nothing that was stored can steer a terminal: control characters are escaped and rich's markup
is never read from data. rich is imported only where a terminal sees the output.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from holdfast.cli.exits import hint_of
from holdfast.errors import StateError
from holdfast.store.lines import to_json as plain

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CHUNK = 500  # rows of one table


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: The field of a row that it shows, and its title where lines are tab-separated.
        title: Its title on a terminal; the name by default.
        style: rich's style on a terminal.
        right: Aligned right.
        wrap: What gives way on a narrow terminal: ``"no"``, ``"fold"`` or ``"cut"``.
        cell: How to show the field; `text` by default.
        short: How a terminal shows it, where that is shorter.
    """

    name: str
    title: str = ""
    style: str = ""
    right: bool = False
    wrap: str = "no"
    cell: Callable[[Any], str] | None = None
    short: Callable[[Any], str] | None = None

    def show(self, row: Mapping[str, Any], *, terminal: bool = False) -> str:
        """Return the text of one cell."""
        chosen = (self.short if terminal else None) or self.cell or text
        return chosen(row.get(self.name))


def escape(words: str) -> str:
    """Return `words` with everything that could steer a terminal or split a line escaped."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", words)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON text on one line (or indented), safe to print."""
    return escape_json(
        json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False), indent
    )


def escape_json(made: str, indent: int | None) -> str:
    """Escape what JSON leaves as it is but a terminal would obey."""
    if indent is None:
        return escape(made)
    return "\n".join(map(escape, made.split("\n")))


def value_text(value: Any) -> str:
    """Return a stored value as JSON on one line, without loss."""
    return to_json(plain(value))


def text(value: Any) -> str:
    """Return a field as a person reads it; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return time_text(value)
    return escape(str(value))


def time_text(moment: datetime | None) -> str:
    """Return a time in UTC, to the millisecond."""
    if moment is None:
        return ""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def short_time(moment: datetime | None) -> str:
    """Return a time in UTC, to the second, for a column of times."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def plural(count: int, word: str) -> str:
    """Return a number with its noun."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def size_text(size: int | None) -> str:
    """Return bytes in the unit that suits them."""
    if size is None:
        return ""
    if size < 1000:
        return f"{size} B"
    amount, unit = size / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if amount < 999.95:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}"


@dataclass(frozen=True, slots=True)
class Output:
    """Standard output of one command.

    Attributes:
        json: One JSON object per line instead of text.
    """

    json: bool = False

    @property
    def terminal(self) -> bool:
        """Whether a person watches."""
        return not self.json and sys.stdout.isatty()

    @property
    def console(self) -> Console:
        """Rich's console on standard output."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=False)

    def line(self, words: str) -> None:
        """Print a line of plain text."""
        sys.stdout.write(words + "\n")

    def object(self, fields: Mapping[str, Any]) -> None:
        """Print one JSON object on a line of its own."""
        self.line(to_json(_jsonable(fields)))

    def say(self, words: str, fields: Mapping[str, Any]) -> None:
        """Print what was done: a sentence, or its facts as a JSON object."""
        if self.json:
            self.object(fields)
        else:
            self.line(escape(words))

    def value(self, value: Any) -> None:
        """Print a stored value as JSON; indented and coloured on a terminal."""
        if not self.terminal:
            self.line(value_text(value))
            return
        from rich.syntax import Syntax

        shown = to_json(plain(value), indent=2)
        self.console.print(
            Syntax(shown, "json", background_color="default", theme="ansi_dark", word_wrap=True)
        )

    def rows(self, columns: Iterable[Column], rows: Iterable[Mapping[str, Any]]) -> int:
        """Print rows as JSON lines, tab-separated lines, or tables; return how many."""
        columns = list(columns)
        if self.json:
            count = 0
            for row in rows:
                self.object(row)
                count += 1
            return count
        if not self.terminal:
            return self._tabbed(columns, rows)
        count = 0
        pending = iter(rows)
        while chunk := list(islice(pending, _CHUNK)):
            self._table(columns, chunk)
            count += len(chunk)
        return count

    def facts(self, fields: Mapping[str, Any], shown: Mapping[str, str]) -> None:
        """Print the facts of one thing: `fields` as a JSON object, or `shown` as name and text."""
        if self.json:
            self.object(fields)
            return
        if not self.terminal:
            for name, words in shown.items():
                self.line(f"{escape(name)}\t{escape(words)}")
            return
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, words in shown.items():
            table.add_row(Text(escape(name)), Text(escape(words)))
        self.console.print(table)

    def _tabbed(self, columns: list[Column], rows: Iterable[Mapping[str, Any]]) -> int:
        count = 0
        for count, row in enumerate(rows, 1):
            if count == 1:
                self.line("\t".join(column.name for column in columns))
            self.line("\t".join(column.show(row) for column in columns))
        return count

    def _table(self, columns: list[Column], rows: list[Mapping[str, Any]]) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        cells = [[column.show(row, terminal=True) for row in rows] for column in columns]
        kept = [at for at, shown in enumerate(cells) if any(shown)]
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold"
        )
        for at in kept:
            column = columns[at]
            table.add_column(
                column.title or column.name,
                style=column.style,
                justify="right" if column.right else "left",
                no_wrap=column.wrap == "no",
                overflow="fold",
            )
        for number in range(len(rows)):
            table.add_row(
                *(
                    Text(cells[at][number], no_wrap=True, overflow="ellipsis")
                    if columns[at].wrap == "cut"
                    else Text(cells[at][number])
                    for at in kept
                )
            )
        self.console.print(table)


def _jsonable(value: Any) -> Any:
    """Return fields as JSON has them: times as ISO text, all else as it is."""
    if isinstance(value, Mapping):
        return {name: _jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def note(words: str) -> None:
    """Print a remark on standard error."""
    sys.stderr.write(escape(words) + "\n")


def show_error(error: StateError, *, json: bool) -> None:
    """Print an error and its hint on standard error."""
    hint = hint_of(error)
    if json:
        fields = {
            "code": error.code,
            "message": error.message,
            "hint": hint,
            "retryable": error.retryable,
        }
        sys.stderr.write(to_json({"error": fields}) + "\n")
        return
    if not sys.stderr.isatty():
        sys.stderr.write(f"error[{error.code}]: {escape(error.message)}\n")
        if hint:
            sys.stderr.write(f"hint: {escape(hint)}\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    console.print(Text.assemble((f"error[{error.code}]", "bold red"), f": {escape(error.message)}"))
    if hint:
        console.print(Text.assemble(("hint", "bold cyan"), f": {escape(hint)}"))
