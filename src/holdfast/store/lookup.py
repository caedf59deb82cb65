"""One key, looked up for a caller: what is ephemeral here, what is stored now, what was."""

from __future__ import annotations

from datetime import datetime

from holdfast.errors import EphemeralMixError
from holdfast.store.kernel import Kernel
from holdfast.store.past import Found
from holdfast.store.reader import ephemeral_value, state_value
from holdfast.store.record import describe
from holdfast.store.value import StateValue


class Lookup:
    """Looks up single keys of one store."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def find(self, place: bytes, as_of: int | datetime | None = None) -> StateValue | None:
        """Return a value with its metadata: of now, or as of a moment; None where there is none."""
        if as_of is not None:
            found = self.past(place, as_of)
            return None if found is None else state_value(found)
        local = self.ephemeral(place)
        if local is not None:
            return local
        found = self._kernel.reader.current(place)
        return None if found is None else state_value(found)

    def ephemeral(self, place: bytes) -> StateValue | None:
        """Return the value that is ephemeral in this process, or None."""
        kernel = self._kernel
        entry = kernel.ephemeral.get(place, kernel.clock.now_ns())
        if entry is None:
            return None
        prepared = entry.prepared
        payload = kernel.payloads.unpack(place, prepared.encoding, prepared.payload, prepared.size)
        return ephemeral_value(entry, payload)

    def past(self, place: bytes, as_of: int | datetime) -> Found | None:
        """Return what stood at a place at a moment.

        Raises:
            EphemeralMixError: It is ephemeral here.
            HorizonError: That part of the past has been trimmed.
        """
        kernel = self._kernel
        if kernel.ephemeral.get(place, kernel.clock.now_ns()) is not None:
            raise EphemeralMixError(f"{describe(place)} is ephemeral here: it has no past")
        return kernel.reader.at(place, as_of)
