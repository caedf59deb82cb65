"""What happened at the primary since it was last seen: whose commit changed what, and when.

The primary's own journal tells, commit by commit; ids tell ours from others'.
"""

from __future__ import annotations

from collections.abc import Container

from holdfast.engines.base import View
from holdfast.errors import DivergedError
from holdfast.failover.rows import KnownHead
from holdfast.store import layout
from holdfast.store.journal import (
    MAX_REVISION,
    chain_hash,
    journal_horizon,
    parse_header,
    read_head,
)
from holdfast.store.value import Operation

_HEADERS = 64
_NO_CHANGE = (Operation.TRIM, Operation.EXPIRE)


class Meanwhile:
    """The primary's commits behind a known head.

    Args:
        known: The head.
        prefix: What the ids of this writer's commits begin with.
        given: Ids of its commits that callers chose.

    Attributes:
        theirs: Place to the last revision in which others changed it.
        ours: Place to the last revision in which this writer did.
        landed: Id of each commit of this writer to its revision.
        blind: The journal no longer tells everything: a newer record may be anybody's.
    """

    def __init__(self, known: KnownHead, prefix: bytes, given: Container[bytes]) -> None:
        self._position = known.revision
        self._known = known
        self._prefix, self._given = prefix, given
        self.theirs: dict[bytes, int] = {}
        self.ours: dict[bytes, int] = {}
        self.landed: dict[bytes, int] = {}
        self.blind = False

    def check(self, view: View, chain_key: bytes | None) -> None:
        """Refuse a primary whose past is not the one that was seen.

        Raises:
            DivergedError: It was put back to an earlier state, or is another history.
        """
        known = self._known
        if not known.revision:
            return
        if read_head(view).revision < known.revision:
            raise DivergedError(
                f"the primary ends before revision {known.revision}, which was seen in it",
                hint="it was put back to an earlier state; start again with a new spill",
            )
        row = view.get(layout.journal_key(known.revision))
        if row is not None and chain_hash(row, chain_key) != known.hash:
            raise DivergedError(
                f"the primary has another commit at revision {known.revision} than was seen",
                hint="it is another history; start again with a new spill",
            )

    def look(self, view: View) -> None:
        """Read on to the end of the primary's journal."""
        if journal_horizon(view)[0] > self._position:
            self.blind = True
        more = True
        while more:
            start, stop = self._position + 1, MAX_REVISION
            rows = view.scan(layout.journal_key(start), layout.journal_key(stop), limit=_HEADERS)
            for row in rows:
                header = parse_header(*row)
                for at, commit in enumerate(header.commits):
                    revision = header.first + at
                    if revision <= self._position:
                        continue
                    mine = commit.commit_id.startswith(self._prefix)
                    mine = mine or commit.commit_id in self._given
                    if mine:
                        self.landed[commit.commit_id] = revision
                    for change in commit.changes:
                        if change.operation not in _NO_CHANGE:
                            (self.ours if mine else self.theirs)[change.place] = revision
                self._position = header.last
            more = len(rows) == _HEADERS

    def conflicts(self, place: bytes, revision: int) -> bool:
        """Say whether others changed a place after this writer knew it last.

        Args:
            place: Which.
            revision: Of the primary's record; 0 for none.
        """
        ours = self.ours.get(place, 0)
        if self.blind and revision > max(self._known.revision, ours):
            return True
        return self.theirs.get(place, 0) > ours
