"""Agents: what one program saved another one loads; conversations grow; nothing is lost."""

from __future__ import annotations

import asyncio
import inspect
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast import StateManager
from holdfast.agents import (
    AgentConfiguration,
    AgentExistsError,
    AgentFileError,
    AgentManager,
    AgentMetadata,
    AgentMovedOnError,
    AgentNotFoundError,
    AsyncAgentManager,
    ExecutionState,
    Message,
    MessageRole,
    PersistentAgentState,
    ToolPerformance,
    decisions,
    whole_tail,
)
from holdfast.errors import InvalidArgumentError

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def talk(number: int) -> list[Message]:
    """Return a conversation."""
    roles = [MessageRole.USER, MessageRole.ASSISTANT]
    return [Message(roles[at % 2], f"text {at}", NOON) for at in range(number)]


def test_a_second_program_loads_everything_that_the_first_saved(state: StateManager) -> None:
    """Messages in order with roles, times and metadata; configuration, task, tools."""
    agents = AgentManager(state)
    whole = PersistentAgentState(
        "a:1",
        AgentConfiguration("m", "be kind", ["search"], {"temperature": 0.5}),
        ExecutionState("write", ["one", "two"], 2, NOON),
        AgentMetadata("Ada", "writes", ["x"], None, {"k": Decimal("1.5")}),
        {"plan": [1, 2], "at": NOON},
        [Message("narrator", {"deep": [1]}, NOON, {"m": 1}, [], None, "N"), *talk(3)],
        7,
    )
    loaded = agents.create(whole)
    assert loaded.conversation_history == whole.conversation_history
    loaded.conversation_history.append(Message("user", "new"))
    loaded.execution_state.current_task = "rest"
    agents.save(loaded, trigger="turn")
    agents.tool_used("a:1", "search", 0.5)
    agents.tool_used("a:1", "search", 1.5, ok=False)

    again = AgentManager(state).load("a:1")
    assert again.conversation_history[:4] == whole.conversation_history
    assert again.conversation_history[4].timestamp is not None
    assert (again.configuration, again.metadata, again.data, again.schema_version) == (
        *(whole.configuration, whole.metadata),
        *(whole.data, 7),
    )
    assert again.execution_state.current_task == "rest"
    assert agents.tools("a:1") == {"search": ToolPerformance(2, 1, 2.0, 1.5)}
    assert agents.tools("a:1")["search"].success_rate == 0.5
    info = agents.get("a:1")
    assert info is not None
    assert (info.name, info.messages, info.trigger) == ("Ada", 5, "turn")
    assert [each.id for each in agents.list()] == ["a:1"]


def test_a_save_appends_only_what_is_new(state: StateManager) -> None:
    """The rows of earlier messages are written once."""
    agents = AgentManager(state)
    agents.create("a")
    agents.append("a", *talk(300))
    held = agents.load("a", tail=2)
    assert (held.first, len(held.conversation_history)) == (298, 2)
    before = state.revision
    held.conversation_history.append(Message("user", "more"))
    agents.save(held)
    agents.save(held)
    written = [c.key for c in state.changes(since=before)]
    assert sorted(written) == ["agent", "agent", "log", "message/000000000300"]
    assert [n for n, _ in agents.history("a", start=299)] == [299, 300]
    assert [n for n, _ in agents.history("a", start=0, limit=2)] == [0, 1]


def test_a_program_may_shorten_its_own_list(state: StateManager) -> None:
    """What it appends is stored all the same; a list of other messages is refused, not skipped."""
    agents = AgentManager(state)
    agents.create("a")
    agents.append("a", *talk(5))
    held = agents.load("a")
    for content in ("x", "y"):
        del held.conversation_history[:2]
        held.conversation_history.append(Message("user", content, NOON))
        agents.save(held)
    new = [Message("user", content, NOON) for content in ("x", "y")]
    assert agents.load("a").conversation_history == talk(5) + new
    held.conversation_history[:] = [Message("user", "z", NOON)]
    revision = state.revision
    with pytest.raises(InvalidArgumentError):
        agents.save(held)
    assert state.revision == revision


def test_a_message_appended_during_a_save_goes_with_the_next(state: StateManager) -> None:
    """It is not taken for stored."""
    agents = AgentManager(state)
    held = agents.create("a")
    held.conversation_history.append(Message("user", "one", NOON))
    new = decisions.unsaved(held)
    held.conversation_history.append(Message("user", "during", NOON))
    state.transact(lambda tx: decisions.saved(tx, held, new, "turn", NOON))
    decisions.mark_saved(held, new)
    agents.save(held)
    assert [each.content for _, each in agents.history("a")] == ["one", "during"]


def test_a_result_without_any_call_hides_and_costs_nothing(state: StateManager) -> None:
    """It stands for itself: tails and loads reach beyond it, trimming keeps what was asked for."""
    agents = AgentManager(state)
    agents.create("a")
    lone = Message("tool", "r", NOON, tool_call_id="nobody's")
    agents.append("a", *talk(600), lone)
    end = [*talk(600)[-4:], lone]
    assert agents.tail("a", count=5) == end
    assert agents.tail("a", tokens=5, measure=lambda message: 1) == end
    held = agents.load("a", tail=5)
    assert (held.conversation_history, held.first) == (end, 596)
    assert agents.trim("a", keep=5) == 596
    assert agents.load("a").conversation_history == end


def test_a_save_over_somebody_elses_is_refused(state: StateManager) -> None:
    """Of the document and of the conversation; nothing is written."""
    agents = AgentManager(state)
    mine, theirs = agents.create("a"), agents.load("a")
    theirs.data["n"] = 1
    agents.save(theirs)
    revision = state.revision
    with pytest.raises(AgentMovedOnError):
        agents.save(mine)
    mine = agents.load("a")
    agents.append("a", Message("user", "hi"))
    with pytest.raises(AgentMovedOnError):
        agents.save(mine)
    assert state.revision == revision + 1
    assert agents.load("a").data == {"n": 1}


def test_a_thousand_updates_at_once_lose_none() -> None:
    """From threads and from tasks; each caller gets what its function returned."""

    def add(agent: PersistentAgentState) -> int:
        agent.data["n"] = agent.data.get("n", 0) + 1
        agent.conversation_history.append(Message("user", agent.data["n"]))
        return int(agent.data["n"])

    with holdfast.open("memory:") as state, ThreadPoolExecutor(8) as pool:
        agents = AgentManager(state)
        agents.create("a")
        got = list(pool.map(lambda _: agents.update_agent_state("a", add), range(300)))
        assert sorted(got) == list(range(1, 301))

    async def many() -> None:
        async with await holdfast.open_async("memory:") as state:
            agents = AsyncAgentManager(state)
            await agents.create("a")
            got = await asyncio.gather(
                *(agents.update_agent_state("a", add) for _ in range(1000)),
                *(agents.tool_used("a", "t", 1.0) for _ in range(100)),
            )
            assert sorted(n for n in got if isinstance(n, int)) == list(range(1, 1001))
            contents = [m.content for _, m in await agents.history("a")]
            assert contents == list(range(1, 1001))
            assert (await agents.tools("a"))["t"].calls == 100

    asyncio.run(many())


def test_the_tail_parts_no_result_from_its_call(state: StateManager) -> None:
    """By count and by tokens; where the last call does not fit with its result, it is empty."""
    agents = AgentManager(state)
    agents.create("a")
    messages = [
        Message("user", "q", NOON),
        Message("assistant", "", NOON, tool_calls=["1", "2"]),
        Message("tool", "r1", NOON, tool_call_id="1"),
        Message("tool", "r2", NOON, tool_call_id="2"),
        Message("assistant", "done", NOON),
    ]
    agents.append("a", *messages)
    assert [len(agents.tail("a", count=n)) for n in range(6)] == [0, 1, 1, 1, 4, 5]
    one = lambda message: 10  # noqa: E731
    assert [len(agents.tail("a", tokens=n, measure=one)) for n in (9, 10, 39, 40, 99)] == [
        *(0, 1, 1, 4, 5)
    ]
    agents.append("a", *talk(600))
    assert agents.tail("a", count=500) == talk(600)[-500:]
    assert len(agents.tail("a", tokens=10_000)) == 605


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(0, 31))
def test_every_tail_is_whole_and_the_longest(kinds: list[int], count: int) -> None:
    """Checked against every end of the conversation."""
    messages, calls = [], 0
    for kind in kinds:
        if kind == 3:
            messages.append(Message("assistant", tool_calls=[str(calls), f"{calls}b"]))
            messages.append(Message("user", "between"))
            messages += [Message("tool", tool_call_id=f"{calls}{end}") for end in ("b", "")]
            calls += 1
        else:
            messages.append(Message("user", kind))

    def whole(end: list[Message]) -> bool:
        made = {call for each in end for call in each.tool_calls}
        return all(each.tool_call_id in made | {None} for each in end)

    ends = [messages[at:] for at in range(len(messages) + 1)]
    fitting = [end for end in ends if len(end) <= count and whole(end)]
    assert whole_tail(messages, count=count) == max(fitting, key=len)


def test_trimming_keeps_a_summary_and_whole_calls(state: StateManager) -> None:
    """The summary sees the earlier one; numbers go on; the past can still be forked."""
    agents = AgentManager(state)
    agents.create("a")
    agents.append("a", *talk(300))
    then = state.revision
    seen: list[int] = []

    def summarise(messages: Any) -> str:
        seen.append(len(messages))
        return f"{len(messages)} messages"

    assert agents.trim("a", keep=10, summarise=summarise) == 290
    assert agents.trim("a", keep=4, summarise=summarise) == 6
    assert seen == [290, 7]
    loaded = agents.load("a")
    assert loaded.summary is not None
    assert (loaded.first, loaded.summary.content) == (296, "7 messages")
    assert loaded.conversation_history == talk(300)[-4:]
    assert state.count("agent:a", prefix="message/") == 4
    assert agents.append("a", Message("user", "x")) == 300
    agents.fork("a", "b", as_of=then)
    assert agents.load("b").conversation_history == talk(300)
    assert agents.load("b").metadata.forked_from == "a"
    assert agents.diff("a", "b")["document"] == ["metadata.forked_from"]


def test_a_fork_an_export_and_an_import_are_equal(state: StateManager, tmp_path: Path) -> None:
    """With types that JSON lacks; a fork goes its own way."""
    agents = AgentManager(state)
    agents.create(PersistentAgentState("a", data={"d": Decimal("1.50"), "b": b"\0", "t": NOON}))
    agents.append("a", *talk(600))
    agents.tool_used("a", "t", 1.0)
    agents.trim("a", keep=590, summarise=lambda _: "before")
    agents.fork("a", "b")
    agents.append("b", Message("user", "only b"))
    assert agents.diff("a", "b") == {
        "document": ["metadata.forked_from"],
        "messages_in_common": 590,
        "messages_of_one": 0,
        "messages_of_other": 1,
    }
    file = tmp_path / "a.json"
    agents.export("a", file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert agents.import_(file, id="c") == "c"
    assert {**agents.to_data("c"), "id": "a"} == agents.to_data("a")
    with pytest.raises(AgentExistsError):
        agents.import_(file)
    assert state.verify() == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": "other"}',
        '{"format": "holdfast-agent", "version": 2}',
        '{"format": "holdfast-agent", "version": 1}',
        '{"format": "holdfast-agent", "version": 1, "id": 1, "document": {}, "messages": []}',
    ],
)
def test_files_that_are_no_agents(state: StateManager, tmp_path: Path, text: str) -> None:
    """A clear error, and nothing is written."""
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(AgentFileError):
        AgentManager(state).import_(file)
    assert state.revision == 0


def test_agents_that_are_not_there_or_are_already(state: StateManager) -> None:
    """Every verb says so; what is deleted leaves nothing."""
    agents = AgentManager(state)
    for verb in (agents.load, agents.tail, agents.history, agents.delete, agents.to_data):
        with pytest.raises(AgentNotFoundError):
            verb("a", **({"count": 1} if verb == agents.tail else {}))  # type: ignore[operator]
    with pytest.raises(AgentNotFoundError):
        agents.append("a", Message("user"))
    agents.create("a")
    with pytest.raises(AgentExistsError):
        agents.create("a")
    agents.append("a", *talk(3))
    state.set("agent:a", "mine", 1)
    agents.delete("a")
    assert state.list_keys("agent:a") == []
    assert agents.list() == []
    agents.create("a")
    assert agents.load("a").conversation_history == []


KILLED = """
import sys, holdfast
from holdfast.agents import AgentManager, Message
agents = AgentManager(holdfast.open(sys.argv[1]))
print("ready", flush=True)
while True:
    held = agents.load("a", tail=1)
    n = held.data.get("turns", 0) + 1
    held.data["turns"] = n
    held.conversation_history += [Message("user", n), Message("assistant", n)]
    agents.save(held, trigger="turn")
    print(n, flush=True)
"""


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_a_kill_in_a_turn_keeps_whole_turns(engine: str, tmp_path: Path) -> None:
    """The document and the conversation agree, and every acknowledged turn is there."""
    url, said = f"{engine}:{tmp_path / 'store'}", 0
    with holdfast.open(url) as state:
        AgentManager(state).create("a")
    for life in range(3):
        program = subprocess.Popen(
            [sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, text=True
        )
        assert program.stdout is not None
        for line in program.stdout:
            if line.strip().isdigit():
                said = int(line)
            if said >= 10 * (life + 1):
                break
        program.send_signal(signal.SIGKILL)
        said = max([said, *(int(x) for x in program.stdout.read().split() if x.isdigit())])
        program.wait()
    with holdfast.open(url) as state:
        loaded = AgentManager(state).load("a")
    turns = loaded.data["turns"]
    assert turns in (said, said + 1)
    contents = [m.content for m in loaded.conversation_history]
    assert contents == [n for turn in range(1, turns + 1) for n in (turn, turn)]


def test_a_build_that_was_cut_off_is_no_agent(state: StateManager) -> None:
    """The next one takes the id over; who was slow finds that out."""
    from holdfast.agents import decisions

    agents = AgentManager(state)
    agents.create("a")
    agents.append("a", *talk(3))
    state.transact(lambda tx: decisions.claimed(tx, "b", "slow", exists=False))
    rows = [("message/000000000009", Message("user", "stray"))]
    state.transact(lambda tx: decisions.built(tx, "b", "slow", rows))
    assert agents.get("b") is None
    with pytest.raises(AgentExistsError, match="in the way"):
        agents.create("b")
    agents.fork("a", "b")
    with pytest.raises(AgentMovedOnError):
        state.transact(lambda tx: decisions.built(tx, "b", "slow", rows))
    assert agents.load("b").conversation_history == talk(3)
    assert state.count("agent:b", prefix="message/") == 3


def test_the_faces_have_the_same_verbs() -> None:
    """With the same parameters."""
    for name, verb in vars(AgentManager).items():
        if not name.startswith("_"):
            other = getattr(AsyncAgentManager, name)
            assert list(inspect.signature(other).parameters.values()) == list(
                inspect.signature(verb).parameters.values()
            )


def test_numbers_below_zero_are_refused(state: StateManager) -> None:
    """Nothing is forgotten because of a wrong sign."""
    agents = AgentManager(state)
    agents.create("a")
    agents.append("a", *talk(4))
    for call in (
        lambda: agents.trim("a", keep=-1),
        lambda: agents.load("a", tail=-3),
        lambda: agents.history("a", limit=-1),
        lambda: agents.history("a", start=-1),
        lambda: agents.tail("a", count=-1),
        lambda: agents.tail("a", tokens=-1),
    ):
        with pytest.raises(InvalidArgumentError, match="0 or more"):
            call()
    assert agents.load("a").conversation_history == talk(4)


def test_trimming_beside_an_append_parts_no_call(
    state: StateManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is counted from one look at the conversation."""
    agents = AgentManager(state)
    agents.create("a")
    agents.append(
        "a",
        Message("user", "q", NOON),
        Message("assistant", "", NOON, tool_calls=["1"]),
        Message("tool", "r", NOON, tool_call_id="1"),
    )
    look = agents._log

    def late(id: str) -> Any:
        found = look(id)
        if found.length == 3:
            agents.append("a", Message("user", "late", NOON))
        return found

    monkeypatch.setattr(agents, "_log", late)
    agents.trim("a", keep=2)
    assert [m.role for m in agents.load("a").conversation_history] == ["assistant", "tool", "user"]


def test_a_diff_goes_by_the_numbers_of_messages(state: StateManager) -> None:
    """One of them may have been trimmed."""
    agents = AgentManager(state)
    agents.create("a")
    agents.append("a", *talk(6))
    agents.fork("a", "b")
    agents.trim("b", keep=2)
    agents.append("b", Message("user", "only b"))
    found = agents.diff("a", "b")
    del found["document"]
    assert found == {"messages_in_common": 2, "messages_of_one": 0, "messages_of_other": 1}


def test_every_way_to_make_an_agent_tells_it(state: StateManager, tmp_path: Path) -> None:
    """Created, forked, imported; in the commit that makes it."""
    agents = AgentManager(state)
    agents.create("a")
    agents.fork("a", "b")
    agents.export("a", tmp_path / "a.json")
    agents.import_(tmp_path / "a.json", id="c")
    told = [e.data for e in state.events.read() if e.name == "agent.created"]
    assert told == [{"agent": "a"}, {"agent": "b", "forked_from": "a"}, {"agent": "c"}]
