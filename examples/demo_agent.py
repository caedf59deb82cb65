"""The program that gets killed: an agent, a workflow with steps and a session, all writing state.

`demo.py` starts it with the path of a store. It works turn after turn until it dies, and says on
standard output what the store has acknowledged: one line for each commit, written *after* the
call returned. What a turn writes follows from its number alone, so that `demo.py` can tell what
must be in the file, to the last digit.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import holdfast
from holdfast import SetOperation, StateManager, StateScope

AGENT = StateScope.agent("researcher-7")
WORKFLOW = StateScope.workflow("survey-2026")
SESSION = StateScope.session("ada@example.org")
LIBRARY = StateScope.custom("library")

BUDGET = Decimal("500.00")  # dollars
NOTES = 5  # in one batch
KEPT = 8  # tool results; the older ones are deleted

_START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_TOPICS = ("durable execution", "vector clocks", "write-ahead logs", "snapshot isolation")
_TOOLS = ("search_papers", "read_page", "run_python", "ask_expert")


# --- what a turn writes: plain functions of its number ----------------------------------------


def messages(turn: int) -> list[dict[str, Any]]:
    """Return what the user asks and what the agent answers in a turn."""
    topic, at = _TOPICS[turn % 4], _START + timedelta(seconds=30 * turn)
    return [
        {"role": "user", "content": f"What is new about {topic}? (question {turn})", "at": at},
        {
            "role": "assistant",
            "content": f"Of {12 + turn % 30} papers on {topic}, {turn % 7} are worth reading. " * 4,
            "at": at + timedelta(seconds=9),
            "tokens": 180 + turn * 7 % 90,
        },
    ]


def tool_result(turn: int) -> dict[str, Any]:
    """Return what the tool of a turn gave."""
    return {
        "tool": _TOOLS[turn % 4],
        "arguments": {"query": _TOPICS[turn % 4], "page": turn},
        "took": timedelta(milliseconds=120 + turn * 37 % 900),
        "result": [f"{_TOPICS[(turn + i) % 4]}, reference {turn}.{i}" for i in range(6)],
    }


def scratchpad(turn: int) -> dict[str, Any]:
    """Return the agent's working memory: rewritten in full every turn."""
    thoughts = [f"thought {i} of turn {turn}: {(turn * 7919 + i) ** 8}" for i in range(60)]
    return {"turn": turn, "thoughts": thoughts}


def step_output(turn: int) -> dict[str, Any]:
    """Return what the workflow's step of a turn produced."""
    return {"summary": f"Section {turn} of the survey", "words": 250 + turn, "cost": cost(turn)}


def cost(turn: int) -> Decimal:
    """Return what a turn costs, in dollars."""
    return Decimal(5 + turn % 10) / 100


def note(turn: int, number: int) -> dict[str, Any]:
    """Return one of the notes that a turn files together."""
    return {"turn": turn, "number": number, "text": f"note {number} of turn {turn}; " * 5}


def step(turn: int) -> StateScope:
    """Return the scope of the workflow's step of a turn."""
    return StateScope.step("survey-2026", f"section-{turn:04}")


# --- the program ------------------------------------------------------------------------------


def acknowledge(turn: int, what: str, revision: int) -> None:
    """Say that the store has acknowledged something."""
    sys.stdout.write(json.dumps([turn, what, revision]) + "\n")
    sys.stdout.flush()


def work(state: StateManager, turn: int) -> None:
    """Do one turn: six kinds of write, as an agent's program would make them."""
    # The conversation: one list that grows. Its history keeps what was added, not copies.
    length = state.append(SESSION, "messages", *messages(turn), correlation=f"turn-{turn}")
    acknowledge(turn, "messages", length)

    # A tool's result: one key, with who wrote it and why.
    revision = state.set(
        AGENT,
        f"tool-result/{turn:04}",
        tool_result(turn),
        actor="researcher-7",
        correlation=f"turn-{turn}",
    )
    acknowledge(turn, "tool-result", revision)

    # Working memory: the same key, overwritten again and again. The past keeps every version.
    acknowledge(turn, "scratchpad", state.set(AGENT, "scratchpad", scratchpad(turn)))

    # A step of the workflow: its output, the workflow's progress and the agent's budget change
    # together or not at all.
    with state.transaction(actor="survey-2026", correlation=f"turn-{turn}") as tx:
        tx.set(step(turn), "output", step_output(turn))
        tx.set(step(turn), "status", "done")
        tx.set(WORKFLOW, "progress", {"sections_done": turn + 1, "last": f"section-{turn:04}"})
        tx.set(AGENT, "budget", tx.get(AGENT, "budget", BUDGET) - cost(turn))
    acknowledge(turn, "step", tx.revision or 0)

    # Notes: many keys in one go, atomic.
    revisions = state.set_batch(
        [SetOperation(LIBRARY, f"{turn:04}/{n}", note(turn, n)) for n in range(NOTES)],
        atomic=True,
    )
    acknowledge(turn, "notes", int(str(revisions[0])))

    # What is no longer needed goes; its history stays.
    if turn >= KEPT and state.delete(AGENT, f"tool-result/{turn - KEPT:04}"):
        acknowledge(turn, "delete", state.revision)


def main() -> None:
    """Work until killed."""
    with holdfast.open(sys.argv[1]) as state:
        for turn in count():
            work(state, turn)


if __name__ == "__main__":
    main()
