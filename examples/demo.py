"""Holdfast in half a minute: kill a program while it writes, and see what the file still knows.

    python examples/demo.py [DIRECTORY]

A second program (`demo_agent.py`) writes the state of an agent, a workflow and a session into
one SQLite file. It is killed with SIGKILL in the middle of that. Then this program opens the
file, compares it with everything that was acknowledged, reads the past, settles a conflict,
rewinds a mistake, compacts, verifies, and reports. It fails if a single check does.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import demo_agent as agent
from demo_agent import AGENT, LIBRARY, NOTES, SESSION, WORKFLOW
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

import holdfast
from holdfast import ConflictError, HistoryPolicy, HorizonError, StateManager

ACKNOWLEDGEMENTS = 500  # after so many the writer is killed

console = Console(highlight=False)
failures: list[str] = []


def section(title: str) -> None:
    """Print the heading of a part of the report."""
    console.print()
    console.rule(f"[bold]{title}", align="left")


def check(holds: bool, claim: str) -> None:
    """Print a claim with a tick, or a cross if it does not hold."""
    line = Table.grid(padding=(0, 1))
    line.add_row("  [green]✓[/]" if holds else "  [bold red]✗[/]", claim)
    console.print(line)
    if not holds:
        failures.append(claim)


def show_error(error: holdfast.StateError) -> None:
    """Print what an expected error says."""
    console.print(Padding(f"[red]{error.code}[/]: {error.message}", (0, 0, 0, 6), style="dim"))


def table(*columns: str) -> Table:
    """Return an empty table in the style of the report."""
    made = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column)
    return made


def show(made: Table, title: str = "") -> None:
    """Print a table, with room around it."""
    if title:
        console.print(f"  {title}")
    console.print(Padding(made, (0, 0, 1, 4)))


# --- 1. a program writes, and is killed -------------------------------------------------------


def write_and_kill(path: Path) -> list[tuple[int, str, int]]:
    """Run the agent, kill it while it writes, and return what it reported as acknowledged."""
    section("1  A program writes, and is killed")
    script = Path(agent.__file__)
    acknowledged: list[tuple[int, str, int]] = []
    with subprocess.Popen(
        [sys.executable, str(script), str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if line.endswith("\n"):  # the last line may be torn by the kill
                turn, what, number = json.loads(line)
                acknowledged.append((turn, what, number))
            if len(acknowledged) == ACKNOWLEDGEMENTS:
                writer.kill()  # SIGKILL: no handler, no cleanup, no farewell
    check(writer.returncode == -signal.SIGKILL, "the writer died of SIGKILL, still writing")
    kinds = Counter(what for _, what, _ in acknowledged)
    shown = table("acknowledged before the kill", "")
    for what, words in {
        "messages": "appends to the session's messages",
        "tool-result": "tool results of the agent",
        "scratchpad": "versions of the agent's scratchpad",
        "step": "transactions over a step, the workflow and the agent",
        "notes": f"atomic batches of {NOTES} notes",
        "delete": "deletes of old tool results",
    }.items():
        shown.add_row(words, str(kinds[what]))
    show(shown)
    return acknowledged


# --- 2. what is in the file -------------------------------------------------------------------


def compare(state: StateManager, acknowledged: list[tuple[int, str, int]]) -> tuple[int, int]:
    """Compare the file with what was acknowledged; return how many are found and lost."""
    section("2  Another program opens the file")
    found = [is_there(state, *one) for one in acknowledged]
    lost = found.count(False)
    check(lost == 0, f"all {len(found)} acknowledged commits are there, with their exact values")

    # Of the last turn some writes may never have been acknowledged: there or not, but never half.
    turns = range(max(turn for turn, _, _ in acknowledged) + 2)
    batches = [state.count(LIBRARY, prefix=f"{turn:04}/") for turn in turns]
    check(set(batches) <= {0, NOTES}, "no batch is torn: every turn has all of its notes, or none")

    torn = 0
    spent = sum(agent.cost(turn) for turn in turns if state.scope_exists(agent.step(turn)))
    for turn in turns:
        parts = [state.get_with_metadata(agent.step(turn), key) for key in ("output", "status")]
        revisions = {None if part is None else part.metadata.revision for part in parts}
        torn += len(revisions) != 1
    done = sum(state.scope_exists(agent.step(turn)) for turn in turns)
    torn += state.get(WORKFLOW, "progress")["sections_done"] != done
    torn += state.get(AGENT, "budget") != agent.BUDGET - spent
    check(torn == 0, f"no transaction is torn: {done} steps, progress and budget agree")
    return found.count(True), lost


def is_there(state: StateManager, turn: int, what: str, number: int) -> bool:
    """Say whether what a turn had acknowledged is in the file, as it was written.

    What was overwritten or deleted since is looked up in the past, at its own revision.
    """
    result = f"tool-result/{turn:04}"
    match what:
        case "messages":  # `number` is the length that the list had
            expected = [message for n in range(turn + 1) for message in agent.messages(n)]
            return number == len(expected) and state.get(SESSION, what)[:number] == expected
        case "tool-result":
            return bool(state.get(AGENT, result, as_of=number) == agent.tool_result(turn))
        case "scratchpad":
            return bool(state.get(AGENT, what, as_of=number) == agent.scratchpad(turn))
        case "step":
            return bool(state.get(agent.step(turn), "output") == agent.step_output(turn))
        case "notes":
            notes = [state.get(LIBRARY, f"{turn:04}/{n}") for n in range(NOTES)]
            return notes == [agent.note(turn, n) for n in range(NOTES)]
        case "delete":  # a delete stays a delete
            return not state.exists(AGENT, f"tool-result/{turn - agent.KEPT:04}")
    raise ValueError(f"an acknowledgement of {what}")


# --- 3. the past ------------------------------------------------------------------------------


def read_the_past(state: StateManager) -> None:
    """Show a key's history, and the same keys as of two moments."""
    section("3  The past is readable")
    newest = list(state.history(WORKFLOW, "progress", limit=3))
    shown = table("revision", "at", "by", "value")
    for change in newest:
        at = f"{change.at:%H:%M:%S.%f}"[:-3]
        shown.add_row(str(change.revision), at, change.actor, str(change.value["last"]))
    show(shown, "history of workflow:survey-2026, key progress")

    now, middle = state.revision, state.revision // 2
    shown = table("as of", "messages", "sections", "budget", "tool results")
    for name, revision in {f"revision {middle}": middle, f"revision {now} (now)": now}.items():
        shown.add_row(
            name,
            str(len(state.get(SESSION, "messages", [], as_of=revision))),
            str(state.get(WORKFLOW, "progress", as_of=revision)["sections_done"]),
            str(state.get(AGENT, "budget", as_of=revision)),
            str(state.count(AGENT, prefix="tool-result/", as_of=revision)),
        )
    show(shown)
    then = state.get(SESSION, "messages", as_of=middle)
    today = state.get(SESSION, "messages")
    check(
        0 < len(then) < len(today) and today[: len(then)] == then,
        f"the conversation as of revision {middle} is the beginning of today's",
    )
    kinds = Counter(difference.kind for difference in state.diff(middle))
    console.print(f"  since then: {', '.join(f'{n} keys {kind}' for kind, n in kinds.items())}")


# --- 4. two writers, one value ----------------------------------------------------------------


def conflict(state: StateManager) -> None:
    """Let two writers meet on one key: once retried, once refused."""
    section("4  Two writers, one budget")
    before = state.get(AGENT, "budget")
    attempts = 0

    def spend(tx: holdfast.StateTransaction) -> None:
        nonlocal attempts
        attempts += 1
        left = tx.get(AGENT, "budget")
        if attempts == 1:  # somebody else spends 100 while we are thinking
            state.update(AGENT, "budget", lambda budget: budget - 100)
        tx.set(AGENT, "budget", left - 50)

    state.transact(spend)
    after = state.get(AGENT, "budget")
    check(
        attempts == 2 and after == before - 150,
        f"transact() ran twice and nothing is overwritten: {before} - 100 - 50 = {after}",
    )

    read = state.get_with_metadata(AGENT, "budget")
    assert read is not None
    state.set(AGENT, "budget", read.value - 1)  # meanwhile, somebody else
    try:
        state.set(AGENT, "budget", 0, if_revision=read.metadata.revision)
    except ConflictError as error:
        check(
            state.get(AGENT, "budget") == read.value - 1, "a write based on an old read is refused:"
        )
        show_error(error)
    else:
        check(False, "a write based on an old read is refused")


# --- 5. a mistake, undone ---------------------------------------------------------------------


def rewind(state: StateManager) -> None:
    """Overwrite a key by mistake, and bring it back."""
    section("5  A mistake, undone")
    good = state.get(WORKFLOW, "progress")
    before = state.revision
    state.set(WORKFLOW, "progress", {"sections_done": -1}, actor="a hallucination")
    state.rewind(WORKFLOW, "progress", to=before, actor="you")
    check(state.get(WORKFLOW, "progress") == good, "the workflow's progress is what it was")
    who = [change.actor for change in state.history(WORKFLOW, "progress", limit=2)]
    check(who == ["you", "a hallucination"], "and its history tells both, the mistake and the cure")


# --- 6. compaction and verification -----------------------------------------------------------


def compact(state: StateManager) -> None:
    """Give most of the history up, keep every value, and check the whole file."""
    section("6  Less history, same state")

    def everything() -> dict[str, list[object]]:
        return {str(s): [(k, v.value) for k, v in state.scan(s)] for s in state.scopes()}

    def size() -> int:  # of the database, without the log in front of it
        storage = state.info()["storage"]
        return int(storage["disk_bytes"] - storage["wal_bytes"])

    values, before = everything(), size()
    report = state.compact([HistoryPolicy(max_versions=10)])
    after = size()
    check(
        after < before,
        f"compacted from {before / 1e6:.2f} MB to {after / 1e6:.2f} MB; {report.versions_trimmed} "
        f"old versions went, about 10 of each key stay",
    )
    check(everything() == values, "every current value is the same")
    try:
        state.get(SESSION, "messages", as_of=1)
    except HorizonError as error:
        check(True, "what was trimmed is a clear error, never just absent:")
        show_error(error)
    else:
        check(False, "what was trimmed is a clear error")
    problems = state.verify()
    check(problems == [], "verify() walked everything and found no problem")


# --- the report -------------------------------------------------------------------------------


def what_next(state: StateManager, path: Path) -> None:
    """Print commands that work on the demo's file."""
    command = Path(sys.executable).with_name("holdfast")
    here = Path.cwd()
    name = str(command.relative_to(here)) if command.is_relative_to(here) else str(command)
    start = f"{shlex.quote(name)} -s {shlex.quote(str(path))}"
    earlier = state.revision - 1
    console.print("\n[bold]What to do next[/] (the file stays where it is)")
    for arguments in (
        "scopes --count",
        "ls agent:researcher-7 --long",
        "history workflow:survey-2026 progress",
        f"get agent:researcher-7 budget --as-of {earlier}",
        f"diff {earlier}",
        "verify",
    ):
        console.print(f"  {start} {arguments}", soft_wrap=True)
    console.print("  [dim]and in Python: README.md, docs/getting-started.md[/]")


def main() -> int:
    """Run the demo and return the exit status."""
    begun = time.perf_counter()
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="holdfast-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "state.db"
    if path.exists():
        console.print(f"[red]{path} exists already: give a directory without it[/]")
        return 2
    console.print(f"The file: {path}\n", soft_wrap=True)

    acknowledged = write_and_kill(path)
    opened = time.perf_counter()
    with holdfast.open(path) as state:
        opening = time.perf_counter() - opened
        found, lost = compare(state, acknowledged)
        console.print(f"  [dim]opened and recovered in {opening * 1000:.0f} ms[/]")
        read_the_past(state)
        conflict(state)
        rewind(state)
        compact(state)

        section("Summary")
        console.print(
            f"  acknowledged [bold]{len(acknowledged)}[/]   found [bold]{found}[/]   "
            f"lost [bold {'red' if lost else 'green'}]{lost}[/]   "
            f"failed checks [bold {'red' if failures else 'green'}]{len(failures)}[/]   "
            f"[dim]in {time.perf_counter() - begun:.1f} s[/]"
        )
        what_next(state, path)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
