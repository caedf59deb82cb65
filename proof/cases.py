"""Every case, in the order in which they run."""

from __future__ import annotations

from proof import (
    appends,
    cancels,
    counters,
    failover,
    flips,
    hermitage,
    kills,
    pgbouncer,
    powercuts,
    registers,
    soak,
    syscalls,
)
from proof.case import Case
from proof.modelled import case as model

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        kills.CASE,
        syscalls.CASE,
        powercuts.CASE,
        flips.CASE,
        hermitage.CASE,
        appends.CASE,
        registers.CASE,
        counters.CASE,
        cancels.CASE,
        pgbouncer.CASE,
        model.CASE,
        failover.CASE,
        soak.CASE,
    )
}
