"""How fast a run may go, and how far it is."""

from __future__ import annotations

import time
from time import perf_counter

from holdfast.migrations.settings import RunSettings


class Pacer:
    """Tells progress, and keeps a run from going faster than it may."""

    def __init__(self, settings: RunSettings, total: int) -> None:
        self._rate, self._progress = settings.rate, settings.progress
        self._total, self._done, self._handed = total, 0, 0
        self._began = perf_counter()

    def handed(self, number: int) -> None:
        """Wait, if so many more values given out are too many yet."""
        self._handed += number
        if self._rate is not None:
            ahead = self._handed / self._rate - (perf_counter() - self._began)
            if ahead > 0:
                time.sleep(ahead)

    def done(self, number: int) -> None:
        """Tell that so many more are done."""
        self._done += number
        if self._progress is not None:
            self._progress(self._done, max(self._total, self._done))
