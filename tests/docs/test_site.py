"""The documentation is complete: every error, every exported name, every page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast import errors
from holdfast.errors import StateError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def error_classes(kind: type[StateError] = StateError) -> Iterator[type[StateError]]:
    """Yield the classes of `holdfast.errors`, the tree in order."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_classes(child)


def test_the_table_of_errors_is_complete_and_right() -> None:
    """docs/errors.md has one row per class, with its code, retryable, exit status and hint."""
    exits = pytest.importorskip("holdfast.cli.exits").EXITS
    rows = [
        f"| `{kind.__name__}` | `{kind.code}` | {'yes' if kind.retryable else ''} "
        f"| {exits[kind.code]} | {kind.default_hint.replace('|', '/')} |"
        for kind in error_classes()
    ]
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if re.match(r"\| `\w+Error` \| ", line)]
    assert table == rows, "the table should be:\n" + "\n".join(rows)


def test_every_exported_name_is_in_the_reference() -> None:
    """Each name of holdfast.__all__ stands behind a ::: of docs/reference."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.glob("reference/*.md"))
    shown = set(re.findall(r"^::: [\w.]+\.(\w+)$", text, re.MULTILINE))
    named = set(holdfast.__all__)
    known = {kind.__name__ for kind in error_classes()}  # errors are shown as a module
    assert sorted(named - shown - known) == []


def test_every_page_is_in_the_navigation() -> None:
    """mkdocs.yml names every page; decisions are found by themselves."""
    named = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert sorted(page for page in pages - named if not page.startswith("decisions/0")) == []


def test_versions_agree() -> None:
    """The changelog's newest release is the package's version."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text, re.MULTILINE)
    assert released[0] == holdfast.__version__


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_links_of_the_pages_outside_the_site_resolve(page: Path) -> None:
    """README, CHANGELOG and the others link to files that are there (mkdocs checks docs/)."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []
