"""`SchemaRegistry`: the schemas of a store, in the store itself.

In ``custom:holdfast.schemas``, ``schema/NAME`` has all versions of a schema, ``binding/HEX`` one
pattern of keys with the schema that is bound to it. They are ordinary records: history, watch and
exports have them too.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from xxhash import xxh3_128_hexdigest

from holdfast.errors import InvalidArgumentError, SchemaRequiredError
from holdfast.schemas.checking import Checker
from holdfast.schemas.compatibility import Comparison, compare
from holdfast.schemas.conditions import Predicate
from holdfast.schemas.errors import (
    SchemaDependencyError,
    SchemaExistsError,
    SchemaIncompatibleError,
    SchemaNotFoundError,
)
from holdfast.schemas.schema import StateSchema
from holdfast.store.policy import ScopePattern
from holdfast.store.scope import StateScope
from holdfast.store.value import StateClass

if TYPE_CHECKING:
    from holdfast.manager import StateManager
    from holdfast.transaction import StateTransaction

SCOPE: Final = StateScope.custom("holdfast.schemas")

_SCHEMA: Final = "schema/"
_BINDING: Final = "binding/"


@dataclass(frozen=True, slots=True)
class Binding:
    """A schema bound to a pattern of scopes and keys.

    Attributes:
        name: The schema's.
        scope: Pattern of scopes, as of a `ScopePolicy`.
        key: Pattern of keys: ``*``, ``?`` and ``[…]`` as in file names.
        version: The version that counts; None for the latest.
    """

    name: str
    scope: str
    key: str
    version: int | None = None

    def matches(self, scope: StateScope, key: str) -> bool:
        """Say whether a key is meant."""
        return ScopePattern.parse(self.scope).matches(scope) and fnmatch.fnmatchcase(key, self.key)

    @property
    def rank(self) -> tuple[tuple[int, int], int, str, str]:
        """How specific it is: first the scope, then the letters of the key that are no wildcard."""
        letters = sum(char not in "*?[]" for char in self.key)
        return ScopePattern.parse(self.scope).rank, letters, self.scope, self.key


class SchemaRegistry:
    """The schemas of one store, as its tenant sees it.

    Nothing is kept in memory but compiled schemas, which never change: every call reads what is
    registered and bound at that moment.

    Args:
        state: The store.
        validators: The functions that custom kinds and predicates name.
    """

    def __init__(
        self, state: StateManager, *, validators: Mapping[str, Predicate] | None = None
    ) -> None:
        self._state = state
        self._validators = dict(validators or {})
        self._checkers: dict[tuple[str, int, bool], Checker] = {}

    def register(self, schema: StateSchema) -> Comparison | None:
        """Register a schema, or its next version; the same once more changes nothing.

        Returns:
            What the version keeps of the one before it; None for the first.

        Raises:
            SchemaExistsError: The version, or a later one, is another schema.
            SchemaIncompatibleError: It keeps less of the version before than it declares.
            SchemaDependencyError: It depends on what is not registered, or on itself in the end.
        """

        def put(tx: StateTransaction) -> Comparison | None:
            known = _versions(tx, schema.name)
            for at, one in enumerate(known):
                if one == schema:
                    return compare(known[at - 1], one) if at else None
            _check_dependencies(tx, schema)
            comparison = None
            if known:
                comparison = _check_next(known[-1], schema)
            data = [each.to_data() for each in (*known, schema)]
            tx.set(SCOPE, _SCHEMA + schema.name, {"versions": data})
            return comparison

        return self._state.transact(put)

    def get(self, name: str, version: int | None = None) -> StateSchema:
        """Return a version of a schema, the latest where none is named.

        Raises:
            SchemaNotFoundError: There is none.
        """
        for schema in reversed(self.versions(name)):
            if version is None or schema.version == version:
                return schema
        raise _not_found(name, version)

    def versions(self, name: str) -> list[StateSchema]:
        """Return the versions of a schema, the first one first; none where there is no such."""
        return _versions(self._state, name)

    def names(self) -> list[str]:
        """Return the names of all schemas, in order."""
        keys = self._state.list_keys(SCOPE, prefix=_SCHEMA)
        return sorted(key.removeprefix(_SCHEMA) for key in keys)

    def bind(self, name: str, *, scope: str, key: str = "*", version: int | None = None) -> Binding:
        """Bind a schema to a pattern of scopes and keys, in place of the one bound to it.

        Of several patterns that take a key, the most specific counts.

        Args:
            name: The schema's.
            scope: As ``*``, ``user:*``, ``agent:7`` or ``workflow:*:step:charge``.
            key: ``*``, ``?`` and ``[…]`` as in file names.
            version: The version that counts; None for whatever is the latest.

        Raises:
            SchemaNotFoundError: There is no such schema, or version.
            ConfigurationError: `scope` is no pattern.
        """
        ScopePattern.parse(scope)
        if not key:
            raise InvalidArgumentError("a pattern of keys is not empty", hint="* takes every key")
        binding = Binding(name, scope, key, version)
        data = {"name": name, "scope": scope, "key": key, "version": version}

        def put(tx: StateTransaction) -> None:
            if not any(version in (None, each.version) for each in _versions(tx, name)):
                raise _not_found(name, version)
            tx.set(SCOPE, _binding_key(scope, key), data)

        self._state.transact(put)
        return binding

    def unbind(self, *, scope: str, key: str = "*") -> bool:
        """Take the binding of a pattern away; False where there is none."""
        return self._state.delete(SCOPE, _binding_key(scope, key))

    def bindings(self) -> list[Binding]:
        """Return all bindings, the most specific first."""
        found = [Binding(**v.value) for _, v in self._state.scan(SCOPE, prefix=_BINDING)]
        return sorted(found, key=lambda each: each.rank, reverse=True)

    def bound(self, scope: StateScope | str, key: str) -> StateSchema | None:
        """Return the schema that is bound to a key, or None."""
        place = scope if isinstance(scope, StateScope) else StateScope.parse(scope)
        for binding in self.bindings():
            if binding.matches(place, key):
                return self.get(binding.name, binding.version)
        return None

    def check(
        self,
        scope: StateScope | str,
        key: str,
        value: Any,
        *,
        state_class: StateClass = StateClass.STANDARD,
    ) -> StateSchema | None:
        """Hold a value against the schema that is bound to its key; write nothing.

        Ephemeral and trusted values are not checked. External ones must have a schema, and no
        field that it does not name.

        Returns:
            The schema, or None where none is bound or the class is not checked.

        Raises:
            SchemaMismatchError: It does not fit.
            SchemaRequiredError: It is external, and no schema is bound.
            ConfigurationError: The schema names a function that the registry was not given.
        """
        if state_class in (StateClass.EPHEMERAL, StateClass.TRUSTED):
            return None
        schema = self.bound(scope, key)
        external = state_class is StateClass.EXTERNAL
        if schema is None:
            if external:
                raise SchemaRequiredError(f"no schema is bound to {scope}/{key}")
            return None
        self.checker(schema, strict=external).check(value, f"{scope}/{key}")
        return schema

    def checker(self, schema: StateSchema, *, strict: bool = False) -> Checker:
        """Return a schema compiled, with the registry's functions."""
        place = schema.name, schema.version, strict
        known = self._checkers.get(place)
        if known is None or known.schema != schema:
            known = self._checkers[place] = Checker(schema, self._validators, strict=strict)
        return known


def _versions(store: StateManager | StateTransaction, name: str) -> list[StateSchema]:
    stored = store.get(SCOPE, _SCHEMA + name)
    return [] if stored is None else [StateSchema.from_data(each) for each in stored["versions"]]


def _check_next(latest: StateSchema, schema: StateSchema) -> Comparison:
    """Check that a schema may follow the latest version."""
    facts: dict[str, Any] = {"name": schema.name, "version": schema.version}
    if schema.version <= latest.version:
        raise SchemaExistsError(
            f"version {schema.version} of {schema.name} is registered as another schema, "
            f"or passed: the latest is {latest.version}",
            **facts,
        )
    if schema.semantic <= latest.semantic:
        raise SchemaExistsError(
            f"{schema.name} {schema.semantic_version} does not follow {latest.semantic_version}",
            hint="raise its semantic version too",
            **facts,
        )
    comparison = compare(latest, schema)
    if not comparison.keeps(schema.compatibility):
        reasons = [reason for reason in comparison.reasons if reason.breaks]
        more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        raise SchemaIncompatibleError(
            f"version {schema.version} of {schema.name} declares {schema.compatibility.value} and "
            f"is {comparison.level.value}: {reasons[0]}{more}",
            comparison=comparison,
        )
    return comparison


def _check_dependencies(tx: StateTransaction, schema: StateSchema) -> None:
    """Check that what a schema depends on is there, and does not depend on it."""
    for one in schema.dependencies:
        if one.name == schema.name:
            raise SchemaDependencyError(f"{schema.name} depends on itself")
        if not any(one.version in (None, each.version) for each in _versions(tx, one.name)):
            text = one.name if one.version is None else f"{one.name} {one.version}"
            raise SchemaDependencyError(f"{schema.name} depends on {text}, which is not registered")
    seen: set[str] = set()
    todo: list[tuple[str, ...]] = [(schema.name, name) for name in _names([schema])]
    while todo:
        way = todo.pop()
        if way[-1] == schema.name:
            raise SchemaDependencyError(f"dependencies go in a circle: {' → '.join(way)}")
        if way[-1] not in seen:
            seen.add(way[-1])
            todo += [(*way, name) for name in _names(_versions(tx, way[-1])[-1:])]


def _names(schemas: Iterable[StateSchema]) -> list[str]:
    return [one.name for schema in schemas for one in schema.dependencies]


def _binding_key(scope: str, key: str) -> str:
    return _BINDING + xxh3_128_hexdigest(f"{scope}\0{key}".encode())


def _not_found(name: str, version: int | None) -> SchemaNotFoundError:
    text = f"schema {name!r}" if version is None else f"version {version} of schema {name!r}"
    return SchemaNotFoundError(f"there is no {text}", name=name, version=version)
