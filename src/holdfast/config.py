"""Frozen settings, and how text becomes them: URLs, keywords, environment, TOML.

It names engines only as URL schemes and knows none of them; each engine owns the dataclass of
its settings and builds it here with `settings_from`.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_UNITS |= {"k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gib": 1 << 30}
_SERVERS = ("postgresql", "postgres")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class EngineURL:
    """Where a store is: ``scheme:location?name=value&…``.

    Attributes:
        scheme: The engine's name, e.g. ``"sqlite"``.
        location: All between scheme and query, percent-decoded only where a query was given; of a
            server (``//user:password@host/database``) as it is, for its own library to read.
        params: Options, as text.
    """

    scheme: str
    location: str
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_server(self) -> bool:
        """Say whether a server is named, which a network lies in front of."""
        return self.scheme in _SERVERS

    def __str__(self) -> str:
        # Passwords stand before the host, or in options: of those names only.
        names = "&".join(f"{name}=…" for name in self.params)
        location = self.location
        if self.scheme in _SERVERS:
            user, at, place = location.rpartition("@")
            location = user.partition(":")[0] + at + place
        return f"{self.scheme}:{location}" + (f"?{names}" if names else "")

    __repr__ = __str__


def parse_url(target: str | os.PathLike[str]) -> EngineURL:
    """Read a URL or a path. A bare path is an SQLite file.

    ``memory:``, ``state.db``, ``sqlite:state.db``, ``sqlite:///abs/state.db``,
    ``rocksdb:./dir?cache_capacity=500MB``, ``postgresql://user@host/db``.

    Raises:
        ConfigurationError: Empty text, a repeated option, or an option without a name.
    """
    text = os.fspath(target)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(
            "a store needs a path or URL without NUL", hint='for example "state.db" or "memory:"'
        )
    scheme, colon, rest = text.partition(":")
    is_path = isinstance(target, os.PathLike) or not colon
    if isinstance(target, str) and not colon and "?" in text and "=" in text:
        raise ConfigurationError(
            f"options need a scheme: {text.partition('?')[0]!r} is a path",
            hint="write sqlite:PATH?NAME=VALUE; a pathlib.Path may have any name",
        )
    # "C:\x" and "./a:b" are paths; a scheme is letters, digits, + - . and at least two long.
    if is_path or len(scheme) < 2 or not _is_scheme(scheme):
        return EngineURL("sqlite", text)
    scheme = scheme.lower()
    location, _, query = rest.partition("?")
    if location.startswith("//") and scheme in ("memory", "sqlite", "rocksdb"):
        location = location[2:]
    if query and scheme not in _SERVERS:
        location = unquote(location)
    params: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if not name or name in params:
            raise ConfigurationError(f"option {name!r} stands twice or has no name in the URL")
        params[name] = value
    return EngineURL(scheme, location, params)


def _is_scheme(text: str) -> bool:
    return text[0].isalpha() and text.isascii() and all(c.isalnum() or c in "+-." for c in text)


def settings_from(cls: type[T], values: Mapping[str, Any], *, what: str) -> T:
    """Build the settings dataclass `cls` from texts or typed values.

    Texts are converted by the type of the field: sizes take units (``"100MB"``, ``"1GiB"``),
    booleans true/false/1/0/yes/no/on/off, None ``"none"`` or empty.

    Args:
        cls: A dataclass.
        values: Field names to values.
        what: What the settings are for, in errors (``"sqlite"``).

    Raises:
        ConfigurationError: Unknown name (with the nearest known one) or a value of another type.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name: hints[f.name] for f in dataclasses.fields(cls)}
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise ConfigurationError(
                f"{what} has no option {name!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(known))}",
            )
        made[name] = _convert(value, known[name], f"{what} option {name!r}")
    try:
        return cls(**made)
    except TypeError as error:
        raise ConfigurationError(f"{what} settings are incomplete: {error}") from None


def _convert(value: Any, kind: Any, where: str) -> Any:
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None or (isinstance(value, str) and value.lower() in ("", "none")):
        if type(None) in options:
            return None
    for option in options:
        origin = typing.get_origin(option) or option
        if isinstance(value, str):
            text = value.strip().lower()
            if origin is bool and text in _TRUE | _FALSE:
                return text in _TRUE
            if origin is int and (size := _size(text)) is not None:
                return size
            if origin is float:
                try:
                    return float(text)
                except ValueError:
                    continue
            if origin is Path:
                return Path(value)
            if origin is str:
                return value
        elif origin is float and type(value) is int:
            return float(value)
        elif origin is Path and isinstance(value, os.PathLike):
            return Path(value)
        elif isinstance(origin, type) and isinstance(value, origin):
            if not (origin is int and isinstance(value, bool)):
                return value
    names = " or ".join(getattr(o, "__name__", str(o)) for o in options)
    raise ConfigurationError(f"{where} must be {names}")


def _size(text: str) -> int | None:
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ").replace("_", "")
    unit = text[len(text.rstrip("abcdefghijklmnopqrstuvwxyz ")) :].strip()
    if not set(digits) <= set("0123456789.-"):
        return None
    try:
        number = Decimal(digits) * _UNITS[unit]
    except (ArithmeticError, KeyError):
        return None
    # "1.5GiB" is a whole number of bytes, "8.5" is not
    return int(number) if number.is_finite() and number == int(number) else None


def load_environment(
    environ: Mapping[str, str] | None = None, path: str | os.PathLike[str] | None = None
) -> dict[str, Any]:
    """Collect options from a TOML file and ``HOLDFAST_*`` variables; variables win.

    Args:
        environ: Variables; the process's own by default. ``HOLDFAST_URL`` gives ``url``,
            ``HOLDFAST_USE_COMPRESSION`` gives ``use_compression``, and so on.
        path: A TOML file with a ``[holdfast]`` table (or options at its top level). By default
            what ``HOLDFAST_CONFIG`` names.

    Raises:
        ConfigurationError: The file is missing or is not TOML.
    """
    variables = os.environ if environ is None else environ
    options: dict[str, Any] = {}
    source = path if path is not None else variables.get("HOLDFAST_CONFIG")
    if source is not None:
        try:
            with open(source, "rb") as file:
                table = tomllib.load(file)
        except OSError as error:
            raise ConfigurationError(f"cannot read {os.fspath(source)}: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{os.fspath(source)} is not TOML: {error}") from None
        section = table.get("holdfast", table)
        if not isinstance(section, dict):
            raise ConfigurationError(f"{os.fspath(source)}: holdfast must be a table")
        options.update(section)
    for name, value in variables.items():
        if name.startswith("HOLDFAST_") and name != "HOLDFAST_CONFIG":
            options[name.removeprefix("HOLDFAST_").lower()] = value
    return options
