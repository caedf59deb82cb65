"""The feed: tells what lives above the store of each commit that this process makes.

Observers hear of a commit when it is durable as asked and before its caller does, in the order of
commits for each key. They run in the thread that leads the commit lane, so they only take note:
whoever wants to work, queues. What other processes commit is in the journal, not here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.store.intent import Intent
    from holdfast.store.step import Step

_log = logging.getLogger("holdfast.feed")


class Commit:
    """One commit, as it happened.

    Attributes:
        intent: What was wanted: who, under which correlation, with which events.
        steps: What was done, operation by operation.
        revision: Its revision.
        time_ns: Its commit time.
    """

    __slots__ = ("intent", "revision", "steps", "time_ns")

    def __init__(self, intent: Intent, steps: Sequence[Step], revision: int, time_ns: int) -> None:
        self.intent = intent
        self.steps = steps
        self.revision = revision
        self.time_ns = time_ns


#: Takes note of commits. MUST NOT block, and MUST NOT write to the store.
Observer = Callable[[Sequence[Commit]], None]


class BeforeStage(Protocol):
    """What stands between a wanted commit and the lane: it may change it, or refuse it."""

    def wants(self, intent: Intent) -> bool:
        """Say whether it has anything to do with `intent`; called for every commit."""
        ...

    def run(self, intent: Intent, submit: Callable[[Intent], None]) -> None:
        """Prepare `intent` and submit it; raise to refuse it.

        MUST leave the outcome on `intent`, whatever it was that was submitted in the end.
        `submit` returns with the outcome on the intent that it was given.
        """
        ...

    async def run_async(self, intent: Intent, submit: Callable[[Intent], Awaitable[None]]) -> None:
        """Do the same for an awaiting caller."""
        ...


class Feed:
    """The observers of one store.

    Attributes:
        observers: Who is told; empty for most stores, which then pay nothing.
        failures: How often an observer raised.
    """

    def __init__(self) -> None:
        self.observers: tuple[Observer, ...] = ()
        self.failures = 0
        self.after_fork()

    def after_fork(self) -> None:
        """Make locks anew: their holders are not here. Observers of the parent stay behind."""
        self.observers = ()
        self._mutex = threading.Lock()
        self._order: dict[int, threading.Lock] = {}  # by partition, made when first needed

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Tell `observer` from now on; return what ends that."""
        with self._mutex:
            self.observers = (*self.observers, observer)

        def end() -> None:
            with self._mutex:
                self.observers = tuple(o for o in self.observers if o is not observer)

        return end

    def publish(self, commits: Sequence[Commit]) -> None:
        """Tell every observer; none can fail a commit that has happened."""
        for observer in self.observers:
            try:
                observer(commits)
            except Exception as error:  # noqa: BLE001 - counted, and none of the caller's business
                self.failures += 1
                _log.error("an observer of commits failed: %s", type(error).__name__)

    @contextmanager
    def in_order(self, among: Sequence[int]) -> Iterator[None]:
        """Hold what makes commits of the same partitions told in their order.

        Two lanes may write one partition: the engine orders the commits, and this the telling.
        """
        with ExitStack() as held:
            for partition in sorted(among):
                held.enter_context(self._order.setdefault(partition, threading.Lock()))
            yield
