"""What waits in the spill: its commits, read back as what they are to do at the primary."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.failover import rows
from holdfast.failover.rows import Note
from holdfast.failover.settle import Change
from holdfast.failover.spill import Spill
from holdfast.store.journal import CommitEntry, Header
from holdfast.store.past import Moment, find_at
from holdfast.store.value import Operation

_CARRIED = (Operation.SET, Operation.DELETE, Operation.TOUCH)


@dataclass(slots=True)
class Pending:
    """One commit of the spill that the primary has not got, as far as is known.

    Attributes:
        revision: In the spill.
        made_ns: When it was acknowledged there.
        entry: Its entry in the spill's journal.
        note: What the journal does not say.
        changes: What it did.
        again: The primary has it, and it is done once more, to stand where it was acknowledged.
    """

    revision: int
    made_ns: int
    entry: CommitEntry
    note: Note
    changes: list[Change]
    again: bool = False


def read_pending(spill: Spill, page: list[tuple[int, Header, CommitEntry]]) -> list[Pending]:
    """Return what is to be carried over of a page of the spill's journal."""
    assert spill.identity is not None
    mark, payloads = spill.identity.mark, spill.kernel.payloads
    ours = [each for each in page if not each[2].commit_id.startswith(mark)]
    found: list[Pending] = []
    with spill.engine.read() as view:
        notes = view.get_many([rows.NOTE + commit.commit_id for _, _, commit in ours])
        for (revision, header, commit), row in zip(ours, notes, strict=True):
            note = Note() if row is None else rows.unpack_note(row)
            moment = Moment(revision, 0)
            changes = []
            for entry in commit.changes:
                if entry.operation not in _CARRIED:
                    continue
                made = None
                if entry.operation != Operation.DELETE:
                    made = find_at(view, payloads, entry.place, moment)
                changes.append(Change(entry.place, Operation(entry.operation), made))
            if changes or commit.given or commit.events:
                found.append(Pending(revision, header.time_ns, commit, note, changes))
    return found
