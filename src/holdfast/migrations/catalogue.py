"""The catalogue: the steps and functions that a program knows, and where they come from.

From Python, from files that the caller names, and from entry points of the group
``holdfast.migrations``. What a store holds never chooses code.
"""

from __future__ import annotations

import importlib
import os
import tomllib
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from holdfast.errors import ConfigurationError, InvalidArgumentError
from holdfast.hooks.marking import imported, load_file
from holdfast.migrations.functions import Functions, mark_of
from holdfast.migrations.steps import MigrationStep, Step, prepared, python_step, step_of

GROUP: Final = "holdfast.migrations"


class Catalogue:
    """Steps of schemas, at most one from each version."""

    def __init__(self, *sources: Any) -> None:
        self.functions = Functions()
        self._data: list[MigrationStep] = []
        self._python: list[Step] = []
        self._made: dict[str, dict[int, Step]] | None = None
        for source in sources:
            self.add(source)

    def add(self, source: Any) -> None:
        """Add a step, a marked function, a module's, or those of a file.

        Args:
            source: A `MigrationStep` or its plain data, a marked function, a module, or the path
                of a ``.toml``, ``.json`` or ``.py`` file.

        Raises:
            InvalidArgumentError: It is none of that, or there is such a step already.
            ConfigurationError: The file cannot be read, or importing it failed.
        """
        self._made = None
        if isinstance(source, ModuleType):
            for thing in list(vars(source).values()):
                if mark_of(thing) is not None or isinstance(thing, MigrationStep):
                    self.add(thing)
        elif mark_of(source) is not None:
            self._mark(source)
        elif isinstance(source, MigrationStep | dict):
            self._data.append(step_of(source))
        elif isinstance(source, str | os.PathLike):
            self._file(Path(source))
        elif isinstance(source, Iterable):
            for each in source:
                self.add(each)
        else:
            raise InvalidArgumentError(
                f"a {type(source).__name__} is no migration step",
                hint="give a MigrationStep, a marked function, a module or the path of a file",
            )

    def add_module(self, name: str) -> None:
        """Import a module that the caller names, and add what is marked in it.

        Raises:
            ConfigurationError: Importing it failed.
        """
        self.add(imported(lambda: importlib.import_module(name), f"the migrations {name}"))

    def add_installed(self, names: Iterable[str] | None = None) -> None:
        """Add what the entry points of ``holdfast.migrations`` name: all, or those named here.

        Raises:
            ConfigurationError: There is none of a name, or importing it failed.
        """
        found = {entry.name: entry for entry in entry_points(group=GROUP)}
        for name in found if names is None else names:
            if name not in found:
                raise ConfigurationError(f"no migrations {name!r} are installed")
            self.add(imported(found[name].load, f"the migrations {name}"))

    def steps(self, schema: str) -> dict[int, Step]:
        """Return the steps of a schema, by the version that they start from.

        Raises:
            InvalidArgumentError: Two start from one version, or one names what there is not.
        """
        if self._made is None:
            made: dict[str, dict[int, Step]] = {}
            for step in [prepared(each, self.functions) for each in self._data] + self._python:
                table = made.setdefault(step.schema, {})
                if step.from_version in table:
                    raise InvalidArgumentError(
                        f"two steps of {step.schema} start from version {step.from_version}: "
                        f"{table[step.from_version].name} and {step.name}",
                        hint="a schema has one way from each version to the next",
                    )
                table[step.from_version] = step
            self._made = made
        return self._made.get(schema, {})

    def schemas(self) -> list[str]:
        """Return the names of the schemas that have a step."""
        return sorted({each.schema for each in self._data} | {each.schema for each in self._python})

    def _mark(self, fn: Callable[..., Any]) -> None:
        mark = mark_of(fn)
        assert mark is not None
        if mark.kind == "migration":
            self._python.append(python_step(mark.name, fn, **mark.options))
        else:
            self.functions.add(mark.kind, mark.name, fn)

    def _file(self, path: Path) -> None:
        if path.suffix == ".py":
            self.add(load_file(path))
            return
        try:
            raw = path.read_bytes()
            found = tomllib.loads(raw.decode()) if path.suffix == ".toml" else _json(raw)
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.DecodeError) as error:
            raise ConfigurationError(f"{path} is no step file: {error}") from None
        steps = found.get("steps", [found]) if isinstance(found, dict) else found
        if not isinstance(steps, list):
            raise ConfigurationError(f"{path} is no step file: it has no list of steps")
        for each in steps:
            self.add(step_of(each))


def _json(raw: bytes) -> Any:
    return msgspec.json.decode(raw)
