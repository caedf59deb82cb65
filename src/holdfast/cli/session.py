"""What every command shares: which store, how to open it, where the output goes."""

from __future__ import annotations

import dataclasses
import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holdfast
from holdfast.cli.render import Output
from holdfast.config import EngineURL, load_environment, parse_url
from holdfast.errors import ConfigurationError, NotAStoreError, ReadOnlyError

_FILE_ENGINES = ("sqlite", "rocksdb")


@dataclass(frozen=True, slots=True)
class Session:
    """The options that all commands have.

    Attributes:
        store: URL or path of the store; None for what the environment names.
        tenant: Whose state to see.
        json: Print JSON, for programs.
        read_only: Refuse commands that write.
        dashes: The command line holds a ``--``: what comes behind is no option.
    """

    store: str | None = None
    tenant: str = ""
    json: bool = False
    read_only: bool = False
    dashes: bool = False

    def with_options(self, store: str | None, tenant: str | None, json: bool) -> Session:
        """Return the session with the options given behind the command, which win."""
        return dataclasses.replace(
            self,
            store=self.store if store is None else store,
            tenant=self.tenant if tenant is None else tenant,
            json=self.json or json,
        )

    @property
    def out(self) -> Output:
        """Where results go."""
        return Output(json=self.json)

    def read(self) -> holdfast.StateManager:
        """Open the store for reading; it must exist. Works beside a writer."""
        return self._open(create=False, read_only=True)

    def write(self, *, create: bool = False) -> holdfast.StateManager:
        """Open the store for writing.

        Args:
            create: Make it if it is not there.

        Raises:
            ReadOnlyError: The command line says ``--read-only``.
        """
        if self.read_only:
            raise ReadOnlyError(
                "this command writes, and --read-only was given", hint="leave --read-only out"
            )
        return self._open(create=create, read_only=False)

    def location(self) -> tuple[str, dict[str, Any]]:
        """Return the store's URL or path, and the environment's further options.

        Raises:
            ConfigurationError: None is named.
        """
        if self.store is not None:
            return self.store, {}
        options = load_environment()
        url = options.pop("url", None)
        if not url:
            raise ConfigurationError(
                "no store named", hint="pass --store state.db, or set HOLDFAST_URL"
            )
        return str(url), options

    def _open(self, *, create: bool, read_only: bool) -> holdfast.StateManager:
        target, options = self.location()
        refuse_missing(target, create=create)
        options["create"] = create
        return holdfast.open(target, tenant=self.tenant, read_only=read_only, **options)


def refuse_missing(target: str, *, create: bool = False) -> EngineURL:
    """Check that a store's path exists before anything touches it, and return its URL.

    Raises:
        NotAStoreError: Nothing is there (the hint names a near one), and `create` is false.
        ConfigurationError: A store in memory, which ends with the command.
    """
    url = parse_url(target)
    if url.scheme == "memory":
        raise ConfigurationError(
            "a store in memory ends with this command", hint="name a file: --store state.db"
        )
    if url.scheme in _FILE_ENGINES and not create and not os.path.lexists(url.location):
        raise NotAStoreError(f"there is no store at {url.location}", hint=_near(Path(url.location)))
    return url


def _near(path: Path) -> str:
    try:
        names = [
            entry.name
            for entry in os.scandir(path.parent)
            if entry.is_dir() or entry.name.endswith((".db", ".sqlite", path.suffix or ".db"))
        ]
    except OSError:
        return f"the directory {path.parent} is not there either; check the path"
    found = difflib.get_close_matches(path.name, names, 1)
    if found:
        return f"did you mean {path.parent / found[0]}?"
    return "check the path; `holdfast set` and `holdfast import` make a new store"
