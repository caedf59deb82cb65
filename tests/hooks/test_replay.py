"""Replay: hooks over the past, dry by default, compared, and done once where they are done."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import AsyncStateManager, HistoryPolicy, StateManager, correlate
from holdfast.correlation import current
from holdfast.errors import (
    ConfigurationError,
    ConflictError,
    HorizonError,
    InvalidArgumentError,
    RejectedError,
    StateError,
    VetoError,
)
from holdfast.hooks import Compare, HookEvent, after, before
from holdfast.testing import FakeClock
from tests.conftest import Stores

A = "agent:a"


def copies(event: HookEvent) -> None:
    """Keep the last value elsewhere."""
    event.state.set("user:log", event.key, event.new)


def counts(event: HookEvent) -> int:
    """Count changes elsewhere."""
    return int(event.state.increment("user:log", "count"))


def snapshot(state: StateManager) -> list[Any]:
    """Return everything that a dry run must leave as it is."""
    lines = list(state.export_lines())
    return [lines, state.revision]


def test_a_dry_run_shows_values_of_the_time_and_changes_nothing(state: StateManager) -> None:
    """Old and new of each change, also after overwrites and deletes; tagged; no write is made."""
    state.set(A, "k", 1)
    state.set(A, "k", 2, actor="ada", correlation="job")
    state.delete(A, "k")
    seen: list[tuple[Any, ...]] = []

    def look(event: HookEvent) -> None:
        tags = dict(current().attributes) if current() else {}
        seen.append((event.operation.name, event.old, event.new, event.actor, tags))
        assert event.replayed
        assert event.dry_run
        assert len(event.idempotency_key or "") == 32
        copies(event)

    before_it = snapshot(state)
    first = state.revision - 2
    report = state.replay(look)
    assert snapshot(state) == before_it
    assert seen == [
        ("SET", None, 1, None, {"replayed": True, "replay_of": first}),
        ("SET", 1, 2, "ada", {"replayed": True, "replay_of": first + 1}),
        ("DELETE", 2, None, None, {"replayed": True, "replay_of": first + 2}),
    ]
    assert (report.dry_run, report.changes, report.applied, report.errors) == (True, 3, 0, 0)
    assert [(w.key, w.value) for r in report.results for w in r.writes] == [
        ("k", 1),
        ("k", 2),
        ("k", None),
    ]


def test_every_way_of_writing_is_caught(state: StateManager) -> None:
    """Also through a captured manager, another face, transactions and events."""
    state.set(A, "k", 1)
    state.set("user:log", "n", 5)
    face = AsyncStateManager(state)

    async def writes(event: HookEvent) -> None:
        await face.set("user:log", "a", 1)
        assert await face.increment("user:log", "n") == 6
        assert state.increment("user:log", "n") == 7  # upon what this call would have written
        assert state.append("user:log", "list", 1, 2) == 2
        assert state.delete("user:log", "n") is True
        assert state.delete("user:log", "none") is False
        with state.transaction() as tx:
            tx.set("user:log", "b", 2)
        state.set_batch([holdfast.SetOperation("user:log", "c", 3)])
        state.events.emit("seen", {"key": event.key})
        assert state.get("user:log", "a") is None  # reads see what is stored

    before_it = snapshot(state)
    report = state.replay(writes, scope=A)
    assert snapshot(state) == before_it
    (result,) = report.results
    assert result.error is None
    assert [(w.operation, w.key, w.value) for w in result.writes] == [
        ("set", "a", 1),
        ("set", "n", 6),
        ("set", "n", 7),
        ("set", "list", [1, 2]),
        ("delete", "n", None),
        ("set", "b", 2),
        ("set", "c", 3),
    ]
    assert [(e.name, e.data) for e in result.events] == [("seen", {"key": "k"})]


def test_a_dry_run_refuses_ephemeral_writes(state: StateManager) -> None:
    """They are done at once, and cannot be caught: the hook gets an error."""
    state.set(A, "k", 1)

    def writes(event: HookEvent) -> None:
        state.set("user:u", "e", 1, state_class=holdfast.StateClass.EPHEMERAL)

    (result,) = state.replay(writes).results
    assert (result.status, result.error) == ("error", "RejectedError")
    assert state.get("user:u", "e") is None
    state.set("user:u", "e", 1, state_class=holdfast.StateClass.EPHEMERAL)


def test_a_real_replay_happens_once(state: StateManager) -> None:
    """Twice over the same changes does each thing once; the commits say what led to them."""
    for n in range(3):
        state.set(A, f"k{n}", n)
    until = state.revision
    first = state.replay(counts, scope=A, dry_run=False)
    assert (first.applied, state.get("user:log", "count")) == (3, 3)
    second = state.replay(counts, scope=A, dry_run=False)
    assert (second.applied, second.identical, state.get("user:log", "count")) == (0, 3, 3)
    state.set(A, "k3", 3)
    assert state.replay(counts, scope=A, dry_run=False).applied == 1
    causes = [c.cause for c in state.changes(until, scope="user:log")]
    origins = [f"replay:{c.commit_id}" for c in state.changes(scope=A)]
    assert causes == origins
    again = state.replay(counts, scope=A, dry_run=False, idempotent=False)
    assert (again.applied, state.get("user:log", "count")) == (4, 8)


def test_a_real_replay_does_all_that_runs_at_once(state: StateManager) -> None:
    """Commits of one call that are under way together are not taken for one another."""
    state.set(A, "k", 1)
    face = AsyncStateManager(state)

    async def several(event: HookEvent) -> None:
        await asyncio.gather(*(face.set("user:log", f"k{n}", n) for n in range(5)))

    assert state.replay(several, scope=A, dry_run=False).applied == 5
    assert state.count("user:log") == 5
    revision = state.revision
    assert state.replay(several, scope=A, dry_run=False).applied == 0
    assert state.revision == revision


def test_a_failed_write_of_a_real_replay_takes_no_number(state: StateManager) -> None:
    """What comes behind it has the same id as where it had not failed."""
    state.set(A, "k", 1)
    veto = state.hooks.before(lambda event: event.veto("no"), scope="user:log", key="first")

    def writes(event: HookEvent) -> None:
        for key in ("first", "second"):
            with suppress(VetoError):
                state.set("user:log", key, 1)

    assert state.replay(writes, scope=A, dry_run=False).applied == 1
    assert list(state.list_keys("user:log")) == ["second"]
    with pytest.raises(VetoError):
        state.set("user:log", "first", 1)
    assert veto.metrics.vetoes == 2
    assert state.replay(writes, scope=A, dry_run=False).applied == 0


def test_a_dry_run_catches_every_handle_of_the_store(tmp_path: Path) -> None:
    """Also one that the hook's module has opened, or the hook itself; another store is another."""
    path = tmp_path / "s.db"
    with (
        holdfast.open(path) as state,
        holdfast.open(path) as second,
        holdfast.open(tmp_path / "other.db") as other,
    ):
        state.set(A, "k", 1)
        other.set(A, "k", 1)
        other.replay(copies)

        def writes(event: HookEvent) -> None:
            second.set("user:log", "second", 1)
            with holdfast.open(path) as third:
                third.set("user:log", "third", 1)
            other.set("user:log", "other", 1)
            other.set("user:log", "gone", 1, state_class=holdfast.StateClass.EPHEMERAL)

        (result,) = state.replay(writes).results
        assert result.error is None
        assert [write.key for write in result.writes] == ["second", "third"]
        assert state.count("user:log") == 0
        assert sorted(other.list_keys("user:log")) == ["gone", "other"]
        second.set("user:log", "second", 2)
        assert state.get("user:log", "second") == 2


def test_a_dry_run_is_not_recorded(memory_store: Stores) -> None:
    """Neither what fails in it nor what is read becomes an event."""
    policies = [holdfast.ScopePolicy("*", record_reads=True)]
    state = memory_store(policies=policies)
    state.set(A, "k", 1)

    def reads(event: HookEvent) -> None:
        state.get(A, "k")
        with pytest.raises(StateError):
            state.delete(A, "")

    revision = state.revision
    (result,) = state.replay(reads).results
    assert result.error is None
    state.set("user:u", "k", 1)  # behind all that the lane has
    assert state.revision == revision + 1
    assert list(state.events.read()) == []


@pytest.mark.parametrize("phase", ["before", "after"])
def test_what_a_real_replay_sets_off_is_done_too(state: StateManager, phase: str) -> None:
    """Hooks of what it writes write as ever: their commits are not those of the replayed hook."""
    state.set(A, "k", 1)
    options = {"mode": "inline"} if phase == "after" else {}

    def counts_too(event: HookEvent) -> None:
        state.increment("user:seen", event.key)

    state.hooks.add(phase, counts_too, scope="user:log", **options)

    def writes(event: HookEvent) -> None:
        state.set("user:log", "a", 1)
        state.set("user:log", "b", 2)

    report = state.replay(writes, scope=A, dry_run=False)
    assert [write.key for write in report.results[0].writes] == ["a", "b"]
    assert [state.get("user:seen", key) for key in "ab"] == [1, 1]
    assert state.replay(writes, scope=A, dry_run=False).applied == 0
    assert [state.get("user:seen", key) for key in "ab"] == [1, 1]


def test_a_dry_run_catches_what_it_left_behind(memory_store: Stores) -> None:
    """A function that took too long goes on in its thread, and still writes nothing."""
    state = memory_store()
    state.set(A, "k", 1)
    go, gone = threading.Event(), threading.Event()

    @after(timeout=0.01)
    def late(event: HookEvent) -> None:
        go.wait()
        state.set("user:log", "k", 1)
        gone.set()

    (result,) = state.replay(late).results
    assert result.error == "timeout"
    go.set()
    gone.wait()
    assert state.get("user:log", "k") is None
    state.set("user:log", "k", 2)
    assert state.get("user:log", "k") == 2


def test_a_dry_run_meets_the_conditions_that_a_real_one_meets(state: StateManager) -> None:
    """What would be a conflict is one, and is not reported as a write."""
    state.set(A, "k", 1)
    revision = state.set("user:log", "there", 1)
    state.set("user:log", "other", 1)
    told: list[Any] = []

    def writes(event: HookEvent) -> None:
        for key, condition in (
            ("there", {"if_absent": True}),
            ("there", {"if_revision": revision + 1}),
            ("there", {"if_version": 2}),
            ("there", {"if_version": 1}),
            ("new", {"if_absent": True}),
        ):
            try:
                state.set("user:log", key, 2, **condition)
            except ConflictError as error:
                told.append(error.reason)
            else:
                told.append(key)
        items = [
            holdfast.SetOperation("user:log", key, 3, if_absent=True) for key in ("other", "b")
        ]
        told.append([type(each).__name__ for each in state.set_batch(items)])
        assert state.update("user:log", "new", lambda old: [old]) == [None]  # by what is stored

    (result,) = state.replay(writes, scope=A).results
    assert result.error is None
    assert told == ["exists", "revision", "version", "there", "new", ["ConflictError", "int"]]
    assert [write.key for write in result.writes] == ["there", "new", "b", "new"]


def test_a_dry_run_refuses_what_it_cannot_catch(state: StateManager) -> None:
    """What is no commit is done at once, so a hook gets an error; a sweep removes nothing."""
    state.set(A, "k", 1)
    worker = state.consumer("c", start="earliest")
    batch = worker.poll(timeout=0)
    assert batch is not None
    direct = [
        batch.ack,
        lambda: state.consumer("new"),
        lambda: state.consumers.delete("c"),
        lambda: state.consumers.reset("c", "now"),
        lambda: state.set_retention([]),
        lambda: state.compact([]),
    ]

    def writes(event: HookEvent) -> None:
        for call in direct:
            with pytest.raises(RejectedError):
                call()
        assert state.sweep() == 0

    (result,) = state.replay(writes).results
    assert result.error is None
    assert [each.name for each in state.consumers.list()] == ["c"]
    batch.ack()


def test_an_event_of_a_replay_has_one_id(state: StateManager) -> None:
    """However often it is replayed, a hook hears the id of the event that is there."""
    state.set(A, "k", 1)
    told = []

    def tells(event: HookEvent) -> None:
        told.append(event.state.events.emit("seen", scope="user:log"))

    for _ in range(2):
        state.replay(tells, scope=A, dry_run=False)
    assert [event.id for event in state.events.read()] == [told[0]]
    assert told[0] == told[1]


def test_the_idempotency_key_is_that_of_the_first_time(state: StateManager) -> None:
    """So a service that the hook calls can tell that it did this before; hooks differ."""
    keys: list[str | None] = []

    def notify(event: HookEvent) -> None:
        keys.append(event.idempotency_key)

    state.hooks.after(notify, mode="inline")
    state.hooks.after(notify, mode="inline", name="other")
    state.set(A, "k", 1)
    state.replay(["notify", "other"])
    assert keys[:2] == keys[2:]
    assert len(set(keys)) == 2


def test_a_changed_hook_is_compared_with_the_one_that_is(state: StateManager) -> None:
    """Differences are named by path; fields and orders can be left out."""

    def listed(event: HookEvent) -> None:
        event.state.set("user:log", "k", {"at": 1, "tags": ["a", "b"], "n": event.new})

    def changed(event: HookEvent) -> None:
        event.state.set("user:log", "k", {"at": 2, "tags": ["b", "a"], "n": event.new})

    state.set(A, "k", 7)
    state.hooks.after(listed, mode="inline", scope=A)

    def paths(**options: Any) -> list[str]:
        compare = Compare(**options)
        report = state.replay("listed", overrides={"listed": changed}, compare=compare)
        assert report.errors == 0
        return [d.path for r in report.results for d in r.differences]

    tags = ["writes[0].value.tags[0]", "writes[0].value.tags[1]"]
    assert paths() == ["writes[0].value.at", *tags]
    assert paths(ignore_fields=("at",)) == tags
    assert paths(ignore_fields=("writes[0].value.tags*",)) == ["writes[0].value.at"]
    assert paths(ignore_order=True) == ["writes[*].value.at"]
    assert paths(ignore_fields=("at",), ignore_order=("tags",)) == []


def test_a_modified_value_is_compared_with_the_one_that_was(state: StateManager) -> None:
    """`modify` is a value, or a function from the event to it; deletes have none."""
    state.set(A, "k", 7)
    state.delete(A, "k")
    report = state.replay(copies, modify=lambda event: event.new * 2)
    one, two = report.results
    assert [(d.path, d.before, d.after) for d in one.differences] == [("writes[0].value", 7, 14)]
    assert (one.status, two.status) == ("different", "identical")
    assert state.replay(copies, modify=7).different == 0


def test_without_a_change_it_says_what_it_would_change(state: StateManager) -> None:
    """A hook that has done its work is identical; one that has not differs."""
    state.hooks.after(copies, mode="inline", scope=A)
    state.set(A, "k", 1)
    assert state.replay("copies").identical == 1
    state.set("user:log", "k", "lost")
    (result,) = state.replay("copies").results
    assert [(d.path, d.before, d.after) for d in result.differences] == [
        ("writes[0].value", "lost", 1)
    ]
    assert state.replay("copies", dry_run=False).applied == 1
    assert state.replay("copies").identical == 1


def test_before_hooks_are_replayed_too(state: StateManager) -> None:
    """Their verdict is compared with what was written; the past stays as it is."""
    state.set(A, "k", 5)
    state.set(A, "k", 13)

    def strict(event: HookEvent) -> None:
        if event.new == 13:
            event.veto("unlucky")
        event.replace(event.new + 1)

    state.hooks.before(strict)
    changed, vetoed = state.replay("strict", dry_run=False).results
    assert [(d.path, d.before, d.after) for d in changed.differences] == [("value", 5, 6)]
    assert (vetoed.veto, vetoed.status) == ("unlucky", "different")
    assert state.get(A, "k") == 13


def test_what_is_replayed_is_chosen(memory_store: Stores, clock: FakeClock) -> None:
    """By revision, time, scope, key, correlation, and by the hook's own selection."""
    state = memory_store(clock=clock, sweep_every=0)
    with correlate("job"):
        state.set(A, "k1", 1)
    clock.advance(10)
    noon = state.get_with_metadata(A, "k1").metadata.updated_at + timedelta(seconds=5)
    state.set(A, "k2", 2)
    state.set("user:u", "k1", 3)
    seen: list[Any] = []

    def look(event: HookEvent) -> None:
        seen.append(event.new)

    def chosen(**options: Any) -> list[Any]:
        seen.clear()
        state.replay(options.pop("hooks", look), **options)
        return list(seen)

    assert chosen() == [1, 2, 3]
    assert chosen(since=1) == [2, 3]
    assert chosen(since=1, until=2) == [2]
    assert chosen(since=noon) == [2, 3]
    assert chosen(until=noon) == [1]
    assert chosen(scope=A) == [1, 2]
    assert chosen(key="k1") == [1, 3]
    assert chosen(correlation="job") == [1]
    assert chosen(hooks=after(scope="user:*")(lambda e: seen.append(e.new))) == [3]
    assert chosen(hooks=before(operations="delete")(lambda e: seen.append(e.new))) == []


def test_errors_of_a_hook_are_results(state: StateManager) -> None:
    """The class is told, the value is not; the others go on; no metric counts."""

    def breaks(event: HookEvent) -> None:
        raise ValueError(event.new)

    hook = state.hooks.after(breaks)
    state.set(A, "k", "hunter2")
    state.hooks.drain()
    report = state.replay(["breaks", copies])
    assert [(r.status, r.error) for r in report.results] == [
        ("error", "ValueError"),
        ("different", None),
    ]
    assert "hunter2" not in repr(report) + repr(report.results)
    assert hook.metrics.calls == 1


def test_a_trimmed_value_is_an_error_of_that_change(memory_store: Stores) -> None:
    """And a journal that does not reach back is one of the call."""
    state = memory_store()
    for n in range(5):
        state.set(A, "k", n)
    state.compact([HistoryPolicy(max_versions=2)])
    try:
        report = state.replay(copies)
    except HorizonError:
        report = None
    if report is not None:
        assert {r.error for r in report.results if r.status == "error"} == {"HorizonError"}
        assert [r.writes[0].value for r in report.results if r.writes][-1] == 4


def test_the_report_is_json(state: StateManager) -> None:
    """Values in their lossless form."""
    state.set(A, "k", b"\x00")
    made = json.loads(json.dumps(state.replay(copies).to_json()))
    (result,) = made.pop("results")
    assert made == {
        "dry_run": True,
        "changes": 1,
        "calls": 1,
        "identical": 0,
        "different": 1,
        "errors": 0,
        "applied": 0,
    }
    value = {"$holdfast": "bytes", "value": "AA=="}
    assert result["writes"][0]["value"] == value
    assert result["differences"] == [{"path": "writes[0].value", "after": value}]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"hooks": []}, InvalidArgumentError),
        ({"hooks": [5]}, InvalidArgumentError),
        ({"hooks": "nobody"}, ConfigurationError),
        ({"overrides": {"other": copies}}, InvalidArgumentError),
        ({"overrides": {"copies": 5}}, InvalidArgumentError),
        ({"since": -1}, InvalidArgumentError),
        ({"compare": {"ignore": 1}}, InvalidArgumentError),
        ({"key": "a["}, InvalidArgumentError),
    ],
)
def test_what_is_wrong_is_refused(
    memory_store: Stores, options: dict[str, Any], error: type[Exception]
) -> None:
    """A typed error, and the store goes on without a stage."""
    state = memory_store()
    with pytest.raises(error):
        state.replay(options.pop("hooks", copies), **options)
    assert state._kernel.before is None
    assert state._kernel.ephemeral.guard is None


def test_both_faces_replay(memory_store: Stores) -> None:
    """The awaited one does the same."""
    state = memory_store()
    state.set(A, "k", 1)

    async def use() -> None:
        report = await AsyncStateManager(state).replay(copies)
        assert (report.changes, report.different) == (1, 1)

    asyncio.run(use())


# --- installed hooks ----------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put a distribution with hooks where Python finds it."""
    site = tmp_path / "site"
    info = site / "made_up_hooks-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up-hooks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[holdfast.hooks]\nshout = made_up_hooks:loud\nbroken = made_up_hooks_broken:fn\n"
        "plain = made_up_hooks:plain\n"
    )
    (site / "made_up_hooks.py").write_text(
        "from holdfast.hooks import before\n"
        "@before(scope='agent:*', operations='set')\n"
        "def loud(event):\n    event.replace(event.new.upper())\n"
        "def plain(event): ...\n"
    )
    (site / "made_up_hooks_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in ("made_up_hooks", "made_up_hooks_broken"):
        sys.modules.pop(name, None)


def test_installed_hooks_are_loaded_on_demand(installed: Path, memory_store: Stores) -> None:
    """By name, in `open` or later; never before, and never because of what is stored."""
    state = memory_store()
    state.set("global", "hook", "made_up_hooks:loud")
    assert "made_up_hooks" not in sys.modules
    hook = state.hooks.load("shout", priority=3)
    assert (hook.name, hook.phase, hook.priority) == ("shout", "before", 3)
    state.set(A, "k", "quiet")
    assert state.get(A, "k") == "QUIET"
    with holdfast.open("memory:", hooks=["shout", "made_up_hooks:loud"]) as other:
        assert [each.name for each in other.hooks.list()] == ["shout", "loud"]
    with pytest.raises(ConfigurationError, match="ZeroDivisionError"):
        state.hooks.load("broken")
    with pytest.raises(ConfigurationError, match="nobody"):
        holdfast.open("memory:", hooks=["nobody"])
    with pytest.raises(InvalidArgumentError, match="mark it"):
        state.hooks.load("plain")
