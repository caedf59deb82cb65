"""What transformations do to values: pure functions.

`run` changes a value in place and may raise in the middle: whoever calls it owns the value, and
throws it away then. `apply` works on a copy, so that a value is either changed or as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import InvalidArgumentError, MigrationStepError, StateError
from holdfast.migrations.converting import KINDS, convert
from holdfast.migrations.functions import Functions
from holdfast.migrations.paths import EVERY, Place, bound, get, parse, path_text, places, put, take
from holdfast.migrations.transformations import (
    Convert,
    Copy,
    Custom,
    Default,
    Map,
    Merge,
    Move,
    Remove,
    Rename,
    Split,
    Transformation,
    Validation,
    load,
)
from holdfast.store.value import MISSING


@dataclass(slots=True)
class Trace:
    """What happened to one value besides its change.

    Attributes:
        kept: Originals that a validation replaced or removed: (path, value).
        quarantine: Paths whose validation asks that the value is put aside.
        at: Where in the value the transformations work, for what is told.
    """

    kept: list[tuple[str, Any]] = field(default_factory=list)
    quarantine: list[str] = field(default_factory=list)
    at: Place = ()


#: What becomes of a transformation: changes a value in place.
Run = Callable[[Any, Trace], None]


def compiled(transformation: Transformation, functions: Functions) -> Run:
    """Return a transformation as a function that changes a value in place.

    Raises:
        InvalidArgumentError: A path is none, or a transformer, validator or type is unknown.
    """
    match transformation:
        case Copy() | Move():
            return _transfer(transformation)
        case Rename(field=name, name=new, missing=missing):
            parts = parse(name)
            if not isinstance(parts[-1], str):
                raise InvalidArgumentError(f"{name} ends in a list: only keys have names")
            target = path_text((*parts[:-1], new))
            return _transfer(Move(from_field=name, to_field=target, missing=missing))
        case Remove(field=name):
            return _remove(parse(name))
        case Default(field=name, value=value):
            return _default(parse(name), value)
        case Convert():
            return _convert(transformation)
        case Split():
            return _split(transformation)
        case Merge():
            return _merge(transformation)
        case Custom():
            return _custom(transformation, functions)
        case Validation():
            return _validation(transformation, functions)
        case Map():
            return _map(transformation, functions)
    raise InvalidArgumentError(f"{type(transformation).__name__} is no transformation")


def apply(
    value: Any, transformations: Sequence[Transformation], functions: Functions | None = None
) -> Any:
    """Return a value as transformations leave it; the one given is not touched.

    Raises:
        MigrationStepError: One cannot work on it.
    """
    runs = [compiled(each, functions or Functions()) for each in transformations]
    made, trace = copied(value), Trace()
    for run in runs:
        run(made, trace)
    return made


def copied(value: Any) -> Any:
    """Return a value whose objects and lists are its own."""
    kind = type(value)
    if kind is dict:
        return {key: copied(each) for key, each in value.items()}
    if kind is list:
        return [copied(each) for each in value]
    return copy.deepcopy(value) if kind in (set, bytearray) else value


def same(one: Any, other: Any) -> bool:
    """Say whether two values are the same, types and all; the order of keys does not count."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)


# --- one function each ------------------------------------------------------------------------


def _fail(place: Place, trace: Trace, why: str, reason: str) -> MigrationStepError:
    where = path_text(trace.at + place) or "$"
    return MigrationStepError(f"{where}: {why}", path=where, reason=reason)


def _fixed(parts: tuple[Any, ...]) -> list[Place]:
    """Return the only place of a path without ``[*]``: most have none, and need no search."""
    return [] if EVERY in parts else [parts]


def _transfer(wanted: Copy | Move) -> Run:
    source, target = parse(wanted.from_field), parse(wanted.to_field)
    if source == target:
        raise InvalidArgumentError(f"{wanted.from_field} is moved to itself")
    bound(target, source, tuple(0 if part is EVERY else part for part in source))  # type: ignore[misc]
    prunes = isinstance(wanted, Move) and wanted.prune
    moves, skips, overwrite = isinstance(wanted, Move), wanted.missing == "skip", wanted.overwrite

    fixed = _fixed(source)

    def run(value: Any, trace: Trace) -> None:
        found = fixed or list(places(value, source))
        if not found and not skips and get(value, source[: source.index(EVERY)]) is MISSING:  # type: ignore[arg-type]
            raise _fail(source[: source.index(EVERY)], trace, "is missing", "missing")  # type: ignore[arg-type]
        for place in reversed(found):  # from behind: taking one out moves those behind it
            new: Place = target if fixed else bound(target, source, place)  # type: ignore[assignment]
            moved = take(value, place) if moves else copied(get(value, place))
            if moved is MISSING:
                if skips:
                    continue
                raise _fail(place, trace, "is missing", "missing")
            if not overwrite and get(value, new) is not MISSING:
                raise _fail(new, trace, "is there already", "exists")
            if prunes:
                _prune(value, place[:-1])
            put(value, new, moved)

    return run


def _prune(value: Any, place: Place) -> None:
    """Remove an object that is empty, and those above it that are empty then."""
    while place and get(value, place) == {} and isinstance(place[-1], str):
        take(value, place)
        place = place[:-1]


def _remove(parts: tuple[Any, ...]) -> Run:
    def run(value: Any, _trace: Trace) -> None:
        for place in reversed(list(places(value, parts))):
            take(value, place)

    return run


def _default(parts: tuple[Any, ...], default: Any) -> Run:
    fixed = _fixed(parts)

    def run(value: Any, _trace: Trace) -> None:
        for place in fixed or list(places(value, parts)):
            if get(value, place) is MISSING:
                put(value, place, copied(default))

    return run


def _convert(wanted: Convert) -> Run:
    if wanted.to not in KINDS:
        raise InvalidArgumentError(
            f"nothing converts to {wanted.to!r}", hint=f"there is {', '.join(sorted(KINDS))}"
        )
    parts, to, skips = parse(wanted.field), wanted.to, wanted.missing == "skip"
    fixed = _fixed(parts)

    def run(value: Any, trace: Trace) -> None:
        for place in fixed or list(places(value, parts)):
            old = get(value, place)
            if old is MISSING:
                if skips:
                    continue
                raise _fail(place, trace, "is missing", "missing")
            if old is None:
                continue
            try:
                put(value, place, convert(old, to))
            except (ValueError, ArithmeticError):
                why = f"a {type(old).__name__} that is no exact {to}"
                raise _fail(place, trace, why, "convert") from None

    return run


def _texts(value: Any, places_: Sequence[Place], trace: Trace) -> list[str]:
    found = []
    for place in places_:
        text = get(value, place)
        if text is MISSING:
            raise _fail(place, trace, "is missing", "missing")
        if not isinstance(text, str):
            raise _fail(place, trace, f"is of type {type(text).__name__}, and no text", "type")
        found.append(text)
    return found


def _split(wanted: Split) -> Run:
    source, targets = parse(wanted.field), [parse(each) for each in wanted.to]
    if not wanted.separator or len(targets) < 2:
        raise InvalidArgumentError(f"{wanted.field} is split into two fields or more, by a text")

    def run(value: Any, trace: Trace) -> None:
        for place in list(places(value, source)):
            (text,) = _texts(value, [place], trace)
            pieces = text.split(wanted.separator, len(targets) - 1)
            if len(pieces) != len(targets):
                why = f"has {len(pieces)} parts, and not {len(targets)}"
                raise _fail(place, trace, why, "convert")
            if not wanted.keep:
                take(value, place)
            for target, piece in zip(targets, pieces, strict=True):
                new = bound(target, source, place)
                if get(value, new) is not MISSING:
                    raise _fail(new, trace, "is there already", "exists")
                put(value, new, piece)

    return run


def _merge(wanted: Merge) -> Run:
    sources, target = [parse(each) for each in wanted.fields], parse(wanted.to)
    if len(sources) < 2 or any(EVERY in each for each in (*sources, target)):
        raise InvalidArgumentError(
            f"two fields or more are merged into {wanted.to}, none of them by [*]",
            hint="to merge in every element of a list, use map",
        )
    concrete: list[Place] = sources  # type: ignore[assignment]

    def run(value: Any, trace: Trace) -> None:
        texts = _texts(value, concrete, trace)
        if not wanted.keep:
            for place in concrete:
                take(value, place)
        if get(value, target) is not MISSING:  # type: ignore[arg-type]
            raise _fail(target, trace, "is there already", "exists")  # type: ignore[arg-type]
        put(value, target, wanted.separator.join(texts))  # type: ignore[arg-type]

    return run


def _custom(wanted: Custom, functions: Functions) -> Run:
    fn = functions.transformers.get(wanted.transformer)
    if fn is None:
        raise InvalidArgumentError(
            f"there is no transformer {wanted.transformer!r}", hint="load the module that has it"
        )
    sources = [parse(each) for each in wanted.from_fields]
    targets = [parse(each) for each in wanted.to_fields]
    if any(EVERY in each for each in (*sources, *targets)) or not targets:
        raise InvalidArgumentError(
            f"{wanted.transformer} takes fields without [*]", hint="wrap it in a map"
        )

    def run(value: Any, trace: Trace) -> None:
        given = [copied(get(value, each)) for each in sources]  # type: ignore[arg-type]
        try:
            made = fn(given, copied(wanted.config))
        except StateError:
            raise
        except Exception as error:  # of its author; its text may hold what is stored
            why = f"{wanted.transformer} raised {type(error).__name__}"
            raise _fail((), trace, why, "custom") from error
        if len(targets) == 1 and not isinstance(made, tuple):
            made = (made,)
        if not isinstance(made, list | tuple) or len(made) != len(targets):
            why = f"{wanted.transformer} did not return {len(targets)} values"
            raise _fail((), trace, why, "custom")
        for target, new in zip(targets, made, strict=True):
            if new is MISSING:
                take(value, target)  # type: ignore[arg-type]
            else:
                put(value, target, new)  # type: ignore[arg-type]

    return run


def _validation(wanted: Validation, functions: Functions) -> Run:
    fn = functions.validators.get(wanted.validator)
    if fn is None:
        raise InvalidArgumentError(
            f"there is no validator {wanted.validator!r}", hint="load the module that has it"
        )
    parts = parse(wanted.field)

    def run(value: Any, trace: Trace) -> None:
        for place in reversed(list(places(value, parts))):
            found = get(value, place)
            try:
                good = fn(None if found is MISSING else copied(found))
            except Exception as error:  # of its author; its text may hold what is stored
                why = f"{wanted.validator} raised {type(error).__name__}"
                raise _fail(place, trace, why, "validation") from error
            if good:
                continue
            where = path_text(trace.at + place)
            if wanted.on_error == "fail":
                raise _fail(place, trace, f"fails {wanted.validator}", "validation")
            if wanted.on_error == "quarantine":
                trace.quarantine.append(where)
                continue
            trace.kept.append((where, None if found is MISSING else found))
            if wanted.on_error == "remove":
                take(value, place)
            else:
                put(value, place, copied(wanted.default))

    return run


def _map(wanted: Map, functions: Functions) -> Run:
    runs = [compiled(load(each), functions) for each in wanted.transformations]
    parts, skips = parse(wanted.field), wanted.missing == "skip"

    def run(value: Any, trace: Trace) -> None:
        outer = trace.at
        for place in list(places(value, parts)):
            found = get(value, place)
            if found is MISSING and skips:
                continue
            if not isinstance(found, list):
                raise _fail(place, trace, "is no list", "type")
            for number, element in enumerate(found):
                trace.at = (*outer, *place, number)
                for inner in runs:
                    inner(element, trace)
            trace.at = outer

    return run
