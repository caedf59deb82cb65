"""Schemas: what stored values look like, version by version, and whether a value fits.

from holdfast.schemas import Checker, Integer, StateSchema, String

user = StateSchema(
    name="user",
    version=1,
    semantic_version="1.0.0",
    fields={"name": String(), "age": Integer(min=0)},
    required=("name",),
)
Checker(user).check({"name": "Ada", "age": 36})
"""

from holdfast.schemas.checking import Checker
from holdfast.schemas.compatibility import Comparison, Reason, Risk, compare
from holdfast.schemas.conditions import (
    Absent,
    Condition,
    Either,
    Equals,
    Every,
    Exists,
    Not,
    OfType,
    Rule,
    Satisfies,
)
from holdfast.schemas.errors import (
    InvalidSchemaError,
    SchemaDependencyError,
    SchemaExistsError,
    SchemaIncompatibleError,
    SchemaMismatchError,
    SchemaNotFoundError,
)
from holdfast.schemas.json_schema import from_json_schema, from_model, to_json_schema
from holdfast.schemas.kinds import (
    UUID,
    Anything,
    Array,
    Boolean,
    Custom,
    Enum,
    Float,
    Integer,
    Kind,
    Object,
    String,
    Timestamp,
)
from holdfast.schemas.problem import Problem
from holdfast.schemas.registry import Binding, SchemaRegistry
from holdfast.schemas.schema import Compatibility, Dependency, StateSchema

__all__ = [
    "UUID",
    "Absent",
    "Anything",
    "Array",
    "Binding",
    "Boolean",
    "Checker",
    "Comparison",
    "Compatibility",
    "Condition",
    "Custom",
    "Dependency",
    "Either",
    "Enum",
    "Equals",
    "Every",
    "Exists",
    "Float",
    "Integer",
    "InvalidSchemaError",
    "Kind",
    "Not",
    "Object",
    "OfType",
    "Problem",
    "Reason",
    "Risk",
    "Rule",
    "Satisfies",
    "SchemaDependencyError",
    "SchemaExistsError",
    "SchemaIncompatibleError",
    "SchemaMismatchError",
    "SchemaNotFoundError",
    "SchemaRegistry",
    "StateSchema",
    "String",
    "Timestamp",
    "compare",
    "from_json_schema",
    "from_model",
    "to_json_schema",
]
