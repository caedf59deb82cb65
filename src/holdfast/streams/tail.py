"""The tail of the journal: read on from a position, no further than what can change no more."""

from __future__ import annotations

from holdfast.errors import ReadOnlyError
from holdfast.store.journal import read_heads
from holdfast.store.kernel import Kernel
from holdfast.store.paging import Page, Wanted, read_page
from holdfast.store.position import Position, diverged, refuse_diverged
from holdfast.streams.source import source_of

_FIRST = 16


class Tail:
    """Reads the journal page by page. It holds neither a view nor a pin between two pages.

    Attributes:
        position: Everything up to here has been read.
        head: Where the journal ended at the last look.
    """

    def __init__(self, kernel: Kernel, wanted: Wanted, position: Position) -> None:
        self._kernel = kernel
        self._wanted = wanted
        self._ends: dict[int, bytes] | None = None  # None: the position is still to be checked
        self._chunk = _FIRST
        self.position = position
        self.head = position.revision

    def read(self, most: int) -> Page | None:
        """Return what comes next, about `most` changes of it; None where nothing has been added.

        Raises:
            HorizonError: The journal no longer reaches back to the position.
            DivergedError: The position belongs to another history.
            DegradedError: The primary is away.
            ClosedError: The store is closed.
        """
        source = source_of(self._kernel)
        every = source.partitions.all
        since = self.position.revision
        if len(every) > 1 and source.engine.traits.partitioned:
            reach = source.head_revision()
            if reach > since:
                refuse_unsettled(source)
                source.reader.settle(reach)
        with source.engine.read() as view:
            heads = read_heads(view, every)
            head = max(heads, key=lambda each: each.revision)
            if len(every) == 1 or not source.engine.traits.partitioned:
                reach = head.revision
            self.head = head.revision
            if self._ends is None:
                refuse_diverged(view, every, self.position)
                self._ends = {}
            if head.revision < since:
                raise diverged(since, f"the store ends at {head.revision}")
            if reach <= since:
                return None
            page = read_page(
                view,
                source,
                since,
                reach,
                self._wanted,
                most=most,
                chunk=self._chunk,
                ends=self._ends,
            )
        # Rows are as large as the groups that made them: as many as were needed this time.
        self._chunk = max(1, min(page.rows + 1, 512)) if page.more else _FIRST
        hash_ = page.hashes.get(page.reached, b"")
        if page.reached == head.revision:
            hash_ = head.hash
        page.hashes[page.reached] = hash_
        self.position = Position(page.reached, hash_)
        return page

    def seek(self, position: Position) -> None:
        """Read on from elsewhere."""
        self.position, self._ends = position, None


def refuse_unsettled(source: Kernel) -> None:
    """Refuse to follow a journal of which nobody here can say what is still under way.

    Raises:
        ReadOnlyError: Writers of several partitions run at once, and the store is read only.
    """
    if source.settings.read_only:
        raise ReadOnlyError(
            f"{source.engine.traits.name}: a store of several partitions that is open for reading "
            "only cannot tell which commits are still under way",
            hint="open it without read_only=True to watch it",
        )
