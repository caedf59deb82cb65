"""The registry: what is registered once, refused, bound, and held against values."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from holdfast import StateClass, StateManager
from holdfast.errors import SchemaRequiredError
from holdfast.schemas import (
    Binding,
    Compatibility,
    Custom,
    Dependency,
    Integer,
    Kind,
    SchemaDependencyError,
    SchemaExistsError,
    SchemaIncompatibleError,
    SchemaMismatchError,
    SchemaNotFoundError,
    SchemaRegistry,
    StateSchema,
    String,
)
from tests.conftest import Stores


def schema(name: str = "user", version: int = 1, **settings: Any) -> StateSchema:
    """Make a schema."""
    settings.setdefault("semantic_version", f"{version}.0.0")
    return StateSchema(name=name, version=version, **settings)


def test_versions_are_kept(open_store: Stores) -> None:
    """What is registered is there when the store is opened again, and by version."""
    state = open_store()
    one = schema(fields={"a": String(default="x", pattern="^x")}, required=("a",))
    two = schema(version=2, fields={"a": String()})
    registry = SchemaRegistry(state)
    assert registry.register(one) is None
    comparison = registry.register(two)
    assert comparison is not None
    assert comparison.level is Compatibility.BACKWARD
    assert registry.register(one) is None  # once more changes nothing
    again = registry.register(two)
    assert again == comparison
    if open_store.persistent:
        registry = SchemaRegistry(open_store.reopen(state))
    assert registry.names() == ["user"]
    assert registry.versions("user") == [one, two]
    assert (registry.get("user"), registry.get("user", 1)) == (two, one)
    assert registry.versions("nobody") == []
    for name, version in (("user", 3), ("nobody", None)):
        with pytest.raises(SchemaNotFoundError):
            registry.get(name, version)


def test_what_is_registered_never_changes(state: StateManager) -> None:
    """Another schema under a version, a passed version, or an older semantic one is refused."""
    registry = SchemaRegistry(state)
    registry.register(schema(version=2))
    for other in (
        schema(version=2, description="other"),
        schema(version=1),
        schema(version=3, semantic_version="2.0.0"),
        schema(version=3, semantic_version="2.0.0-rc.1"),
    ):
        with pytest.raises(SchemaExistsError):
            registry.register(other)
    assert [each.version for each in registry.versions("user")] == [2]


@pytest.mark.parametrize(
    ("declared", "kind", "taken"),
    [
        ("breaking", Integer(), True),
        ("backward", Integer(), False),
        ("backward", String(), True),
        ("backward", String(max_length=1), False),
        ("forward", String(max_length=1), True),
        ("forward", String(), False),
        ("full", String(max_length=1), False),
        ("full", String(max_length=5), True),
    ],
)
def test_declared_levels(memory_store: Stores, declared: str, kind: Kind, taken: bool) -> None:
    """A version that keeps less than it declares is refused with the reasons."""
    registry = SchemaRegistry(memory_store())
    registry.register(schema(fields={"a": String(max_length=5)}))
    two = schema(version=2, fields={"a": kind}, compatibility=Compatibility(declared))
    if taken:
        registry.register(two)
    else:
        with pytest.raises(SchemaIncompatibleError, match=r"\$\.a: ") as caught:
            registry.register(two)
        assert caught.value.comparison.reasons
    assert len(registry.versions("user")) == 1 + taken


def test_dependencies(state: StateManager) -> None:
    """What a schema depends on is registered, and does not depend on it."""
    registry = SchemaRegistry(state)

    def needs(name: str, version: int, *others: Any) -> StateSchema:
        found = tuple(Dependency(name=o, version=v) for o, v in others)
        return schema(name, version, dependencies=found)

    for refused in (needs("a", 1, ("b", None)), needs("a", 1, ("a", None))):
        with pytest.raises(SchemaDependencyError):
            registry.register(refused)
    registry.register(needs("a", 1))
    registry.register(needs("b", 1, ("a", 1)))
    registry.register(needs("c", 1, ("b", None)))
    with pytest.raises(SchemaDependencyError, match="b 2, which is not registered"):
        registry.register(needs("d", 1, ("b", 2)))
    with pytest.raises(SchemaDependencyError, match="a → c → b → a"):
        registry.register(needs("a", 2, ("c", None)))


def test_bindings(state: StateManager) -> None:
    """The most specific pattern counts; a pattern is bound to one schema."""
    registry = SchemaRegistry(state)
    for name in ("any", "agents", "one", "key"):
        registry.register(schema(name))
    registry.register(schema("any", 2))
    registry.bind("agents", scope="*")
    registry.bind("any", scope="*")
    registry.bind("agents", scope="agent:*")
    registry.bind("one", scope="agent:1", version=1)
    registry.bind("key", scope="agent:*", key="p*")

    def bound(scope: str, key: str) -> str | None:
        found = registry.bound(scope, key)
        return found and f"{found.name} {found.version}"

    assert bound("global", "k") == "any 2"
    assert bound("agent:2", "k") == "agents 1"
    assert bound("agent:2", "profile") == "key 1"
    assert bound("agent:1", "profile") == "one 1"
    assert registry.bindings()[0] == Binding("one", "agent:1", "*", 1)
    assert registry.unbind(scope="*")
    assert not registry.unbind(scope="*")
    assert bound("global", "k") is None
    for name, version in (("nobody", None), ("one", 2)):
        with pytest.raises(SchemaNotFoundError):
            registry.bind(name, scope="*", version=version)


def test_check(state: StateManager) -> None:
    """By class: standard where one is bound, external always and strictly, trusted never."""
    registry = SchemaRegistry(state, validators={"even": lambda n: n % 2 == 0})
    field = Custom(type_name="even_number", validator="even")
    registry.register(schema(fields={"n": field}, required=("n",)))
    assert registry.check("user:1", "k", "anything") is None
    with pytest.raises(SchemaRequiredError):
        registry.check("user:1", "k", {}, state_class=StateClass.EXTERNAL)
    registry.bind("user", scope="user:*")
    assert registry.check("user:1", "k", {"n": 2, "m": 1}) == registry.get("user")
    for value in ({}, {"n": 1}, []):
        with pytest.raises(SchemaMismatchError, match="user:1/k does not fit"):
            registry.check("user:1", "k", value)
        assert registry.check("user:1", "k", value, state_class=StateClass.TRUSTED) is None
    with pytest.raises(SchemaMismatchError, match=r"\$\.m breaks unknown"):
        registry.check("user:1", "k", {"n": 2, "m": 1}, state_class=StateClass.EXTERNAL)
    assert state.list_keys("user:1") == []


def test_many_register_at_once(state: StateManager) -> None:
    """Of different schemas for one version exactly one is registered."""
    outcomes: list[str] = []

    def register(number: int) -> None:
        try:
            SchemaRegistry(state).register(schema(description=str(number)))
            outcomes.append(str(number))
        except SchemaExistsError:
            outcomes.append("")

    threads = [threading.Thread(target=register, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [each for each in outcomes if each]
    assert len(outcomes) == 8
    assert [each.description for each in SchemaRegistry(state).versions("user")] == winners
