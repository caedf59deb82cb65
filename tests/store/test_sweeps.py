"""The background sweep runs wherever something expires, also in stores made by others."""

from __future__ import annotations

from pathlib import Path

import holdfast
from holdfast.testing import FakeClock


def test_it_starts_with_a_store_that_has_expiring_keys(tmp_path: Path, clock: FakeClock) -> None:
    """Opening a store with keys that expire starts the sweep; one without does not."""
    with holdfast.open(tmp_path / "state.db", clock=clock) as state:
        assert state._kernel.sweeper._thread is None
        state.set("agent:a", "k", 1, expires_in=5)
        assert state._kernel.sweeper._thread is not None
    with holdfast.open(tmp_path / "state.db", clock=clock) as state:
        assert state._kernel.sweeper._thread is not None


def test_rewind_does_not_bring_back_what_has_run_out(clock: FakeClock) -> None:
    """A value whose time is over is not written again, and nothing is claimed to have changed."""
    with holdfast.open("memory:", clock=clock, sweep_every=0) as state:
        first = state.set("agent:a", "k", 1, expires_in=5)
        clock.advance(10)
        before = state.revision
        assert state.rewind("agent:a", "k", to=first) == 0
        assert state.revision == before
        state.set("agent:a", "k", 2)
        assert state.rewind("agent:a", "k", to=first) == 1
        assert state.get("agent:a", "k") is None
