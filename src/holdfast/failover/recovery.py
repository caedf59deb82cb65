"""Coming back: look after an idle primary, probe one that is away, catch it up, switch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from holdfast.engines.base import Engine
from holdfast.errors import ClosedError, StateError
from holdfast.failover.breaker import due_in
from holdfast.failover.replay import PART, Replay
from holdfast.failover.watch import WatchedEngine
from holdfast.store import record
from holdfast.store.kernel import Kernel

if TYPE_CHECKING:
    from holdfast.failover.kernel import FailoverKernel

_log = logging.getLogger("holdfast.failover")


def connect(kernel: FailoverKernel, opener: Callable[[bool], Engine], *, create: bool) -> Kernel:
    """Open a primary's store and take the next epoch in it; whatever fails, nothing stays open.

    Raises:
        DivergedError: It is not the store that the spill belongs to.
        EngineError: It is away.
    """
    spill = kernel.spill
    engine: WatchedEngine | None = None
    inner = opener(create)
    try:
        engine = WatchedEngine(inner, spill.mirror, lambda error: kernel.failed(watched, error))
        watched = engine
        settings = replace(kernel.settings, create=create)
        if settings.use_compression is None:
            settings = replace(settings, use_compression=inner.traits.compress)
        primary = Kernel(engine, settings, kernel.clock)
    except BaseException:
        with suppress(StateError):
            inner.close()
        raise
    try:
        spill.meet(primary.info.lineage, min(primary.key_limit, spill.kernel.key_limit))
        primary.committer.fence = spill.advance(engine)
        spill.mirror.portable = partial(_portable, primary)
    except BaseException:
        abandon(primary)
        raise
    return primary


def _portable(primary: Kernel, place: bytes, raw: bytes) -> bytes | None:
    """Return a record that is read without the primary's dictionaries.

    None where the dictionary is not at hand: this runs under the mirror's lock, and an outage that
    is noticed in it would wait for the kernel's, whose holder may wait for the mirror's.
    """
    if raw[2] & 0xF0 != record.ZSTD_DICTIONARY:
        return raw
    try:
        found = record.parse(place, raw)
        if not primary.payloads.has_dictionary(found.payload):
            return None
        plain = primary.payloads.restore(place, found)
    except StateError:  # damaged: whoever reads it hears of it
        return None
    return record.build(
        place,
        found.kind,
        record.MSGPACK | record.PLAIN,
        found.state_class,
        found.run,
        found.revision,
        found.previous,
        found.version,
        found.created_ns,
        found.updated_ns,
        found.size,
        plain,
        found.expires_ns,
        found.correlation,
        found.actor,
        found.schema_version,
        found.key_id,
    )


class Recovery:
    """The thread that looks after the primary of one store."""

    def __init__(self, kernel: FailoverKernel) -> None:
        self._kernel = kernel
        self._event = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._probing = threading.Lock()
        self.replayed = 0

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._serve, name="holdfast-failover", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; a replay that goes on stops between two parts."""
        self._stopping = True
        self._event.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def tripped(self, primary: Kernel) -> None:
        """Get rid of a primary's handle, and begin to probe."""
        self._event.set()
        abandon(primary)

    def carry_over(self, primary: Kernel) -> bool:
        """Replay the outage into a primary that is open again, and switch to it.

        Returns:
            Whether the store runs on the primary now.
        """
        kernel = self._kernel
        gate = kernel.probing()
        try:
            replay = Replay(kernel.spill, primary, kernel.failover.on_conflict)
            replay.begin()
            more = True
            while more:  # writers go on meanwhile, and are outrun
                gate.pace(PART // 8)
                more = replay.step()
                if self._stopping:
                    raise ClosedError("the store is being closed")
                more = more and kernel.spill.pending() > PART // 8
            with gate.alone():
                while replay.step():
                    pass
                self.replayed += replay.carried
                kernel.switch(primary)
        except BaseException as error:
            if kernel.primary is not primary:  # whatever it is, the store stays on its spill
                kernel.probe_failed(_code(error), reached=True)
                abandon(primary)
            if not isinstance(error, Exception):
                raise  # somebody interrupts the thread that probes; others will probe again
            if not isinstance(error, StateError):
                _log.exception("the replay failed")
            return False
        finally:
            gate.pace(None)
        _log.warning("the primary is back: %d commits were replayed", replay.carried)
        return True

    def _serve(self) -> None:
        kernel = self._kernel
        while not self._stopping:
            primary = kernel.primary
            if primary is None:
                wait = due_in(kernel.breaker, kernel.clock.now_ns())
            else:
                wait = kernel.failover.heartbeat
            kernel.clock.wait(self._event, wait)
            self._event.clear()
            if self._stopping:
                return
            try:
                self._attend()
            except Exception:  # noqa: BLE001 - without this thread nobody would ever come back
                _log.exception("looking after the primary failed")

    def _attend(self) -> None:
        kernel = self._kernel
        primary = kernel.primary
        if primary is not None:
            with suppress(StateError):  # the watched engine has told the breaker
                kernel.look(primary)
        elif not due_in(kernel.breaker, kernel.clock.now_ns()):
            with suppress(ClosedError):
                self.probe()

    def probe(self) -> bool:
        """Try the primary, and switch to it if it is there; return whether it is in use."""
        kernel = self._kernel
        with self._probing:
            if not kernel.is_away():
                return True
            if kernel.closed:
                raise ClosedError("the store is closed")
            kernel.probing()
            try:
                primary = kernel.connect()
            except BaseException as error:  # it is away still, whatever it says
                kernel.probe_failed(_code(error), reached=False)
                if not isinstance(error, Exception):
                    raise
                return False
            return self.carry_over(primary)


def _code(error: BaseException) -> str:
    return error.code if isinstance(error, StateError) else "internal"


def abandon(primary: Kernel) -> None:
    """Close a handle of the primary that nobody needs, in a thread: it may hang for a while."""
    closer = threading.Thread(target=_close, args=(primary,), name="holdfast-abandon", daemon=True)
    closer.start()


def _close(primary: Kernel) -> None:
    try:
        primary.close()
    except Exception as error:  # noqa: BLE001 - it was given up already
        _log.debug("closing a primary's handle: %s", type(error).__name__)
