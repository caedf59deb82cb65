"""What can be wrong with a schema, or with a value that is held against one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import RejectedError, UsageError

if TYPE_CHECKING:
    from holdfast.schemas.compatibility import Comparison
    from holdfast.schemas.problem import Problem


class InvalidSchemaError(UsageError):
    """What was given is no schema.

    Attributes:
        path: The part of it that is wrong.
    """

    code = "invalid_schema"
    path: str = "$"


class SchemaNotFoundError(RejectedError):
    """No schema of this name, or no such version of it, is registered.

    Attributes:
        name, version: What was asked for.
    """

    code = "schema_not_found"
    default_hint = "register it first; names() and versions(name) tell which there are"
    name: str
    version: int | None = None


class SchemaExistsError(RejectedError):
    """Another schema is registered under this name and version, or under a later one."""

    code = "schema_exists"
    default_hint = "a registered version never changes: register the next one"
    name: str
    version: int | None = None


class SchemaIncompatibleError(RejectedError):
    """A version breaks the compatibility that it declares.

    Attributes:
        comparison: Old against new, with the reasons.
    """

    code = "schema_incompatible"
    default_hint = "keep what it declares, or declare what it keeps"
    comparison: Comparison


class SchemaDependencyError(RejectedError):
    """A schema depends on one that is not registered, or in the end on itself."""

    code = "schema_dependency"
    default_hint = "register what it depends on first, without a cycle"


class SchemaMismatchError(RejectedError):
    """A value does not fit its schema.

    Attributes:
        problems: What is wrong with it, in the order of the schema's walk.
    """

    code = "schema_mismatch"
    default_hint = "correct the value, or register a version that takes it"
    problems: tuple[Problem, ...] = ()
