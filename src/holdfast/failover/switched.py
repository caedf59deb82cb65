"""Engine and reader of the store in use: what holds on to them follows the switch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.engines.base import Body, Durability
from holdfast.failover.degraded import Spilled
from holdfast.store.past import Found

if TYPE_CHECKING:
    from holdfast.failover.kernel import FailoverKernel


class SwitchedEngine:
    """The engine of the store in use."""

    def __init__(self, kernel: FailoverKernel) -> None:
        self._kernel = kernel

    def get(self, key: bytes) -> bytes | None:
        """Read one row."""
        raw: bytes | None = self._kernel.call(lambda side: side.engine.get(key))
        return raw

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read rows."""
        found: list[bytes | None] = self._kernel.call(lambda side: side.engine.get_many(keys))
        return found

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Write what is no commit: only the primary takes it."""

        def change(side: Any) -> None:
            side.engine.write(durability, body, partitions)

        self._kernel.refusing("this change of the store", change)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel.side.engine, name)


class SwitchedReader:
    """The reader of the store in use; single keys are read from whichever answers."""

    def __init__(self, kernel: FailoverKernel) -> None:
        self._kernel = kernel

    def value(self, place: bytes, default: Any) -> Any:
        """Return a value, as `Reader.value`."""
        return self._kernel.call(lambda side: side.reader.value(place, default))

    def current(self, place: bytes) -> Found | None:
        """Return a live record, as `Reader.current`."""
        found: Found | None = self._kernel.call(lambda side: side.reader.current(place))
        return found

    def live(self, place: bytes, raw: bytes | None) -> Found | None:
        """Parse what `SwitchedEngine.get_many` returned, whichever store it came from."""
        if isinstance(raw, Spilled):  # read before the switch back
            spilled: Found | None = self._kernel.stand_in.reader.live(place, raw)
            return spilled
        found: Found | None = self._kernel.call(lambda side: side.reader.live(place, raw))
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel.side.reader, name)
