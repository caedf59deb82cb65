"""Transformations: what a step does to a value, as data; `transforms` does it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from holdfast.errors import InvalidArgumentError
from holdfast.migrations.paths import parse, path_text

Missing = Literal["error", "skip"]


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", kw_only=True):
    """Fields that are common to all: none."""


class Copy(_Base, frozen=True, tag="copy", rename={"from_field": "from", "to_field": "to"}):
    """Copy what is at one path to another, which must be free unless `overwrite`."""

    from_field: str
    to_field: str
    missing: Missing = "error"
    overwrite: bool = False


class Move(_Base, frozen=True, tag="move", rename={"from_field": "from", "to_field": "to"}):
    """Move what is at one path to another, which must be free unless `overwrite`.

    `prune`: objects that are empty without it go, too.
    """

    from_field: str
    to_field: str
    missing: Missing = "error"
    overwrite: bool = False
    prune: bool = False


class Rename(_Base, frozen=True, tag="rename"):
    """Give the last key of a path another name."""

    field: str
    name: str
    missing: Missing = "error"


class Remove(_Base, frozen=True, tag="remove"):
    """Remove what is at a path; its absence is no error."""

    field: str


class Default(_Base, frozen=True, tag="default"):
    """Set a path that is absent. What is there stays, null too."""

    field: str
    value: Any


class Convert(_Base, frozen=True, tag="convert"):
    """Convert a scalar to another type, exactly or not at all; null stays null."""

    field: str
    to: str
    missing: Missing = "skip"


class Split(_Base, frozen=True, tag="split"):
    """Split a text into as many fields as are named, at the first separators."""

    field: str
    to: tuple[str, ...]
    separator: str = " "
    keep: bool = False


class Merge(_Base, frozen=True, tag="merge"):
    """Join texts into one field."""

    fields: tuple[str, ...]
    to: str
    separator: str = " "
    keep: bool = False


class Custom(_Base, frozen=True, tag="custom"):
    """Call a registered transformer: values of `from_fields` in, those of `to_fields` out."""

    from_fields: tuple[str, ...]
    to_fields: tuple[str, ...]
    transformer: str
    config: dict[str, Any] = {}


class Validation(_Base, frozen=True, tag="validate"):
    """Check a field by a registered validator.

    `on_error`: ``fail``; ``quarantine`` (the value stays as it was, and is put aside);
    ``remove`` the field, or ``default`` it: the original is kept aside, and is reported.
    """

    field: str
    validator: str
    on_error: Literal["fail", "quarantine", "remove", "default"] = "fail"
    default: Any = None


class Map(_Base, frozen=True, tag="map"):
    """Apply transformations to every element of a list; their paths begin at the element."""

    field: str
    transformations: tuple[Any, ...]
    missing: Missing = "error"


Transformation = (
    Copy | Move | Rename | Remove | Default | Convert | Split | Merge | Custom | Validation | Map
)


def load(data: Any) -> Transformation:
    """Return the transformation that plain data stand for.

    Raises:
        InvalidArgumentError: They stand for none.
    """
    if isinstance(data, Transformation):
        made: Transformation = data
    else:
        try:
            made = msgspec.convert(data, Transformation)
        except msgspec.ValidationError as error:
            raise InvalidArgumentError(f"this is no transformation: {error}") from None
    if isinstance(made, Map):
        made = msgspec.structs.replace(
            made, transformations=tuple(load(each) for each in made.transformations)
        )
    return made


def dump(transformation: Transformation) -> dict[str, Any]:
    """Return a transformation as plain data: `load` of it is the same."""
    made: dict[str, Any] = msgspec.to_builtins(transformation)
    return made


def loses(transformation: Transformation) -> str | None:
    """Say how a transformation gives data up; None where it does not."""
    match transformation:
        case Remove(field=name):
            return f"{name} is removed"
        case Copy(overwrite=True, to_field=name) | Move(overwrite=True, to_field=name):
            return f"what is at {name} is overwritten"
        case Validation(field=name, on_error="remove"):
            return f"{name} is removed where it fails {transformation.validator}"
        case Validation(field=name, on_error="default"):
            return f"{name} is replaced where it fails {transformation.validator}"
        case Map(field=name, transformations=inner):
            found = [why for each in inner if (why := loses(each))]
            return f"in {name}: {'; '.join(found)}" if found else None
    return None


def inverse(transformation: Transformation) -> Transformation | None:
    """Return what undoes a transformation exactly, where its own words say how."""
    match transformation:
        case Move(from_field=source, to_field=target, overwrite=False, missing="error"):
            return Move(from_field=target, to_field=source, prune=True)
        case Rename(field=name, name=new, missing="error"):
            parts = parse(name)
            old = parts[-1]
            if isinstance(old, str):
                return Rename(field=path_text((*parts[:-1], new)), name=old)
    return None
