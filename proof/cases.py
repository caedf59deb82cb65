"""Every case, in the order in which they run."""

from __future__ import annotations

from proof import failover
from proof.case import Case

CASES: dict[str, Case] = {case.name: case for case in (failover.CASE,)}
