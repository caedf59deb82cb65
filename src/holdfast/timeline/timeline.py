"""The timeline of a piece of work, a place or a time: what happened, in order, as it was then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, Literal, overload

from holdfast.errors import HorizonError, InvalidArgumentError
from holdfast.store.scope import StateScope
from holdfast.store.value import MISSING
from holdfast.timeline.causality import causality
from holdfast.timeline.entry import TimelineEntry
from holdfast.timeline.graph import CausalityGraph

Format = Literal["tree", "json", "mermaid", "gantt", "svg", "html"]
FORMATS: Final = ("tree", "json", "mermaid", "gantt", "svg", "html")


@dataclass(frozen=True)
class Timeline(Sequence[TimelineEntry]):
    """Entries in the journal's order; a sequence of them.

    Attributes:
        entries: Changes and events, each with its value of that moment.
        correlation, scope, key, since, until: What was asked for.
        horizon: The journal has been trimmed up to this revision, and what was asked for reaches
            back before it: earlier entries may have been there. 0 where nothing is cut.
        more: The limit was reached: there are later entries.
    """

    entries: tuple[TimelineEntry, ...]
    correlation: str | None = None
    scope: StateScope | None = None
    key: str | None = None
    since: int | datetime | None = None
    until: int | datetime | None = None
    horizon: int = 0
    more: bool = False

    @overload
    def __getitem__(self, at: int) -> TimelineEntry: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[TimelineEntry]: ...

    def __getitem__(self, at: int | slice) -> TimelineEntry | Sequence[TimelineEntry]:
        return self.entries[at]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[TimelineEntry]:
        return iter(self.entries)

    def __repr__(self) -> str:
        cut = "" if self.complete else ", incomplete"
        return f"Timeline({self.title!r}, entries={len(self.entries)}{cut})"

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is there."""
        return not self.horizon and not self.more

    @property
    def title(self) -> str:
        """What it is the timeline of."""
        where = None if self.scope is None else str(self.scope)
        if where is not None and self.key is not None:
            where += f"/{self.key}"
        return " in ".join(filter(None, (self.correlation, where))) or "the journal"

    @property
    def began_at(self) -> datetime | None:
        """When it began: with its first step, or its first entry; None of an empty one."""
        return self.entries[0].at - self.entries[0].offset if self.entries else None

    @property
    def duration(self) -> timedelta:
        """From its beginning to its last entry."""
        return max((entry.offset for entry in self.entries), default=timedelta(0))

    @cached_property
    def graph(self) -> CausalityGraph:
        """Which step led to which."""
        return causality(self.entries)

    def state_at(
        self, at: TimelineEntry | int, *, trimmed: Any = MISSING
    ) -> dict[tuple[StateScope, str], Any]:
        """Return the values that the timeline's own entries had left behind at one of them.

        For what the whole store held, read it with ``as_of=entry.revision``.

        Args:
            at: An entry, or its index; it is included.
            trimmed: What stands for a value that retention has trimmed.

        Raises:
            HorizonError: A value has been trimmed, and nothing is to stand for it.
            InvalidArgumentError: There is no such entry.
        """
        left = self.writes_at(at)
        for entry in left.values():
            if not entry.readable and trimmed is MISSING:
                raise HorizonError(
                    f"retention has trimmed the value of {entry.scope}/{entry.key} at revision "
                    f"{entry.revision}",
                    hint="state_at(..., trimmed=None) lets something stand for such values",
                    requested=entry.revision,
                )
        return {place: e.value if e.readable else trimmed for place, e in left.items()}

    def writes_at(self, at: TimelineEntry | int) -> dict[tuple[StateScope, str], TimelineEntry]:
        """Return the entries that wrote what `state_at` returns.

        Raises:
            InvalidArgumentError: There is no such entry.
        """
        index = at.index if isinstance(at, TimelineEntry) else at
        if isinstance(index, bool) or not isinstance(index, int):
            raise InvalidArgumentError("at is an entry of the timeline, or its index")
        if index < 0:
            index += len(self.entries)
        if not 0 <= index < len(self.entries):
            raise InvalidArgumentError(f"the timeline has {len(self.entries)} entries")
        if isinstance(at, TimelineEntry) and self.entries[index] is not at:
            raise InvalidArgumentError("the entry is of another timeline")
        left: dict[tuple[StateScope, str], TimelineEntry] = {}
        for entry in self.entries[: index + 1]:
            if entry.key is not None and (entry.wrote or entry.removed):
                left.pop((entry.scope, entry.key), None)
                if entry.wrote:
                    left[entry.scope, entry.key] = entry
        return left

    @property
    def final_state(self) -> dict[tuple[StateScope, str], Any]:
        """The values that the timeline's own entries have left behind.

        Raises:
            HorizonError: Retention has trimmed one of them; `state_at` takes what to show then.
        """
        return self.state_at(-1) if self.entries else {}

    def render(self, format: Format = "tree", *, sensitive: bool = False) -> str:
        """Return the timeline as text to look at.

        Args:
            format: ``"tree"`` (plain text), ``"json"``, ``"mermaid"`` (a flowchart of the
                steps), ``"gantt"`` (Mermaid's), ``"svg"``, or ``"html"``: a page of its own,
                which needs nothing from elsewhere.
            sensitive: Show values of class SENSITIVE; by default their class stands there.

        Raises:
            InvalidArgumentError: An unknown format.
        """
        from holdfast.timeline import rendering

        return rendering.render(self, format, sensitive=sensitive)
