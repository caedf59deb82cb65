"""Every case, in the order in which they run."""

from __future__ import annotations

from proof import appends, cancels, hermitage, registers
from proof.case import Case
from proof.modelled import case as model

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        hermitage.CASE,
        appends.CASE,
        registers.CASE,
        cancels.CASE,
        model.CASE,
    )
}  # fmt: skip
