"""The options of the engine, and how a URL becomes them. It knows no LMDB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from holdfast.config import EngineURL, settings_from
from holdfast.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class LmdbSettings:
    """How to open an LMDB store. URL options carry the same names.

    Attributes:
        path: The directory.
        map_size: The most bytes that the store can grow to. This is address space, not memory
            and not disk. All processes should use the same; a larger one can be given at any
            opening.
        max_readers: Views open at once, over all processes. The process that opens a store
            first decides.
        keep_free: Puts are refused while the filesystem has fewer bytes free than this and twice
            the batch, so that a full disk is met before a commit and not in it.
    """

    scheme: ClassVar[str] = "lmdb"

    path: Path
    map_size: int = 16 << 30
    max_readers: int = 126
    keep_free: int = 16 << 20

    def __post_init__(self) -> None:
        for name, least in (("map_size", 1 << 20), ("max_readers", 1), ("keep_free", 0)):
            if not least <= getattr(self, name) < 1 << 62:
                raise ConfigurationError(f"lmdb option {name!r} must be at least {least}")

    @classmethod
    def from_url(cls, url: EngineURL) -> LmdbSettings:
        """Read the settings of ``lmdb:DIRECTORY?name=value``.

        Raises:
            ConfigurationError: No directory, an unknown option, or a value that cannot be.
        """
        location = url.location.removeprefix("//")
        if not location:
            raise ConfigurationError("lmdb needs a directory", hint='for example "lmdb:./state"')
        if "path" in url.params:
            raise ConfigurationError("the path stands before the '?', not in an option")
        return settings_from(cls, {"path": Path(location), **url.params}, what="lmdb")
