"""What a replay met: conflicts with what others wrote meanwhile, and provisional results."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from holdfast.store.scope import StateScope
from holdfast.store.value import StateValue


class KeepTheirs(enum.Enum):
    """The type of `KEEP_THEIRS`."""

    KEEP_THEIRS = "keep_theirs"


#: What an `on_conflict` function returns to leave the primary's value as it is.
KEEP_THEIRS: Final = KeepTheirs.KEEP_THEIRS


@dataclass(frozen=True, slots=True)
class Conflict:
    """A key that this writer changed on the spill, and others on the primary meanwhile.

    Attributes:
        tenant: The key's tenant; empty for none.
        scope, key: Which key.
        ours: What was written on the spill; None where it was deleted.
        theirs: What the primary holds; None where it was deleted there.
        made_at: When ours was acknowledged.
        commit_id: Hex id of our commit, the same on the spill and on the primary.
        provisional: Ours was a provisional write whose premises did not hold.
        resolution: ``"keep_ours"``, ``"keep_theirs"``, ``"value"`` or ``"delete"`` (what a function
            said), ``"refused"`` (the primary would not take ours); None while it is being asked.
        failed: Name of the exception that the function raised (ours was kept then), or the code
            of the primary's refusal, or None.
    """

    tenant: str
    scope: StateScope
    key: str
    ours: StateValue | None
    theirs: StateValue | None
    made_at: datetime
    commit_id: str
    provisional: bool = False
    resolution: str | None = None
    failed: str | None = None

    def __repr__(self) -> str:
        return f"Conflict({self.scope}/{self.key}, resolution={self.resolution!r})"


@dataclass(frozen=True, slots=True)
class Provisional:
    """A write that was decided by what the spill knew.

    Attributes:
        keys: The scopes and keys that it wrote.
        made_at: When it was acknowledged.
        commit_id: Hex id of the commit.
        status: ``"pending"``; ``"confirmed"``: all it was based on held at the primary, and its
            result stands there; ``"not_confirmed"``: something did not hold, and the conflict
            policy decided.
        based_on: Scope and key to the revision that it was decided on (0: absent; negative: a
            write of this outage).
        actual: The keys of `based_on` that were not so, to the primary's revision (0: absent).
        revision: The primary's revision of the commit, or None if nothing was written.
    """

    keys: tuple[tuple[StateScope, str], ...]
    made_at: datetime
    commit_id: str
    status: str
    based_on: dict[tuple[StateScope, str], int]
    actual: dict[tuple[StateScope, str], int]
    revision: int | None = None
