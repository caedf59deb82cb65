"""What a hook is registered for: patterns, names, phases; and that bad ones are typed errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import Operation, StateClass, StateManager, StateScope
from holdfast.errors import ConfigurationError, InvalidArgumentError, UsageError
from holdfast.hooks import HookSettings, matching
from holdfast.hooks.selection import select
from tests.conftest import Stores


@pytest.mark.parametrize(
    ("scope", "meant"),
    [
        ("*", {"agent:a", "agent:b", "user:a", "global", "workflow:w:step:s"}),
        ("agent:*", {"agent:a", "agent:b"}),
        ("agent:a", {"agent:a"}),
        ("workflow:*:step:*", {"workflow:w:step:s"}),
        (StateScope.user("a"), {"user:a"}),
    ],
)
def test_scopes(scope: Any, meant: set[str]) -> None:
    """A pattern means scopes of its kind and ids, and `*` means all."""
    chosen = select("after", scope)
    texts = ["agent:a", "agent:b", "user:a", "global", "workflow:w", "workflow:w:step:s"]
    found = {text for text in texts if chosen.takes_scope(StateScope.parse(text))}
    assert found == (meant | {"workflow:w"} if scope == "*" else meant)


@given(st.text(alphabet="ab*?[]-!", max_size=6))
def test_a_pattern_of_keys_is_read_or_refused(pattern: str) -> None:
    """Never anything but a selection or a typed error; a literal one matches itself."""
    try:
        chosen = select("after", "*", pattern)
    except UsageError:
        return
    if not set(pattern) & set("*?["):
        assert chosen.takes_key(pattern)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"phase": "during"}, InvalidArgumentError, "phase 'during'"),
        ({"scope": "agnt:*"}, ConfigurationError, "agnt"),
        ({"scope": 5}, ConfigurationError, "int"),
        ({"key": "a["}, InvalidArgumentError, "without its"),
        ({"key": ""}, InvalidArgumentError, "empty"),
        ({"key": 5}, InvalidArgumentError, "int"),
        ({"operations": "rename"}, InvalidArgumentError, "rename"),
        ({"operations": {"set", 77}}, InvalidArgumentError, "77"),
        ({"operations": []}, InvalidArgumentError, "no operation"),
        ({"operations": "trim"}, InvalidArgumentError, "trim"),
        ({"phase": "before", "operations": "expire"}, InvalidArgumentError, "expire"),
        ({"classes": "secret"}, InvalidArgumentError, "secret"),
        ({"timeout": 0}, InvalidArgumentError, "timeout"),
        ({"timeout": "5"}, InvalidArgumentError, "timeout"),
        ({"priority": "high"}, InvalidArgumentError, "priority"),
        ({"mode": "later"}, InvalidArgumentError, "later"),
        ({"phase": "before", "on_error": "ignore"}, InvalidArgumentError, "ignore"),
        ({"mode": "inline", "batch": True}, InvalidArgumentError, "batch"),
        ({"name": ""}, InvalidArgumentError, "name"),
        ({"scopes": "*"}, InvalidArgumentError, "scopes"),
    ],
)
def test_what_is_wrong_is_refused(
    memory_store: Stores, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    """Each bad argument is a typed error that names it, and nothing is registered."""
    hooks = memory_store().hooks
    phase = arguments.pop("phase", "after")
    with pytest.raises(error, match=words.replace("[", r"\[")):
        hooks.add(phase, lambda event: None, **arguments)
    assert hooks.list() == []


def test_operations_and_classes_by_name_or_member() -> None:
    """Both ways of naming mean the same."""
    one = select("after", operations=["set", Operation.DELETE], classes=StateClass.TRUSTED)
    assert one.operations == {Operation.SET, Operation.DELETE}
    assert one.classes == {StateClass.TRUSTED}
    assert select("after", operations=Operation.SET).operations == {Operation.SET}


def test_registering_in_all_ways(state: StateManager) -> None:
    """As a call, as a decorator with and without options; names are unique."""

    @state.hooks.after
    def follow(event: Any) -> None: ...

    @state.hooks.before(key="k*", priority=3, name="check")
    def other(event: Any) -> None: ...

    third = state.hooks.after(follow.fn, name="third")
    fourth = state.hooks.after(follow.fn)
    assert [hook.name for hook in state.hooks.list()] == ["check", "follow", "third", "follow-2"]
    assert state.hooks.get("third") is third
    assert (other.phase, follow.mode, fourth.priority) == ("before", "queued", 0)
    with pytest.raises(InvalidArgumentError, match="third"):
        state.hooks.after(follow.fn, name="third")
    with pytest.raises(InvalidArgumentError, match="int"):
        state.hooks.after(5)  # type: ignore[call-overload]
    for hook in state.hooks.list():
        hook.remove()
    assert state._kernel.before is None
    assert state._kernel.feed.observers == ()


def test_few_keys_are_remembered(memory_store: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many scopes there are: one bound for all of them."""
    monkeypatch.setattr(matching, "_KEPT", 16)
    state = memory_store()
    hook = state.hooks.after(lambda event: None, key="k*", mode="inline")
    for scope in range(8):
        for key in range(8):
            state.set(f"agent:{scope}", f"k{key}", 1)
    assert hook.metrics.calls == 64
    owners = state._kernel.before.matcher._owners.values()  # type: ignore[union-attr]
    kept = {id(each._keys): len(each._keys) for each in owners if each is not None}
    assert 0 < sum(kept.values()) <= 16


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue_size": 0},
        {"overflow": "ignore"},
        {"workers": 1.5},
        {"reset_after": -1},
        {"close_timeout": 0},
    ],
)
def test_settings_are_checked(memory_store: Stores, wrong: dict[str, Any]) -> None:
    """A setting that cannot be is refused, and so is one that is none."""
    with pytest.raises(ConfigurationError):
        HookSettings(**wrong)
    hooks = memory_store().hooks
    with pytest.raises(ConfigurationError):
        hooks.configure(**wrong)
    with pytest.raises(InvalidArgumentError, match="queue_sizes"):
        hooks.configure(queue_sizes=5)
    assert hooks.settings == HookSettings()
