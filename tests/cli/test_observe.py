"""The command metrics: what a process that has only just opened the store can say."""

from __future__ import annotations

import json

from prometheus_client.parser import text_string_to_metric_families

from tests.cli.conftest import Holdfast


def test_metrics_are_those_of_the_store(holdfast_command: Holdfast) -> None:
    """Revision and records are the store's; that verbs are not counted here is said."""
    holdfast_command("-s", "state.db", "set", "agent:a", "k", "1", "--durability", "os")
    shown = holdfast_command("-s", "state.db", "metrics")
    lines = dict(line.split("\t") for line in shown.out.splitlines())
    assert (lines["engine"], lines["revision"], lines["records"]) == ("sqlite", "1", "1")
    assert "verbs are counted by the process that calls them" in shown.err
    made = holdfast_command("-s", "state.db", "metrics", "--json")
    assert (json.loads(made.out)["store"]["records"], made.err) == (1, "")


def test_metrics_for_prometheus(holdfast_command: Holdfast) -> None:
    """The text format is whole, and the remark is not in it."""
    holdfast_command("-s", "state.db", "set", "agent:a", "k", "1", "--durability", "os")
    shown = holdfast_command("-s", "state.db", "metrics", "--prometheus")
    families = {family.name: family for family in text_string_to_metric_families(shown.out)}
    assert families["holdfast_records"].samples[0].value == 1
    assert families["holdfast_up"].samples[0].labels == {"engine": "sqlite"}
