"""docs/benchmarks.md shows the stored reference runs, to the figure."""

from __future__ import annotations

import pytest

from benchmarks.page import DOCS, PAGE, rendered
from benchmarks.storing import RESULTS, markdown, number, replaced


def test_the_tables_of_the_page_are_those_of_the_reference_runs() -> None:
    """Rendering the page again changes nothing (else: ``python -m benchmarks.page``)."""
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page) == page


def test_the_charts_of_the_page_are_those_of_the_reference_runs() -> None:
    """Each chart that a reference run drew is the one beside the page; there is no other."""
    drawn = {f"benchmarks-{one.name}": one.read_bytes() for one in RESULTS.glob("[pg]*.png")}
    assert {one.name: one.read_bytes() for one in DOCS.glob("benchmarks-*.png")} == drawn


def test_a_part_of_a_page_is_replaced() -> None:
    """Only what stands between the two comments of a name changes; without them it is an error."""
    page = "a\n<!-- t -->\nold\n<!-- /t -->\nb"
    assert replaced(page, "t", "new") == "a\n<!-- t -->\n\nnew\n\n<!-- /t -->\nb"
    with pytest.raises(ValueError, match="<!-- u -->"):
        replaced(page, "u", "new")


def test_a_table_is_markdown() -> None:
    """Figures lie to the right, and a bar in a text does not end a cell."""
    assert markdown(["a", "b", "c"], [["1", "x|y", "3"]]).splitlines() == [
        "| a | b | c |",
        "|---|---|---:|",
        "| 1 | x/y | 3 |",
    ]


def test_figures_have_three_digits() -> None:
    """Large figures lose their fractions, small ones keep three digits."""
    shown = [number(value) for value in (12345.6, 123.456, 12.3456, 0.0012345, 7.0, 0)]
    assert shown == ["12,346", "123", "12.3", "0.00123", "7", "0"]
