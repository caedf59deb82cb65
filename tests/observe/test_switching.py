"""Stores with failover are observed across their switches, and the commands show the figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import holdfast
from holdfast import DegradedError, FailoverSettings, correlate

A = "agent:a"


def test_a_switch_is_followed(tmp_path: Path) -> None:
    """Verbs, changes and groups count on both sides; a failure is recorded where writes go."""
    failover = FailoverSettings(spill=tmp_path / "spill.db", probe_every=3600, heartbeat=3600)
    with holdfast.open(tmp_path / "primary.db", failover=failover, metrics=True) as state:
        state.set(A, "k", 1)
        groups = state.metrics.snapshot()["lane"]["commit_seconds"]["count"]
        assert groups >= 1
        state.failover.leave()
        with correlate("job"), pytest.raises(DegradedError):
            state.get(A, "unknown")
        state.set(A, "k", 2)
        away = state.metrics.snapshot()
        assert away["operations"]["get"]["outcomes"] == {"degraded": 1}
        assert away["operations"]["set"]["outcomes"] == {"ok": 2}
        assert list(text_string_to_metric_families(state.metrics.prometheus()))
        assert state.failover.probe()
        state.set(A, "k", 3)
        back = state.metrics.snapshot()
        assert back["lane"]["commit_seconds"]["count"] > groups
        assert back["recorded"]["state.failed"] + back["recorded"]["lost"] == 1
        assert back["changes"] == [{"operation": "set", "class": "standard", "count": 3}]
