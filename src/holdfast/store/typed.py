"""Typed access: plain data as a msgspec Struct, a dataclass or a pydantic model.

The type comes from the caller, never from what is stored. Errors name the path, not the value.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from holdfast.errors import InvalidArgumentError, WrongTypeError

T = TypeVar("T")

_PATH = re.compile(r" - at `([^`]*)`$")


def as_type(value: Any, kind: type[T], where: str) -> T:
    """Convert decoded `value` to `kind`.

    Args:
        value: What `codec.decode` returned.
        kind: A msgspec Struct, a dataclass, a pydantic model, or a builtin or generic type.
        where: Scope and key, for the error.

    Raises:
        WrongTypeError: The value does not fit; the message names the path.
        InvalidArgumentError: `kind` is not a type that values can be converted to.
    """
    name = getattr(kind, "__name__", str(kind))
    validate = getattr(kind, "model_validate", None)
    if validate is not None:
        try:
            return validate(value)  # type: ignore[no-any-return]
        except ValueError as error:  # pydantic's ValidationError is one, without an import
            details = getattr(error, "errors", None)
            first = details(include_input=False, include_url=False)[0] if details else {}
            steps = first.get("loc", ())
            path = "$" + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps)
            raise WrongTypeError(
                f"{where} does not fit {name} at {path} ({first.get('type', 'invalid')})"
            ) from None
    try:
        return msgspec.convert(value, kind, dec_hook=_custom)
    except msgspec.ValidationError as error:
        found = _PATH.search(str(error))
        path = found.group(1) if found else "$"
        raise WrongTypeError(f"{where} does not fit {name} at {path}") from None
    except TypeError as error:
        raise InvalidArgumentError(f"type={name} cannot be converted to: {error}") from None


def _custom(kind: type, value: Any) -> Any:
    """Convert to a type inside another that msgspec does not know: a pydantic model."""
    validate = getattr(kind, "model_validate", None)
    if validate is None:
        raise TypeError(f"{kind.__name__} is no type of data")
    return validate(value)
