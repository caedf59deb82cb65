"""Steps: from one version of a schema to the next, as data or as a Python function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from holdfast.errors import InvalidArgumentError, MigrationStepError, StateError
from holdfast.migrations.functions import Functions
from holdfast.migrations.paths import EVERY, get, parse, places
from holdfast.migrations.transformations import Transformation, dump, inverse, load, loses
from holdfast.migrations.transforms import Run, Trace, compiled, copied, same
from holdfast.store.value import MISSING

_TYPES = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What must hold of a value before or after a step.

    Attributes:
        kind: ``exists``, ``absent``, ``type``, ``equals`` or ``predicate``.
        field: The path; of a predicate it may be left out, for the whole value.
        value: What `equals` compares with; the name of the type, or of the predicate.
    """

    kind: Literal["exists", "absent", "type", "equals", "predicate"]
    field: str = ""
    value: Any = None


class MigrationStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A step from one version of a schema to the next.

    Attributes:
        schema: Name of the schema.
        from_version, to_version: Its versions; `to_version` is the higher one.
        name, description: For people.
        transformations: What it does, in order.
        pre_conditions, post_conditions: What must hold before and after.
        rollback_transformations: The way back.
        lossless: The way back restores exactly what was there; without rollback transformations,
            those are the inverse of `transformations`, which are moves and renames only.
    """

    schema: str
    from_version: int
    to_version: int
    name: str = ""
    description: str = ""
    transformations: tuple[Any, ...] = ()
    pre_conditions: tuple[Condition, ...] = ()
    post_conditions: tuple[Condition, ...] = ()
    rollback_transformations: tuple[Any, ...] = ()
    lossless: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is checked and can be run: `MigrationStep` or Python function alike.

    Attributes:
        schema, from_version, to_version, name, lossless: As in `MigrationStep`.
        up, down: Functions that change a value in place and return it; `down` is None where
            there is no way back.
        losses: How data are given up on the way up.
        data: The step as plain data; None of a Python function.
    """

    schema: str
    from_version: int
    to_version: int
    name: str
    lossless: bool
    up: Callable[[Any, Trace], Any]
    down: Callable[[Any, Trace], Any] | None
    losses: tuple[str, ...] = ()
    data: dict[str, Any] | None = field(default=None, compare=False)


def step_of(data: Any) -> MigrationStep:
    """Return the step that plain data stand for.

    Raises:
        InvalidArgumentError: They stand for none.
    """
    if isinstance(data, MigrationStep):
        return data
    try:
        return msgspec.convert(data, MigrationStep)
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(f"this is no migration step: {error}") from None


def check_versions(schema: str, from_version: int, to_version: int) -> None:
    """Refuse versions that lead nowhere, or back.

    Raises:
        InvalidArgumentError: They do.
    """
    if not schema or "\x1f" in schema:
        raise InvalidArgumentError("a migration step names its schema")
    if not 0 <= from_version < to_version < 1 << 32:
        raise InvalidArgumentError(
            f"the step of {schema} from version {from_version} to {to_version} does not go up",
            hint="the way back belongs to the same step: rollback_transformations, or down",
        )


def prepared(step: MigrationStep, functions: Functions) -> Step:
    """Check a step and make it one that runs.

    Raises:
        InvalidArgumentError: It names what there is not, or is lossless in word only.
    """
    check_versions(step.schema, step.from_version, step.to_version)
    name = step.name or f"{step.from_version}_to_{step.to_version}"
    forward = [load(each) for each in step.transformations]
    back: Sequence[Transformation] = [load(each) for each in step.rollback_transformations]
    if step.lossless and not back and forward:
        found = [inverse(each) for each in reversed(forward)]
        if None in found:
            raise InvalidArgumentError(
                f"step {name} of {step.schema} is declared lossless, and has no way back",
                hint="write rollback_transformations",
            )
        back = [each for each in found if each is not None]
    before = [_condition(each, functions) for each in step.pre_conditions]
    after = [_condition(each, functions) for each in step.post_conditions]
    up = _runner(before, [compiled(each, functions) for each in forward], after)
    down = None
    if back or (step.lossless and not forward):
        # What held before must hold again, and what held after must hold first.
        checks = (after, before) if step.lossless else ([], [])
        down = _runner(checks[0], [compiled(each, functions) for each in back], checks[1])
        if step.lossless:
            up = _proven(up, down, name)
    losses = () if step.lossless else tuple(why for each in forward if (why := loses(each)))
    data = msgspec.to_builtins(
        msgspec.structs.replace(
            step,
            transformations=tuple(dump(each) for each in forward),
            rollback_transformations=tuple(dump(each) for each in back),
        )
    )
    return Step(
        step.schema,
        step.from_version,
        step.to_version,
        name,
        step.lossless,
        up,
        down,
        losses,
        data,
    )


def python_step(
    schema: str,
    fn: Callable[[Any], Any],
    *,
    from_version: int,
    to_version: int,
    name: str = "",
    down: Callable[[Any], Any] | None = None,
    lossless: bool = False,
) -> Step:
    """Make a Python function a step.

    Raises:
        InvalidArgumentError: Its versions lead nowhere, or it is lossless without a way back.
    """
    check_versions(schema, from_version, to_version)
    name = name or fn.__name__
    if lossless and down is None:
        raise InvalidArgumentError(
            f"step {name} of {schema} is declared lossless, and has no way back", hint="give down="
        )
    up, back = _called(fn, name), None if down is None else _called(down, name)
    if lossless and back is not None:
        up = _proven(up, back, name)
    return Step(schema, from_version, to_version, name, lossless, up, back)


def _proven(
    up: Callable[[Any, Trace], Any], down: Callable[[Any, Trace], Any], name: str
) -> Callable[[Any, Trace], Any]:
    """Return `up`, refusing a value that `down` would not restore: declared is not proven."""

    def run(value: Any, trace: Trace) -> Any:
        before = copied(value)
        made = up(value, trace)
        if not same(down(copied(made), Trace()), before):
            raise MigrationStepError(
                f"{name} is declared lossless, and its way back does not restore this value",
                hint="correct the way back, or do not declare the step lossless",
                path="$",
                reason="lossless",
            )
        return made

    return run


def _called(fn: Callable[[Any], Any], name: str) -> Callable[[Any, Trace], Any]:
    def run(value: Any, _trace: Trace) -> Any:
        try:
            return fn(value)
        except StateError:
            raise
        except Exception as error:  # of its author; its text may hold what is stored
            raise MigrationStepError(
                f"{name} raised {type(error).__name__}", path="$", reason="custom"
            ) from error

    return run


def _runner(before: list[Run], runs: list[Run], after: list[Run]) -> Callable[[Any, Trace], Any]:
    every = (*before, *runs, *after)

    def run(value: Any, trace: Trace) -> Any:
        for each in every:
            each(value, trace)
        return value

    return run


def _condition(condition: Condition, functions: Functions) -> Run:
    kind, wanted = condition.kind, condition.value
    parts = parse(condition.field) if condition.field else ()
    if kind != "predicate" and not parts:
        raise InvalidArgumentError(f"the condition {kind} names no field")
    check: Callable[[Any], bool]
    if kind == "exists":
        check = _there
    elif kind == "absent":
        check = _gone
    elif kind == "equals":

        def check(found: Any) -> bool:
            return type(found) is type(wanted) and bool(found == wanted)

    elif kind == "type":
        if wanted not in _TYPES:
            raise InvalidArgumentError(
                f"there is no type {wanted!r}", hint=f"there is {', '.join(_TYPES)}"
            )

        def check(found: Any) -> bool:
            return type(found) is _TYPES[wanted]

    else:
        fn = functions.predicates.get(wanted)
        if fn is None:
            raise InvalidArgumentError(
                f"there is no predicate {wanted!r}", hint="load the module that has it"
            )

        def check(found: Any) -> bool:
            try:
                return found is not MISSING and bool(fn(copied(found)))
            except Exception as error:  # of its author; its text may hold what is stored
                raise MigrationStepError(
                    f"{wanted} raised {type(error).__name__}", path="$", reason="condition"
                ) from error

    words = f"{kind} {wanted}" if kind in ("type", "predicate") else kind

    def run(value: Any, _trace: Trace) -> None:
        found = list(places(value, parts))
        if not found and kind == "exists" and EVERY in parts:
            return  # of no element
        for place in found:
            if not check(get(value, place)):
                where = condition.field or "$"
                raise MigrationStepError(
                    f"{where}: the condition {words} does not hold", path=where, reason="condition"
                )

    return run


def _there(found: Any) -> bool:
    return found is not MISSING


def _gone(found: Any) -> bool:
    return found is MISSING
