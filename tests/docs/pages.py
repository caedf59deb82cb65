"""Markdown pages as programs: their code blocks in order, with what each says it prints.

Conventions of the pages:

- ``python`` blocks of a page share one namespace. Where a block prints, the lines
  ``print(...)  # expected`` state the output; ``# ...`` states nothing.
- ``console`` blocks hold commands behind ``$ ``; lines below a command are its exact output, and
  a line ``...`` stands for any further output. A command must succeed.
- ``<!-- skip: reason -->`` right above a block keeps it from running.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)")
_SKIP = re.compile(r"^\s*<!-- skip: .+ -->$")


@dataclass(frozen=True, slots=True)
class Block:
    """One code block.

    Attributes:
        language: ``"python"``, ``"console"`` or another.
        line: Where its text begins on the page, from 1.
        text: Its text.
        skipped: Marked as not to be run.
    """

    language: str
    line: int
    text: str
    skipped: bool


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            at += 1
            continue
        indent, begin = len(fence["indent"]), at + 1
        end = begin
        while not lines[end].strip().startswith("```"):
            end += 1
        above = next((line for line in reversed(lines[:at]) if line.strip()), "")
        text = "\n".join(line[indent:] for line in lines[begin:end])
        found.append(
            Block(fence["language"], begin + 1, text + "\n", _SKIP.match(above) is not None)
        )
        at = end + 1
    return found


def expected_output(text: str) -> list[str] | None:
    """Return what a python block says it prints, or None where it does not say it all."""
    lines = text.splitlines()
    expected: list[str] = []
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr))
    for node in sorted(nodes, key=lambda each: each.lineno):
        if not isinstance(node.value, ast.Call):
            continue
        if isinstance(node.value.func, ast.Name) and node.value.func.id == "print":
            rest = lines[node.end_lineno - 1][node.end_col_offset :].strip()  # type: ignore[operator]
            if not rest.startswith("# ") or rest == "# ...":
                return None
            expected.append(rest[2:])
    return expected


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a console block, each with the output that it states."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found
