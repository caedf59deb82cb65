"""Every case, in the order in which they run."""

from __future__ import annotations

from proof import flips, kills, powercuts, syscalls
from proof.case import Case

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        kills.CASE,
        syscalls.CASE,
        powercuts.CASE,
        flips.CASE,
    )
}  # fmt: skip
