"""Automatic failover: a primary, and a durable local spill for while it is away.

It stands above the kernel, because revisions, hashes and digests of two stores differ: what is
carried from one to the other are commits, not bytes. Nothing below knows of it.
"""

from holdfast.failover.conflict import KEEP_THEIRS, Conflict, Provisional
from holdfast.failover.report import FailoverReport, FailoverStatus
from holdfast.failover.settings import FailoverSettings

__all__ = [
    "KEEP_THEIRS",
    "Conflict",
    "FailoverReport",
    "FailoverSettings",
    "FailoverStatus",
    "Provisional",
]
