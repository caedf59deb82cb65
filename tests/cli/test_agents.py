"""`holdfast agent`: what it shows of agents, and the copies it makes."""

from __future__ import annotations

import json
from pathlib import Path

import holdfast as library
from holdfast.agents import AgentManager, Message
from tests.cli.conftest import Holdfast


def test_agents_on_the_command_line(holdfast_command: Holdfast, tmp_path: Path) -> None:
    """List, show, history, fork as it was, export, import; and clear errors."""
    store, file = str(tmp_path / "s.db"), str(tmp_path / "a.json")
    with library.open(store) as state:
        agents = AgentManager(state)
        agents.create("a")
        agents.append("a", Message("assistant", "hm", tool_calls=["1"]))
        agents.append("a", Message("tool", {"n": 1}, tool_call_id="1"))
        then = state.revision
        agents.append("a", Message("user", "bye"))
        agents.tool_used("a", "t", 0.5)

    def rows(*words: str) -> list[dict[str, object]]:
        result = holdfast_command(*words, "-s", store, "--json")
        assert result.status == 0, result.err
        return [json.loads(line) for line in result.out.splitlines()]

    (listed,) = rows("agent", "list")
    assert (listed["id"], listed["messages"]) == ("a", 3)
    (shown,) = rows("agent", "show", "a")
    assert shown["tools"]["t"]["calls"] == 1  # type: ignore[index]
    assert [row["content"] for row in rows("agent", "history", "a")] == ["hm", {"n": 1}, "bye"]
    assert [row["number"] for row in rows("agent", "history", "a", "--tail", "2")] == [2]
    assert "bye" in holdfast_command("agent", "history", "a", "-s", store).out
    assert (
        holdfast_command("agent", "fork", "a", "b", "--as-of", str(then), "-s", store).status == 0
    )
    assert [row["content"] for row in rows("agent", "history", "b")] == ["hm", {"n": 1}]
    assert holdfast_command("agent", "fork", "a", "b", "-s", store).status == 4
    assert holdfast_command("agent", "export", "a", file, "-s", store).status == 0
    assert holdfast_command("agent", "export", "a", file, "-s", store).status == 2
    assert holdfast_command("agent", "import", file, "--id", "c", "-s", store).status == 0
    assert [row["id"] for row in rows("agent", "list")] == ["a", "b", "c"]
    for words in (("show", "x"), ("history", "x"), ("export", "x", str(tmp_path / "x"))):
        assert holdfast_command("agent", *words, "-s", store).status == 3
    (tmp_path / "bad").write_text("[]")
    assert holdfast_command("agent", "import", str(tmp_path / "bad"), "-s", store).status == 2
