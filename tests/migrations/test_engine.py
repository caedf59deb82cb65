"""Migrations of stores: exact, once, by compare-and-set, and back to the very bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import SetOperation, StateManager
from holdfast.errors import (
    InvalidArgumentError,
    MigrationFailedError,
    MigrationPlanError,
    MissingKeyError,
    UnsafeMigrationError,
    VetoError,
)
from holdfast.migrations import (
    Catalogue,
    Condition,
    Convert,
    Custom,
    Default,
    MigrationEngine,
    MigrationStep,
    Move,
    Remove,
    RunSettings,
    Validation,
    Versioned,
    transformer,
)
from tests.conftest import Stores
from tests.migrations.killed import STEP


def fill(state: StateManager, count: int, scope: str = "agent:a") -> None:
    """Store values of version 1."""
    state.set_batch([SetOperation(scope, f"k{n:04}", {"n": n}) for n in range(count)])


def payloads(state: StateManager, scope: str = "agent:a") -> dict[str, bytes]:
    """Return the encoded values of a scope."""
    start, stop = state._address.range(state._address.scope(scope))
    return {f.place.hex(): bytes(f.payload) for f in state._kernel.reader.scan(start, stop)}


def test_apply(state: StateManager) -> None:
    """Every value of every scope is migrated once, says so, and a second run finds nothing."""
    fill(state, 150)
    fill(state, 3, "agent:b")
    state.set("user:x", "k", {"n": "other"})
    before = state.revision
    told: list[tuple[int, int]] = []
    engine = MigrationEngine(state, [STEP])
    settings = RunSettings(batch_size=40, workers=4, progress=lambda *each: told.append(each))
    run = engine.apply("item", 2, scope="agent:*", settings=settings)
    assert (run.state, run.migrated, run.total, run.steps) == (
        "completed",
        153,
        153,
        {"1_to_2": 153},
    )
    assert told[-1] == (153, 153)
    assert state.get("agent:a", "k0007") == {"count": {"total": 7, "unit": "piece"}}
    assert state.get("user:x", "k") == {"n": "other"}
    found = state.get_with_metadata("agent:b", "k0002")
    assert found is not None
    assert found.metadata.schema_version == "2"
    info = found.metadata.migration
    assert info is not None
    assert (info.from_version, info.to_version, info.migration_id) == (1, 2, run.id)
    assert info.restore_point == before == run.restore_point
    assert engine.status(run.id).to_json() == run.to_json() | {"duration": 0.0}
    names = [each.name for each in state.events.read(name="migration.*")]
    assert names[0] == "migration.started"
    assert names[-2:] == ["migration.step", "migration.completed"]
    assert set(names[1:-2]) == {"migration.progress"}
    again = engine.apply("item", 2, scope="agent:*")
    assert (again.migrated, again.skipped, again.state) == (0, 153, "completed")
    assert [each.id for each in engine.runs()] == [run.id, again.id]


def test_rollback_is_byte_identical(state: StateManager) -> None:
    """A rollback restores the very bytes, and leaves alone what was changed since."""
    fill(state, 30)
    before = payloads(state)
    engine = MigrationEngine(state, [STEP])
    run = engine.apply("item", 2, scope="agent:a", settings=RunSettings(batch_size=7))
    state.set("agent:a", "k0003", "changed since")
    state.update("agent:a", "k0004", lambda old: old | {"more": 1})
    back = engine.rollback(run.id)
    assert (back.state, back.restored, back.conflicts) == ("rolled_back", 28, 1)
    assert state.get("agent:a", "k0003") == "changed since"
    assert state.get("agent:a", "k0004") == {"count": {"total": 4, "unit": "piece"}, "more": 1}
    state.set("agent:a", "k0003", {"n": 3})
    state.set("agent:a", "k0004", {"n": 4})
    assert payloads(state) == before
    found = state.get_with_metadata("agent:a", "k0001")
    assert found is not None
    assert (found.metadata.schema_version, found.metadata.migration) == (None, None)
    assert engine.rollback(run.id).state == "rolled_back"


def test_failure_restores_all(state: StateManager) -> None:
    """A failure in the middle leaves the store byte-identical, where `all` is chosen."""
    fill(state, 50)
    state.set("agent:a", "k0033", {"other": 1})
    before = payloads(state)
    engine = MigrationEngine(state, [STEP])
    with pytest.raises(MigrationFailedError, match="agent:a/k0033: n: is missing") as caught:
        engine.apply("item", 2, scope="agent:a", settings=RunSettings(batch_size=10))
    assert (caught.value.key, caught.value.step) == ("k0033", "1_to_2")
    assert payloads(state) == before
    run = engine.status(caught.value.migration_id)
    assert run.state == "rolled_back"
    assert run.migrated == run.restored
    names = {each.name for each in state.events.read(name="migration.*")}
    assert {"migration.failed", "migration.rolled_back"} <= names


def test_failure_stops_at_a_batch(state: StateManager) -> None:
    """With `batch`, nothing of the batch is written, and the run goes on when it can."""
    fill(state, 30)
    state.set("agent:a", "k0015", {"other": 1})
    engine = MigrationEngine(state, [STEP])
    settings = RunSettings(batch_size=10, workers=1, on_failure="batch")
    with pytest.raises(MigrationFailedError) as caught:
        engine.apply("item", 2, scope="agent:a", settings=settings)
    versions = {k: v.metadata.schema_version for k, v in state.scan("agent:a")}
    assert all(versions[f"k{n:04}"] is None for n in range(10, 20))
    assert all(versions[f"k{n:04}"] == "2" for n in range(10))
    state.set("agent:a", "k0015", {"n": 15})
    run = engine.resume(caught.value.migration_id)
    assert (run.state, run.migrated) == ("completed", 30)


def test_quarantine(state: StateManager) -> None:
    """With `value`, what fails stays as it was and is recorded; a later run takes it up."""
    fill(state, 20)
    state.set("agent:a", "k0005", {"other": "private"})
    engine = MigrationEngine(state, [STEP])
    run = engine.apply("item", 2, scope="agent:a", settings=RunSettings(on_failure="value"))
    assert (run.state, run.migrated, run.quarantined) == ("completed", 19, 1)
    (note,) = engine.quarantine(run.id)
    assert (note["scope"], note["key"], note["step"], note["path"]) == (
        "agent:a",
        "k0005",
        "1_to_2",
        "n",
    )
    assert "private" not in repr(note)
    assert state.get("agent:a", "k0005") == {"other": "private"}


def test_validations(state: StateManager) -> None:
    """A validation sets a default and keeps the original, removes, or puts aside."""
    actions = {"a": ("default", ""), "b": ("remove", None), "c": ("quarantine", None)}
    for key, (action, default) in actions.items():
        state.set("agent:v", key, {"e": f"no address {key}"})
        check = Validation(field="e", validator="email_format", on_error=action, default=default)
        step = MigrationStep(schema=key, from_version=1, to_version=2, transformations=(check,))
        engine = MigrationEngine(state, [step])
        settings = RunSettings(allow_loss=True)
        run = engine.apply(key, 2, scope="agent:v", key=key, settings=settings)
        kept = [note["originals"] for note in engine.originals(run.id)]
        if key == "c":
            assert (run.migrated, run.quarantined, kept) == (0, 1, [])
        else:
            assert (run.migrated, run.quarantined) == (1, 0)
            assert kept == [[["e", f"no address {key}"]]]
    values = [state.get("agent:v", key) for key in actions]
    assert values == [{"e": ""}, {}, {"e": "no address c"}]


def test_nothing_of_others_is_overwritten(state: StateManager) -> None:
    """A write between the read and the commit is read again, and migrated itself."""
    fill(state, 10)
    engine = MigrationEngine(state, [STEP])
    intrude = iter([("k0004", {"n": 400}), ("k0005", None)])

    def commit(*args: Any, **options: Any) -> Any:
        if len(args[0]) > 2:
            for key, value in intrude:
                if value is None:
                    state.delete("agent:a", key)
                else:
                    state.set("agent:a", key, value)
        return original(*args, **options)

    original, engine._ledger.commit = engine._ledger.commit, commit  # type: ignore[method-assign]
    run = engine.apply("item", 2, scope="agent:a")
    assert run.migrated == 9
    assert state.get("agent:a", "k0004") == {"count": {"total": 400, "unit": "piece"}}
    assert not state.exists("agent:a", "k0005")


@pytest.mark.parametrize("engine_name", ["sqlite", "rocksdb"])
@pytest.mark.parametrize("last", [1, 6, 11])
def test_kill(tmp_path: Path, engine_name: str, last: int) -> None:
    """A run that is killed is run again and finishes; every value is migrated exactly once."""
    stores = Stores(engine_name, tmp_path)
    with stores() as state:
        fill(state, 200)
        before = payloads(state)
    url = stores.url()
    _killed(url, "apply", last)
    with stores() as state:
        engine = MigrationEngine(state, [STEP])
        run = engine.apply("item", 2, scope="agent:*", settings=RunSettings(batch_size=20))
        assert run.state == "completed"
        assert sum(each.migrated for each in engine.runs()) == 200
        assert [each.state for each in engine.runs()] == ["completed"]
        for key, found in state.scan("agent:a"):
            assert found.value == {"count": {"total": int(key[1:]), "unit": "piece"}}
            assert found.metadata.version == 2
    _killed(url, run.id, 1 if last == 6 else 2)
    with stores() as state:
        assert MigrationEngine(state, [STEP]).rollback(run.id).restored == 200
        assert payloads(state) == before
    stores.finish()


def _killed(url: str, command: str, last: int) -> None:
    args = [sys.executable, "-m", "tests.migrations.killed", url, command, str(last)]
    done = subprocess.run(args, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL


def test_single(state: StateManager) -> None:
    """One value: migrated, migrated already, missing."""
    state.set("agent:a", "k", {"n": 1})
    engine = MigrationEngine(state, [STEP])
    result = engine.migrate("agent:a", "k", "item", 2)
    assert (result.from_version, result.to_version, result.applied_steps) == (1, 2, ("1_to_2",))
    assert result.needed
    assert result.restore_point == 1
    revision = state.revision
    again = engine.migrate("agent:a", "k", "item", 2)
    assert (again.needed, again.applied_steps, state.revision) == (False, (), revision)
    with pytest.raises(MissingKeyError):
        engine.migrate("agent:a", "absent", "item", 2)
    with pytest.raises(MigrationPlanError):
        engine.migrate("agent:a", "k", "item", 1)


def test_plans() -> None:
    """A plan is every step on the way; gaps, cycles and unknown functions are refused."""
    steps = [
        MigrationStep(
            schema="s",
            from_version=n,
            to_version=n + 1,
            name=f"step{n}",
            transformations=(Default(field=f"f{n}", value=n),),
        )
        for n in (1, 2, 3)
    ]
    with holdfast.open("memory:") as state:
        engine = MigrationEngine(state, steps)
        assert [each.name for each in engine.plan("s", 1, 4).steps] == ["step1", "step2", "step3"]
        for low, high in ((0, 2), (1, 5), (2, 9)):
            with pytest.raises(MigrationPlanError):
                engine.plan("s", low, high)
        with pytest.raises(MigrationPlanError, match="no way back"):
            engine.plan("s", 2, 1)
        state.set("agent:a", "k", {})
        revision = state.revision
        for bad in (
            MigrationStep(schema="t", from_version=2, to_version=2),
            MigrationStep(schema="t", from_version=2, to_version=1),
            MigrationStep(
                schema="t",
                from_version=1,
                to_version=2,
                transformations=(
                    Custom(from_fields=("a",), to_fields=("b",), transformer="nowhere"),
                ),
            ),
            MigrationStep(
                schema="t",
                from_version=1,
                to_version=2,
                transformations=(Validation(field="a", validator="nowhere"),),
            ),
            MigrationStep(
                schema="t",
                from_version=1,
                to_version=2,
                pre_conditions=(Condition(kind="predicate", value="nowhere"),),
            ),
            MigrationStep(
                schema="t",
                from_version=1,
                to_version=2,
                transformations=(Remove(field="a"),),
                lossless=True,
            ),
        ):
            with pytest.raises(InvalidArgumentError):
                MigrationEngine(state, [bad]).apply("t", 2)
        with pytest.raises(InvalidArgumentError, match="two steps"):
            MigrationEngine(state, [steps[0], steps[0]]).apply("s", 2)
        lossy = MigrationStep(
            schema="t", from_version=1, to_version=2, transformations=(Remove(field="a"),)
        )
        with pytest.raises(UnsafeMigrationError) as caught:
            MigrationEngine(state, [lossy]).apply("t", 2)
        assert caught.value.reasons == ("1_to_2: a is removed",)
        assert state.revision == revision


def test_veto(state: StateManager) -> None:
    """Hooks see what a migration writes, and may refuse it."""
    fill(state, 4)
    seen: list[str] = []

    def watch(event: Any) -> None:
        if event.scope.kind.name == "AGENT":
            seen.append(event.key)
            if event.key == "k0002":
                event.veto("not this one")

    state.hooks.before(watch, name="watch")
    engine = MigrationEngine(state, [STEP])
    run = engine.apply("item", 2, scope="agent:a", settings=RunSettings(on_failure="value"))
    assert (run.migrated, run.quarantined) == (3, 1)
    assert engine.quarantine(run.id)[0]["code"] == VetoError.code
    assert set(seen) == {f"k{n:04}" for n in range(4)}


@transformer("boolean_to_notification_level")
def notification_level(values: list[Any], config: dict[str, Any]) -> Any:
    """Return the level that a boolean stood for, and the other way round."""
    (value,) = values
    if isinstance(value, bool):
        return config["true_value"] if value else config["false_value"]
    return value == config["true_value"]


LEVELS = {"true_value": "all", "false_value": "none"}
PROFILE = MigrationStep(
    schema="user_profile",
    from_version=1,
    to_version=2,
    name="restructure_user_profile",
    description="Move email to contact_info and add verification status",
    transformations=(
        Move(from_field="email", to_field="contact_info.email"),
        Default(field="contact_info.verified", value=False),
        Custom(
            from_fields=("notifications",),
            to_fields=("notification_level",),
            transformer="boolean_to_notification_level",
            config=LEVELS,
        ),
        Remove(field="legacy_setting"),
        Validation(
            field="contact_info.email", validator="email_format", on_error="default", default=""
        ),
    ),
    pre_conditions=(Condition(kind="exists", field="email"),),
    post_conditions=(
        Condition(kind="exists", field="contact_info.email"),
        Condition(kind="exists", field="contact_info.verified"),
    ),
    rollback_transformations=(
        Move(from_field="contact_info.email", to_field="email"),
        Remove(field="contact_info"),
    ),
)


def test_the_documents_example(state: StateManager) -> None:
    """User profile, version 1 to 2 and back, as the architecture document has it."""
    old = {"email": "ada@example.org", "notifications": True, "legacy_setting": 7}
    state.set("user:ada", "profile", old)
    engine = MigrationEngine(state, [PROFILE, notification_level])
    with pytest.raises(UnsafeMigrationError):
        engine.migrate("user:ada", "profile", "user_profile", 2)
    tried = engine.dry_run("user_profile", 2, scope="user:*")
    assert tried.keys[0].lost == ("legacy_setting",)
    up = engine.migrate("user:ada", "profile", "user_profile", 2, allow_loss=True)
    assert up.applied_steps == ("restructure_user_profile",)
    assert state.get("user:ada", "profile") == {
        "contact_info": {"email": "ada@example.org", "verified": False},
        "notifications": True,
        "notification_level": "all",
    }
    with pytest.raises(UnsafeMigrationError, match="not declared lossless"):
        engine.migrate("user:ada", "profile", "user_profile", 1)
    engine.migrate("user:ada", "profile", "user_profile", 1, allow_loss=True)
    assert state.get("user:ada", "profile") == {
        "email": "ada@example.org",
        "notifications": True,
        "notification_level": "all",
    }
    state.set("user:ada", "profile", old)
    again = engine.migrate("user:ada", "profile", "user_profile", 2, allow_loss=True)
    engine.rollback(str(again.migration_id))
    assert state.get("user:ada", "profile") == old


def test_rollout(state: StateManager) -> None:
    """Old and new programs work on one store, and neither drops what it does not know."""
    step = MigrationStep(
        schema="p",
        from_version=1,
        to_version=2,
        transformations=(Move(from_field="age", to_field="profile.age"),),
        lossless=True,
    )
    old = Versioned(state, [step], "p", 1)
    new = Versioned(state, [step], "p", 2, write_back=True)
    state.set("user:a", "p", {"age": 1, "unknown": "kept"})
    assert new.get("user:a", "p") == {"profile": {"age": 1}, "unknown": "kept"}
    found = state.get_with_metadata("user:a", "p")
    assert found is not None
    assert (found.metadata.schema_version, found.metadata.version) == ("2", 2)
    assert old.get("user:a", "p") == {"age": 1, "unknown": "kept"}
    old.update("user:a", "p", lambda value: value | {"age": value["age"] + 1})
    assert state.get("user:a", "p") == {"profile": {"age": 2}, "unknown": "kept"}
    new.update("user:a", "p", lambda value: value | {"new": True})
    assert old.get("user:a", "p") == {"age": 2, "unknown": "kept", "new": True}
    assert old.get("user:a", "absent", 5) == 5


def test_read_only(tmp_path: Path) -> None:
    """Without the right to write, a lazy read shows the new version and writes nothing."""
    url = f"sqlite:{tmp_path / 's.db'}"
    with holdfast.open(url) as state:
        fill(state, 1)
        revision = state.revision
    with holdfast.open(url, read_only=True) as state:
        seen = Versioned(state, [STEP], "item", 2, write_back=True).get("agent:a", "k0000")
        assert seen == {"count": {"total": 0, "unit": "piece"}}
        assert state.revision == revision


def test_own_records_are_no_values(memory_store: Stores) -> None:
    """What Holdfast itself keeps is never migrated: not by a pattern, and not by name."""
    state = memory_store()
    fill(state, 1)
    state.set("workflow:w:step:s", "k", {"n": 1})
    engine = MigrationEngine(state, [STEP])
    engine.apply("item", 2)
    assert engine.apply("item", 2).skipped == 2
    with pytest.raises(InvalidArgumentError, match="Holdfast's own"):
        engine.apply("item", 2, scope="custom:holdfast.migrations")


def test_files(tmp_path: Path) -> None:
    """Steps come from TOML, JSON and Python files that are named, and are the same."""
    toml = tmp_path / "steps.toml"
    toml.write_text(
        """
        [[steps]]
        schema = "item"
        from_version = 1
        to_version = 2
        lossless = true
        transformations = [{op = "move", from = "n", to = "m"}]
        pre_conditions = [{kind = "type", field = "n", value = "integer"}]
        """
    )
    code = tmp_path / "more.py"
    code.write_text(
        "from holdfast.migrations import migration\n"
        "@migration('item', 2, 3)\n"
        "def double(value):\n"
        "    return {'m': value['m'] * 2}\n"
    )
    with holdfast.open("memory:") as state:
        state.set("agent:a", "k", {"n": 4})
        engine = MigrationEngine(state, Catalogue(toml, code))
        engine.apply("item", 3)
        assert state.get("agent:a", "k") == {"m": 8}
        assert engine.catalogue.schemas() == ["item"]
    bad = tmp_path / "bad.json"
    bad.write_text('{"schema": "s", "from_version": 1, "to_version": 2, "run": "os.system"}')
    with pytest.raises(InvalidArgumentError, match="no migration step"):
        Catalogue(bad)


def test_convert_fails_quietly(state: StateManager) -> None:
    """Errors, events and records never hold what is stored."""
    state.set("agent:a", "k", {"n": "private-value"})
    step = MigrationStep(
        schema="c",
        from_version=1,
        to_version=2,
        transformations=(Convert(field="n", to="integer"),),
    )
    engine = MigrationEngine(state, [step])
    with pytest.raises(MigrationFailedError) as caught:
        engine.migrate("agent:a", "k", "c", 2)
    told = [each.data for each in state.events.read(name="migration.*")]
    assert "private" not in f"{caught.value} {told} {[r.to_json() for r in engine.runs()]}"
