"""What happened at the primary since it was last seen: whose commit changed what, and when.

The primary's own journal tells, commit by commit; ids tell ours from others'.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from holdfast.engines.base import View
from holdfast.errors import DivergedError
from holdfast.failover.rows import Heads
from holdfast.store import layout
from holdfast.store.journal import (
    MAX_REVISION,
    CommitEntry,
    chain_hash,
    headers_between,
    journal_horizon,
    parse_head,
    read_head,
)
from holdfast.store.value import Operation

_NO_CHANGE = (Operation.TRIM, Operation.EXPIRE)


class Meanwhile:
    """The primary's commits behind the heads that are known.

    Args:
        known: The heads, by partition.
        prefix: What the ids of this writer's commits begin with.
        given: Ids of its commits that callers chose.

    Attributes:
        theirs: Place to the last revision in which others changed it.
        ours: Place to the last revision in which this writer did.
        landed: Id of each commit of this writer to its revision.
        blind: The journal no longer tells everything: a newer record may be anybody's.
    """

    def __init__(self, known: Heads, prefix: bytes, given: Container[bytes]) -> None:
        self._known = known
        self._positions = {partition: head.revision for partition, head in known.items()}
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
        for partition, known in self._known.items():
            if read_head(view, partition).revision < known.revision:
                raise DivergedError(
                    f"the primary ends before revision {known.revision}, which was seen in it",
                    hint="it was put back to an earlier state; start again with a new spill",
                )
            row = view.get(layout.journal_key(partition, known.revision))
            if row is not None and chain_hash(row, chain_key) != known.hash:
                raise DivergedError(
                    f"the primary has another commit at revision {known.revision} than was seen",
                    hint="it is another history; start again with a new spill",
                )

    def look(self, view: View, partitions: Sequence[int]) -> None:
        """Read on to the end of the primary's journals."""
        for partition in partitions:
            position = self._positions.get(partition, 0)
            if journal_horizon(view, partition)[0] > position:
                self.blind = True
            for header in headers_between(view, partition, position, MAX_REVISION):
                for at, commit in enumerate(header.commits):
                    if header.first + at > position:
                        self._note(header.first + at, commit)
                position = header.last
            self._positions[partition] = position

    def moved(self, heads: Sequence[bytes | None]) -> bool:
        """Say whether there is anything to `look` at, from the partitions' heads."""
        return any(
            parse_head(row).revision > self._positions.get(partition, 0)
            for partition, row in enumerate(heads)
        )

    def did(self, partition: int, revision: int) -> None:
        """Note a commit of this writer: one that follows what was seen need not be looked at."""
        if revision == self._positions.get(partition, 0) + 1:
            self._positions[partition] = revision

    def _note(self, revision: int, commit: CommitEntry) -> None:
        mine = commit.commit_id.startswith(self._prefix) or commit.commit_id in self._given
        if mine:
            self.landed[commit.commit_id] = revision
        changed = self.ours if mine else self.theirs
        for change in commit.changes:
            if change.operation not in _NO_CHANGE:
                changed[change.place] = revision

    def conflicts(self, place: bytes, partition: int, revision: int) -> bool:
        """Say whether others changed a place after this writer knew it last.

        Args:
            place: Which.
            partition: Where it lies.
            revision: Of the primary's record; 0 for none.
        """
        ours, known = self.ours.get(place, 0), self._known.get(partition)
        if self.blind and revision > max(ours, 0 if known is None else known.revision):
            return True
        return self.theirs.get(place, 0) > ours
